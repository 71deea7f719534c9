"""Undoing what an execution has done: its compensations, one call at a time, then the end.

From `begin` on everything that happens to the execution is handled here: no step is taken any
more. What is to be undone is in rows, which `Survey` has read; where the execution is among them,
and whether a call may have been made, is in its position.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from executions.engine import retry
from executions.engine.commands import (
    Because,
    Block,
    CallUndo,
    Finish,
    RecordStep,
    Rest,
    Settle,
    Survey,
)
from executions.engine.errors import COMPENSATION_FAILED, WORKER_LOST, ErrorInfo
from executions.engine.events import (
    Asked,
    CallFailed,
    CallSucceeded,
    Claimed,
    Event,
    Surveyed,
    Verb,
)
from executions.engine.payload import NULL, Payload, encode
from executions.engine.snapshot import UNDO_PHASES, Phase, Position, Snapshot, Undo, UndoItem
from executions.engine.states import ENDED, Reason, State, StepState, UndoState
from executions.engine.working import Working

ENGINE = "engine"
STEP_TYPE = "compensation"
# How often it looks whether what it had cancelled has ended, if nobody tells it.
LOOK_AGAIN = timedelta(seconds=2)
MAX_PARAMS_BYTES = 4 * 1024 * 1024


def is_over(snapshot: Snapshot) -> bool:
    """Whether no further step is to be taken: it has ended, or is undoing what it did."""
    return snapshot.state in ENDED or snapshot.undo is not None


def is_wanted(snapshot: Snapshot) -> bool:
    """Whether the execution undoes what it did if it fails now. Items leave that to their root."""
    return (
        snapshot.undo is None
        and snapshot.outer is None
        and snapshot.entered > 0
        and snapshot.definition.on_failure.compensate
    )


def begin(working: Working, undo: Undo) -> None:
    """Stop taking steps and have what is to be undone read."""
    snapshot = working.snapshot
    snapshot.undo = undo
    if snapshot.state is State.PAUSED and undo.target is State.FAILED:
        # News that came in a pause made it fail; nothing is called before somebody goes on.
        working.add(Block(None))
        return
    if snapshot.state is State.PAUSED:
        working.transit(State.RESUMED, undo.reason or Reason.COMPENSATING, undo.actor)
        snapshot.paused_at = None
    if snapshot.state is State.RUNNING:
        working.add(Because(Reason.COMPENSATING))
    else:
        working.transit(State.RUNNING, Reason.COMPENSATING, undo.actor)
    working.add(Survey())


def on_event(working: Working, event: Event, now: datetime, spent: Callable[[], bool]) -> None:
    """What follows while the execution is undoing what it did."""
    if working.snapshot.state in ENDED:
        return
    match event:
        case Claimed():
            _on_claimed(working, now)
        case Surveyed():
            _on_surveyed(working, event, now)
        case CallSucceeded() | CallFailed():
            _end_call(working, event, now)
        case Asked():
            _on_asked(working, event, now)
        case _:
            _stay(working, now)


def _undo(working: Working) -> Undo:
    undo = working.snapshot.undo
    assert undo is not None
    return undo


def _on_claimed(working: Working, now: datetime) -> None:
    snapshot = working.snapshot
    if snapshot.state is State.PAUSED:
        working.add(Block(None))
        return
    if snapshot.state is State.RESUMED:
        working.transit(State.RUNNING, Reason.COMPENSATING, ENGINE)
        snapshot.paused_at = None
    _go_on(working, now)


def lose(working: Working, now: datetime, error: ErrorInfo | None = None) -> None:
    """The call may have been made by a worker that died: it is left to people, not repeated."""
    lost = error or ErrorInfo(
        WORKER_LOST, "The worker died while it called the action, which is not safe to repeat."
    )
    _settle(working, UndoState.LEFT, CallFailed(lost), now)
    _go_on(working, now)


def has_begun(snapshot: Snapshot) -> bool:
    """Whether it stands at a compensation whose call may be under way."""
    position = snapshot.position
    return position is not None and position.phase is Phase.UNDO_CALL


def _go_on(working: Working, now: datetime) -> None:
    """The next compensation, of those that are known; otherwise have them read."""
    snapshot = working.snapshot
    position = snapshot.position
    if _undo(working).stopped:
        working.add(Survey())
    elif position and position.phase is Phase.UNDO_BACKOFF and not _is_due(position, now):
        _back_off(working, position, now)
    elif snapshot.undo_items:
        _call(working, snapshot.undo_items[0], now)
    else:
        working.add(Survey())


def _is_due(position: Position, now: datetime) -> bool:
    return position.wait_until is None or now >= position.wait_until


def _back_off(working: Working, position: Position, now: datetime) -> None:
    until = position.wait_until
    assert until is not None
    rest = (until - position.started_at).total_seconds()
    if rest <= retry.REST_SECONDS and working.snapshot.state is State.RUNNING:
        working.add(Rest(until))
        return
    _wait(working, until)


def _wait(working: Working, until: datetime) -> None:
    if working.snapshot.state is State.RUNNING:
        working.transit(State.WAITING, Reason.COMPENSATING, ENGINE)
    working.add(Block(until))


def _call(working: Working, item: UndoItem, now: datetime) -> None:
    """Mark the compensation as being called, and have it called once that is durable."""
    snapshot = working.snapshot
    undo = _undo(working)
    if snapshot.state is State.WAITING:
        working.transit(State.RUNNING, Reason.COMPENSATING, ENGINE)
    position = snapshot.position
    is_same = position is not None and position.phase in UNDO_PHASES and undo.current == item.id
    if not is_same or position is None:
        # Neither the limit of steps nor a timeout of the execution stops an undo.
        snapshot.entered += 1
        position = Position(item.step_id, snapshot.entered, Phase.UNDO_CALL, now)
    elif position.phase is not Phase.UNDO_CALL:
        position = replace(position, phase=Phase.UNDO_CALL, started_at=now, wait_until=None)
    snapshot.undo = replace(undo, current=item.id, action=item.action)
    working.move(position)
    working.add(CallUndo(position, item))


def _on_surveyed(working: Working, event: Surveyed, now: datetime) -> None:
    snapshot = working.snapshot
    if snapshot.state is State.PAUSED:
        working.add(Block(None))
    elif event.busy and has_begun(snapshot):
        # Whether that call may be made again is known once the rows can be read; until then it
        # stays marked as it is.
        working.add(Block(now + LOOK_AGAIN))
    elif event.busy:
        _wait(working, now + LOOK_AGAIN)
    elif event.items and not _undo(working).stopped:
        snapshot.undo_items = event.items
        if event.lost:
            lose(working, now)
        else:
            _go_on(working, now)
    else:
        _finish(working, event)


def _end_call(working: Working, event: CallSucceeded | CallFailed, now: datetime) -> None:
    snapshot = working.snapshot
    position = snapshot.position
    if position is None or position.phase is not Phase.UNDO_CALL:
        _stay(working, now)
        return
    if isinstance(event, CallSucceeded):
        _settle(working, UndoState.DONE, event, now)
        _go_on(working, now)
        return
    policy = snapshot.undo_items[0].retry if snapshot.undo_items else None
    again = retry.next_attempt(
        policy, snapshot.execution_id, position, event.error, now, Phase.UNDO_BACKOFF
    )
    if again is None:
        _settle(working, UndoState.FAILED, event, now)
        _go_on(working, now)
        return
    _record(working, position, event, now)
    working.move(again)
    _back_off(working, again, now)


def _settle(
    working: Working, state: UndoState, event: CallSucceeded | CallFailed, now: datetime
) -> None:
    """The compensation is over, whatever it came to: its attempt's row, and its own state."""
    snapshot = working.snapshot
    undo, position = _undo(working), snapshot.position
    assert position is not None
    _record(working, position, event, now)
    error = None
    if isinstance(event, CallFailed):
        error = event.error.at(position.step_id, position.attempt)
    working.add(Settle(undo.current, state, position.seq, position.attempt, error, now))
    working.move(position.at(Phase.UNDO))
    snapshot.undo = replace(undo, current=0, action="")
    snapshot.undo_items = tuple(each for each in snapshot.undo_items if each.id != undo.current)


