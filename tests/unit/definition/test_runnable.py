"""What the language describes but this release cannot run yet; the cases come from the table."""

from __future__ import annotations

from typing import Any

import pytest

from autopilot.common.problems import Problem
from tests.unit.definition.catalogs import CATALOG, document, noop
from workflows.definition.compiled import DefinitionError, compile_definition
from workflows.definition.runnable import NOT_RUNNABLE, Place, Row
from workflows.definition.validation import validate_definition

STEPS: dict[str, dict[str, Any]] = {
    "parallel": {"branches": [{"name": "a", "steps": [noop()]}]},
    "map": {"items": "input.rows", "as": "row", "steps": [noop()]},
    "signal": {"signal": "paid", "schema": {"type": "object"}},
    "approval": {"title": "Pay {{ input.sum }}?", "form": {}},
    "group": {"steps": [noop()], "finally": [noop()]},
    "workflow": {"workflow": "child", "version": "^1.2", "input": {}},
}
STEP_FIELDS: dict[str, Any] = {
    "retry": {"max_attempts": 3},
    "catch": [{"errors": ["*"], "next": "end"}],
    "compensate": {"action": "noop"},
    "heartbeat": "30s",
}
CONFIG_FIELDS: dict[str, Any] = {"succeed.continue_as_new": {"input": {"n": 1}}}
DOCUMENT_FIELDS: dict[str, Any] = {
    "timeout": "1h",
    "defaults": {"timeout": 5},
    "concurrency": {"key": "input.customer", "limit": 2},
    "on_failure": "compensate",
    "redact": ["/input/card"],
}


def sample(row: Row) -> tuple[dict[str, Any], str]:
    """A document that is well formed and uses what the row says, and the path of that."""
    if row.place is Place.STEP_TYPE:
        return document({"type": row.name, "config": STEPS[row.name]}), "$.steps[0].type"
    if row.place is Place.STEP_FIELD:
        return document(noop(**{row.name: STEP_FIELDS[row.name]})), f"$.steps[0].{row.name}"
    if row.place is Place.CONFIG_FIELD:
        type_, field = row.name.split(".")
        step = {"type": type_, "config": {field: CONFIG_FIELDS[row.name]}}
        return document(step), f"$.steps[0].config.{field}"
    if row.place is Place.NAME:
        config = {"action": "noop", "with": {"key": f"{{{{ {row.name}.KEY }}}}"}}
        return document(noop(config=config)), "$.steps[0].config.with.key"
    return document(noop(), **{row.name: DOCUMENT_FIELDS[row.name]}), f"$.{row.name}"


@pytest.mark.parametrize("row", NOT_RUNNABLE, ids=lambda row: f"{row.place}: {row.name}")
def test_what_cannot_run_yet_is_refused_at_its_place(row: Row) -> None:
    doc, path = sample(row)
    (problem,) = validate_definition(doc, catalog=CATALOG)
    assert (problem.path, problem.code) == (path, "not_supported_yet")
    assert f'"{row.name.rpartition(".")[2]}" ({row.meaning})' in problem.message


@pytest.mark.parametrize("row", NOT_RUNNABLE, ids=lambda row: f"{row.place}: {row.name}")
def test_only_what_has_a_compiled_form_can_be_let_pass(row: Row) -> None:
    doc, path = sample(row)
    with pytest.raises(DefinitionError):
        compile_definition(doc)
    if row.compiled:
        compile_definition(doc, ignore_unsupported=True)
        return
    with pytest.raises(DefinitionError) as caught:
        compile_definition(doc, ignore_unsupported=True)
    assert [(p.path, p.code) for p in caught.value.details] == [(path, "not_supported_yet")]


def test_a_field_that_is_null_is_not_used() -> None:
    doc = document(noop(**dict.fromkeys(STEP_FIELDS)), **dict.fromkeys(DOCUMENT_FIELDS))
    found: list[Problem] = validate_definition(doc, catalog=CATALOG)
    assert found == []
