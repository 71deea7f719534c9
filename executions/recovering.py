"""What nobody will go on with by itself: found, explained, and put right on request.

The clock does all of the first kind within seconds. The second kind should not be possible: it
comes from restored backups, from changes made past the product, and from defects.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from typing import Any

import structlog
from django.db import OperationalError, connection, transaction
from psycopg2.errors import LockNotAvailable

from autopilot.accounts import audit
from autopilot.accounts.actors import Actor
from autopilot.accounts.roles import Permission
from executions import healing
from executions.models import Execution
from executions.runtime import dispatch, matching, slots_sql
from executions.runtime import recovery_sql as sql

log = structlog.get_logger(__name__)

# Of each kind; what is left over is found the next time.
MAX_FOUND = 1_000
# Longer than it takes the clock to see to something by itself.
LATE_SECONDS = 10.0
MAX_KEYS = 500


@dataclass(frozen=True, slots=True)
class Stuck:
    """One execution that nobody goes on with, why, and what is done about it.

    remedy: empty = nothing is safe to be done by a program; `sentence` says what a person does.
    is_expected: the clock does it by itself; otherwise it should not have come to this.
    freed: None = nothing was tried; True = put right (of what is late: workers were told).
    """

    execution_id: int
    queue: str
    code: str
    sentence: str
    remedy: str
    is_expected: bool
    freed: bool | None = None


Rows = list[tuple[int, str, str]]
Find = Callable[[Any, dict[str, Any]], Rows]


@dataclass(frozen=True, slots=True)
class _Kind:
    """One way to be stuck.

    sentence: with the detail that its question answers. heal: of `healing`; None = up to people.
    goes_alone: each execution is put right in a transaction of its own. only_rings: whether it
    helps is seen later.
    """

    code: str
    find: Find
    sentence: str
    remedy: str = ""
    heal: healing.Heal | None = None
    is_expected: bool = False
    goes_alone: bool = False
    only_rings: bool = False


def find_stuck(
    *, actor: Actor, ids: Collection[int] | None = None, codes: Collection[str] | None = None
) -> list[Stuck]:
    """All that is stuck, at most MAX_FOUND of each kind.

    ids, codes: only these executions, only in these ways; None = all. Raises PermissionDenied.
    """
    actor.require(Permission.EXECUTION_VIEW)
    chosen = [kind for kind in KINDS if codes is None or kind.code in codes]
    return [one for kind in chosen for one in _find(kind, ids)]


def recover_executions(*, actor: Actor, ids: Collection[int] | None = None) -> list[Stuck]:
    """Put right what can be, and answer all that was stuck with what came of it.

    ids: these only, and nothing is done for others. Everything is looked at again under its lock,
    so what goes on meanwhile is left alone. Each execution that was changed is audited, in the
    transaction that changes it. Raises PermissionDenied.
    """
    actor.require(Permission.EXECUTION_CONTROL)
    found: list[Stuck] = []
    for kind in KINDS:
        stuck = _find(kind, ids)
        if stuck and kind.heal is not None:
            healed = _heal(kind, kind.heal, stuck, actor)
            chosen = [one.execution_id for one in stuck if one.execution_id not in healed]
            asks_again = bool(chosen) and not kind.only_rings
            left = {one.execution_id for one in _find(kind, chosen)} if asks_again else set()
            stuck = [replace(one, freed=one.execution_id not in left) for one in stuck]
            freed = sum(bool(one.freed) for one in stuck)
            log.warning("executions.recovered", code=kind.code, freed=freed, found=len(stuck))
        found += stuck
    return found


def _heal(kind: _Kind, heal: healing.Heal, stuck: Sequence[Stuck], actor: Actor) -> set[int]:
    """Those that were put right here, and not by somebody else meanwhile."""
    ids = [one.execution_id for one in stuck]
    healed: set[int] = set()
    for portion in [[pk] for pk in ids] if kind.goes_alone else [ids]:
        try:
            with transaction.atomic():
                changed = set(heal(portion, actor))
                _audit(changed, kind, actor)
        except OperationalError as error:
            if not isinstance(error.__cause__, LockNotAvailable):
                raise
            # Somebody changes a limit, or counts a key: what else is stuck need not wait for them.
            log.warning("executions.not_recovered", code=kind.code, found=len(portion))
        else:
            healed |= changed
    for queue in sorted({one.queue for one in stuck}):
        dispatch.ring(queue)
    return healed


def _audit(changed: Collection[int], kind: _Kind, actor: Actor) -> None:
    rows = Execution.objects.filter(pk__in=changed).only("pk").order_by("pk")
    changes = [(row, None, {"was": kind.code}) for row in rows]
    audit.record_many(actor=actor, action="execution.recovered", changes=changes)


def _find(kind: _Kind, ids: Collection[int] | None) -> list[Stuck]:
    given = {"ids": None if ids is None else list(ids), "limit": MAX_FOUND, "late": LATE_SECONDS}
    with connection.cursor() as cursor:
        rows = kind.find(cursor, given)
    return [
        Stuck(
            pk,
            queue,
            kind.code,
            kind.sentence.format(detail=detail),
            kind.remedy,
            kind.is_expected,
        )
        for pk, queue, detail in rows
    ]


# Finding ---------------------------------------------------------------------------------------


def _asked(question: str) -> Find:
    def find(cursor: Any, given: dict[str, Any]) -> Rows:
        cursor.execute(question, given)
        return list(cursor.fetchall())

    return find


def _signal_there(cursor: Any, given: dict[str, Any]) -> Rows:
    """Waits that a kept signal suits, which nobody has given to them."""
    ids = given["ids"]
    pairs = dict(matching.pairs_there(cursor))
    chosen = [pk for pk in sorted(pairs) if ids is None or pk in ids][: given["limit"]]
    queues = dict(Execution.objects.filter(pk__in=chosen).values_list("pk", "queue"))
    return [(pk, queues[pk], str(pairs[pk])) for pk in chosen if pk in queues]


def _slot_free(cursor: Any, given: dict[str, Any]) -> Rows:
    """Those that wait for a slot of a key that has one to give."""
    cursor.execute(slots_sql.WAITED_FOR, {"after": "", "limit": MAX_KEYS})
    keys = [key for key, has_room, _ in cursor.fetchall() if has_room]
    if not keys:
        return []
    cursor.execute(sql.SLOT_WAITS, {**given, "keys": keys})
    return [(pk, queue, key.partition(":")[2]) for pk, queue, key in cursor.fetchall()]


_TAKE_BACK = "It is taken from the worker and given to the next one, from its last recorded step."
_AGAIN = (
    "It is made ready; whoever takes it sees where it stands, and sleeps again if that is right."
)
KINDS: tuple[_Kind, ...] = (
    _Kind(
        "worker_lost",
        _asked(sql.WORKER_LOST),
        "It belongs to the worker {detail}, whose lease is over.",
        _TAKE_BACK,
        healing.free_lost,
        is_expected=True,
    ),
    _Kind(
        "owner_missing",
        _asked(sql.OWNER_MISSING),
        "It belongs to the worker number {detail}, which does not exist.",
        _TAKE_BACK,
        healing.by(sql.FREE_OWNERLESS),
    ),
    _Kind(
        "slot_of_ended",
        _asked(sql.SLOT_OF_ENDED),
        "It has ended and still holds a slot of the concurrency key {detail}.",
        "The slot is taken from it and handed on.",
        healing.give_back_slots,
    ),
    _Kind(
        "parent_ended",
        _asked(sql.PARENT_ENDED),
        "The execution {detail}, which it is part of, has ended, and nobody has asked it to.",
        "It is asked to cancel.",
        healing.cancel,
    ),
    _Kind(
        "children_ended",
        _asked(sql.CHILDREN_ENDED),
        "It waits at step {detail} for children that have all ended.",
        "Its counts are made right, and it is told.",
        healing.by(sql.TELL_PARENTS),
    ),
    _Kind(
        "items_left",
        _asked(sql.ITEMS_LEFT),
        "Of the items of its step {detail} some are left, and none is under way.",
        "As many of them as may be under way at once are let go.",
        healing.let_go,
        goes_alone=True,
    ),
    _Kind(
        "message_unheard",
        _asked(sql.MESSAGE_UNHEARD),
        "Messages to it that nobody has read: {detail}; nobody has it, and nothing would wake it.",
        _AGAIN,
        healing.by(sql.WAKE),
    ),
    _Kind(
        "nothing_wakes",
        _asked(sql.NOTHING_WAKES),
        "It is {detail}, nobody has it, and no moment is set at which somebody would take it.",
        _AGAIN,
        healing.by(sql.WAKE),
    ),
    _Kind(
        "wait_missing",
        _asked(sql.WAIT_MISSING),
        "It waits at step {detail} for news, but nothing is kept that could bring any. "
        "Cancel it, skip the step, or rerun it.",
    ),
    _Kind(
        "signal_there",
        _signal_there,
        "It waits for a signal that is there: number {detail}.",
        "The signal is given to it.",
        healing.give_signals,
        is_expected=True,
    ),
    _Kind(
        "slot_free",
        _slot_free,
        "It waits for a slot of the concurrency key {detail}, and one is free.",
        "Free slots are handed out in the order of the line.",
        healing.hand_out_slots,
        is_expected=True,
    ),
    _Kind(
        "limit_stray",
        _asked(sql.LIMIT_STRAYS),
        "It makes no call and still has a place in the limit of {detail}.",
        "The place is taken from it, for whoever is next.",
        healing.take_places,
        is_expected=True,
    ),
    _Kind(
        "limit_free",
        _asked(sql.LIMIT_WAITS),
        "It waits for a place in the limit of {detail}, and one is free.",
        "Free places are handed out in the order of the line.",
        healing.hand_on_places,
        is_expected=True,
    ),
    _Kind(
        "parked",
        _asked(sql.PARKED),
        "It was put aside while its workflow was paused, and that is over.",
        "It is taken up again.",
        healing.take_up,
        is_expected=True,
    ),
    _Kind(
        "start_owed",
        _asked(sql.START_OWED),
        "It has failed, and the workflow {detail}, which is to hear of it, was not started.",
        "It is started.",
        healing.start_owed,
        is_expected=True,
        goes_alone=True,
    ),
    _Kind(
        "not_taken",
        _asked(sql.NOT_TAKEN),
        "It is ready since {detail} UTC, and no worker has taken it.",
        "The workers of its queue are told again.",
        healing.nothing,
        is_expected=True,
        only_rings=True,
    ),
)