def _record(
    working: Working, position: Position, event: CallSucceeded | CallFailed, now: datetime
) -> None:
    snapshot = working.snapshot
    item = next((each for each in snapshot.undo_items if each.id == _undo(working).current), None)
    output, error, state = NULL, None, StepState.COMPLETED
    if isinstance(event, CallFailed):
        error, state = event.error.at(position.step_id, position.attempt), StepState.FAILED
    else:
        output = event.output
    working.add(
        RecordStep(
            seq=position.seq,
            step_id=position.step_id,
            name=f"Undo {item.name if item else position.step_id}"[:200],
            type=STEP_TYPE,
            state=state,
            started_at=position.started_at,
            ended_at=max(now, position.started_at),
            attempt=position.attempt,
            params=_params(item, event.params),
            output=output,
            error=error,
            log=event.log,
        )
    )


def _params(item: UndoItem | None, given: Payload) -> Payload:
    if given.value is not None or item is None:
        return given
    return encode(item.params, limit=MAX_PARAMS_BYTES, what="The parameters")


def _on_asked(working: Working, event: Asked, now: datetime) -> None:
    snapshot = working.snapshot
    is_paused = snapshot.state is State.PAUSED
    if event.verb is Verb.PAUSE and not is_paused:
        working.transit(State.PAUSED, event.reason or Reason.OPERATOR, event.actor)
        snapshot.paused_at = now
        working.add(Block(None))
    elif event.verb in (Verb.RESUME, Verb.CANCEL) and is_paused:
        # A paused undo that is cancelled is stopped: what has not been undone stays as it is.
        is_stop = event.verb is Verb.CANCEL
        snapshot.undo = replace(_undo(working), stopped=is_stop)
        working.transit(State.RESUMED, event.reason or Reason.OPERATOR, event.actor)
        working.transit(State.RUNNING, Reason.COMPENSATING, ENGINE)
        snapshot.paused_at = None
        _go_on(working, now)
    else:
        _stay(working, now)


