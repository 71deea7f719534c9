"""What an execution is to the one around it, in words: an item, a branch, a child workflow."""

from __future__ import annotations

from collections.abc import Sequence

from autopilot.common.errors import DomainError
from executions.models import Execution, Kind
from workflows.compiled import compiled_version
from workflows.definition.compiled import ParallelConfig


def branch_names(version_id: int, step_id: str) -> Sequence[str]:
    """The names of a parallel's branches; empty for any other step."""
    try:
        step = compiled_version(version_id).steps.get(step_id)
    except DomainError:
        return ()
    if step is None or not isinstance(step.config, ParallelConfig):
        return ()
    return tuple(branch.name for branch in step.config.branches)


def branch_of(execution: Execution) -> str:
    """The name of the branch that an execution is; empty for any other kind."""
    if execution.kind != Kind.BRANCH or execution.item_index is None:
        return ""
    names = branch_names(execution.version_id, execution.parent_step)
    index = execution.item_index
    return names[index] if index < len(names) else f"branch {index}"


def part_words(execution: Execution) -> str:
    """`item 3 of score`, `branch pay of settle`: its place; empty for one that has none."""
    if execution.kind == Kind.BRANCH:
        return f"branch {branch_of(execution)} of {execution.parent_step}"
    if execution.kind == Kind.ITEM:
        return f"item {execution.item_index} of {execution.parent_step}"
    return ""
