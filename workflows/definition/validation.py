"""All problems of a definition at once, each with its JSON path, a stable code and a sentence."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain, islice
from typing import Any

from autopilot.common.problems import Problem
from workflows.definition.action_calls import find_action_problems
from workflows.definition.catalog import ActionCatalog
from workflows.definition.document import MAX_STEPS
from workflows.definition.flow import find_flow_problems
from workflows.definition.formulas import document_formulas, step_formulas
from workflows.definition.json_values import exceeds_bytes, find_unstorable
from workflows.definition.literals import find_literal_problems
from workflows.definition.names import NameChecker
from workflows.definition.outline import MAX_SCOPE_DEPTH, Outline, read_outline
from workflows.definition.paths import join
from workflows.definition.placement import find_placement_problems
from workflows.definition.redaction import find_redact_problems
from workflows.definition.schema_checks import check_schema
from workflows.definition.schemas import kind_of
from workflows.definition.shape import find_shape_problems
from workflows.definition.visibility import Visibility

MAX_DOCUMENT_BYTES = 1024 * 1024
MAX_FORMULAS = 10_000
MAX_PROBLEMS = 200


def validate_definition(document: object, *, catalog: ActionCatalog) -> list[Problem]:
    """What is wrong with a definition; empty when it may be saved and run.

    Never raises for any document. Findings come in a stable order: text and numbers that cannot
    be stored, shape, flow, expressions, literals and where fields stand, actions, schemas.
    At most 200 are returned, with a last one (`definition.more`) that says so. A document that is
    no object, or outside the bounds of size or nesting, gets that finding alone.
    """
    return check_definition(document, catalog=catalog)


def check_definition(document: object, *, catalog: ActionCatalog | None) -> list[Problem]:
    """`validate_definition`, or all of it that needs no registered actions."""
    if not isinstance(document, dict):
        return [Problem("$", "definition.no_object", _no_object(document))]
    if exceeds_bytes(document, MAX_DOCUMENT_BYTES):
        limit = f"{MAX_DOCUMENT_BYTES // (1024 * 1024)} MiB"
        message = f"A definition may have {limit} of JSON at most."
        return [Problem("$", "definition.too_large", message)]
    unstorable = list(islice(find_unstorable(document), MAX_PROBLEMS + 1))
    if any(problem.code in ("json.depth", "json.key", "json.type") for problem in unstorable):
        return unstorable
    outline = read_outline(document)
    bounds = list(_bound_problems(document, outline))
    if bounds:
        return unstorable + bounds
    return _first_of_each(unstorable, _findings(document, outline, catalog))


def _no_object(document: object) -> str:
    return f"A definition must be an object, got {kind_of(document)}."


def _bound_problems(document: dict[str, Any], outline: Outline) -> Iterator[Problem]:
    if len(outline.steps) > MAX_STEPS:
        message = f"There are {len(outline.steps):,} steps; at most {MAX_STEPS:,} are allowed."
        yield Problem("$.steps", "definition.too_many_steps", message)
    for scope in outline.too_deep:
        message = f"Steps may be nested {MAX_SCOPE_DEPTH} levels deep at most."
        yield Problem(scope.path, "definition.too_deep", message)
    formulas = chain(document_formulas(document, outline.root), *map(step_formulas, outline.steps))
    if any(True for _ in islice(formulas, MAX_FORMULAS, None)):
        message = f"A definition may have {MAX_FORMULAS:,} expressions at most."
        yield Problem("$", "definition.too_many_expressions", message)


def _findings(
    document: dict[str, Any], outline: Outline, catalog: ActionCatalog | None
) -> Iterator[Problem]:
    visibility = Visibility(outline)
    yield from find_shape_problems(document)
    yield from find_flow_problems(outline, visibility)
    yield from NameChecker(document, outline, visibility).problems()
    yield from find_literal_problems(outline)
    yield from find_placement_problems(outline)
    yield from find_redact_problems(document, outline)
    if catalog is not None:
        yield from find_action_problems(outline, catalog)
    yield from _schema_problems(document, outline)


def _schema_problems(document: dict[str, Any], outline: Outline) -> Iterator[Problem]:
    for field in ("input_schema", "output_schema"):
        if isinstance(document.get(field), dict):
            yield from check_schema(document[field], join("$", field))
    for step in outline.steps:
        field = _SCHEMA_FIELDS.get(step.type, "")
        if isinstance(step.config.get(field), dict):
            yield from check_schema(step.config[field], join(step.config_path, field))


_SCHEMA_FIELDS = {"signal": "schema", "approval": "form"}


def _first_of_each(unstorable: list[Problem], found: Iterator[Problem]) -> list[Problem]:
    """Without repetitions, and without what merely follows from text that cannot be stored."""
    bad_places = {problem.path for problem in unstorable}
    kept = dict.fromkeys(unstorable)
    for problem in found:
        if problem.path not in bad_places or problem.code.startswith("json."):
            kept.setdefault(problem)
        if len(kept) > MAX_PROBLEMS:
            more = f"There are more problems than these {MAX_PROBLEMS}."
            return [*list(kept)[:MAX_PROBLEMS], Problem("$", "definition.more", more)]
    return list(kept)
