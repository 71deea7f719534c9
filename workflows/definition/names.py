"""Whether formulas parse and name only what can exist where they stand."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from autopilot.common.problems import Problem
from workflows.definition.expressions import ExpressionError, compile_expression
from workflows.definition.fields import ROOT_NAMES
from workflows.definition.formulas import Formula, document_formulas, step_formulas
from workflows.definition.outline import Outline, Scope
from workflows.definition.paths import did_you_mean, quote
from workflows.definition.runnable import CODE as NOT_SUPPORTED_YET
from workflows.definition.runnable import name_not_usable
from workflows.definition.templates import compile_template
from workflows.definition.visibility import Visibility, execution_of

Reference = tuple[str, ...]

STEP_FIELDS = ("output", "state", "error", "attempts")
EXECUTION_FIELDS = ("id", "started_at", "workflow", "version")


class NameChecker:
    """Checks all formulas of one document."""

    def __init__(
        self, document: Mapping[str, Any], outline: Outline, visibility: Visibility
    ) -> None:
        self._document = document
        self._outline = outline
        self._visibility = visibility
        self._steps = outline.by_id()
        self._variables = _assigned_variables(outline)
        self._checks: dict[str, Callable[[Formula, Reference, bool], str | None]] = {
            "input": self._input,
            "vars": self._vars,
            "steps": self._step,
            "execution": self._execution,
            "error": self._error,
            "secrets": self._secrets,
        }

    def problems(self) -> Iterator[Problem]:
        """Findings in document order: the steps', then the document's own."""
        for step in self._outline.steps:
            for formula in step_formulas(step):
                yield from self._check(formula)
        for formula in document_formulas(self._document, self._outline.root):
            yield from self._check(formula)

    def _check(self, formula: Formula) -> Iterator[Problem]:
        try:
            compile_ = compile_expression if formula.is_expression else compile_template
            found = compile_(formula.source)
        except ExpressionError as error:
            yield Problem(formula.path, "expression.invalid", error.message)
            return
        optional = found.optional_references
        for reference in sorted(found.references | optional):
            finding = self._finding(formula, reference, reference in optional)
            if finding is not None:
                yield finding

    def _finding(self, formula: Formula, reference: Reference, optional: bool) -> Problem | None:
        root = reference[0]
        scope = formula.step.scope if formula.step else formula.scope
        local = scope.names if scope else frozenset()
        if root in local:
            return None
        known = ("input",) if formula.input_only else ROOT_NAMES
        check = self._checks.get(root) if root in known else None
        if check is not None:
            message = check(formula, reference, optional)
            if message:
                return Problem(formula.path, _CODES[root], message)
            not_yet = name_not_usable(root)
            return Problem(formula.path, NOT_SUPPORTED_YET, not_yet) if not_yet else None
        if self._can_have_caught(formula, root):
            return None
        names = sorted({*known, *local})
        return Problem(
            formula.path,
            "expression.unknown_name",
            f'There is no name "{quote(root)}" here; known are {", ".join(names)}.'
            f"{did_you_mean(root, names)}",
        )

    def _input(self, formula: Formula, reference: Reference, optional: bool) -> str | None:
        schema = self._document.get("input_schema")
        for index, key in enumerate(reference[1:], start=1):
            known = _closed_properties(schema)
            if known is None:
                return None
            if key not in known:
                return (
                    f'The input schema allows no "{quote(".".join(reference[: index + 1]))}".'
                    f"{did_you_mean(key, known)}"
                )
            schema = known[key]
        return None

    def _vars(self, formula: Formula, reference: Reference, optional: bool) -> str | None:
        if len(reference) < 2:
            return None
        name = reference[1]
        places = self._variables.get(name)
        if places is None:
            hint = did_you_mean(name, self._variables)
            return f'No step assigns the variable "{quote(name)}".{hint}'
        scope = formula.step.scope if formula.step else self._outline.root
        while (here := execution_of(scope)).parent is not None and id(here) not in places:
            scope = here.parent.scope
        if id(here) in places:
            return None
        holder = next(place.parent for place in places.values() if place.parent is not None)
        return (
            f'The variable "{quote(name)}" is only assigned inside the step "{holder.id}", whose '
            "variables cannot be seen from outside; read that step's output instead."
        )

    def _step(self, formula: Formula, reference: Reference, optional: bool) -> str | None:
        if len(reference) < 2:
            return None
        id_ = reference[1]
        target = self._steps.get(id_)
        if target is None:
            return f'There is no step with the id "{quote(id_)}".{did_you_mean(id_, self._steps)}'
        if len(reference) > 2 and reference[2] not in STEP_FIELDS:
            return (
                f'A step has no "{quote(reference[2])}": expected one of {", ".join(STEP_FIELDS)}.'
            )
        if optional or (formula.step and not self._visibility.is_reachable(formula.step)):
            return None
        done = formula.sees_own_output
        if self._visibility.can_have_run(target, before=formula.step, done=done):
            return None
        where = f'"{formula.step.id}"' if formula.step else "the end"
        return f'The step "{id_}" cannot have run before {where} on any way.'

    def _execution(self, formula: Formula, reference: Reference, optional: bool) -> str | None:
        if len(reference) < 2 or reference[1] in EXECUTION_FIELDS:
            return None
        return (
            f'An execution has no "{quote(reference[1])}": expected one of '
            f"{', '.join(EXECUTION_FIELDS)}."
        )

    def _error(self, formula: Formula, reference: Reference, optional: bool) -> str | None:
        if self._can_have_caught(formula) or (
            formula.step and not self._visibility.is_reachable(formula.step)
        ):
            return None
        return 'The name "error" exists only in steps that a "catch" leads to, and in a "finally".'

    def _can_have_caught(self, formula: Formula, name: str = "") -> bool:
        done = formula.sees_own_output
        return self._visibility.can_have_caught(formula.step, name, done=done)

    def _secrets(self, formula: Formula, reference: Reference, optional: bool) -> str | None:
        if not formula.secrets:
            return "Secrets can be used only in the parameters of an action (its `with`)."
        if len(reference) < 2:
            return "Name one secret, such as `secrets.API_TOKEN`; all of them cannot be used."
        return None


_CODES = {
    "input": "expression.unknown_input",
    "vars": "expression.unknown_variable",
    "steps": "expression.step_not_available",
    "execution": "expression.unknown_field",
    "error": "expression.no_error_here",
    "secrets": "expression.no_secrets_here",
}


def _assigned_variables(outline: Outline) -> dict[str, dict[int, Scope]]:
    """By variable, the scopes (by identity) in whose executions some step assigns it."""
    found: dict[str, dict[int, Scope]] = {}
    for step in outline.steps:
        assign = step.raw.get("assign")
        for name in assign if isinstance(assign, dict) else ():
            if isinstance(name, str):
                place = execution_of(step.scope)
                found.setdefault(name, {})[id(place)] = place
    return found


def _closed_properties(schema: object) -> dict[str, Any] | None:
    """The properties of a schema that forbids all others; None when there may be more."""
    if not isinstance(schema, dict) or schema.get("additionalProperties") is not False:
        return None
    if "patternProperties" in schema:
        return None
    properties = schema.get("properties", {})
    return properties if isinstance(properties, dict) else None
