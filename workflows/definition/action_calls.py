"""Whether the actions that a document calls exist and accept their literal parameters."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from autopilot.common.problems import Problem
from workflows.definition.catalog import ActionCatalog, ActionInfo
from workflows.definition.expressions import ExpressionError
from workflows.definition.outline import Outline
from workflows.definition.paths import did_you_mean, join, quote
from workflows.definition.templates import compile_template


def find_action_problems(outline: Outline, catalog: ActionCatalog) -> Iterator[Problem]:
    """For every call, in action steps and compensations."""
    for step in outline.steps:
        if step.type == "action":
            yield from _call_problems(step.config, step.config_path, catalog)
        compensate = step.raw.get("compensate")
        if isinstance(compensate, dict):
            yield from _call_problems(compensate, join(step.path, "compensate"), catalog)


def _call_problems(call: dict[str, Any], path: str, catalog: ActionCatalog) -> Iterator[Problem]:
    name = call.get("action")
    if not isinstance(name, str):
        return
    info = catalog.get(name)
    if info is None:
        hint = did_you_mean(name, catalog.names())
        message = f'There is no action "{quote(name)}".{hint}'
        yield Problem(join(path, "action"), "action.unknown", message)
        return
    params = call.get("with")
    if params is None:
        params = {}
    if isinstance(params, dict):
        yield from _param_problems(params, join(path, "with"), info)


def _param_problems(params: dict[str, Any], path: str, info: ActionInfo) -> Iterator[Problem]:
    known = dict(params)
    partial = False
    for name, value in params.items():
        try:
            template = compile_template(value)
        except ExpressionError:
            partial = True  # reported where expressions are checked
            continue
        if template.is_literal:
            known[name] = template.value
        else:
            partial = True
    for problem in info.check_params(known, partial=partial):
        yield Problem(path + problem.path.removeprefix("$"), problem.code, problem.message)
