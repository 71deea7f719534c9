"""How each type of step is taken: one function a type, in a registry.

A function looks at the step and the data and says where that leads (an outcome). The planner
follows outcomes; it knows no step types.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from executions.engine import promises
from executions.engine.commands import Call, RecordStep, SetVariables, TellChildren
from executions.engine.errors import (
    CHOICE_NO_MATCH,
    EXPRESSION,
    LIMIT_INPUT,
    LIMIT_VARIABLES,
    TIMEOUT_STEP,
    VALIDATION_INPUT,
    VALIDATION_OUTPUT,
    EngineError,
    ErrorInfo,
)
from executions.engine.events import CallFailed, CallSucceeded, LogRecord, Verb
from executions.engine.payload import NULL, Payload, encode
from executions.engine.slots import slot_of
from executions.engine.snapshot import WITH_CHILDREN, Phase, Position, StepFact, scope_of
from executions.engine.states import Reason, StepState
from executions.engine.working import Working
from workflows.definition.compiled import (
    ActionConfig,
    ChoiceConfig,
    CompiledDefinition,
    CompiledStep,
    FailConfig,
    GroupConfig,
    SucceedConfig,
    TransformConfig,
)
from workflows.definition.expressions import Expression, ExpressionError
from workflows.definition.templates import Template

ERROR_CODE = re.compile(r"[A-Za-z][A-Za-z0-9_]*(\.[A-Za-z0-9_]+)*", re.ASCII)
MAX_ERROR_CODE_CHARS = 100


@dataclass(frozen=True, slots=True)
class Calling:
    """The step's action is to be called."""

    position: Position


@dataclass(frozen=True, slots=True)
class Sleeping:
    """The step waits for a moment, or (None) for a message."""

    until: datetime | None
    reason: Reason = Reason.TIMER


@dataclass(frozen=True, slots=True)
class Inside:
    """The step is a group whose own steps are to be taken."""

    position: Position


@dataclass(frozen=True, slots=True)
class Next:
    """The step is over; another one follows, or the end of the scope (None)."""

    step_id: str | None


@dataclass(frozen=True, slots=True)
class Ended:
    """The step ended its scope; None = with the default output.

    next_input: of the execution that is to follow.
    """

    output: Payload | None
    next_input: Payload | None = None


@dataclass(frozen=True, slots=True)
class Broken:
    """The step failed, and nothing in the definition catches that."""

    error: ErrorInfo


Outcome = Calling | Sleeping | Inside | Next | Ended | Broken


def take(working: Working, step: CompiledStep, position: Position, now: datetime) -> Outcome:
    """Take the current step as far as it goes without the outside world."""
    if position.phase is Phase.CALL:
        return Calling(position)
    if position.phase in PHASES:
        return PHASES[position.phase](working, step, position, now)
    if position.phase is Phase.SKIPPED:
        return Next(step.next)
    if position.phase is Phase.RESULT:
        return Next(None)
    if position.wait_until is not None and now < position.wait_until:
        reason = Reason.BACKOFF if position.phase is Phase.BACKOFF else Reason.TIMER
        return Sleeping(position.wait_until, reason)
    if position.phase is Phase.TIMER:
        return complete(working, step, position, NULL, now)
    if position.phase is Phase.EXPIRY:
        return time_out(working, step, position, now)
    try:
        if position.phase is Phase.BACKOFF:
            position = replace(position, phase=Phase.ENTER, started_at=now, wait_until=None)
            working.move(position)
        elif step.when is not None and not evaluate(step.when, working, position):
            return _skip(working, step, position, now)
        return TYPES[type(step.config)](working, step, position, now)
    except EngineError as error:
        return fail(working, step, position, error.info, now)


def time_out(working: Working, step: CompiledStep, position: Position, now: datetime) -> Outcome:
    """The step has taken longer than it may."""
    message = f"The step did not end within {step.timeout}."
    return fail(working, step, position, ErrorInfo(TIMEOUT_STEP, message, retryable=True), now)


def cancel_children(working: Working, position: Position, reason: str) -> None:
    """Nobody waits for the children of this step any more, if it has any."""
    if position.phase in WITH_CHILDREN:
        generation = position.generation
        working.add(TellChildren(position.step_id, generation, Verb.CANCEL, "engine", reason))


def call_again(working: Working, position: Position) -> None:
    """Ask for the call of the current step's action, as it stands."""
    working.add(Call(position))


def end_call(
    working: Working,
    step: CompiledStep,
    position: Position,
    event: CallSucceeded | CallFailed,
    now: datetime,
) -> Outcome:
    """Take in what the action of the current step came to."""
    if isinstance(event, CallFailed):
        return fail(working, step, position, event.error, now, params=event.params, log=event.log)
    return complete(
        working,
        step,
        position,
        event.output,
        now,
        params=event.params,
        log=event.log,
        is_output=True,
    )


