"""Putting right what is stuck: of these executions and no others, whatever the clock would do too.

Everything here runs in the transaction of its caller, who writes down who did it, and looks again
under the lock of each execution: what goes on meanwhile is left alone. Locks go by the order that
everybody keeps: workers, executions by id, limits, the keys of slots.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Any

import structlog
from django.db import connection

from autopilot.accounts.actors import Actor
from autopilot.common.errors import NotFound
from executions import failing, holding, limiting, slots
from executions.asking import ask
from executions.engine.events import Verb
from executions.models import Execution
from executions.runtime import matching
from executions.runtime import recovery_sql as sql
from executions.runtime.lease import free_of_lost_workers
from workflows.compiled import compiled_version
from workflows.definition.compiled import DefinitionError, MapConfig

log = structlog.get_logger(__name__)

ORPHAN_REASON = "what it belonged to has ended"

# Answers the ids of those that it has changed. Whoever calls it rings the queues of all of them.
Heal = Callable[[Sequence[int], Actor], Collection[int]]


def by(statement: str) -> Heal:
    """By this statement of `recovery_sql`."""

    def heal(ids: Sequence[int], actor: Actor) -> Collection[int]:
        return [row[0] for row in _run(statement, {"ids": list(ids)})]

    return heal


def nothing(ids: Sequence[int], actor: Actor) -> Collection[int]:
    """Nothing is wrong with them; that their queues are rung is all there is to be done."""
    return ()


def free_lost(ids: Sequence[int], actor: Actor) -> Collection[int]:
    return free_of_lost_workers(ids)


def let_go(ids: Sequence[int], actor: Actor) -> Collection[int]:
    """As many items of each as may be under way. One execution at a time: its items are locked
    after it, and the next execution may have a lower id than those."""
    told: list[int] = []
    for row in Execution.objects.filter(pk__in=ids).order_by("pk"):
        most = _most_at_once(row)
        if most is not None:
            given = {"id": row.pk, "concurrency": most}
            told += [answer[0] for answer in _run(sql.LET_GO, given)]
    return told


def _most_at_once(row: Execution) -> int | None:
    """How many items of its step may be under way; None if its version does not say."""
    try:
        step = compiled_version(row.version_id).steps.get(row.current_step)
    except (NotFound, DefinitionError) as error:
        # No worker could go on with it either; the others are to be put right all the same.
        log.warning("recovery.unreadable", execution_id=row.pk, error=str(error))
        return None
    if step is None:
        return None
    return step.config.max_concurrency or 1 if isinstance(step.config, MapConfig) else 1


def cancel(ids: Sequence[int], actor: Actor) -> Collection[int]:
    """Ask them to, unless what they belong to goes on again."""
    rows = Execution.objects.filter(pk__in=ids)
    family = {*ids, *rows.values_list("parent_id", flat=True)}
    locked = Execution.objects.select_for_update(no_key=True).filter(pk__in=family)
    list(locked.order_by("pk").values_list("pk"))
    orphans = [row[0] for row in _run(sql.PARENT_ENDED, {"ids": list(ids), "limit": len(ids)})]
    answers = ask(ids=orphans, verb=Verb.CANCEL, actor=actor, reason=ORPHAN_REASON)
    return [pk for pk, answer in answers.items() if answer.refusal is None]


def give_back_slots(ids: Sequence[int], actor: Actor) -> Collection[int]:
    """And hand them on, as everybody does who gives one back."""
    given_back = dict(_run(sql.GIVE_BACK_SLOTS, {"ids": list(ids)}))
    slots.hand_out(set(given_back.values()), waits=False)
    return list(given_back)


def hand_out_slots(ids: Sequence[int], actor: Actor) -> Collection[int]:
    rows = Execution.objects.filter(pk__in=ids)
    return slots.hand_out(set(rows.values_list("slot_key", flat=True)), waits=False, only=ids)


def give_signals(ids: Sequence[int], actor: Actor) -> Collection[int]:
    return matching.give_to(ids)


def take_places(ids: Sequence[int], actor: Actor) -> Collection[int]:
    return limiting.take_from(ids)


def hand_on_places(ids: Sequence[int], actor: Actor) -> Collection[int]:
    return limiting.hand_on_to(ids)


def take_up(ids: Sequence[int], actor: Actor) -> Collection[int]:
    return holding.take_up(ids)


def start_owed(ids: Sequence[int], actor: Actor) -> Collection[int]:
    """One execution at a time: a start may lock the key of a slot, and then waits for nothing."""
    return [pk for pk in ids if failing.start_owed([pk])]


def _run(statement: str, parameters: dict[str, Any]) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(statement, parameters)
        return list(cursor.fetchall())
