"""From a valid document to the compiled form: one builder per step type."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import timedelta
from types import MappingProxyType
from typing import Any

from workflows.definition import program as c
from workflows.definition import steps as models
from workflows.definition.document import Concurrency, Defaults, Document, ErrorWorkflow
from workflows.definition.expressions import compile_expression
from workflows.definition.fields import StepType, is_template
from workflows.definition.graph import resolve_target, successor
from workflows.definition.outline import Scope, Step, read_outline
from workflows.definition.redaction import compile_redaction
from workflows.definition.schemas import PayloadSchema
from workflows.definition.templates import Template, compile_template
from workflows.versioning.ranges import parse_range

Scopes = Mapping[str, c.CompiledScope]

# What can fail by the outside, so that the same again may do better.
_RETRIED_BY_DEFAULT = (
    StepType.ACTION,
    StepType.GROUP,
    StepType.MAP,
    StepType.PARALLEL,
    StepType.WORKFLOW,
)
# What is to be undone is worth more tries than what is to be done: nobody does it otherwise.
UNDO_RETRY = models.Retry(max_attempts=5)


def build(document: dict[str, Any]) -> c.CompiledDefinition:
    """Compile a document without problems; whatever it is not able to hold is a bug here."""
    model = Document.model_validate(document)
    defaults = model.defaults or Defaults()
    outline = read_outline(document)
    scopes = {scope.id: _build_scope(scope) for scope in outline.scopes}
    steps = {step.id: _build_step(step, defaults, scopes) for step in outline.steps}
    return c.CompiledDefinition(
        name=model.name,
        slug=model.slug,
        input_schema=_schema(model.input_schema),
        output_schema=_schema(model.output_schema),
        output=compile_template(model.output) if "output" in document else None,
        timeout=model.timeout,
        redact=model.redact or (),
        redaction=compile_redaction(model.redact or ()),
        scope=scopes[outline.root.id],
        scopes=MappingProxyType(scopes),
        steps=MappingProxyType(steps),
        concurrency=_concurrency(model.concurrency),
        on_failure=_on_failure(model.on_failure),
    )


def _concurrency(model: Concurrency | None) -> c.ConcurrencyRule | None:
    if model is None:
        return None
    return c.ConcurrencyRule(
        key=compile_expression(model.key), limit=model.limit, on_limit=model.on_limit
    )


def _on_failure(value: str | ErrorWorkflow | None) -> c.OnFailure:
    if isinstance(value, ErrorWorkflow):
        return c.OnFailure(compensate=value.compensate, workflow=value.workflow)
    return c.OnFailure(compensate=value is not None)


def _schema(schema: dict[str, Any] | bool | None) -> PayloadSchema | None:
    return None if schema is None else PayloadSchema(schema)


def _build_scope(scope: Scope) -> c.CompiledScope:
    ids = tuple(step.id for step in scope.steps)
    return c.CompiledScope(id=scope.id, first=ids[0], step_ids=ids)


def _build_step(step: Step, defaults: Defaults, scopes: Scopes) -> c.CompiledStep:
    model = models.STEP_MODELS[step.type].model_validate(step.raw)
    type_ = StepType(step.type)
    retry, timeout = model.retry, model.timeout
    if retry is None and type_ in _RETRIED_BY_DEFAULT:
        retry = defaults.retry
    if timeout is None and type_ is StepType.ACTION:
        timeout = defaults.timeout
    assign = (model.assign or {}).items()
    return c.CompiledStep(
        id=step.id,
        name=model.name or step.id,
        type=type_,
        path=step.path,
        scope=step.scope.id,
        when=compile_expression(model.when) if model.when is not None else None,
        assign=tuple((name, compile_template(value)) for name, value in assign),
        retry=None if retry is None else _retry(retry),
        timeout=timeout,
        heartbeat=model.heartbeat,
        catch=tuple(_catch(entry) for entry in model.catch or ()),
        next=successor(step),
        config=_BUILDERS[type(model)](model, step, scopes),
        compensate=None if model.compensate is None else _compensation(model.compensate),
    )


def _compensation(model: models.Compensation) -> c.Compensation:
    return c.Compensation(
        action=model.action,
        params=compile_template(model.with_ or {}),
        retry=_retry(model.retry or UNDO_RETRY),
        timeout=model.timeout,
    )


def _retry(model: models.Retry) -> c.RetryPolicy:
    return c.RetryPolicy(
        max_attempts=model.max_attempts,
        initial_interval=model.first_pause,
        backoff=model.backoff,
        max_interval=model.longest_pause,
        jitter=model.jitter,
        budget=model.budget,
        errors=model.errors or ("*",),
        excluded=model.except_ or (),
    )


def _catch(model: models.Catch) -> c.CatchClause:
    return c.CatchClause(errors=model.errors, target=resolve_target(model.next), name=model.as_)


def _action(model: models.ActionStep, step: Step, scopes: Scopes) -> c.ActionConfig:
    return c.ActionConfig(
        action=model.config.action, params=compile_template(model.config.with_ or {})
    )


def _transform(model: models.TransformStep, step: Step, scopes: Scopes) -> c.TransformConfig:
    return c.TransformConfig(output=compile_template(model.config.output))


def _choice(model: models.ChoiceStep, step: Step, scopes: Scopes) -> c.ChoiceConfig:
    config = model.config
    return c.ChoiceConfig(
        choices=tuple(
            c.ChoiceBranch(when=compile_expression(way.when), target=resolve_target(way.next))
            for way in config.choices
        ),
        default=None if config.default is None else resolve_target(config.default),
        has_default=config.default is not None,
    )


def _wait(model: models.WaitStep, step: Step, scopes: Scopes) -> c.WaitConfig:
    config = model.config
    duration = config.duration
    if duration is not None and not isinstance(duration, timedelta):
        assert is_template(duration)
        return c.WaitConfig(duration=compile_template(duration), until=None)
    until = None if config.until is None else compile_template(config.until)
    return c.WaitConfig(duration=duration, until=until)


def _succeed(model: models.SucceedStep, step: Step, scopes: Scopes) -> c.SucceedConfig:
    config = model.config
    following = config.continue_as_new
    return c.SucceedConfig(
        output=compile_template(config.output) if "output" in config.model_fields_set else None,
        continue_as_new=None if following is None else compile_template(following.input),
    )


def _fail(model: models.FailStep, step: Step, scopes: Scopes) -> c.FailConfig:
    config = model.config
    return c.FailConfig(
        error=compile_template(config.error), message=compile_template(config.message)
    )


def _group(model: models.GroupStep, step: Step, scopes: Scopes) -> c.GroupConfig:
    body, *last = [scopes[scope.id] for scope in step.scopes]
    return c.GroupConfig(scope=body, last=last[0] if last else None)


def _map(model: models.MapStep, step: Step, scopes: Scopes) -> c.MapConfig:
    config = model.config
    tolerated = config.tolerated_failures
    share = float(tolerated.removesuffix("%")) if isinstance(tolerated, str) else None
    return c.MapConfig(
        items=compile_expression(config.items),
        name=config.as_,
        scope=scopes[step.scopes[0].id],
        max_concurrency=config.max_concurrency,
        batch_size=config.batch_size,
        tolerated_count=tolerated if isinstance(tolerated, int) else 0,
        tolerated_percent=share,
    )


def _signal(model: models.SignalStep, step: Step, scopes: Scopes) -> c.SignalConfig:
    config = model.config
    correlation = config.correlation
    return c.SignalConfig(
        signal=config.signal,
        correlation=None if correlation is None else compile_template(correlation),
        schema=_schema(config.schema_),
    )


def _parallel(model: models.ParallelStep, step: Step, scopes: Scopes) -> c.ParallelConfig:
    config = model.config
    branches = tuple(
        c.Branch(name=branch.name, scope=scopes[scope.id])
        for branch, scope in zip(config.branches, step.scopes, strict=True)
    )
    words = {"all": len(branches), "any": 1}
    wanted = config.wait_for
    needed = words[wanted] if isinstance(wanted, str) else wanted
    return c.ParallelConfig(branches=branches, needed=needed)


def _approval(model: models.ApprovalStep, step: Step, scopes: Scopes) -> c.ApprovalConfig:
    config = model.config
    users, groups = _people(config.assignees)
    later_users, later_groups = _people(config.escalate_to)
    return c.ApprovalConfig(
        title=compile_template(config.title),
        description=compile_template(config.description or ""),
        context=compile_template(config.context),
        users=users,
        groups=groups,
        quorum=config.quorum,
        form=_schema(config.form),
        allow_requester=config.allow_requester,
        remind_after=config.remind_after,
        later_users=later_users,
        later_groups=later_groups,
    )


def _people(model: models.Assignees | None) -> tuple[Template | None, Template | None]:
    if model is None:
        return None, None
    users, groups = model.users, model.groups
    return (
        None if users is None else compile_template(users),
        None if groups is None else compile_template(groups),
    )


def _workflow(model: models.WorkflowStep, step: Step, scopes: Scopes) -> c.WorkflowConfig:
    config = model.config
    return c.WorkflowConfig(
        workflow=config.workflow,
        range=None if config.version is None else parse_range(config.version),
        input=compile_template(config.input) if "input" in config.model_fields_set else None,
        wait=config.wait,
    )


_BUILDERS: dict[type[models.BaseStep], Callable[[Any, Step, Scopes], c.StepConfig]] = {
    models.ActionStep: _action,
    models.TransformStep: _transform,
    models.ChoiceStep: _choice,
    models.WaitStep: _wait,
    models.SucceedStep: _succeed,
    models.FailStep: _fail,
    models.GroupStep: _group,
    models.MapStep: _map,
    models.SignalStep: _signal,
    models.ParallelStep: _parallel,
    models.ApprovalStep: _approval,
    models.WorkflowStep: _workflow,
}
