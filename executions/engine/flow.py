"""Where the outcome of a step leads: on, into or out of a group, to a retry, a catch, the end."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from executions.engine import retry, steps, undo
from executions.engine.commands import Block, Closing, Finish, Rest, Yield
from executions.engine.errors import (
    ENGINE_INTERNAL,
    LIMIT_STEPS,
    TIMEOUT_EXECUTION,
    TIMEOUT_STEP,
    EngineError,
    ErrorInfo,
)
from executions.engine.payload import Payload, encode
from executions.engine.slots import slot_of
from executions.engine.snapshot import (
    WITH_CHILDREN,
    Frame,
    Part,
    Phase,
    Position,
    Snapshot,
    Undo,
    scope_of,
)
from executions.engine.states import Reason, State
from executions.engine.working import Working
from workflows.definition.compiled import (
    CatchClause,
    CompiledScope,
    CompiledStep,
    GroupConfig,
)

ENGINE = "engine"
PURE_STEPS_PER_PLAN = 100


def run(working: Working, now: datetime, spent: Callable[[], bool]) -> None:
    """Take steps until one needs the outside world, or time, or the end is reached."""
    for _ in range(PURE_STEPS_PER_PLAN):
        if expire(working, now) and undo.is_over(working.snapshot):
            return
        position = working.snapshot.position
        if position is None:
            raise EngineError(ErrorInfo(ENGINE_INTERNAL, "The execution stands at no step."))
        step = working.snapshot.definition.steps[position.step_id]
        if not follow(working, steps.take(working, step, position, now), now):
            return
        if spent():
            break
    working.add(Yield())


def follow(working: Working, outcome: steps.Outcome, now: datetime) -> bool:
    """Go where a step's outcome leads; True if another step is to be taken now."""
    match outcome:
        case steps.Calling(position):
            steps.call_again(working, position)
            return False
        case steps.Sleeping(until, reason):
            _sleep(working, until, reason)
            return False
        case steps.Inside(position):
            _enter_group(working, position, now)
        case steps.Next(step_id):
            enter(working, step_id, now)
        case steps.Ended(output, None):
            _end_scope(working, output, now)
        case steps.Ended(_, next_input):
            _continue_as_new(working, next_input, now)
        case steps.Broken(error):
            _recover(working, error, now)
    return not undo.is_over(working.snapshot)


def _sleep(working: Working, until: datetime | None, reason: Reason) -> None:
    snapshot = working.snapshot
    moment = _soonest(until, _deadline(snapshot))
    position = snapshot.position
    if position and position.phase is Phase.BACKOFF and until is not None:
        rest = (until - position.started_at).total_seconds()
        if rest <= retry.REST_SECONDS and snapshot.state is State.RUNNING:
            working.add(Rest(until))
            return
    if snapshot.state is State.RUNNING:
        working.transit(State.WAITING, reason, ENGINE)
    working.add(Block(moment))


def enter(working: Working, step_id: str | None, now: datetime) -> None:
    """Stand at a step that has not been looked at; None = the scope has come to its end."""
    snapshot = working.snapshot
    if step_id is None:
        _end_scope(working, None, now)
        return
    if snapshot.entered >= snapshot.max_steps:
        message = f"The execution has taken {snapshot.max_steps} steps, which is its limit."
        # Not entered, so not counted: where a retry is to go on.
        working.move(Position(step_id, snapshot.entered + 1, Phase.ENTER, now))
        end_failed(working, ErrorInfo(LIMIT_STEPS, message, step=step_id))
        return
    snapshot.entered += 1
    working.move(Position(step_id, snapshot.entered, Phase.ENTER, now))


# Groups ------------------------------------------------------------------------------------------


def _group(snapshot: Snapshot, frame: Frame) -> tuple[CompiledStep, GroupConfig]:
    step = snapshot.definition.steps[frame.position.step_id]
    assert isinstance(step.config, GroupConfig)
    return step, step.config


def _enter_group(working: Working, position: Position, now: datetime) -> None:
    step = working.snapshot.definition.steps[position.step_id]
    assert isinstance(step.config, GroupConfig)
    deadline = now + step.timeout if step.timeout else None
    floor = working.snapshot.entered
    frame = Frame(position.at(Phase.INSIDE), floor=floor, deadline=deadline)
    working.snapshot.frames = (*working.snapshot.frames, frame)
    enter(working, _first(step.config.scope), now)


