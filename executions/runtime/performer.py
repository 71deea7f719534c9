"""One attempt of one action: resolve, validate, call, bounded in time; an error is a result.

Async actions run on the loop, sync ones in a bounded pool of threads. A thread that has timed out
can't be stopped: it keeps its place in the pool until it really ends, and is counted.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Awaitable, Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import structlog
from django.conf import settings
from django.db import connections

from autopilot.common import clock
from autopilot.common.crypto import Undecipherable
from executions.engine.commands import Call, CallUndo
from executions.engine.errors import (
    ACTION_CRASHED,
    ACTION_UNKNOWN,
    COMPENSATION_PENDING,
    EXPRESSION,
    LIMIT_INPUT,
    SEALED_UNREADABLE,
    TIMEOUT_STEP,
    VALIDATION_INPUT,
    EngineError,
    ErrorInfo,
)
from executions.engine.events import CallFailed, CallPending, CallSucceeded, LogRecord
from executions.engine.flow import deadline_of
from executions.engine.payload import NULL, Payload, encode
from executions.engine.snapshot import Position, Snapshot, UndoItem, scope_of
from executions.hidden.crashes import log_crash
from executions.hidden.marks import may_be_hidden
from executions.hidden.veil import Veil
from executions.tokens import Place, make_token
from workflows.actions.base import Action, ActionError, InvalidParams
from workflows.actions.context import Context, StepLog
from workflows.actions.pending import Pending
from workflows.actions.registry import registry
from workflows.definition.compiled import ActionConfig, CompiledStep
from workflows.definition.expressions import ExpressionError

log = structlog.get_logger(__name__)


# Whether a call may begin: with the action's name and its parameters.
Admit = Callable[[str, Any], Awaitable[None]]


async def _admit_all(action: str, params: Any) -> None:
    """Nothing is limited."""


class _Flag:
    """Set once, read from any thread, never waited for; an Event would cost ten times as much."""

    __slots__ = ("_is_set",)

    def __init__(self) -> None:
        self._is_set = False

    def set(self) -> None:
        self._is_set = True

    def is_set(self) -> bool:
        return self._is_set


class Watch:
    """How long a call may take, and how long it may be silent. Made on the event loop."""

    def __init__(self, seconds: float, silence: timedelta | None) -> None:
        self._loop = asyncio.get_running_loop()
        self._seconds = seconds
        self._silence = silence.total_seconds() if silence else None
        self._end = self._loop.time() + seconds
        # Most calls have returned by the loop's next turn; a timer for them would be for nothing.
        self.timeout = asyncio.timeout(None)
        self._loop.call_soon(self._extend)

    def _next(self) -> float:
        if self._silence is None:
            return self._end
        return min(self._end, self._loop.time() + self._silence)

    def beat(self, details: Any = None) -> None:
        """The action says that it is alive; from any thread."""
        if self._silence is not None:
            self._loop.call_soon_threadsafe(self._extend)

    def _extend(self) -> None:
        if not self.timeout.expired():
            with contextlib.suppress(RuntimeError):  # it has ended meanwhile
                self.timeout.reschedule(self._next())

    def error(self, *, runs_on: bool) -> ErrorInfo:
        """runs_on: the call could not be stopped and must not be repeated beside itself."""
        # The loop calls what is due a hair too early.
        if self._silence is not None and self._loop.time() < self._end:
            message = f"The action gave no heartbeat for {self._silence:g} seconds."
        else:
            message = f"The action did not end within {self._seconds:g} seconds."
        if runs_on:
            message += " It still runs and is not safe to repeat."
        return ErrorInfo(TIMEOUT_STEP, message, retryable=not runs_on)


def _key(snapshot: Snapshot, position: Position) -> str:
    """The same for all attempts, whatever the step is called by now."""
    step_id = (snapshot.called_as or {}).get(position.seq, position.step_id)
    return f"{snapshot.execution_id}-{step_id}-{position.seq}"


def _seconds_for(snapshot: Snapshot, step: CompiledStep) -> float:
    """The step's own timeout, but no longer than what it is inside of may take."""
    limit: float = settings.AUTOPILOT["STEP_TIMEOUT_SECONDS"]
    seconds = step.timeout.total_seconds() if step.timeout else limit
    deadline = deadline_of(snapshot)
    if deadline is None:
        return seconds
    # A little beyond the deadline, so that whoever looks at the clock then sees it passed.
    left = (deadline - clock.now()).total_seconds() + 0.01
    return max(0.0, min(seconds, left))


