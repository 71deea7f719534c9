"""Taking failed executions up again: FAILED to RESUMED, and what that means for a map around one.

Whoever calls holds the locks of these rows and of their parents, taken in the order of ids.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any

from django.db.models import F

from executions.engine.snapshot import Phase
from executions.engine.states import Reason, State
from executions.errors import TransitionRefused
from executions.models import Execution
from workflows.compiled import compiled_version
from workflows.definition.compiled import MapConfig

_NOT_LET_GO = (State.INITIALIZED.value, State.RESUMED.value)


def parents_of(ids: Collection[int]) -> set[int]:
    """Ids of the executions around these; they never change."""
    children = Execution.objects.filter(pk__in=ids, parent__isnull=False)
    return set(children.values_list("parent_id", flat=True))


def check_parent(row: Execution, parents: Mapping[int, Execution]) -> None:
    """Raises TransitionRefused unless the map around a failed item still waits for its items."""
    if row.parent_id is None:
        return
    parent = parents[row.parent_id]
    if parent.has_ended:
        raise TransitionRefused(
            f"It is part of execution {parent.pk}, which has ended too: "
            f"retry execution {_outermost_ended(parent)} instead."
        )
    if parent.state == State.PAUSED:
        raise TransitionRefused(f"It is part of execution {parent.pk}, which is paused.")
    is_waited_for = (
        parent.state == State.WAITING
        and parent.owner_id is None
        and parent.current_step == row.parent_step
        and parent.current_phase == Phase.CHILDREN
        and parent.children_generation == row.generation
    )
    if not is_waited_for:
        raise TransitionRefused(
            f"Execution {parent.pk}, which it is part of, does not wait for it any more."
        )


def _outermost_ended(row: Execution) -> int:
    while row.parent_id is not None:
        parent = Execution.objects.only("pk", "parent_id", "state").get(pk=row.parent_id)
        if not parent.has_ended:
            break
        row = parent
    return row.pk


def take_up(
    rows: Sequence[Execution], parents: Mapping[int, Execution], reason: str, now: datetime
) -> None:
    """FAILED to RESUMED, ready for a worker; items beyond their map's `max_concurrency` wait.

    The error leaves the row; it stays in the history. Wishes that nobody had heeded when the
    execution failed are void.
    """
    if not rows:
        return
    blocked = _let_in(rows, parents)
    for row in rows:
        # The generated FSM method: it checks the table and the condition.
        row.retry(reason=reason or Reason.OPERATOR.value)  # type: ignore[attr-defined]
        row.runnable_at = None if row.pk in blocked else now
        row.transition_seq += 1
        row.seen_seq = row.inbox_seq
        row.ended_at = row.error = None
        row.error_code = ""
    # All of them went the same way, so one statement says it; the database checks it again.
    Execution.objects.filter(pk__in=[row.pk for row in rows]).update(
        state=rows[0].state,
        reason=rows[0].reason,
        error_code="",
        error=None,
        ended_at=None,
        runnable_at=now,
        claims=0,
        seen_seq=F("inbox_seq"),
        transition_seq=F("transition_seq") + 1,
    )
    if blocked:
        Execution.objects.filter(pk__in=blocked).update(runnable_at=None)


def _let_in(rows: Sequence[Execution], parents: Mapping[int, Execution]) -> set[int]:
    """Count items that are taken up as under way again; answers those that have to wait."""
    items: dict[int, list[Execution]] = defaultdict(list)
    for row in rows:
        if row.parent_id is not None:
            items[row.parent_id].append(row)
    blocked: set[int] = set()
    for parent_id, found in items.items():
        parent = parents[parent_id]
        found.sort(key=lambda row: row.item_index or 0)
        waiting = found[_room(parent) :]
        changes: dict[str, Any] = {
            "children_open": F("children_open") + len(found),
            "children_failed": F("children_failed") - len(found),
        }
        if waiting:
            first = waiting[0].item_index or 0
            known = parent.children_next
            blocked |= {row.pk for row in waiting}
            changes["children_next"] = first if known is None else min(first, known)
        Execution.objects.filter(pk=parent_id).update(**changes)
    return blocked


def _room(parent: Execution) -> int:
    """How many more of its items may be under way at once."""
    config = compiled_version(parent.version_id).steps[parent.current_step].config
    if not isinstance(config, MapConfig) or config.max_concurrency is None:
        return parent.children_failed
    waiting = Execution.objects.filter(
        parent=parent,
        parent_step=parent.current_step,
        generation=parent.children_generation,
        state__in=_NOT_LET_GO,
        runnable_at__isnull=True,
        owner__isnull=True,
    ).count()
    return max(config.max_concurrency - (parent.children_open - waiting), 0)