def _stay(working: Working, now: datetime) -> None:
    """Nothing changes; say again what the execution was about to do."""
    snapshot = working.snapshot
    if snapshot.state is State.PAUSED:
        working.add(Block(None))
    elif has_begun(snapshot) and snapshot.position and snapshot.undo_items:
        working.add(CallUndo(snapshot.position, snapshot.undo_items[0]))
    else:
        _go_on(working, now)


def wakes_at(snapshot: Snapshot) -> datetime | None:
    """When a waiting undo has something to do."""
    position = snapshot.position
    return position.wait_until if position and position.phase is Phase.UNDO_BACKOFF else None


# The end -----------------------------------------------------------------------------------------


def _finish(working: Working, found: Surveyed) -> None:
    snapshot = working.snapshot
    undo = _undo(working)
    if snapshot.state is State.WAITING:
        working.transit(State.RUNNING, Reason.COMPENSATING, ENGINE)
    reason = _reason(undo, found)
    error = _error(undo, found)
    if snapshot.position is not None and (
        undo.target is State.CANCELLED or snapshot.position.phase in UNDO_PHASES
    ):
        working.move(None)
    snapshot.undo, snapshot.undo_items = None, ()
    working.transit(undo.target, reason, undo.actor)
    working.add(Finish(error=error, again=undo.by_hand))


def _reason(undo: Undo, found: Surveyed) -> str:
    if found.left_total:
        return Reason.COMPENSATION_FAILED
    if found.done:
        return Reason.COMPENSATED
    # There was nothing to undo: it ends as if nobody had asked for it.
    if undo.target is State.FAILED and undo.error is not None:
        return str(undo.error["code"])
    return undo.reason


def _error(undo: Undo, found: Surveyed) -> ErrorInfo | None:
    """The original failure, with what is left to be done by hand in its details."""
    if not found.left_total:
        return _info(undo.error, {}) if undo.error is not None else None
    left = {"left": [dict(each) for each in found.left], "left_total": found.left_total}
    if undo.error is not None:
        return _info(undo.error, left)
    total = found.left_total + found.done
    message = f"{found.left_total} of {total} steps could not be undone; see details.left."
    return ErrorInfo(COMPENSATION_FAILED, message, details=left)


def _info(stored: Any, more: dict[str, Any]) -> ErrorInfo:
    known = {
        key: value
        for key, value in (stored.get("details") or {}).items()
        if key not in ("left", "left_total")
    }
    return ErrorInfo(
        code=stored["code"],
        message=stored["message"],
        step=stored.get("step"),
        attempt=stored.get("attempt", 1),
        details={**known, **more},
        retryable=bool(stored.get("retryable")),
    )


__all__ = ["begin", "has_begun", "is_over", "is_wanted", "lose", "on_event", "wakes_at"]
