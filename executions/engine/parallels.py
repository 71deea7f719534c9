"""The parallel: scopes side by side, each a child execution, until enough have succeeded."""

from __future__ import annotations

from datetime import datetime

from executions.engine import children, steps
from executions.engine.commands import ChildKind
from executions.engine.errors import ErrorInfo
from executions.engine.events import ChildrenEnded
from executions.engine.payload import NULL
from executions.engine.snapshot import Position
from executions.engine.working import Working
from workflows.definition.compiled import CompiledStep, ParallelConfig


def start(working: Working, step: CompiledStep, position: Position, now: datetime) -> steps.Outcome:
    """Make a child for each branch; of a further attempt only for those that did not succeed."""
    config = step.config
    assert isinstance(config, ParallelConfig)
    total = len(config.branches)
    return children.begin(
        working,
        step,
        position,
        kind=ChildKind.BRANCH,
        inputs=(NULL,) * total,
        tolerated=total - config.needed,
        needed=config.needed,
    )


def join(
    working: Working, step: CompiledStep, position: Position, event: ChildrenEnded, now: datetime
) -> steps.Outcome:
    """All branches have ended: their outputs by name, or why not enough have one."""
    config = step.config
    assert isinstance(config, ParallelConfig)
    outputs = {branch.name: None for branch in config.branches}
    succeeded = [child for child in event.children if child.succeeded]
    if len(succeeded) < config.needed:
        return steps.fail(working, step, position, _error(config, event), now)
    for child in succeeded:
        outputs[config.branches[child.index].name] = child.output
    return children.finish(working, step, position, outputs, now)


def _error(config: ParallelConfig, event: ChildrenEnded) -> ErrorInfo:
    telling = children.telling(event.children)
    first = telling[0]
    total = len(config.branches)
    failed = [child for child in event.children if child.error]
    wanted = "all of them have to" if config.needed == total else f"{config.needed} have to"
    told = f"{len(failed)} of {total} branches failed, and {wanted} succeed"
    if not failed:
        told = f"The branches were cancelled before enough of them ({config.needed}) had succeeded"
    return children.failure(
        f"{told}; branch {config.branches[first.index].name!r}: {children.cause_of(first)}",
        {
            "failed": len(failed),
            "total": total,
            "needed": config.needed,
            "branches": [
                {
                    "name": config.branches[child.index].name,
                    "execution_id": child.execution_id,
                    "error": children.shown(child.error),
                }
                for child in telling[: children.MAX_FAILURES_SHOWN]
            ],
        },
    )


steps.TYPES[ParallelConfig] = start
children.JOINS[ParallelConfig] = join
