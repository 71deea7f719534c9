"""From a valid document to the compiled form: one builder per step type."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from types import MappingProxyType
from typing import Any

from workflows.definition import program as c
from workflows.definition import steps as models
from workflows.definition.document import Document
from workflows.definition.expressions import compile_expression
from workflows.definition.fields import StepType, is_template
from workflows.definition.graph import resolve_target, successor
from workflows.definition.outline import Scope, Step, read_outline
from workflows.definition.schemas import PayloadSchema
from workflows.definition.templates import compile_template


def build(document: dict[str, Any]) -> c.CompiledDefinition:
    """Compile a document without problems; whatever it is not able to hold is a bug here."""
    model = Document.model_validate(document)
    outline = read_outline(document)
    steps = {step.id: _build_step(step) for step in outline.steps}
    return c.CompiledDefinition(
        name=model.name,
        slug=model.slug,
        input_schema=_schema(model.input_schema),
        output_schema=_schema(model.output_schema),
        output=compile_template(model.output) if "output" in document else None,
        timeout=model.timeout,
        scope=_build_scope(outline.root),
        steps=MappingProxyType(steps),
    )


def _schema(schema: dict[str, Any] | bool | None) -> PayloadSchema | None:
    return None if schema is None else PayloadSchema(schema)


def _build_scope(scope: Scope) -> c.CompiledScope:
    ids = tuple(step.id for step in scope.steps)
    return c.CompiledScope(first=ids[0], step_ids=ids)


def _build_step(step: Step) -> c.CompiledStep:
    model = models.STEP_MODELS[step.type].model_validate(step.raw)
    assign = (model.assign or {}).items()
    return c.CompiledStep(
        id=step.id,
        name=model.name or step.id,
        type=StepType(step.type),
        path=step.path,
        when=compile_expression(model.when) if model.when is not None else None,
        assign=tuple((name, compile_template(value)) for name, value in assign),
        timeout=model.timeout,
        next=successor(step),
        config=_BUILDERS[type(model)](model),
    )


def _action(model: models.ActionStep) -> c.ActionConfig:
    return c.ActionConfig(
        action=model.config.action, params=compile_template(model.config.with_ or {})
    )


def _transform(model: models.TransformStep) -> c.TransformConfig:
    return c.TransformConfig(output=compile_template(model.config.output))


def _choice(model: models.ChoiceStep) -> c.ChoiceConfig:
    config = model.config
    return c.ChoiceConfig(
        choices=tuple(
            c.ChoiceBranch(when=compile_expression(way.when), target=resolve_target(way.next))
            for way in config.choices
        ),
        default=None if config.default is None else resolve_target(config.default),
        has_default=config.default is not None,
    )


def _wait(model: models.WaitStep) -> c.WaitConfig:
    config = model.config
    duration = config.duration
    if duration is not None and not isinstance(duration, timedelta):
        assert is_template(duration)
        return c.WaitConfig(duration=compile_template(duration), until=None)
    until = None if config.until is None else compile_template(config.until)
    return c.WaitConfig(duration=duration, until=until)


def _succeed(model: models.SucceedStep) -> c.SucceedConfig:
    given = "output" in model.config.model_fields_set
    return c.SucceedConfig(output=compile_template(model.config.output) if given else None)


def _fail(model: models.FailStep) -> c.FailConfig:
    config = model.config
    return c.FailConfig(
        error=compile_template(config.error), message=compile_template(config.message)
    )


_BUILDERS: dict[type[models.BaseStep], Callable[[Any], c.StepConfig]] = {
    models.ActionStep: _action,
    models.TransformStep: _transform,
    models.ChoiceStep: _choice,
    models.WaitStep: _wait,
    models.SucceedStep: _succeed,
    models.FailStep: _fail,
}
