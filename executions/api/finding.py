"""Which execution an address means."""

from __future__ import annotations

from executions.errors import ExecutionNotFound
from executions.models import Execution
from executions.querysets import ExecutionQuerySet
from workflows.definition.paths import quote


def found_execution(rows: ExecutionQuerySet, pk: str) -> Execution:
    """The one of `rows` with this id. Raises ExecutionNotFound with a sentence."""
    if not (pk.isascii() and pk.isdigit() and len(pk) < 19):
        raise ExecutionNotFound(
            f'There is no execution "{quote(pk)}": the id of an execution is a whole number.'
        )
    execution: Execution | None = rows.filter(pk=int(pk)).first()
    if execution is None:
        raise ExecutionNotFound(f"There is no execution {pk}, or you may not see it.")
    return execution
