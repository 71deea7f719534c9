"""What next? `plan(snapshot, event, now)` answers, and does nothing else.

Pure, total and deterministic: the same snapshot, event and moment give the same commands, whatever
the definition, and no event makes it raise. The runtime makes the commands durable in one commit
and carries them out; the suites run the same function.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from executions.engine import steps
from executions.engine.commands import Block, Command, Finish, Yield
from executions.engine.errors import (
    ENGINE_INTERNAL,
    LIMIT_STEPS,
    WORKER_LOST,
    EngineError,
    ErrorInfo,
)
from executions.engine.events import (
    Asked,
    CallFailed,
    CallSucceeded,
    Claimed,
    Continued,
    Event,
    Verb,
)
from executions.engine.payload import Payload, encode
from executions.engine.snapshot import Phase, Position, Snapshot, scope_of
from executions.engine.states import ENDED, Reason, State
from executions.engine.working import Working

ENGINE = "engine"
PURE_STEPS_PER_PLAN = 100


@dataclass(frozen=True, slots=True)
class Plan:
    """Commands in the order in which they happened, and the snapshot as it is after them."""

    commands: tuple[Command, ...]
    after: Snapshot


def _never() -> bool:
    return False


def plan(
    snapshot: Snapshot,
    event: Event,
    now: datetime,
    *,
    spent: Callable[[], bool] = _never,
) -> Plan:
    """Decide what follows from `event`.

    spent: says that this plan has taken long enough; it then ends early with `Yield`. Where a plan
    is cut changes nothing about what the execution does.
    """
    working = Working(snapshot)
    try:
        _HANDLERS[type(event)](working, event, now, spent)
    except EngineError as error:
        # What an event's own handling can't place at a step ends the execution with its reason.
        _fail(working, error.info)
    except Exception as error:  # noqa: BLE001 - total: a defect of ours must end one run, not a worker
        working = Working(snapshot)
        _fail(working, ErrorInfo(ENGINE_INTERNAL, f"The engine failed to plan: {error!r}."))
    return Plan(tuple(working.commands), working.snapshot)


def abort(snapshot: Snapshot, error: ErrorInfo, now: datetime) -> Plan:
    """End an execution that can't go on for a reason outside its definition."""
    working = Working(snapshot)
    position = snapshot.position
    step = snapshot.definition.steps.get(position.step_id) if position else None
    if position and step and position.phase is Phase.CALL:
        steps.fail(working, step, position, error, now)
        error = error.at(step.id, position.attempt)
    _fail(working, error)
    return Plan(tuple(working.commands), working.snapshot)


def _on_claimed(working: Working, event: Claimed, now: datetime, spent: Callable[[], bool]) -> None:
    state = working.snapshot.state
    if state is State.INITIALIZED:
        working.snapshot.started_at = now
        working.transit(State.RUNNING, Reason.RUNNING, ENGINE)
        _enter(working, working.snapshot.definition.scope.first, now)
    elif state is State.RESUMED:
        working.transit(State.RUNNING, Reason.RUNNING, ENGINE)
        if working.snapshot.started_at is None:
            working.snapshot.started_at = now
        if working.snapshot.position is None:
            _enter(working, working.snapshot.definition.scope.first, now)
    elif state is State.RUNNING and event.lost_call:
        lost = ErrorInfo(
            WORKER_LOST,
            "The worker died while it called the action, which is not safe to repeat.",
            retryable=True,
        )
        _end_call(working, CallFailed(lost), now, spent)
        return
    elif state is State.WAITING:
        position = working.snapshot.position
        until = position.wait_until if position else None
        if until is None or now < until:
            working.add(Block(until))
            return
        working.transit(State.RUNNING, Reason.RUNNING, ENGINE)
    elif state is State.PAUSED:
        working.add(Block(None))
        return
    elif state in ENDED:
        return
    if working.snapshot.state not in ENDED:
        _run(working, now, spent)


def _on_continued(
    working: Working, event: Continued, now: datetime, spent: Callable[[], bool]
) -> None:
    _run(working, now, spent)


