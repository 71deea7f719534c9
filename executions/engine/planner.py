"""What next? `plan(snapshot, event, now)` answers, and does nothing else.

Pure, total and deterministic: the same snapshot, event and moment give the same commands, whatever
the definition, and no event makes it raise. The runtime makes the commands durable in one commit
and carries them out; the suites run the same function.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from executions.engine import (
    approvals,  # noqa: F401
    callbacks,
    children,
    flow,
    limited,
    maps,  # noqa: F401 - a type of step brings itself in
    outside,
    parallels,  # noqa: F401
    signals,  # noqa: F401
    steps,
    subflows,
    undo,
    waits,  # noqa: F401
    wishes,
)
from executions.engine.commands import Block, Closing, Command, Finish, SetControl, Yield
from executions.engine.errors import (
    ENGINE_INTERNAL,
    WORKER_LOST,
    EngineError,
    ErrorInfo,
)
from executions.engine.events import (
    Asked,
    Barred,
    CallFailed,
    CallPending,
    CallSucceeded,
    ChildFound,
    ChildrenEnded,
    ChildrenEnough,
    ChildrenFailing,
    Claimed,
    Continued,
    Delivered,
    Event,
    Surveyed,
    Told,
    Verb,
)
from executions.engine.snapshot import WITH_CHILDREN, Phase, Snapshot, Undo
from executions.engine.states import ENDED, Reason, State
from executions.engine.working import Working


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
        handle = _HANDLERS[type(event)] if snapshot.undo is None else undo.on_event
        handle(working, event, now, spent)
    except EngineError as error:
        # What an event's own handling can't place at a step ends the execution with its reason.
        if snapshot.undo is not None:
            _give_up(working := Working(snapshot), error.info)
        flow.end_failed(working, error.info)
    except Exception as error:  # noqa: BLE001 - total: a defect of ours must end one run, not a worker
        working = Working(snapshot)
        _give_up(working, ErrorInfo(ENGINE_INTERNAL, f"The engine failed to plan: {error!r}."))
    outside.note_closed(working, snapshot)
    _note_control(working, snapshot)
    return Plan(tuple(working.commands), working.snapshot)


def _note_control(working: Working, before: Snapshot) -> None:
    """Say where it is inside of groups and catches, if that has changed."""
    control = _control(working.snapshot)
    if control != _control(before):
        # Before the directive, which stays the last word.
        working.commands.insert(0, SetControl(*control))


def _control(snapshot: Snapshot) -> tuple[Any, ...]:
    """The parts of a SetControl: seldom one comes of it, and tuples are made and compared fast."""
    position = snapshot.position
    place: tuple[Any, ...] = (None, 0, 0, 0)
    if position is not None:
        place = (position.entered_at, position.generation, position.base, position.spent)
    return (
        snapshot.frames,
        snapshot.caught,
        snapshot.names,
        *place,
        snapshot.deadline,
        snapshot.undo,
    )


def abort(snapshot: Snapshot, error: ErrorInfo, now: datetime) -> Plan:
    """End an execution that can't go on for a reason outside its definition.

    One that is undoing what it did leaves the compensation that it is at, and goes on with others.
    """
    working = Working(snapshot)
    if snapshot.undo is not None:
        if undo.has_begun(snapshot):
            undo.lose(working, now, error)
        else:
            _give_up(working, error)
        _note_control(working, snapshot)
        return Plan(tuple(working.commands), working.snapshot)
    position = snapshot.position
    step = snapshot.definition.steps.get(position.step_id) if position else None
    if position and step and position.phase is Phase.CALL:
        steps.fail(working, step, position, error, now)
        error = error.at(step.id, position.attempt)
    elif position:
        reason = "the execution they belong to failed"
        children.tell(working, position, Verb.CANCEL, flow.ENGINE, reason)
    flow.end_failed(working, error)
    outside.note_closed(working, snapshot)
    _note_control(working, snapshot)
    return Plan(tuple(working.commands), working.snapshot)


def _give_up(working: Working, error: ErrorInfo) -> None:
    """End it here and now, with nothing undone from here on."""
    if working.snapshot.state not in ENDED:
        working.snapshot.undo = None
        working.transit(State.FAILED, error.code, flow.ENGINE)
        working.add(Finish(error=error))


def _on_claimed(working: Working, event: Claimed, now: datetime, spent: Callable[[], bool]) -> None:
    state = working.snapshot.state
    if working.snapshot.wants_slot and state in (State.INITIALIZED, State.RESUMED):
        _wait_for_slot(working, now)
        return
    if state is State.INITIALIZED:
        _begin(working, now)
        working.transit(State.RUNNING, Reason.RUNNING, flow.ENGINE)
        if working.snapshot.position is None:
            flow.enter(working, working.snapshot.scope.first, now)
        else:
            # A rerun, whose first steps are taken over, begins in the middle.
            working.move(replace(working.snapshot.position, started_at=now))
    elif state is State.RESUMED:
        if working.snapshot.paused_at is not None:
            flow.extend_deadlines(working.snapshot, now - working.snapshot.paused_at)
            working.snapshot.paused_at = None
        _tell_children(working, Asked(Verb.RESUME, flow.ENGINE, ""))
        working.transit(State.RUNNING, Reason.RUNNING, flow.ENGINE)
        if working.snapshot.started_at is None:
            _begin(working, now)
        if working.snapshot.position is None:
            flow.enter(working, working.snapshot.scope.first, now)
    elif state is State.RUNNING and event.lost_call:
        lost = ErrorInfo(
            WORKER_LOST,
            "The worker died while it called the action, which is not safe to repeat.",
            retryable=True,
        )
        _end_call(working, CallFailed(lost), now, spent)
        return
    elif state is State.WAITING:
        until = flow.wakes_at(working.snapshot)
        if (until is None or now < until) and not limited.may_ask(working):
            working.add(Block(until))
            return
        working.transit(State.RUNNING, Reason.RUNNING, flow.ENGINE)
    elif state is State.PAUSED:
        working.add(Block(None))
        return
    elif state in ENDED:
        return
    if not undo.is_over(working.snapshot):
        flow.run(working, now, spent)


def _wait_for_slot(working: Working, now: datetime) -> None:
    """Whoever has a slot for it will wake it; its time limits stand still until then."""
    snapshot = working.snapshot
    if snapshot.state is State.RESUMED and snapshot.paused_at is None:
        snapshot.paused_at = now
    working.add(Block(None))


def _on_barred(working: Working, event: Barred, now: datetime, spent: Callable[[], bool]) -> None:
    limited.bar(working, event, now)


def _begin(working: Working, now: datetime) -> None:
    snapshot = working.snapshot
    snapshot.started_at = now
    if snapshot.definition.timeout is not None and snapshot.outer is None:
        snapshot.deadline = now + snapshot.definition.timeout


def _on_continued(
    working: Working, event: Continued, now: datetime, spent: Callable[[], bool]
) -> None:
    flow.run(working, now, spent)


def _on_asked(working: Working, event: Asked, now: datetime, spent: Callable[[], bool]) -> None:
    state = working.snapshot.state
    if state in ENDED:
        return
    if event.verb is Verb.CANCEL:
        working.closing = Closing.CANCELLED
        steps.abandon(working, now)
        if event.compensate and working.snapshot.outer is None and working.snapshot.entered:
            undo.begin(working, Undo(State.CANCELLED, event.actor, event.reason))
            return
        working.transit(State.CANCELLED, event.reason, event.actor)
        working.move(None)
        working.add(Finish())
    elif event.verb is Verb.PAUSE and state is not State.PAUSED:
        working.transit(State.PAUSED, event.reason or Reason.OPERATOR, event.actor)
        working.snapshot.paused_at = now
        _tell_children(working, event)
        working.add(Block(None))
    elif event.verb is Verb.RESUME and state is State.PAUSED:
        # Asked while a worker owned it: the same two steps that service and claim take otherwise.
        working.transit(State.RESUMED, event.reason or Reason.OPERATOR, event.actor)
        _on_claimed(working, Claimed(), now, spent)
    elif event.verb is Verb.RETRY and state is State.RESUMED:
        wishes.retry(working, now)
    elif event.verb is Verb.SKIP and wishes.can_skip(working.snapshot, event):
        wishes.skip(working, event, now)
        if not undo.is_over(working.snapshot):
            _stay(working)
    else:
        _stay(working)


def _on_told(working: Working, event: Told, now: datetime, spent: Callable[[], bool]) -> None:
    _stay(working)


def _on_delivered(
    working: Working, event: Delivered, now: datetime, spent: Callable[[], bool]
) -> None:
    outcome = outside.deliver(working, event, now)
    if outcome is None:
        if working.snapshot.state not in ENDED:
            _stay(working)
        return
    snapshot = working.snapshot
    working.closing = Closing.DELIVERED
    if snapshot.state in (State.PAUSED, State.RESUMED):
        # It is taken in now; what follows from it comes once somebody goes on.
        outside.settle(working, outcome, now)
        if not undo.is_over(snapshot):
            _stay(working)
        return
    if snapshot.state is State.WAITING:
        working.transit(State.RUNNING, Reason.RUNNING, flow.ENGINE)
    if flow.follow(working, outcome, now):
        flow.run(working, now, spent)


def _stay(working: Working) -> None:
    """Nothing changes; say again what the execution was about to do."""
    snapshot = working.snapshot
    position = snapshot.position
    if snapshot.state is State.PAUSED:
        working.add(Block(None))
    elif snapshot.state is State.WAITING:
        working.add(Block(flow.wakes_at(snapshot)))
    elif position and position.phase is Phase.CALL:
        steps.call_again(working, position)
    else:
        working.add(Yield())


def _on_children_ended(
    working: Working, event: ChildrenEnded, now: datetime, spent: Callable[[], bool]
) -> None:
    snapshot = working.snapshot
    position = snapshot.position
    if not _is_joining(snapshot, event.generation) or position is None:
        _stay(working)
        return
    if snapshot.state is State.WAITING:
        working.transit(State.RUNNING, Reason.RUNNING, flow.ENGINE)
    step = snapshot.definition.steps[position.step_id]
    if flow.follow(working, children.join(working, step, position, event, now), now):
        flow.run(working, now, spent)


def _on_children_decided(
    working: Working,
    event: ChildrenFailing | ChildrenEnough,
    now: datetime,
    spent: Callable[[], bool],
) -> None:
    position = working.snapshot.position
    if _is_joining(working.snapshot, event.generation) and position is not None:
        is_enough = isinstance(event, ChildrenEnough)
        reason = "enough others have succeeded" if is_enough else "too many others failed"
        children.stop(working, position, flow.ENGINE, reason)
    _stay(working)


def _is_joining(snapshot: Snapshot, generation: int) -> bool:
    """Whether it stands at the children that the news is of: a wish may have moved it on."""
    return (
        snapshot.state in (State.RUNNING, State.WAITING)
        and snapshot.position is not None
        and snapshot.position.phase in WITH_CHILDREN
        and snapshot.position.generation == generation
    )


def _tell_children(working: Working, event: Asked) -> None:
    position = working.snapshot.position
    if position is not None:
        children.tell(working, position, event.verb, event.actor, event.reason)


def _end_call(
    working: Working,
    event: CallSucceeded | CallFailed | ChildFound,
    now: datetime,
    spent: Callable[[], bool],
) -> None:
    position = working.snapshot.position
    if position is None or position.phase is not Phase.CALL:
        return
    if isinstance(event, CallFailed) and flow.expire(working, now):
        if not undo.is_over(working.snapshot):
            flow.run(working, now, spent)
        return
    step = working.snapshot.definition.steps[position.step_id]
    if isinstance(event, ChildFound):
        outcome = subflows.found(working, step, position, event, now)
    else:
        outcome = steps.end_call(working, step, position, event, now)
    if flow.follow(working, outcome, now):
        flow.run(working, now, spent)


def _on_pending(
    working: Working, event: CallPending, now: datetime, spent: Callable[[], bool]
) -> None:
    position = working.snapshot.position
    if position is None or position.phase is not Phase.CALL:
        return
    step = working.snapshot.definition.steps[position.step_id]
    flow.follow(working, callbacks.pend(working, step, position, event, now), now)


_HANDLERS: dict[type, Callable[..., None]] = {
    Claimed: _on_claimed,
    Continued: _on_continued,
    Barred: _on_barred,
    Asked: _on_asked,
    Told: _on_told,
    Delivered: _on_delivered,
    CallSucceeded: _end_call,
    CallFailed: _end_call,
    CallPending: _on_pending,
    ChildFound: _end_call,
    ChildrenEnded: _on_children_ended,
    ChildrenFailing: _on_children_decided,
    ChildrenEnough: _on_children_decided,
    # Read for an undo that is over.
    Surveyed: _on_told,
}