_NOT_DONE = (
    "The action hands its work over and waits for a call from elsewhere; what undoes a step has to "
    "be done when it returns."
)


@dataclass(frozen=True, slots=True)
class _Bounds:
    """What one call is told about itself, and how long it may take, and be silent."""

    key: str
    place: Place
    step: str
    seconds: float
    silence: timedelta | None = None


class Performer:
    """Calls actions for the executions of one process."""

    def __init__(self) -> None:
        self._pool_size: int = settings.AUTOPILOT["SYNC_THREADS"]
        self._pool = ThreadPoolExecutor(self._pool_size, thread_name_prefix="action")
        self._stuck = 0
        self._lock = threading.Lock()

    @property
    def stuck_threads(self) -> int:
        """Threads whose step has timed out or been cancelled and that still run."""
        return self._stuck

    @property
    def needs_recycling(self) -> bool:
        """Whether so many threads are stuck that the process should be replaced."""
        return self._stuck * 2 >= self._pool_size

    def can_repeat(self, snapshot: Snapshot, position: Position) -> bool:
        """Whether the call of this step may be made again, if it may have been made before."""
        step = snapshot.definition.steps[position.step_id]
        assert isinstance(step.config, ActionConfig)
        try:
            action, params = _resolve(
                step.config.action, self._params(snapshot, step, step.config, position)
            )
        except EngineError:
            # It came to no call then, and comes to none now.
            return True
        return action.can_repeat(params)

    def can_repeat_undo(self, item: UndoItem) -> bool:
        """Whether this compensation may be called again, if it may have been called before."""
        try:
            action, params = _resolve(item.action, _undo_params(item))
        except EngineError:
            return True
        return action.can_repeat(params)

    async def perform(
        self,
        snapshot: Snapshot,
        call: Call,
        veil: Veil | None = None,
        admit: Admit = _admit_all,
    ) -> CallSucceeded | CallFailed | CallPending:
        """Call the action of the current step.

        veil: what is known to be hidden; it learns what the output adds to that. admit: asked with
        the action's name and parameters right before the call; it raises what stops it. Raises
        only that and asyncio.CancelledError.
        """
        veil = Veil() if veil is None else veil
        position = call.position
        step = snapshot.definition.steps[position.step_id]
        config = step.config
        assert isinstance(config, ActionConfig)
        what = f"The output of step `{step.id}`"
        limit = snapshot.max_output_bytes
        params = NULL
        step_log = StepLog(
            speaks_at_once=not veil.is_needed,
            execution_id=snapshot.execution_id,
            step=step.id,
            attempt=position.attempt,
        )
        try:
            params = self._params(snapshot, step, config, position)
            action, valid = _resolve(config.action, params)
            await admit(action.name, params.value)
            bounds = _Bounds(
                key=_key(snapshot, position),
                place=Place(snapshot.execution_id, position.seq, position.attempt),
                step=step.id,
                seconds=_seconds_for(snapshot, step),
                silence=step.heartbeat,
            )
            value = await self._call(action, valid, bounds, step_log, veil)
            if isinstance(value, Pending):
                task_name = f"The task of step `{step.id}`"
                task = encode(value.payload, limit=limit, what=task_name)
                task = _revealed(task, veil, limit, task_name)
                return CallPending(params, value.queue, task, _records(step_log))
            output = _revealed(encode(value, limit=limit, what=what), veil, limit, what)
            veil.learn_at(output.value, veil.redaction.steps.get(step.id))
        except EngineError as error:
            return CallFailed(error.info, params, _records(step_log))
        finally:
            step_log.speak(veil.mask, veil.masked)
        return CallSucceeded(output, params, _records(step_log))

    async def undo(
        self, snapshot: Snapshot, call: CallUndo, veil: Veil
    ) -> CallSucceeded | CallFailed:
        """Call a compensation. Raises only asyncio.CancelledError.

        Its idempotency key is that of the step with `-undo`, also when it is called again by hand.
        """
        item, attempt = call.item, call.position.attempt
        params = NULL
        step_log = StepLog(
            speaks_at_once=not veil.is_needed,
            execution_id=snapshot.execution_id,
            step=item.step_id,
            attempt=attempt,
        )
        seconds: float = settings.AUTOPILOT["STEP_TIMEOUT_SECONDS"]
        bounds = _Bounds(
            key=f"{item.execution_id}-{item.step_id}-{item.seq}-undo",
            place=Place(snapshot.execution_id, call.position.seq, attempt),
            step=item.step_id,
            seconds=item.timeout.total_seconds() if item.timeout else seconds,
        )
        try:
            params = _undo_params(item)
            action, valid = _resolve(item.action, params)
            value = await self._call(action, valid, bounds, step_log, veil)
            if isinstance(value, Pending):
                raise EngineError(ErrorInfo(COMPENSATION_PENDING, _NOT_DONE))
            what = f"The output of what undoes step `{item.step_id}`"
            limit = snapshot.max_output_bytes
            output = _revealed(encode(value, limit=limit, what=what), veil, limit, what)
        except EngineError as error:
            return CallFailed(error.info, params, _records(step_log))
        finally:
            step_log.speak(veil.mask, veil.masked)
        return CallSucceeded(output, params, _records(step_log))

    def _params(
        self, snapshot: Snapshot, step: CompiledStep, config: ActionConfig, position: Position
    ) -> Payload:
        try:
            value = config.params.render(scope_of(snapshot), now=position.started_at)
        except ExpressionError as error:
            details = {"expression": error.source, "path": f"with{error.path}"}
            raise EngineError(ErrorInfo(EXPRESSION, error.message, details=details)) from None
        return encode(
            value,
            limit=settings.AUTOPILOT["MAX_INPUT_BYTES"],
            what=f"The parameters of step `{step.id}`",
            code=VALIDATION_INPUT,
            size_code=LIMIT_INPUT,
        )

    async def _call(
        self,
        action: Action,
        params: Any,
        bounds: _Bounds,
        step_log: StepLog,
        veil: Veil,
    ) -> Any:
        watch = Watch(bounds.seconds, bounds.silence)
        cancelled = _Flag()
        left: list[Future[Any]] = []
        context = Context(
            idempotency_key=bounds.key,
            execution_id=bounds.place.execution_id,
            step=bounds.step,
            attempt=bounds.place.attempt,
            log=step_log,
            is_cancelled=cancelled.is_set,
            heartbeat=watch.beat,
            callback=lambda: make_token(bounds.place),
            callback_base=settings.AUTOPILOT_PUBLIC_URL,
            conceal=veil.conceal,
        )
        try:
            async with watch.timeout:
                if action.is_async:
                    return await action.function(params, context)
                return await self._in_thread(lambda: action.function(params, context), left)
        except ActionError as error:
            details = error.details if isinstance(error.details, dict) else {}
            if error.details is not None and not details:
                details = {"details": error.details}
            raise EngineError(
                _storable(ErrorInfo(error.code, error.message, details=details), error.retryable)
            ) from None
        except asyncio.CancelledError:
            cancelled.set()
            raise
        except BaseException as error:  # noqa: BLE001 - see below
            cancelled.set()
            if isinstance(error, TimeoutError) and watch.timeout.expired():
                runs_on = any(not each.done() for each in left) and not action.can_repeat(params)
                raise EngineError(watch.error(runs_on=runs_on)) from None
            # An action is somebody else's code: SystemExit from it must not end the worker.
            log_crash(log, "action.crashed", error, veil, action=action.name, step=bounds.step)
            message = f"The action raised {type(error).__name__}: {error}"
            raise EngineError(
                _storable(ErrorInfo(ACTION_CRASHED, message[:2000]), retryable=True)
            ) from None

    async def _in_thread(self, function: Callable[[], Any], left: list[Future[Any]]) -> Any:
        """Call it in a thread; a call that can't be stopped is added to `left`."""
        future: Future[Any] = self._pool.submit(_with_own_connections, function)
        try:
            return await asyncio.wrap_future(future)
        except asyncio.CancelledError:
            if not future.cancel() and not future.done():
                with self._lock:
                    self._stuck += 1
                left.append(future)
                future.add_done_callback(self._unstuck)
            raise

    def _unstuck(self, future: Future[Any]) -> None:
        with self._lock:
            self._stuck -= 1

    def close(self) -> None:
        """Take no more work; what still runs is left to end by itself."""
        self._pool.shutdown(wait=False, cancel_futures=True)


