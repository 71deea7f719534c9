"""What the language describes but this release cannot use yet; the cases come from the table."""

from __future__ import annotations

from typing import Any

import pytest

from autopilot.common.problems import Problem
from tests.unit.definition.catalogs import CATALOG, document, noop
from workflows.definition.compiled import DefinitionError, compile_definition
from workflows.definition.runnable import NAMES_NOT_USABLE
from workflows.definition.validation import validate_definition

STEP_FIELDS = ("retry", "catch", "compensate", "heartbeat")
DOCUMENT_FIELDS = ("timeout", "defaults", "concurrency", "on_failure", "redact")


def using(name: str) -> dict[str, Any]:
    return document(noop(config={"action": "noop", "with": {"key": f"{{{{ {name}.KEY }}}}"}}))


@pytest.mark.parametrize("name", NAMES_NOT_USABLE)
def test_a_name_that_cannot_be_used_yet_is_refused_at_its_place(name: str) -> None:
    (problem,) = validate_definition(using(name), catalog=CATALOG)
    assert (problem.path, problem.code) == ("$.steps[0].config.with.key", "not_supported_yet")
    assert f'"{name}" ({NAMES_NOT_USABLE[name]})' in problem.message
    with pytest.raises(DefinitionError):
        compile_definition(using(name))


def test_a_field_that_is_null_is_not_used() -> None:
    doc = document(noop(**dict.fromkeys(STEP_FIELDS)), **dict.fromkeys(DOCUMENT_FIELDS))
    found: list[Problem] = validate_definition(doc, catalog=CATALOG)
    assert found == []
