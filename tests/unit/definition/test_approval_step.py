"""What a definition may say of an approval."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from tests.unit.definition.catalogs import CATALOG, document
from workflows.definition.compiled import ApprovalConfig, compile_definition
from workflows.definition.validation import validate_definition


def ask(**config: Any) -> dict[str, Any]:
    return document({"id": "ask", "type": "approval", "config": {"title": "Pay?", **config}})


def found(**config: Any) -> list[tuple[str, str]]:
    return [
        (each.path.removeprefix("$.steps[0].config"), each.code)
        for each in validate_definition(ask(**config), catalog=CATALOG)
    ]


def test_a_whole_one_compiles() -> None:
    config = {
        "context": {"sum": "{{ input.sum }}"},
        "assignees": {"users": ["anna"]},
        "escalate_to": {"groups": ["Board"]},
        "remind_after": "1h",
        "form": {"type": "object"},
        "quorum": 2,
    }
    assert found(**config) == []
    compiled = compile_definition(ask(**config)).steps["ask"].config
    assert isinstance(compiled, ApprovalConfig)
    assert (compiled.quorum, compiled.remind_after) == (2, timedelta(hours=1))
    assert (compiled.groups, compiled.later_users) == (None, None)
    assert compiled.form is not None
    assert compiled.context.value == {"sum": "{{ input.sum }}"}


def test_what_cannot_be_is_refused_at_its_place() -> None:
    assert found(escalate_to={"users": ["bo"]}) == [(".escalate_to", "approval.remind_after")]
    assert found(context={"a": ["{{ inputt.x }}"]}) == [
        (".context.a[0]", "expression.unknown_name")
    ]
    assert found(assignees={"users": ["{{ secrets.X }}"]})[0][0] == ".assignees.users[0]"
    assert found(form={"type": "objekt"}) == [(".form.type", "schema.invalid")]
    assert found(quorum=0) != []
