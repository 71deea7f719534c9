"""The compiled form of a definition: immutable values that the engine's planner reads."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta

from workflows.definition.expressions import Expression
from workflows.definition.fields import StepType
from workflows.definition.schemas import PayloadSchema
from workflows.definition.templates import Template


@dataclass(frozen=True, slots=True)
class ActionConfig:
    """Calls `action` with what `params` renders to (an object)."""

    action: str
    params: Template


@dataclass(frozen=True, slots=True)
class TransformConfig:
    """The output is what `output` renders to."""

    output: Template


@dataclass(frozen=True, slots=True)
class ChoiceBranch:
    """Taken when `when` is true; target None is the end of the scope."""

    when: Expression
    target: str | None


@dataclass(frozen=True, slots=True)
class ChoiceConfig:
    """The first true branch decides, else `default` (None is the end) if `has_default`."""

    choices: tuple[ChoiceBranch, ...]
    default: str | None
    has_default: bool


@dataclass(frozen=True, slots=True)
class WaitConfig:
    """Exactly one is set.

    duration: a literal, or a template giving seconds or a duration text (`parse_duration`).
    until: a template giving an ISO 8601 timestamp with an offset.
    """

    duration: Template | timedelta | None
    until: Template | None


@dataclass(frozen=True, slots=True)
class SucceedConfig:
    """Ends the scope; output None means the last step's output."""

    output: Template | None


@dataclass(frozen=True, slots=True)
class FailConfig:
    """Ends the scope with an error; `error` gives the code, `message` the sentence."""

    error: Template
    message: Template


StepConfig = ActionConfig | TransformConfig | ChoiceConfig | WaitConfig | SucceedConfig | FailConfig


@dataclass(frozen=True, slots=True)
class CompiledStep:
    """One step.

    path: JSON path in the document.
    next: id of the step that follows by list order or `next`; None is the end of the scope. A
        choice, `fail` or `succeed` is only followed by it when `when` skips the step.
    """

    id: str
    name: str
    type: StepType
    path: str
    when: Expression | None
    assign: tuple[tuple[str, Template], ...]
    timeout: timedelta | None
    next: str | None
    config: StepConfig


@dataclass(frozen=True, slots=True)
class CompiledScope:
    """A list of steps that flow runs down: ids in document order; never empty."""

    first: str
    step_ids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class CompiledDefinition:
    """A whole definition. steps: all steps of the document by id, in document order."""

    name: str
    slug: str | None
    input_schema: PayloadSchema | None
    output_schema: PayloadSchema | None
    output: Template | None
    timeout: timedelta | None
    scope: CompiledScope
    steps: Mapping[str, CompiledStep]