def _first(scope: CompiledScope) -> str:
    return scope.first


def _end_scope(working: Working, output: Payload | None, now: datetime) -> None:
    """The scope that is being taken has come to its end without an error."""
    snapshot = working.snapshot
    if not snapshot.frames:
        complete(working, output, now)
        return
    frame = snapshot.frames[-1]
    _, config = _group(snapshot, frame)
    if frame.part is Part.LAST:
        _leave_group(working, frame, now)
        return
    value = output.value if output is not None else snapshot.last_output
    if config.last is not None:
        _enter_last(working, replace(frame, output=value), config.last, now)
        return
    _leave_group(working, replace(frame, output=value), now)


def _enter_last(working: Working, frame: Frame, last: CompiledScope, now: datetime) -> None:
    """Run `finally`: it has no deadline but the execution's, whatever the body came to."""
    snapshot = working.snapshot
    changed = replace(frame, part=Part.LAST, deadline=None)
    # What it undoes, a retry has to do again: the group as a whole.
    working.origin = None
    snapshot.frames = (*snapshot.frames[:-1], changed)
    snapshot.caught = frame.error
    enter(working, _first(last), now)


def _leave_group(working: Working, frame: Frame, now: datetime) -> None:
    """The group is over: its outcome is that of a step like any other."""
    snapshot = working.snapshot
    step, _ = _group(snapshot, frame)
    snapshot.frames = snapshot.frames[:-1]
    working.move(frame.position)
    if frame.error is not None:
        outcome = steps.fail(working, step, frame.position, _error_of(frame.error), now)
    else:
        limit = snapshot.max_output_bytes
        try:
            output = encode(frame.output, limit=limit, what=f"The output of step `{step.id}`")
        except EngineError as error:
            outcome = steps.fail(working, step, frame.position, error.info, now)
        else:
            outcome = steps.complete(working, step, frame.position, output, now, is_output=True)
    follow(working, outcome, now)


def _error_of(stored: Any) -> ErrorInfo:
    return ErrorInfo(
        code=stored["code"],
        message=stored["message"],
        step=stored.get("step"),
        attempt=stored.get("attempt", 1),
        details=stored.get("details") or {},
        retryable=bool(stored.get("retryable")),
    )


# Failures ----------------------------------------------------------------------------------------


def _recover(working: Working, error: ErrorInfo, now: datetime) -> None:
    """The current step has failed: try it again, catch it, or let its scope fail."""
    position = working.snapshot.position
    assert position is not None
    working.note_origin()
    step = working.snapshot.definition.steps[position.step_id]
    if _retry(working, step, position, error, now):
        return
    for clause in step.catch:
        if clause.applies_to(error.code):
            _catch(working, clause, error, now)
            return
    _fail_scope(working, error, now)


def _retry(
    working: Working, step: CompiledStep, position: Position, error: ErrorInfo, now: datetime
) -> bool:
    again = retry.next_attempt(step.retry, working.snapshot.execution_id, position, error, now)
    if again is None:
        return False
    working.move(again)
    working.origin = None
    return True


def _catch(working: Working, clause: CatchClause, error: ErrorInfo, now: datetime) -> None:
    snapshot = working.snapshot
    working.origin = None
    snapshot.caught = error.as_dict()
    if clause.name is not None:
        snapshot.names = {**snapshot.names, clause.name: snapshot.caught}
    enter(working, clause.target, now)


def _fail_scope(working: Working, error: ErrorInfo, now: datetime) -> None:
    """Nothing caught it: the enclosing group fails with it, or the execution."""
    snapshot = working.snapshot
    if not snapshot.frames:
        end_failed(working, error)
        return
    frame = snapshot.frames[-1]
    _, config = _group(snapshot, frame)
    # An error of `finally` takes the place of what the body came to.
    broken = replace(frame, error=error.as_dict(), output=None)
    if frame.part is Part.BODY and config.last is not None:
        _enter_last(working, broken, config.last, now)
        return
    _leave_group(working, broken, now)


# Deadlines ---------------------------------------------------------------------------------------


def _soonest(*moments: datetime | None) -> datetime | None:
    known = [each for each in moments if each is not None]
    return min(known) if known else None


def _deadline(snapshot: Snapshot) -> datetime | None:
    """The next moment at which something the execution is inside of has taken too long."""
    return _soonest(snapshot.deadline, *(frame.deadline for frame in snapshot.frames))