def complete(
    working: Working,
    step: CompiledStep,
    position: Position,
    output: Payload,
    now: datetime,
    *,
    params: Payload = NULL,
    log: tuple[LogRecord, ...] = (),
    is_output: bool = False,
) -> Outcome:
    """The step succeeded: record it and set what it assigns."""
    before = working.snapshot.steps.get(position.step_id)
    working.set_fact(
        position.step_id, StepFact(StepState.COMPLETED, output.value, None, position.attempt)
    )
    try:
        variables = assigned(working, step, position)
    except EngineError as error:
        if before is not None:
            working.set_fact(position.step_id, before)
        return fail(working, step, position, error.info, now, params=params, output=output, log=log)
    record = _row(step, position, StepState.COMPLETED, now, params, output, log=log)
    record = promises.keep(working, step, position, variables, record)
    working.record(record, is_output=is_output)
    if variables is not None:
        working.set_variables(variables)
    return Next(step.next)


def fail(
    working: Working,
    step: CompiledStep,
    position: Position,
    error: ErrorInfo,
    now: datetime,
    *,
    params: Payload = NULL,
    output: Payload = NULL,
    log: tuple[LogRecord, ...] = (),
) -> Outcome:
    """The step failed: record it; without a catch its scope fails with it."""
    placed = error.at(step.id, position.attempt)
    record = _row(step, position, StepState.FAILED, now, params, output, placed, log)
    working.record(record, is_output=False)
    return Broken(placed)


_NOTHING_UNDER_WAY = (Phase.ENTER, Phase.BACKOFF, Phase.SKIPPED, Phase.RESULT)


def abandon(working: Working, now: datetime, *, keep: int = 0) -> None:
    """What is under way will not be finished: the step, and the groups beyond the first `keep`."""
    snapshot = working.snapshot
    begun = [frame.position for frame in snapshot.frames[keep:]]
    if snapshot.position and snapshot.position.phase not in _NOTHING_UNDER_WAY:
        begun.append(snapshot.position)
    for position in reversed(begun):
        step = snapshot.definition.steps[position.step_id]
        record = _row(step, position, StepState.CANCELLED, now, NULL, NULL)
        working.record(record, is_output=False)
        cancel_children(working, position, "the execution it belongs to gave it up")
    snapshot.frames = snapshot.frames[:keep]


def check_result(definition: CompiledDefinition, output: Payload) -> None:
    """Raise EngineError `validation.output` if the result breaks the output schema."""
    if definition.output_schema is None:
        return
    problems = definition.output_schema.problems(output.value)
    if problems:
        message = f"The output breaks the output schema at {problems[0].path}: "
        details = {"problems": [each.as_dict() for each in problems]}
        raise EngineError(
            ErrorInfo(VALIDATION_OUTPUT, message + problems[0].message, details=details)
        )


def evaluate(expression: Expression, working: Working, position: Position) -> Any:
    """An expression's value at this step; `now()` is when the step was entered."""
    try:
        return expression.evaluate(scope_of(working.snapshot), now=position.started_at)
    except ExpressionError as error:
        raise EngineError(_expression_error(error)) from None


def render(template: Template, scope: Mapping[str, Any], now: datetime) -> Any:
    """A template's value. Raises EngineError `expression`."""
    try:
        return template.render(scope, now=now)
    except ExpressionError as error:
        raise EngineError(_expression_error(error)) from None


def _expression_error(error: ExpressionError) -> ErrorInfo:
    details = {"expression": error.source, "path": error.path}
    return ErrorInfo(EXPRESSION, error.message, details=details)


def _render(template: Template, working: Working, position: Position) -> Any:
    return render(template, scope_of(working.snapshot), position.started_at)


def _row(
    step: CompiledStep,
    position: Position,
    state: StepState,
    now: datetime,
    params: Payload,
    output: Payload,
    error: ErrorInfo | None = None,
    log: tuple[LogRecord, ...] = (),
) -> RecordStep:
    return RecordStep(
        seq=position.seq,
        step_id=step.id,
        name=step.name,
        type=step.type.value,
        state=state,
        started_at=position.started_at,
        ended_at=max(now, position.started_at),
        attempt=position.attempt,
        params=params,
        output=output,
        error=error,
        log=log,
    )


def _skip(working: Working, step: CompiledStep, position: Position, now: datetime) -> Outcome:
    working.record(_row(step, position, StepState.SKIPPED, now, NULL, NULL), is_output=False)
    return Next(step.next)


def skip_as(
    working: Working,
    step: CompiledStep,
    position: Position,
    output: Payload,
    now: datetime,
    note: LogRecord,
) -> Outcome:
    """Somebody had the step skipped, as if it had come to `output` (null: to nothing)."""
    before = working.snapshot.steps.get(step.id)
    variables = None
    if output.value is not None:
        fact = StepFact(StepState.SKIPPED, output.value, None, position.attempt)
        working.set_fact(step.id, fact)
        try:
            variables = assigned(working, step, position)
        except EngineError as error:
            if before is not None:
                working.set_fact(step.id, before)
            return fail(working, step, position, error.info, now, output=output, log=(note,))
    record = _row(step, position, StepState.SKIPPED, now, NULL, output, log=(note,))
    working.record(record, is_output=False)
    if variables is not None:
        working.set_variables(variables)
    return Next(step.next)


