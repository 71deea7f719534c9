"""The only writer of execution state: one thread, one connection, checkpoints in batches.

Whatever checkpoints are pending when the thread comes round are committed together: while one
commit is on its way to the disk the next batch gathers. Rows are locked in the order of ids and
fenced by owner, epoch and revision, so a worker that has lost its lease writes nothing, and a
checkpoint whose commit was cut off by a lost connection is recognised and not written twice.

An execution that is alone has nobody to gather with: its checkpoints leave the thread out, see
`lone.py`, and come back to it if anything is the matter.
"""

from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import Any, TypeVar

import psycopg2
import structlog
from django.db import InterfaceError, OperationalError, connection
from psycopg2 import errors as pg

from autopilot.common import clock
from executions.engine.events import ChildrenEnded, Surveyed
from executions.engine.states import Reason
from executions.hidden.veil import Veil
from executions.runtime import limits, prepared, statements
from executions.runtime.checkpoint import Checkpoint
from executions.runtime.claims import (
    Claim,
    Message,
    read_children,
    read_claims,
    read_messages,
    reads_nothing,
)
from executions.runtime.committing import BUSY, Committer, Fenced, Refused, Unheard
from executions.runtime.faults import fault, is_injected
from executions.runtime.limits import Barred
from executions.runtime.lone import Lone, can_go
from executions.runtime.matching import Woken
from executions.runtime.outers import Outers
from executions.runtime.rows import cursor
from executions.runtime.rules import Rules
from executions.runtime.strays import Strays
from executions.runtime.undoing import survey

log = structlog.get_logger(__name__)

RETRY_SECONDS = 0.2
Answer = TypeVar("Answer")
MAX_BATCH = 500
# Statements go past Django and raise psycopg2's errors; connecting raises Django's.
CONNECTION_LOST = (
    psycopg2.OperationalError,
    psycopg2.InterfaceError,
    OperationalError,
    InterfaceError,
)
TRY_AGAIN = (pg.DeadlockDetected, pg.SerializationFailure)
# How long a call is put off if others hold the lock of its limit for too long.
LIMIT_BUSY = timedelta(seconds=1)
# Between two looks at rows that somebody else holds.
BUSY_SECONDS = 0.02


class LedgerClosed(Exception):
    """The ledger has been closed."""


@dataclass(frozen=True, slots=True)
class Held:
    """An execution to be given back.

    untouched: the call that its last checkpoint announced never began.
    in_trouble: giving it back is a sign that something is wrong with it, and counts.
    """

    execution_id: int
    epoch: int
    untouched: bool = False
    in_trouble: bool = False


@dataclass(slots=True)
class _Job:
    """Something the thread is to do, and where the answer goes."""

    answer: asyncio.Future[Any]
    loop: asyncio.AbstractEventLoop
    checkpoint: Checkpoint | None = None
    run: Callable[[], Any] | None = None
    # It has met a row that somebody else holds, and waits for it without holding up the others.
    is_busy: bool = False


