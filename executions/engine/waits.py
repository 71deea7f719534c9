"""The wait: until a moment that is given, or that the data give."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta
from typing import Any

from executions.engine import steps
from executions.engine.errors import WAIT_INVALID, EngineError, ErrorInfo
from executions.engine.snapshot import Phase, Position, scope_of
from executions.engine.working import Working
from workflows.definition.compiled import CompiledStep, WaitConfig
from workflows.definition.durations import parse_duration
from workflows.definition.templates import Template

MAX_WAIT = timedelta(days=3660)


def _wait(working: Working, step: CompiledStep, position: Position, now: datetime) -> steps.Outcome:
    until = _wait_until(working, step, position)
    expiry = position.started_at + step.timeout if step.timeout else None
    phase = Phase.TIMER
    if expiry is not None and expiry < until:
        until, phase = expiry, Phase.EXPIRY
    waiting = position.at(phase, wait_until=until)
    working.move(waiting)
    return steps.take(working, step, waiting, now)


def _wait_until(working: Working, step: CompiledStep, position: Position) -> datetime:
    config = step.config
    assert isinstance(config, WaitConfig)
    if config.until is not None:
        return _moment(steps.render(config.until, scope_of(working.snapshot), position.started_at))
    duration = config.duration
    if isinstance(duration, Template):
        duration = _duration(
            steps.render(duration, scope_of(working.snapshot), position.started_at)
        )
    assert duration is not None
    if duration > MAX_WAIT:
        raise _bad_wait(f"A wait of {duration} is longer than {MAX_WAIT.days} days.")
    return position.started_at + duration


def _bad_wait(message: str) -> EngineError:
    return EngineError(ErrorInfo(WAIT_INVALID, message))


def _duration(value: Any) -> timedelta:
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        if not math.isfinite(value) or not 0 <= value <= MAX_WAIT.total_seconds():
            raise _bad_wait(f"A duration of {value} seconds is not between 0 and ten years.")
        return timedelta(seconds=value)
    try:
        return parse_duration(value)
    except (ValueError, TypeError) as error:
        raise _bad_wait(f"The duration cannot be read: {error}") from None


def _moment(value: Any) -> datetime:
    try:
        moment = datetime.fromisoformat(value)
    except (ValueError, TypeError):
        raise _bad_wait(
            f"`until` is {value!r:.100}; an ISO 8601 timestamp such as "
            "2030-01-31T12:00:00Z was expected."
        ) from None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    if not 1970 <= moment.year <= 9000:
        raise _bad_wait(f"`until` is {value!r:.100}, which is out of range.")
    return moment.astimezone(UTC)


steps.TYPES[WaitConfig] = _wait
