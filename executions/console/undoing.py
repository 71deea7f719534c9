"""What the console shows of undoing: calls that would be made, and steps that are undone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from django.db.models import Q

from executions.compensating import compensations_of
from executions.engine.states import UndoState
from executions.models import Compensation, Execution, Kind
from executions.suiting import is_undoing, was_undone

SHOWN_CALLS = 50
_PARTS = frozenset({Kind.ITEM.value, Kind.BRANCH.value})
_COULD_BE_CALLED = Q(state=UndoState.PENDING) | Q(
    state__in=[UndoState.FAILED, UndoState.LEFT], attempts__gt=0
)


@dataclass(frozen=True, slots=True)
class Calls:
    """The compensations that would be called now, the first ones in their order."""

    shown: Sequence[Compensation] = ()
    total: int = 0

    @property
    def hidden(self) -> int:
        return self.total - len(self.shown)


def calls_of(execution: Execution) -> Calls:
    """What would be called if the execution were undone; nothing for a part of another one."""
    if execution.kind in _PARTS or is_undoing(execution):
        return Calls()
    rows = compensations_of(execution).filter(_COULD_BE_CALLED)
    shown = list(rows[:SHOWN_CALLS])
    return Calls(shown, rows.count() if len(shown) == SHOWN_CALLS else len(shown))


def words_of(execution: Execution) -> dict[str, tuple[str, str]]:
    """By step of the execution itself: how it is painted, and the word for it, once it is undone.

    Of several passes one that could not be undone counts most.
    """
    if not (is_undoing(execution) or was_undone(execution)):
        return {}
    found: dict[str, tuple[str, str]] = {}
    rows = Compensation.objects.filter(execution=execution).exclude(state=UndoState.PENDING)
    for step_id, state in rows.values_list("step_id", "state"):
        if state == UndoState.DONE:
            found.setdefault(step_id, ("undone", "undone"))
        else:
            found[step_id] = ("failed", "not undone")
    return found