class Ledger:
    """Claims executions for one worker and makes what its runners decide durable.

    The public coroutines are called on the event loop; the SQL runs on the ledger's own thread.
    """

    def __init__(self, worker_id: int, *, on_woken: Callable[[Woken], None] = Woken.tell) -> None:
        """on_woken: hears, on the ledger's thread, what a checkpoint has made ready beside it."""
        self.worker_id = worker_id
        self._committer = Committer(worker_id, on_woken=on_woken)
        self._lone = Lone(worker_id)
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        # Executions this process knows it owns, by id, with the epoch of the claim.
        self._held: dict[int, int] = {}
        self._outers = Outers()
        self.rules = Rules()
        self._closed = False
        self._strays = Strays(worker_id)
        # Something may be claimed that is not in `_held` yet.
        self._claims_alone = False
        self.commits = 0
        self.checkpoints = 0
        self._thread = threading.Thread(target=self._work, name="ledger", daemon=True)
        self._thread.start()

    # On the event loop -----------------------------------------------------------------------

    async def claim(
        self, *, queue_name: str, priorities: Sequence[int], limit: int, suspect_after: int
    ) -> list[Claim]:
        """Become the owner of up to `limit` ready executions, the first priority first."""
        parameters = {
            "worker": self.worker_id,
            "queue": queue_name,
            "limit": limit,
            "suspect": suspect_after,
            **dict(zip(statements.PROBES, priorities, strict=True)),
        }
        return await self._ask(lambda: self._claim(self._claim_sql(queue_name), parameters))

    def _claim_sql(self, queue_name: str) -> str:
        if self.rules.holds_queue(queue_name):
            return statements.CLAIM_OF_HELD_QUEUE
        return statements.CLAIM_BUT_HELD if self.rules.held_workflows else prepared.CLAIM

    async def claim_one(
        self, execution_id: int, *, queue_name: str, suspect_after: int
    ) -> list[Claim]:
        """Become the owner of one execution of which somebody has said that it is ready.

        Empty if another worker was faster. Much cheaper than to look for work: it is found by its
        key. Not while something is switched off, which only `claim` heeds.
        """
        parameters = {
            "worker": self.worker_id,
            "id": execution_id,
            "queue": queue_name,
            "suspect": suspect_after,
        }
        if not self._closed and not self._held and self._lone.is_free():
            rows = await self._claim_alone(parameters)
            if rows is not None:
                return await self._read_alone(rows)
        return await self._ask(lambda: self._claim(prepared.CLAIM_ONE, parameters))

    async def _claim_alone(self, parameters: dict[str, Any]) -> list[tuple[Any, ...]] | None:
        """Claim without the thread; None = not done."""
        # First, so that the thread, which looks for strays only when that is due, sees this or is
        # seen.
        self._claims_alone = True
        try:
            if self._strays.are_due:
                return None
            rows = await self._lone.claim(parameters)
            if rows is None:
                # It may be claimed all the same.
                self._strays.suspect()
                return None
            self._held.update({row[0]: row[1] for row in rows})
            fault("ledger.after_claim")
            return rows
        finally:
            self._claims_alone = False

    async def _read_alone(self, rows: list[tuple[Any, ...]]) -> list[Claim]:
        if reads_nothing(rows):
            return read_claims(rows, self._outers)
        try:
            return await self.read(lambda: read_claims(rows, self._outers))
        except BaseException:
            # Nobody is going to run them.
            for row in rows:
                self._held.pop(row[0], None)
            self._strays.suspect()
            raise

    async def claim_suspect(self, *, queue_name: str, suspect_after: int) -> list[Claim]:
        """Become the owner of one execution that may be killing its workers, if there is any."""
        parameters = {
            "worker": self.worker_id,
            "queue": queue_name,
            "suspect": suspect_after,
        }
        await self.freshen()
        if self.rules.holds_queue(queue_name):
            return []
        return await self._ask(lambda: self._claim(statements.CLAIM_SUSPECT, parameters))

    async def record(self, checkpoint: Checkpoint) -> int:
        """Make a checkpoint durable; answers the execution's `inbox_seq` at that moment.

        Raises Fenced if the execution is not ours any more, Refused if PostgreSQL can't hold it,
        Unheard if it `heeds` messages and some have come that its plan has not seen.
        """
        if self._goes_alone(checkpoint) and await self._record_alone(checkpoint):
            return checkpoint.read_seq
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[int] = loop.create_future()
        self._put(_Job(answer, loop, checkpoint=checkpoint))
        return await answer

    def _goes_alone(self, checkpoint: Checkpoint) -> bool:
        """Whether no other checkpoint could go with it, and it needs nothing that takes longer.

        Whoever wants to stop between the lock and the commit needs the thread.
        """
        is_alone = not self._closed and len(self._held) == 1 and can_go(checkpoint)
        return is_alone and not is_injected("ledger.before_commit") and self._lone.is_free()

    async def _record_alone(self, checkpoint: Checkpoint) -> bool:
        """Write without the thread; False = perhaps not done."""
        try:
            is_done = await self._lone.record(checkpoint)
        except asyncio.CancelledError:
            # Its runner gives up; whatever becomes of the row is not ours to know.
            self._held.pop(checkpoint.execution_id, None)
            raise
        if is_done:
            fault("ledger.after_commit")
            self.commits += 1
            self.checkpoints += 1
            if checkpoint.releases:
                self._held.pop(checkpoint.execution_id, None)
        return is_done

    async def freshen(self) -> None:
        """Make sure that what is known of switches and limits is not old."""
        if self.rules.are_stale:
            await self._ask(lambda: self._again(self.rules.read))

    async def release_strays(self) -> None:
        """Look for them if that is due; everything else that is asked here does so too."""
        if self._strays.are_due:
            await self._ask(lambda: self._again(lambda: None))

    async def enter_limits(self, execution_id: int, limit_ids: Sequence[int]) -> Barred | None:
        """Take what a call needs of these limits; None = it may begin."""
        try:
            return await self._ask(
                lambda: self._again(lambda: limits.enter(execution_id, limit_ids))
            )
        except pg.LockNotAvailable:
            return Barred(Reason.RATE, clock.now() + LIMIT_BUSY)

    async def messages(self, seen: dict[int, int]) -> list[Message]:
        """Inbox messages after the given sequence numbers, by execution id."""
        return await self._ask(lambda: self._again(lambda: read_messages(seen)))

    async def children(self, execution_id: int, step: str, base: int, veil: Veil) -> ChildrenEnded:
        """What the children of a step came to; all have ended. The veil learns from it."""
        run = partial(read_children, execution_id, step, base, veil)
        return await self._ask(lambda: self._again(run))

    async def survey(self, execution_id: int, current: int, veil: Veil) -> Surveyed:
        """What the execution has to undo, the one first that it may be calling already."""
        run = partial(survey, execution_id, current, veil)
        return await self._ask(lambda: self._again(run))

    async def read(self, run: Callable[[], Answer]) -> Answer:
        """What `run` reads from the database, on the ledger's thread."""
        answer: Answer = await self._ask(lambda: self._again(run))
        return answer

    async def release(self, held: Sequence[Held]) -> None:
        """Give executions back before they are done."""
        if held:
            await self._ask(lambda: self._release(held))

    def close(self) -> None:
        """Finish what is pending and end the thread."""
        if not self._closed:
            self._closed = True
            self._jobs.put(None)
            self._thread.join(timeout=10)
            self._lone.close()

    async def _ask(self, run: Callable[[], Any]) -> Any:
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[Any] = loop.create_future()
        self._put(_Job(answer, loop, run=run))
        return await answer

    def _put(self, job: _Job) -> None:
        if self._closed:
            raise LedgerClosed
        self._jobs.put(job)

    # On the thread ---------------------------------------------------------------------------

    def _work(self) -> None:
        try:
            while (job := self._jobs.get()) is not None:
                jobs = [job, *self._pending()]
                try:
                    self._handle(jobs)
                except Exception as error:
                    log.exception("ledger.failed")
                    self._answer(jobs, [error] * len(jobs))
        finally:
            connection.close()

    def _pending(self) -> list[_Job]:
        found: list[_Job] = []
        while len(found) < MAX_BATCH:
            try:
                job = self._jobs.get_nowait()
            except queue.Empty:
                break
            if job is None:
                self._jobs.put(None)
                break
            found.append(job)
        return found

    def _handle(self, jobs: list[_Job]) -> None:
        recording = [job for job in jobs if job.checkpoint is not None]
        if recording:
            self._answer(*self._without_busy(recording, self._record(recording)))
        for job in jobs:
            if job.run is None:
                continue
            try:
                result = job.run()
            except Exception as error:  # noqa: BLE001 - whoever asked is told, the thread lives on
                result = error
            self._answer([job], [result])

    def _without_busy(self, jobs: list[_Job], results: list[Any]) -> tuple[list[_Job], list[Any]]:
        """Put the jobs back that have met a row held by somebody else; answers the others."""
        busy = [job for job, result in zip(jobs, results, strict=True) if result is BUSY]
        for job in busy:
            job.is_busy = True
            self._jobs.put(job)
        if len(busy) == len(jobs) and busy:
            threading.Event().wait(BUSY_SECONDS)
        done = [
            (job, result) for job, result in zip(jobs, results, strict=True) if result is not BUSY
        ]
        return [job for job, _ in done], [result for _, result in done]

    @staticmethod
    def _answer(jobs: Sequence[_Job], results: Sequence[Any]) -> None:
        """Hand results to their futures, with one wake-up of the loop for all of them."""
        if not jobs:
            return

        def deliver() -> None:
            for job, result in zip(jobs, results, strict=True):
                if job.answer.done():
                    continue
                if isinstance(result, BaseException):
                    job.answer.set_exception(result)
                else:
                    job.answer.set_result(result)

        try:
            jobs[0].loop.call_soon_threadsafe(deliver)
        except RuntimeError:
            log.warning("ledger.nobody_listens", jobs=len(jobs))

    def _record(self, jobs: list[_Job]) -> list[Any]:
        """Commit all checkpoints together; bisect until only the culprits fail."""
        checkpoints = [job.checkpoint for job in jobs if job.checkpoint]
        try:
            if any(job.is_busy for job in jobs):
                return self._again(lambda: self._commit(checkpoints, waits=False))
            return self._again(lambda: self._commit(checkpoints))
        except pg.LockNotAvailable:
            # A transaction of somebody's own holds one of the rows for long: the others go on.
            log.info("ledger.row_held", checkpoints=len(jobs))
            return self._again(lambda: self._commit(checkpoints, waits=False))
        except psycopg2.Error as error:
            if len(jobs) == 1:
                log.warning(
                    "ledger.refused", execution_id=checkpoints[0].execution_id, error=str(error)
                )
                return [Refused(str(error).strip().splitlines()[0])]
        middle = len(jobs) // 2
        return self._record(jobs[:middle]) + self._record(jobs[middle:])

    def _again(self, run: Callable[[], Any]) -> Any:
        """Run until the database answers: it may restart, or another transaction be in the way."""
        is_anew = False
        while True:
            try:
                if self._strays.are_due and not self._claims_alone:
                    self._strays.release(list(self._held))
                return run()
            except TRY_AGAIN as error:
                self._roll_back()
                log.info("ledger.try_again", error=type(error).__name__)
            except prepared.STALE:
                if is_anew:
                    self._roll_back()
                    raise
                is_anew = True
                log.info("ledger.prepared_anew")
                connection.close()
            except CONNECTION_LOST as error:
                if not self._is_gone(error):
                    self._roll_back()
                    raise
                log.warning("ledger.connection_lost", error=str(error).strip())
                connection.close()
                self._strays.suspect()
                if self._closed:
                    raise
                threading.Event().wait(RETRY_SECONDS)
            except psycopg2.Error:
                self._roll_back()
                raise

    @staticmethod
    def _is_gone(error: BaseException) -> bool:
        """Whether the connection is lost, or the server not there, rather than a statement bad."""
        code = getattr(error, "pgcode", None)
        return code is None or code[:2] in ("08", "57", "53")

    @staticmethod
    def _roll_back() -> None:
        try:
            with cursor() as opened:
                opened.execute("ROLLBACK")
        except CONNECTION_LOST:
            connection.close()

    def _commit(self, checkpoints: list[Checkpoint], *, waits: bool = True) -> list[Any]:
        results = self._committer.commit(checkpoints, waits=waits)
        self.commits += 1
        self.checkpoints += sum(isinstance(each, int) for each in results)
        for each, result in zip(checkpoints, results, strict=True):
            is_over = each.releases and result is not BUSY and not isinstance(result, Unheard)
            if is_over or isinstance(result, Fenced):
                self._held.pop(each.execution_id, None)
        return results

    def _claim(self, sql: str, parameters: dict[str, Any]) -> list[Claim]:
        def run() -> list[Claim]:
            with cursor() as opened:
                opened.execute(sql, {**parameters, "held": self.rules.held_workflows})
                rows = opened.fetchall()
            fault("ledger.after_claim")
            try:
                claims = read_claims(rows, self._outers)
            except BaseException:
                self._strays.suspect()
                raise
            self._held.update({each.snapshot_id: each.epoch for each in claims})
            return claims

        claims: list[Claim] = self._again(run)
        return claims

    def _release(self, held: Sequence[Held]) -> None:
        parameters = {
            "worker": self.worker_id,
            "ids": [each.execution_id for each in held],
            "epochs": [each.epoch for each in held],
            "untouched": [each.untouched for each in held],
            "refunds": [0 if each.in_trouble else 1 for each in held],
        }

        def run() -> None:
            with cursor() as opened:
                opened.execute(statements.RELEASE, parameters)

        self._again(run)
        for each in held:
            self._held.pop(each.execution_id, None)
