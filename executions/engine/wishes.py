"""Retry and skip: what an operator's wish makes of the place where an execution stands."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from executions.engine import children, flow, steps
from executions.engine.commands import Closing
from executions.engine.events import Asked, LogRecord, Verb
from executions.engine.payload import encode
from executions.engine.snapshot import Frame, Part, Phase, Position, Snapshot
from executions.engine.states import State
from executions.engine.working import Working
from workflows.definition.compiled import SucceedConfig

# The current step is over in these: there is nothing of it to skip.
OVER = frozenset({Phase.SKIPPED, Phase.RESULT})


def retry(working: Working, now: datetime) -> None:
    """Make ready to go on where it failed: the same step, its next attempt, all time limits anew.

    The groups around the step are gone on with; one whose `finally` has run for an error begins
    anew. A step's children that succeeded are kept.
    """
    snapshot = working.snapshot
    # What it waited for where it failed was closed then.
    working.closing = None
    if snapshot.definition.timeout is not None and snapshot.outer is None:
        snapshot.deadline = now + snapshot.definition.timeout
    position, frames = snapshot.position, snapshot.frames
    if position is None:
        return
    while frames and frames[-1].part is Part.LAST and frames[-1].error is not None:
        position, frames = frames[-1].position, frames[:-1]
    snapshot.frames = tuple(_frame_again(snapshot, frame, now) for frame in frames)
    if position.seq > snapshot.entered:
        # It stood before a step that was one too many; there may be room now.
        flow.enter(working, position.step_id, now)
        return
    is_result = position.phase is Phase.RESULT
    config = snapshot.definition.steps[position.step_id].config
    if is_result and not isinstance(config, SucceedConfig):
        return
    working.move(_position_again(position, now))


def _position_again(position: Position, now: datetime) -> Position:
    """The next attempt. The one of a backoff never began, so its number is still free."""
    is_new = position.phase is not Phase.BACKOFF
    return replace(
        position,
        phase=Phase.ENTER,
        attempt=position.attempt + (1 if is_new else 0),
        spent=position.attempt - (0 if is_new else 1),
        started_at=now,
        entered_at=None,
        wait_until=None,
    )


def _frame_again(snapshot: Snapshot, frame: Frame, now: datetime) -> Frame:
    position = replace(
        frame.position,
        attempt=frame.position.attempt + 1,
        spent=frame.position.attempt,
        started_at=now,
        entered_at=None,
    )
    timeout = snapshot.definition.steps[position.step_id].timeout
    has_deadline = timeout is not None and frame.part is Part.BODY
    return replace(frame, position=position, deadline=now + timeout if has_deadline else None)  # type: ignore[operator]


def can_skip(snapshot: Snapshot, event: Asked) -> bool:
    """Whether the execution still stands at the step that is to be skipped."""
    position = snapshot.position
    if position is None or position.phase in OVER:
        return False
    return event.seq in (0, position.seq)


def skip(working: Working, event: Asked, now: datetime) -> None:
    """Record the current step as skipped; where the execution isn't paused, the next one follows.

    With an output the step counts as having come to that: what it assigns is set. If that can't be
    done, the step has failed.
    """
    snapshot = working.snapshot
    position = snapshot.position
    assert position is not None
    step = snapshot.definition.steps[position.step_id]
    working.closing = Closing.SKIPPED
    reason = event.reason or "the step was skipped"
    children.tell(working, position, Verb.CANCEL, event.actor, reason)
    if snapshot.state is State.WAITING:
        working.transit(State.RUNNING, event.reason or Verb.SKIP.value, event.actor)
    fields = {"actor": event.actor, "reason": event.reason}
    note = LogRecord("info", "step.skipped", fields, now)
    # What the message holds was measured when it was asked for, so its size is no question here.
    output = encode(event.output, limit=snapshot.max_joined_bytes, what="The given output")
    outcome = steps.skip_as(working, step, position, output, now, note)
    if isinstance(outcome, steps.Next):
        working.move(position.at(Phase.SKIPPED))
    else:
        flow.follow(working, outcome, now)
