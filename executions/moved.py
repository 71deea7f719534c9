"""Executions that were moved to another version: what their recorded steps are called there.

What was recorded stays as it was recorded. `Execution.step_names` says for each move which names
have changed, and of the step that the execution stood at its number and the name that it had. The
function `executions_present_step` of the database follows a row through all moves that came after
it. Of an execution that was never moved nothing of this is asked.
"""

from __future__ import annotations

from typing import Any

from django.db.models import F, JSONField, QuerySet, TextField, Value
from django.db.models.expressions import Func

from executions.models import Execution, StepExecution


class PresentStep(Func):
    """The name that a recorded step has in the version that its execution runs now, or null."""

    function = "executions_present_step"
    output_field = TextField()

    def __init__(self, step_names: Any) -> None:
        names = Value(step_names, JSONField())
        super().__init__(names, F("pk"), F("step_id"))


def present_step(step_names: Any, row_id: int, step_id: str) -> str | None:
    """The same for a row that has been read."""
    name: str | None = step_id
    for until, names, *_ in step_names or ():
        if row_id <= until and name in names:
            name = names[name]
            if name is None:
                return None
    return name


def called_as(step_names: Any) -> dict[int, str]:
    """By its number the name of a step that was begun before it was renamed; the first one."""
    return {seq: name for *_, place in reversed(step_names) if place for seq, name in [place]}


def steps_named(execution: Execution) -> QuerySet[Any, Any]:
    """What is recorded of an execution, with the name that each step has now as `now_id`."""
    rows = StepExecution.objects.filter(execution=execution)
    if execution.step_names is None:
        return rows.annotate(now_id=F("step_id"))
    return rows.annotate(now_id=PresentStep(execution.step_names))


__all__ = ["PresentStep", "present_step", "steps_named"]
