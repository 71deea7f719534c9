"""Checkpoints into the database, many in one commit, each fenced.

Usually one trip to the server does it all: lock, fence, write, commit. If the fence of any of them
does not hold nothing of that is written, and a second way is gone that asks first and tells each
checkpoint what is the matter with it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import psycopg2
import structlog
from psycopg2 import errors as pg

from executions.engine.events import SIGNAL
from executions.runtime import prepared, statements
from executions.runtime.batch import at_once, batch, ids_to_lock
from executions.runtime.checkpoint import Checkpoint
from executions.runtime.faults import fault, is_injected
from executions.runtime.matching import Woken, match_waits
from executions.runtime.rows import cursor

log = structlog.get_logger(__name__)


class Fenced(Exception):
    """The execution is not this worker's any more; nothing was written."""


class Refused(Exception):
    """PostgreSQL would not take what this checkpoint holds; nothing of it was written."""


class Unheard(Exception):
    """Messages came before this checkpoint that it must not go past; nothing was written."""


class _Busy:
    """Somebody else holds the row, or the row of the parent it reports to; to be tried again."""


BUSY = _Busy()


class Committer:
    """Writes checkpoints of one worker. On the ledger's thread; what fails is raised."""

    def __init__(self, worker_id: int, *, on_woken: Callable[[Woken], None]) -> None:
        self._worker_id = worker_id
        self._on_woken = on_woken

    def commit(self, checkpoints: list[Checkpoint], *, waits: bool) -> list[Any]:
        """Write what is still ours to write, in one commit.

        Answers for each the execution's `inbox_seq` if it is above what the runner has read, else
        what it has read; or Fenced, Unheard or BUSY.

        waits: for rows that somebody else holds, up to a second; otherwise those are left as BUSY.
        """
        # Whoever wants to stop between the lock and the commit needs them to be two trips.
        if waits and not is_injected("ledger.before_commit"):
            try:
                return self._commit_at_once(checkpoints)
            except pg.DivisionByZero:
                with cursor() as opened:
                    opened.execute("ROLLBACK")
        return self._ask_first(checkpoints, waits=waits)

    def _commit_at_once(self, checkpoints: list[Checkpoint]) -> list[Any]:
        """All in one trip. Raises DivisionByZero if a fence does not hold."""
        sql, parameters = at_once(checkpoints, self._worker_id)
        with cursor() as opened:
            opened.execute(sql, parameters)
            fault("ledger.after_commit")
            self._match(opened, checkpoints)
        return [each.read_seq for each in checkpoints]

    def _ask_first(self, checkpoints: list[Checkpoint], *, waits: bool) -> list[Any]:
        """Lock and look, then write those whose fence holds."""
        ids = ids_to_lock(checkpoints)
        with cursor() as opened:
            opened.execute(prepared.LOCK if waits else statements.LOCK_FREE, {"ids": ids})
            rows = {row[0]: row for row in opened.fetchall()}
            held = set() if waits else self._held_by_others(opened, set(ids) - rows.keys())
            results: list[Any] = []
            writing: list[Checkpoint] = []
            for each in checkpoints:
                if held and not held.isdisjoint(ids_to_lock([each])):
                    results.append(BUSY)
                    continue
                verdict = self._verdict(each, rows.get(each.execution_id))
                if verdict is None:
                    writing.append(each)
                    verdict = rows[each.execution_id][4]
                results.append(verdict)
            fault("ledger.before_commit")
            sql, parameters = batch(writing, waits=waits)
            opened.execute(sql + statements.COMMIT, parameters)
            fault("ledger.after_commit")
            self._match(opened, writing)
        return results

    def _verdict(self, checkpoint: Checkpoint, row: tuple[Any, ...] | None) -> Any:
        """None = to be written; Fenced, Unheard = not; a number = it is written already."""
        if row is None:
            return Fenced()
        _, owner, epoch, revision, inbox_seq = row
        if epoch == checkpoint.epoch and revision == checkpoint.revision + 1:
            # Only this checkpoint can have written that revision in this epoch: its commit had
            # gone through when the connection broke.
            return inbox_seq
        if (owner, epoch, revision) != (self._worker_id, checkpoint.epoch, checkpoint.revision):
            return Fenced()
        if checkpoint.heeds and inbox_seq > checkpoint.row["seen_seq"]:
            return Unheard()
        return None

    def _match(self, opened: Any, written: list[Checkpoint]) -> None:
        """Look for signals that were kept for steps that wait from now on.

        What fails here has nothing to do with the checkpoints, which are written; the clock looks
        for signals too.
        """
        waiting = [
            each.execution_id
            for each in written
            if each.opens.get(SIGNAL) or each.rejects.get(SIGNAL)
        ]
        if not waiting:
            return
        fault("ledger.before_matching")
        try:
            woken = match_waits(opened, waiting)
        except psycopg2.Error as error:
            log.warning("ledger.not_matched", error=str(error).strip())
            return
        if woken.count:
            self._on_woken(woken)

    @staticmethod
    def _held_by_others(opened: Any, missing: set[int]) -> set[int]:
        """Of the rows that were not to be had, those that exist."""
        if not missing:
            return set()
        opened.execute("SELECT id FROM executions_execution WHERE id = ANY(%s)", [list(missing)])
        return {row[0] for row in opened.fetchall()}
