"""The signal: a step that waits for an external event, whose data become its output."""

from __future__ import annotations

import math
from datetime import datetime
from enum import StrEnum
from typing import Any

from executions.engine import outside, steps
from executions.engine.commands import Reject, WriteLog
from executions.engine.errors import SIGNAL_CORRELATION, SIGNAL_TIMEOUT, EngineError, ErrorInfo
from executions.engine.events import SIGNAL, Delivered, LogRecord
from executions.engine.payload import encode
from executions.engine.snapshot import Position, scope_of
from executions.engine.states import Reason
from executions.engine.working import Working
from workflows.definition.compiled import CompiledStep, SignalConfig

MAX_CORRELATION_CHARS = 200


class SignalState(StrEnum):
    """Where a signal that was received has got to."""

    KEPT = "kept"  # nobody has waited for it yet
    OFFERED = "offered"  # given to a step, which has not looked at it yet
    CONSUMED = "consumed"  # it is the output of a step
    REFUSED = "refused"  # it broke the schema of the step that it was given to


def correlation_text(value: Any) -> str | None:
    """The correlation as it is compared: a text, or a number written out; None = it is neither.

    A whole number is the same however it came to be: `17` and `17.0` are both "17".
    """
    if isinstance(value, bool):
        return None
    if isinstance(value, float) and math.isfinite(value) and value.is_integer():
        value = int(value)
    if isinstance(value, (int, float)):
        value = str(value)
    if not isinstance(value, str) or not 1 <= len(value) <= MAX_CORRELATION_CHARS:
        return None
    return None if "\x00" in value else value


def _wait(working: Working, step: CompiledStep, position: Position, now: datetime) -> steps.Outcome:
    config = step.config
    assert isinstance(config, SignalConfig)
    data = {"name": config.signal, "correlation": _correlation(working, config, position)}
    return outside.begin(working, step, position, data)


def _correlation(working: Working, config: SignalConfig, position: Position) -> str:
    """Worked out once, when the step begins to wait; "" = it has none."""
    if config.correlation is None:
        return ""
    value = steps.render(config.correlation, scope_of(working.snapshot), position.started_at)
    text = correlation_text(value)
    if text is None:
        message = (
            f"`correlation` came to {value!r:.100}; a text of 1 to {MAX_CORRELATION_CHARS} "
            "characters or a number was expected."
        )
        raise EngineError(ErrorInfo(SIGNAL_CORRELATION, message))
    encode(text, limit=4 * MAX_CORRELATION_CHARS + 2, what="The correlation")
    return text


def _deliver(
    working: Working, step: CompiledStep, position: Position, event: Delivered, now: datetime
) -> steps.Outcome | None:
    """The data are the output, unless they break the schema: then the step goes on waiting."""
    config = step.config
    assert isinstance(config, SignalConfig)
    value = event.data["payload"]
    problems = config.schema.problems(value, root="$.payload") if config.schema else []
    if problems:
        reason = f"It breaks the schema at {problems[0].path}: {problems[0].message}"
        place = (step.id, position.seq, position.attempt)
        working.add(Reject(event.kind, *place, {"signal": event.data["signal"]}, reason))
        fields = {"signal": event.data["signal"], "sender": event.actor, "reason": reason}
        line = LogRecord("warning", "signal.refused", fields, now)
        working.add(WriteLog(step.id, position.attempt, (line,)))
        return None
    limit = working.snapshot.max_output_bytes
    output = encode(value, limit=limit, what=f"The output of step `{step.id}`")
    return steps.complete(working, step, position, output, now, is_output=True)


def _expire(step: CompiledStep, position: Position) -> ErrorInfo:
    config = step.config
    assert isinstance(config, SignalConfig)
    message = f"The signal {config.signal} did not come within {step.timeout}."
    return ErrorInfo(SIGNAL_TIMEOUT, message, retryable=True)


steps.TYPES[SignalConfig] = _wait
outside.KINDS[SignalConfig] = outside.Kind(SIGNAL, Reason.SIGNAL, _deliver, _expire)