def assigned(working: Working, step: CompiledStep, position: Position) -> SetVariables | None:
    """What the variables become. All templates see the variables as they were before."""
    if not step.assign:
        return None
    values = {name: _render(template, working, position) for name, template in step.assign}
    return variables_of(working, {**working.snapshot.vars, **values})


def variables_of(working: Working, variables: Mapping[str, Any]) -> SetVariables:
    """The command that sets these variables. Raises EngineError if they are too large."""
    payload = encode(
        dict(variables),
        limit=working.snapshot.max_output_bytes,
        what="The variables of the execution",
        size_code=LIMIT_VARIABLES,
    )
    return SetVariables(variables, payload)


def _action(working: Working, step: CompiledStep, position: Position, now: datetime) -> Outcome:
    calling = position.at(Phase.CALL)
    working.move(calling)
    return Calling(calling)


def _enter_group(
    working: Working, step: CompiledStep, position: Position, now: datetime
) -> Outcome:
    return Inside(position)


def _transform(working: Working, step: CompiledStep, position: Position, now: datetime) -> Outcome:
    config = step.config
    assert isinstance(config, TransformConfig)
    output = _encoded(working, step, _render(config.output, working, position))
    return complete(working, step, position, output, now, is_output=True)


def _choice(working: Working, step: CompiledStep, position: Position, now: datetime) -> Outcome:
    config = step.config
    assert isinstance(config, ChoiceConfig)
    for branch in config.choices:
        if evaluate(branch.when, working, position):
            target = branch.target
            break
    else:
        if not config.has_default:
            message = "No choice matched and there is no default."
            raise EngineError(ErrorInfo(CHOICE_NO_MATCH, message))
        target = config.default
    output = _encoded(working, step, {"next": target})
    outcome = complete(working, step, position, output, now)
    return Next(target) if isinstance(outcome, Next) else outcome


def _succeed(working: Working, step: CompiledStep, position: Position, now: datetime) -> Outcome:
    config = step.config
    assert isinstance(config, SucceedConfig)
    if config.continue_as_new is not None:
        next_input = _next_input(working, step, position, config.continue_as_new)
        outcome = complete(working, step, position, NULL, now)
        return Ended(NULL, next_input) if isinstance(outcome, Next) else outcome
    output = None
    if config.output is not None:
        output = _encoded(working, step, _render(config.output, working, position))
    outcome = complete(working, step, position, output or NULL, now)
    return Ended(output) if isinstance(outcome, Next) else outcome


def _next_input(
    working: Working, step: CompiledStep, position: Position, template: Template
) -> Payload:
    value = _render(template, working, position)
    schema = working.snapshot.definition.input_schema
    problems = schema.problems(value, root="$.continue_as_new") if schema else []
    if problems:
        message = f"The next input breaks the input schema at {problems[0].path}: "
        details = {"problems": [each.as_dict() for each in problems]}
        raise EngineError(
            ErrorInfo(VALIDATION_INPUT, message + problems[0].message, details=details)
        )
    slot_of(working.snapshot.definition, value, position.started_at)
    limit = working.snapshot.max_input_bytes
    what = f"The next input of step `{step.id}`"
    return encode(value, limit=limit, what=what, size_code=LIMIT_INPUT)


def _fail_step(working: Working, step: CompiledStep, position: Position, now: datetime) -> Outcome:
    config = step.config
    assert isinstance(config, FailConfig)
    code = _render(config.error, working, position)
    message = _render(config.message, working, position)
    if not isinstance(code, str) or not ERROR_CODE.fullmatch(code[: MAX_ERROR_CODE_CHARS + 1]):
        problem = f"`error` came to {code!r:.100}; a dotted code such as `refund.too_late` fits."
        raise EngineError(ErrorInfo(EXPRESSION, problem))
    text = message if isinstance(message, str) else str(message)
    # What a designer writes may hold anything an expression can make; it must fit into jsonb.
    encode([code, text], limit=working.snapshot.max_output_bytes, what="The error")
    return fail(working, step, position, ErrorInfo(code, text), now)


def _encoded(working: Working, step: CompiledStep, value: Any) -> Payload:
    what = f"The output of step `{step.id}`"
    return encode(value, limit=working.snapshot.max_output_bytes, what=what)


Taking = Callable[[Working, CompiledStep, Position, datetime], Outcome]

# What other modules know of steps that stand at a phase.
PHASES: dict[Phase, Taking] = {}
TYPES: dict[type, Taking] = {
    ActionConfig: _action,
    TransformConfig: _transform,
    ChoiceConfig: _choice,
    SucceedConfig: _succeed,
    FailConfig: _fail_step,
    GroupConfig: _enter_group,
}
