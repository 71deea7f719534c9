"""Steps that wait for news from outside: for signals, for decisions, for calls that end elsewhere.

A type of step that waits so has a `Kind` in KINDS, by the type of its compiled config. It begins
to wait with `begin`, which opens the wait; whatever ends the wait closes it, once, in the same
plan: the runtime keeps what others look for (`runtime/outside_sql.py`) by these two commands.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from executions.engine import flow, steps, undo
from executions.engine.commands import Close, Closing, Open
from executions.engine.errors import EngineError, ErrorInfo
from executions.engine.events import Delivered
from executions.engine.snapshot import Phase, Position, Snapshot
from executions.engine.states import ENDED, Reason
from executions.engine.working import Working
from workflows.definition.compiled import CompiledStep


@dataclass(frozen=True, slots=True)
class Kind:
    """What one type of step makes of news, and of news that don't come.

    name: of its messages, one of `events.DELIVERIES`. reason: shown while it waits.
    deliver: the outcome of the step, or None = it goes on waiting; may raise EngineError, which
    fails the step. expire: the error of a wait whose time is over.
    """

    name: str
    reason: Reason
    deliver: Callable[[Working, CompiledStep, Position, Delivered, datetime], steps.Outcome | None]
    expire: Callable[[CompiledStep, Position], ErrorInfo]


KINDS: dict[type, Kind] = {}


def begin(
    working: Working,
    step: CompiledStep,
    position: Position,
    data: Mapping[str, Any],
    *,
    until: datetime | None = None,
) -> steps.Outcome:
    """Wait for news, at most for the step's timeout.

    until: at most until then instead.
    """
    kind = KINDS[type(step.config)]
    if until is None and step.timeout is not None:
        until = position.started_at + step.timeout
    working.move(position.at(Phase.OUTSIDE, wait_until=until))
    working.add(Open(kind.name, step.id, position.seq, position.attempt, data))
    return steps.Sleeping(until, kind.reason)


def deliver(working: Working, event: Delivered, now: datetime) -> steps.Outcome | None:
    """What the news make of the step they are for; None = nothing, it is not there or waits on."""
    snapshot = working.snapshot
    position = snapshot.position
    if snapshot.state in ENDED or position is None or position.phase is not Phase.OUTSIDE:
        return None
    step = snapshot.definition.steps[position.step_id]
    kind = KINDS[type(step.config)]
    if (event.kind, event.seq, event.attempt) != (kind.name, position.seq, position.attempt):
        return None
    try:
        return kind.deliver(working, step, position, event, now)
    except EngineError as error:
        return steps.fail(working, step, position, error.info, now)


def settle(working: Working, outcome: steps.Outcome, now: datetime) -> None:
    """Note what became of the step while nothing may follow from it: somebody has paused."""
    position = working.snapshot.position
    if isinstance(outcome, steps.Next) and position is not None:
        working.move(position.at(Phase.SKIPPED))
    else:
        flow.follow(working, outcome, now)


def note_closed(working: Working, before: Snapshot) -> None:
    """Close the wait that was open before this plan, if it is over; its way there is no matter."""
    open_before = _open(before)
    if working.closing is None or open_before is None or open_before == _open(working.snapshot):
        return
    step_id, seq, attempt = open_before
    kind = KINDS[type(before.definition.steps[step_id].config)]
    # First: what the plan opens after it, it keeps open.
    working.commands.insert(0, Close(kind.name, step_id, seq, attempt, working.closing.value))


def _open(snapshot: Snapshot) -> tuple[str, int, int] | None:
    """The wait that others may know of; an execution that has failed there has none."""
    position = snapshot.position
    if undo.is_over(snapshot) or position is None or position.phase is not Phase.OUTSIDE:
        return None
    return position.step_id, position.seq, position.attempt


def _take(working: Working, step: CompiledStep, position: Position, now: datetime) -> steps.Outcome:
    kind = KINDS[type(step.config)]
    if position.wait_until is None or now < position.wait_until:
        return steps.Sleeping(position.wait_until, kind.reason)
    working.closing = Closing.EXPIRED
    return steps.fail(working, step, position, kind.expire(step, position), now)


steps.PHASES[Phase.OUTSIDE] = _take