def _on_asked(working: Working, event: Asked, now: datetime, spent: Callable[[], bool]) -> None:
    state = working.snapshot.state
    if state in ENDED:
        return
    if event.verb is Verb.CANCEL:
        steps.abandon(working, now)
        working.transit(State.CANCELLED, event.reason, event.actor)
        working.move(None)
        working.add(Finish())
    elif event.verb is Verb.PAUSE and state is not State.PAUSED:
        working.transit(State.PAUSED, event.reason or Reason.OPERATOR, event.actor)
        working.add(Block(None))
    elif event.verb is Verb.RESUME and state is State.PAUSED:
        # Asked while a worker owned it: the same two steps that service and claim take otherwise.
        working.transit(State.RESUMED, event.reason or Reason.OPERATOR, event.actor)
        _on_claimed(working, Claimed(), now, spent)
    else:
        _stay(working)


def _stay(working: Working) -> None:
    """Nothing changes; say again what the execution was about to do."""
    snapshot = working.snapshot
    position = snapshot.position
    if snapshot.state is State.PAUSED:
        working.add(Block(None))
    elif snapshot.state is State.WAITING and position:
        working.add(Block(position.wait_until))
    elif position and position.phase is Phase.CALL:
        steps.call_again(working, position)
    else:
        working.add(Yield())


def _end_call(
    working: Working,
    event: CallSucceeded | CallFailed,
    now: datetime,
    spent: Callable[[], bool],
) -> None:
    position = working.snapshot.position
    if position is None or position.phase is not Phase.CALL:
        return
    step = working.snapshot.definition.steps[position.step_id]
    outcome = steps.end_call(working, step, position, event, now)
    if _follow(working, outcome, now):
        _run(working, now, spent)


def _run(working: Working, now: datetime, spent: Callable[[], bool]) -> None:
    """Take steps until one needs the outside world, or time, or the end is reached."""
    for _ in range(PURE_STEPS_PER_PLAN):
        position = working.snapshot.position
        if position is None:
            raise EngineError(ErrorInfo(ENGINE_INTERNAL, "The execution stands at no step."))
        step = working.snapshot.definition.steps[position.step_id]
        outcome = steps.take(working, step, position, now)
        if not _follow(working, outcome, now):
            return
        if spent():
            break
    working.add(Yield())


def _follow(working: Working, outcome: steps.Outcome, now: datetime) -> bool:
    """Go where a step's outcome leads; True if another step is to be taken now."""
    match outcome:
        case steps.Calling(position):
            steps.call_again(working, position)
        case steps.Sleeping(until):
            if working.snapshot.state is State.RUNNING:
                working.transit(State.WAITING, Reason.TIMER, ENGINE)
            working.add(Block(until))
        case steps.Next(step_id):
            _enter(working, step_id, now)
            return working.snapshot.state not in ENDED
        case steps.Ended(output):
            _complete(working, output, now)
        case steps.Broken(error):
            _fail(working, error)
    return False


def _enter(working: Working, step_id: str | None, now: datetime) -> None:
    snapshot = working.snapshot
    if step_id is None:
        _complete(working, None, now)
        return
    if snapshot.entered >= snapshot.max_steps:
        message = f"The execution has taken {snapshot.max_steps} steps, which is its limit."
        _fail(working, ErrorInfo(LIMIT_STEPS, message, step=step_id))
        return
    snapshot.entered += 1
    working.move(Position(step_id, snapshot.entered, Phase.ENTER, now))


def _complete(working: Working, output: Payload | None, now: datetime) -> None:
    snapshot = working.snapshot
    try:
        payload = output if output is not None else _result(snapshot, now)
        steps.check_result(snapshot.definition, payload)
    except EngineError as error:
        _fail(working, error.info)
        return
    working.move(None)
    working.transit(State.COMPLETED, Reason.DONE, ENGINE)
    working.add(Finish(output=payload))


def _result(snapshot: Snapshot, now: datetime) -> Payload:
    template = snapshot.definition.output
    value = snapshot.last_output
    if template is not None:
        value = steps.render(template, scope_of(snapshot), now)
    return encode(value, limit=snapshot.max_output_bytes, what="The execution's output")


def _fail(working: Working, error: ErrorInfo) -> None:
    if working.snapshot.state in ENDED:
        return
    working.transit(State.FAILED, error.code, ENGINE)
    working.add(Finish(error=error))


_HANDLERS: dict[type, Callable[..., None]] = {
    Claimed: _on_claimed,
    Continued: _on_continued,
    Asked: _on_asked,
    CallSucceeded: _end_call,
    CallFailed: _end_call,
}
