"""An expression or a template tried against what an execution has come to; nothing is changed.

What is hidden stays hidden: `•••` takes part in place of every such value.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, ClassVar

from autopilot.accounts.actors import Actor
from autopilot.accounts.roles import Permission
from autopilot.common import clock
from autopilot.common.errors import Invalid
from autopilot.common.problems import Problem
from executions.engine.undo import STEP_TYPE as UNDO_TYPE
from executions.models import Execution, Kind, StepExecution
from executions.runtime.control import control_from_json
from executions.runtime.outers import item_names
from workflows.compiled import compiled_version
from workflows.definition.expressions import Expression, ExpressionError, compile_expression
from workflows.definition.templates import Template, compile_template


class EvaluationFailed(Invalid):
    """The expression comes to nothing over this data; `details` has the place."""

    code: ClassVar[str] = "expression"


@dataclass(frozen=True, slots=True)
class Evaluated:
    """What it comes to. step: the one whose view was taken; empty = all that there is."""

    value: Any
    step: str


@dataclass(frozen=True, slots=True)
class _View:
    """What expressions of an execution see."""

    input: Any
    variables: Mapping[str, Any]
    steps: Mapping[str, Any]
    names: Mapping[str, Any]
    error: Any


def evaluate_expression(
    *, actor: Actor, execution: Execution, expression: str, step: str = ""
) -> Evaluated:
    """The value of an expression over the data of an execution.

    step: only what was there when it came to this step, the last time; all of it if it never did.
    Variables are as they are now. Raises EvaluationFailed with the sentence of the expression.
    """
    actor.require(Permission.EXECUTION_VIEW)
    try:
        compiled = compile_expression(expression)
        return _evaluate(execution, compiled, step)
    except ExpressionError as error:
        raise _failed(error, "$.expression") from None


def evaluate_template(
    *, actor: Actor, execution: Execution, template: Any, step: str = ""
) -> Evaluated:
    """The same for any JSON value whose texts may hold `{{ expressions }}`."""
    actor.require(Permission.EXECUTION_VIEW)
    try:
        compiled = compile_template(template)
        return _evaluate(execution, compiled, step)
    except ExpressionError as error:
        raise _failed(error, "$.template") from None


def _evaluate(execution: Execution, formula: Expression | Template, step: str) -> Evaluated:
    if any(path[0] == "secrets" for path in formula.references | formula.optional_references):
        message = "Secrets are only read when an action is called; try the rest without them."
        raise ExpressionError(message, source="")
    seq = _reached(execution, step)
    scope = _scope(execution, _view(execution, seq))
    now = clock.now()
    if isinstance(formula, Expression):
        value = formula.evaluate(scope, now=now)
    else:
        value = formula.render(scope, now=now)
    return Evaluated(value, step if seq is not None else "")


def _failed(error: ExpressionError, path: str) -> EvaluationFailed:
    problem = Problem(f"{path}{error.path}", EvaluationFailed.code, error.message)
    return EvaluationFailed(error.message, details=[problem])


def _scope(execution: Execution, view: _View) -> dict[str, Any]:
    """The names as the engine gives them to expressions (`engine/snapshot.scope_of`)."""
    started: datetime | None = execution.started_at
    return {
        "input": view.input,
        "vars": view.variables,
        "steps": view.steps,
        "execution": {
            "id": execution.pk,
            "started_at": started.isoformat() if started else None,
            "workflow": execution.workflow.slug,
            "version": execution.version.version,
        },
        "error": view.error,
        **view.names,
    }


def _view(execution: Execution, before: int | None) -> _View:
    """before: number of the step it stands at; None = it has gone all its way."""
    control = control_from_json(_plain(execution.control))
    own = _View(
        input=_plain(execution.input),
        variables=_plain(execution.variables) or {},
        steps=_facts(execution, before),
        names=control.names,
        error=control.caught,
    )
    parent = execution.parent
    if parent is None or execution.kind not in (Kind.ITEM, Kind.BRANCH):
        return own
    around = _view(parent, _reached(parent, execution.parent_step))
    index = execution.item_index or 0
    definition = compiled_version(execution.version_id)
    item = item_names(definition, execution.parent_step, own.input, index)
    return _View(
        input=around.input,
        variables={**around.variables, **own.variables},
        steps={**around.steps, **own.steps},
        names={**around.names, **item, **own.names},
        error=own.error or around.error,
    )


def _reached(execution: Execution, step: str) -> int | None:
    """The number under which it came to a step the last time; None if it never did."""
    if not step:
        return None
    if execution.current_step == step and not execution.has_ended:
        return int(execution.current_seq)
    rows = StepExecution.objects.filter(execution=execution, step_id=step)
    return rows.exclude(type=UNDO_TYPE).order_by("-seq").values_list("seq", flat=True).first()


def _facts(execution: Execution, before: int | None) -> dict[str, Any]:
    rows = StepExecution.objects.filter(execution=execution).exclude(type=UNDO_TYPE)
    if before is not None:
        rows = rows.filter(seq__lt=before)
    latest = rows.order_by("step_id", "-seq", "-attempt").distinct("step_id")
    return {
        row.step_id: {
            "output": _plain(row.output),
            "state": row.state,
            "error": _plain(row.error),
            "attempts": row.attempt,
        }
        for row in latest
    }


def _plain(value: Any) -> Any:
    """A value read through a model as JSON, in which what is hidden is nothing but `•••`."""
    return json.loads(json.dumps(value))
