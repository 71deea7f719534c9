"""Taking concurrency slots when executions are accepted, and handing out those that are free.

What happens to slots while executions run is the ledger's: `runtime/slots_sql.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from typing import Any

import structlog
from django.db import connection, transaction

from autopilot.accounts.actors import Actor
from autopilot.common.committed import after_commit
from autopilot.common.problems import Problem
from executions.accepting import earlier_of, insert_once
from executions.asking import ask
from executions.engine.errors import EngineError
from executions.engine.events import Verb
from executions.engine.slots import OnLimit, shown_key, slot_of
from executions.engine.states import Reason
from executions.errors import ConcurrencyReached, StartInvalid
from executions.hidden.veil import Veil
from executions.models import Execution
from executions.runtime import dispatch, slots_sql
from executions.runtime.faults import fault
from workflows.compiled import compiled_version

log = structlog.get_logger(__name__)

# Whoever starts something does not wait longer for others who count the same key.
LOCK_TIMEOUT = "5s"
OUTDATED_REASON = "a newer execution with the same concurrency key takes its place"


def note_slot(row: Execution, veil: Veil) -> None:
    """Write down which slot the execution needs; its version and input are known, it isn't saved.

    veil: what is known to be hidden; a key made of that is told apart, but not shown.

    Raises StartInvalid if the key can't be worked out from the input.
    """
    definition = compiled_version(row.version_id)
    if definition.concurrency is None:
        return
    try:
        slot = slot_of(definition, veil.reveal(row.input), row.created_at)
    except EngineError as error:
        message = f"The concurrency key can't be worked out from the input: {error.info.message}"
        raise StartInvalid(
            message, details=[Problem("$.input", error.info.code, message)]
        ) from None
    if slot is None:
        return
    row.slot_key = replace(slot, key=veil.disguise(slot.key)).row_key(row.workflow_id)
    row.slot_limit = slot.limit
    row.slot_policy = slot.on_limit.value
    if row.reason == Reason.QUEUED and slot.on_limit is not OnLimit.REJECT:
        row.reason = Reason.SLOT.value
        row.runnable_at = None


def counts_at_once(row: Execution) -> bool:
    """Whether it gets its slot as it is accepted, or is refused."""
    return row.slot_policy == OnLimit.REJECT and row.reason == Reason.QUEUED


def take_or_refuse(rows: Sequence[Execution]) -> dict[int, ConcurrencyReached]:
    """Give slots to those that don't want to wait for one; answers who gets none, by place.

    Before they are inserted and in the same transaction: the lock that is taken here keeps
    everybody else from counting until that has ended. No row of an execution is waited for.
    """
    places = [(place, row) for place, row in enumerate(rows) if counts_at_once(row)]
    if not places:
        return {}
    keys = sorted({row.slot_key for _, row in places})
    with connection.cursor() as cursor:
        _lock(cursor, keys)
        cursor.execute(slots_sql.HELD, {"slots": keys})
        held: dict[str, int] = dict(cursor.fetchall())
    refused = {}
    for place, row in places:
        if held.get(row.slot_key, 0) >= row.slot_limit:
            refused[place] = _refusal(row)
        else:
            row.slot_held = True
            held[row.slot_key] = held.get(row.slot_key, 0) + 1
    return refused


def insert_with_slot(
    row: Execution, insert: Callable[[Execution], Execution | None] = insert_once
) -> Execution | None:
    """Insert the row, which may need a slot at once; answers the one that was first if two
    requests came with one key at once. In a transaction if `counts_at_once`.

    insert: how; it answers the one that was first, too. Raises ConcurrencyReached.
    """
    refused = take_or_refuse([row])
    if not refused:
        return insert(row)
    # Under the lock of its key, so the other one of two with one idempotency key is known now.
    earlier = earlier_of(row)
    if earlier is None:
        raise refused[0]
    return earlier


def _refusal(row: Execution) -> ConcurrencyReached:
    count = row.slot_limit
    running = "is running already" if count == 1 else "are running already"
    message = (
        f"{count} of the workflow {row.workflow.slug} with the concurrency key "
        f"“{shown_key(row.slot_key)}” {running}, which is as many as may."
    )
    problem = Problem("$.input", ConcurrencyReached.code, message)
    return ConcurrencyReached(message, details=[problem])


def settle_later(rows: Sequence[Execution]) -> None:
    """Once these are committed: hand out what is free of their keys, make room if they say so."""
    waiting = [row for row in rows if row.slot_key and row.reason == Reason.SLOT]
    if waiting:
        after_commit(_settle_rows, waiting)


def _settle_rows(rows: Sequence[Execution]) -> None:
    fault("slots.before_hand_out")
    granted = hand_out({row.slot_key for row in rows})
    make_room({row.slot_key for row in rows if row.slot_policy == OnLimit.CANCEL_OLDEST})
    for row in rows:
        if row.pk in granted:
            row.slot_held = True
            row.reason = Reason.QUEUED.value


def hand_out(
    keys: Collection[str], *, waits: bool = True, only: Collection[int] | None = None
) -> set[int]:
    """Give the free slots of these keys to those who wait for them; answers who got one.

    waits: for whoever counts one of the keys right now, which may be a long transaction of
    somebody's own; otherwise that key is left out. only: to these, if it is their turn; None = to
    all.
    """
    if not keys:
        return set()
    with transaction.atomic(), connection.cursor() as cursor:
        chosen = sorted(keys)
        if waits:
            _lock(cursor, chosen)
        else:
            cursor.execute(slots_sql.LOCK_FREE, {"slots": chosen})
            chosen = [row[0] for row in cursor.fetchall()]
        if only is None:
            cursor.execute(slots_sql.GRANT_AND_TELL, {"slots": chosen})
        else:
            cursor.execute(slots_sql.GRANT_THESE_AND_TELL, {"slots": chosen, "only": list(only)})
        granted: dict[int, str] = dict(cursor.fetchall())
    for queue in sorted(set(granted.values())):
        after_commit(dispatch.ring, queue)
    return set(granted)


def make_room(keys: Collection[str], *, waits: bool = True) -> int:
    """Ask those to cancel whose place a newer one takes, where that one says `cancel_oldest`.

    waits: for the rows of those; otherwise the ones that somebody holds are left out.
    """
    if not keys:
        return 0
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute(slots_sql.OUTDATED, {"slots": sorted(keys)})
            outdated = [row[0] for row in cursor.fetchall()]
        if outdated and not waits:
            free = Execution.objects.select_for_update(no_key=True, skip_locked=True)
            rows = free.filter(pk__in=outdated).order_by("pk")
            outdated = list(rows.values_list("pk", flat=True))
        if outdated:
            engine = Actor.system("engine")
            ask(ids=outdated, verb=Verb.CANCEL, actor=engine, reason=OUTDATED_REASON)
    return len(outdated)


def sweep(after: str = "", *, limit: int = 500) -> tuple[str, int]:
    """Do for keys that somebody waits for what whoever made room for them could not do.

    At most `limit` keys, from the one after `after` on; answers where to go on (empty: from the
    start) and how many executions got a slot. Waits for nobody: it is the clock's.
    """
    with connection.cursor() as cursor:
        cursor.execute(slots_sql.WAITED_FOR, {"after": after, "limit": limit})
        found = cursor.fetchall()
    granted = hand_out([key for key, has_room, _ in found if has_room], waits=False)
    outdated = [key for key, _, policy in found if policy == OnLimit.CANCEL_OLDEST]
    make_room(outdated, waits=False)
    if granted:
        log.info("slots.swept", executions=len(granted))
    return (found[-1][0] if len(found) == limit else ""), len(granted)


def _lock(cursor: Any, keys: Sequence[str]) -> None:
    cursor.execute("SELECT current_setting('lock_timeout')")
    (before,) = cursor.fetchone()
    cursor.execute("SELECT set_config('lock_timeout', %s, true)", [LOCK_TIMEOUT])
    cursor.execute(slots_sql.LOCK, {"slots": list(keys)})
    cursor.execute("SELECT set_config('lock_timeout', %s, true)", [before])