def wakes_at(snapshot: Snapshot) -> datetime | None:
    """When a waiting execution has something to do, if time alone can say so."""
    if snapshot.undo is not None:
        return undo.wakes_at(snapshot)
    position = snapshot.position
    return _soonest(position.wait_until if position else None, _deadline(snapshot))


def deadline_of(snapshot: Snapshot) -> datetime | None:
    """For whoever calls an action: no call may outlast this."""
    return _deadline(snapshot)


def expire(working: Working, now: datetime) -> bool:
    """Give up what has taken too long; True if something had."""
    snapshot = working.snapshot
    if snapshot.deadline is not None and now >= snapshot.deadline:
        working.closing = Closing.EXPIRED
        working.note_origin()
        steps.abandon(working, now)
        message = "The execution did not end within its timeout."
        end_failed(working, ErrorInfo(TIMEOUT_EXECUTION, message))
        return True
    for depth, frame in enumerate(snapshot.frames):
        if frame.deadline is not None and now >= frame.deadline:
            working.closing = Closing.EXPIRED
            working.note_origin()
            steps.abandon(working, now, keep=depth + 1)
            step, _ = _group(snapshot, frame)
            message = f"The group did not end within {step.timeout}."
            error = ErrorInfo(TIMEOUT_STEP, message, step=step.id, retryable=True)
            _fail_scope(working, error, now)
            return True
    return False


def extend_deadlines(snapshot: Snapshot, pause: timedelta) -> None:
    """Deadlines stand still while an execution is paused."""
    if snapshot.deadline is not None:
        snapshot.deadline += pause
    snapshot.frames = tuple(
        replace(frame, deadline=frame.deadline + pause) if frame.deadline else frame
        for frame in snapshot.frames
    )
    position = snapshot.position
    if position and position.phase in WITH_CHILDREN and position.wait_until is not None:
        snapshot.position = replace(position, wait_until=position.wait_until + pause)


# The end -----------------------------------------------------------------------------------------


def complete(working: Working, output: Payload | None, now: datetime) -> None:
    """The document's scope is over: work out the result and hold it to its schema."""
    snapshot = working.snapshot
    if snapshot.state in (State.PAUSED, State.RESUMED):
        # News that came in a pause have led to the end, which comes once somebody goes on.
        assert output is None
        assert snapshot.position is not None
        working.move(snapshot.position.at(Phase.RESULT))
        return
    try:
        payload = output if output is not None else _result(snapshot, now)
        if snapshot.outer is None:
            steps.check_result(snapshot.definition, payload)
    except EngineError as error:
        if snapshot.position is not None:
            working.move(snapshot.position.at(Phase.RESULT))
        end_failed(working, error.info)
        return
    working.move(None)
    working.transit(State.COMPLETED, Reason.DONE, ENGINE)
    working.add(Finish(output=payload))


def _continue_as_new(working: Working, next_input: Payload | None, now: datetime) -> None:
    assert next_input is not None
    slot = slot_of(working.snapshot.definition, next_input.value, now)
    working.move(None)
    working.transit(State.COMPLETED, Reason.CONTINUED, ENGINE)
    working.add(Finish(next_input=next_input, next_slot=slot))


def _result(snapshot: Snapshot, now: datetime) -> Payload:
    template = snapshot.definition.output if snapshot.outer is None else None
    value = snapshot.last_output
    if template is not None:
        value = steps.render(template, scope_of(snapshot), now)
    return encode(value, limit=snapshot.max_output_bytes, what="The execution's output")


def end_failed(working: Working, error: ErrorInfo) -> None:
    """The execution fails with this error, and stands where that began: a retry goes on there.

    One that undoes what it did does that first.
    """
    snapshot = working.snapshot
    if undo.is_over(snapshot):
        return
    if working.origin is not None:
        position, snapshot.frames = working.origin
        working.move(position)
    if undo.is_wanted(snapshot):
        undo.begin(working, Undo(State.FAILED, ENGINE, error=error.as_dict()))
        return
    working.transit(State.FAILED, error.code, ENGINE)
    working.add(Finish(error=error))


__all__ = [
    "complete",
    "deadline_of",
    "end_failed",
    "enter",
    "expire",
    "extend_deadlines",
    "follow",
    "run",
    "wakes_at",
]