def _undo_params(item: UndoItem) -> Payload:
    return encode(
        item.params,
        limit=settings.AUTOPILOT["MAX_INPUT_BYTES"],
        what=f"What undoes step `{item.step_id}`",
        code=VALIDATION_INPUT,
        size_code=LIMIT_INPUT,
    )


def _resolve(name: str, params: Payload) -> tuple[Action, Any]:
    action = registry.get(name)
    if action is None:
        message = f"No action named {name!r} is installed on this worker."
        raise EngineError(ErrorInfo(ACTION_UNKNOWN, message))
    try:
        return action, action.validate(params.value)
    except InvalidParams as error:
        details = {"problems": [each.as_dict() for each in error.problems]}
        info = ErrorInfo(VALIDATION_INPUT, str(error), details=details)
        raise EngineError(info) from None
    except Exception as error:  # noqa: BLE001 - a validator of somebody's app may raise anything
        message = f"The parameters of {name} could not be checked: {type(error).__name__}."
        raise EngineError(ErrorInfo(VALIDATION_INPUT, message)) from None


def _revealed(output: Payload, veil: Veil, limit: int, what: str) -> Payload:
    """The output as it really is, where the action has read hidden values and passes them on."""
    if not may_be_hidden(output.text):
        return output
    try:
        value = veil.reveal(output.value)
    except Undecipherable as error:
        raise EngineError(ErrorInfo(SEALED_UNREADABLE, f"{what} is hidden. {error}")) from None
    return encode(value, limit=limit, what=what)


def _with_own_connections(function: Callable[[], Any]) -> Any:
    """Sync actions use the ORM freely; their thread keeps no connection between calls."""
    try:
        return function()
    except (SystemExit, KeyboardInterrupt) as error:
        # Only Exception crosses from a thread to the loop without ending the process.
        raise RuntimeError(f"{type(error).__name__} raised") from error
    finally:
        connections.close_all()


def _storable(info: ErrorInfo, retryable: bool) -> ErrorInfo:
    """The same error with nothing in it that the database would refuse."""
    message = info.message.replace("\x00", "\ufffd").encode("utf-8", "replace").decode()
    try:
        details = encode(info.details, limit=65_536, what="The details").value
    except EngineError as error:
        details = {"left_out": error.info.message}
    return ErrorInfo(info.code[:100], message, details=details, retryable=retryable)


def _records(step_log: StepLog) -> tuple[LogRecord, ...]:
    return tuple(
        LogRecord(line.level.value, line.event, line.fields, line.at) for line in step_log.lines
    )
