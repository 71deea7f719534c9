"""Calls that may not begin yet: a limit is reached, so the execution is given up until its turn."""

from __future__ import annotations

from datetime import datetime

from executions.engine import flow, steps
from executions.engine.commands import LineUp
from executions.engine.events import Barred
from executions.engine.snapshot import Phase, Position
from executions.engine.states import Reason, State
from executions.engine.working import Working
from workflows.definition.compiled import CompiledStep


def bar(working: Working, event: Barred, now: datetime) -> None:
    """The call of the current step has to wait: for its turn, or until it is handed a place."""
    position = working.snapshot.position
    if position is None or position.phase is not Phase.CALL:
        return
    working.move(position.at(Phase.LIMITED, wait_until=event.until))
    if event.until is None:
        working.add(LineUp(event.limit_id))
    reason = Reason.SLOT if event.until is None else Reason.RATE
    flow.follow(working, steps.Sleeping(event.until, reason), now)


def may_ask(working: Working) -> bool:
    """Whether an execution that has been woken stands in the line for a place: it asks again."""
    position = working.snapshot.position
    return (
        working.snapshot.state is State.WAITING
        and position is not None
        and position.phase is Phase.LIMITED
        and position.wait_until is None
    )


def _take(working: Working, step: CompiledStep, position: Position, now: datetime) -> steps.Outcome:
    if position.wait_until is not None and now < position.wait_until:
        return steps.Sleeping(position.wait_until, Reason.RATE)
    calling = position.at(Phase.CALL)
    working.move(calling)
    return steps.Calling(calling)


steps.PHASES[Phase.LIMITED] = _take
