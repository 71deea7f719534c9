"""Where expressions and templates stand in a document, and what each may name there."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from workflows.definition.outline import Scope, Step
from workflows.definition.paths import join


@dataclass(frozen=True, slots=True)
class Formula:
    """One expression, or one text that is a template.

    step: whose field it is; None for the document's own.
    sees_own_output: the step is over when it is evaluated.
    secrets: `secrets.<NAME>` may be used.
    input_only: nothing but `input` is known yet.
    """

    path: str
    source: str
    is_expression: bool
    step: Step | None = None
    scope: Scope | None = None
    sees_own_output: bool = False
    secrets: bool = False
    input_only: bool = False


def document_formulas(document: Mapping[str, Any], root: Scope) -> Iterator[Formula]:
    """The formulas outside steps."""
    for path, text in texts_in(document.get("output"), "$.output"):
        yield Formula(path, text, is_expression=False, scope=root)
    concurrency = document.get("concurrency")
    if isinstance(concurrency, dict) and isinstance(concurrency.get("key"), str):
        path = "$.concurrency.key"
        yield Formula(path, concurrency["key"], is_expression=True, scope=root, input_only=True)


def step_formulas(step: Step) -> Iterator[Formula]:
    """The formulas of one step, without those of the steps inside it."""
    if isinstance(step.raw.get("when"), str):
        yield Formula(join(step.path, "when"), step.raw["when"], is_expression=True, step=step)
    find = _CONFIG_FORMULAS.get(step.type)
    if find is not None:
        yield from find(step)
    assign = step.raw.get("assign")
    if isinstance(assign, dict):
        for path, text in texts_in(assign, join(step.path, "assign")):
            yield Formula(path, text, is_expression=False, step=step, sees_own_output=True)
    compensate = step.raw.get("compensate")
    if isinstance(compensate, dict):
        for path, text in texts_in(compensate.get("with"), join(step.path, "compensate.with")):
            yield Formula(
                path, text, is_expression=False, step=step, sees_own_output=True, secrets=True
            )


def texts_in(value: object, path: str) -> Iterator[tuple[str, str]]:
    """Every text inside a JSON value that holds an expression, with its path."""
    if isinstance(value, str):
        if "{{" in value or "}}" in value:
            yield path, value
    elif isinstance(value, dict):
        for key, item in value.items():
            if isinstance(key, str):
                yield from texts_in(item, join(path, key))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from texts_in(item, f"{path}[{index}]")


def _templates(*fields: str, secrets: bool = False) -> Callable[[Step], Iterator[Formula]]:
    def find(step: Step) -> Iterator[Formula]:
        for field in fields:
            for path, text in texts_in(step.config.get(field), join(step.config_path, field)):
                yield Formula(path, text, is_expression=False, step=step, secrets=secrets)

    return find


def _choice(step: Step) -> Iterator[Formula]:
    choices = step.config.get("choices")
    for index, way in enumerate(choices if isinstance(choices, list) else []):
        if isinstance(way, dict) and isinstance(way.get("when"), str):
            path = f"{step.config_path}.choices[{index}].when"
            yield Formula(path, way["when"], is_expression=True, step=step)


def _map(step: Step) -> Iterator[Formula]:
    items = step.config.get("items")
    if isinstance(items, str):
        yield Formula(join(step.config_path, "items"), items, is_expression=True, step=step)


_CONFIG_FORMULAS: dict[str, Callable[[Step], Iterator[Formula]]] = {
    "action": _templates("with", secrets=True),
    "transform": _templates("output"),
    "choice": _choice,
    "map": _map,
    "wait": _templates("duration", "until"),
    "signal": _templates("correlation"),
    "approval": _templates("title", "description", "context", "assignees", "escalate_to"),
    "workflow": _templates("input"),
    "fail": _templates("error", "message"),
    "succeed": _templates("output", "continue_as_new"),
}
