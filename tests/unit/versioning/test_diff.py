"""What is different between two definitions, by meaning."""

from __future__ import annotations

import copy
import time
from typing import Any

from workflows.versioning.diff import compare


def step(id: str, **fields: Any) -> dict[str, Any]:
    return {"id": id, "type": "action", "config": {"action": "noop"}, **fields}


def group(id: str, *steps: dict[str, Any]) -> dict[str, Any]:
    return {"id": id, "type": "group", "config": {"steps": list(steps)}}


def document(*steps: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return {"name": "One", **fields, "steps": list(steps)}


def kinds(old: dict[str, Any], new: dict[str, Any]) -> list[tuple[str, str, str]]:
    return [(str(each.kind), each.was, each.path) for each in compare(old, new)]


A, B, C = step("a", when="1"), step("b", when="2"), step("c", when="3")


def test_nothing() -> None:
    assert compare(document(A, B), copy.deepcopy(document(A, B))) == []


def test_added_and_removed() -> None:
    assert kinds(document(A, B), document(A, step("d", when="4"))) == [
        ("step.added", "", "$.steps[1]"),
        ("step.removed", "$.steps[1]", ""),
    ]


def test_a_step_with_the_same_content_under_another_id_is_renamed() -> None:
    (found,) = compare(document(A, B), document(A, {**B, "id": "z"}))
    assert found.as_dict() == {
        "kind": "step.renamed",
        "path": "$.steps[1]",
        "was": "$.steps[1]",
        "step": "z",
        "old_step": "b",
        "type": "action",
        "name": "",
        "field_changes": [{"path": "$.steps[1].id", "text": False, "before": "b", "after": "z"}],
    }


def test_of_equal_steps_the_one_with_the_same_name_is_the_renamed_one() -> None:
    old = document(step("a", name="One"), step("b", name="Two"))
    new = document(step("x", name="Two"), step("y", name="One"))
    found = {each.old_step: each.step for each in compare(old, new)}
    assert found == {"a": "y", "b": "x"}


def test_another_name_under_the_same_id() -> None:
    (found,) = compare(document({**A, "name": "One"}), document({**A, "name": "Two"}))
    assert (str(found.kind), [each.as_dict() for each in found.fields]) == (
        "step.renamed",
        [{"path": "$.steps[0].name", "text": True, "before": "One", "after": "Two"}],
    )


def test_the_fewest_steps_are_moved() -> None:
    old = document(A, B, C, step("d"))
    assert kinds(old, document(C, A, B, step("d"))) == [("step.moved", "$.steps[2]", "$.steps[0]")]


def test_into_another_scope() -> None:
    old = document(group("g", A), B)
    assert kinds(old, document(group("g", A, B))) == [
        ("step.moved", "$.steps[1]", "$.steps[0].config.steps[1]")
    ]


def test_what_is_inside_of_a_renamed_step_is_not_moved() -> None:
    assert kinds(document(group("g", A)), document(group("h", A))) == [
        ("step.renamed", "$.steps[0]", "$.steps[0]")
    ]


def test_a_branch_is_known_by_its_name() -> None:
    def both(*names: str) -> dict[str, Any]:
        branches = [{"name": name, "steps": [step(name, when=name)]} for name in names]
        return document({"id": "p", "type": "parallel", "config": {"branches": branches}})

    assert kinds(both("x", "y"), both("x", "y", "z")) == [
        ("step.changed", "$.steps[0]", "$.steps[0]"),
        ("step.added", "", "$.steps[0].config.branches[2].steps[0]"),
    ]


def test_which_field_is_changed() -> None:
    old = document({**A, "retry": {"max_attempts": 3}, "timeout": "PT1S"})
    new = document({**A, "retry": {"max_attempts": 5}, "description": "x"})
    (found,) = compare(old, new)
    assert [each.as_dict() for each in found.fields] == [
        {"path": "$.steps[0].retry.max_attempts", "text": False, "before": 3, "after": 5},
        {"path": "$.steps[0].description", "text": True, "after": "x"},
        {"path": "$.steps[0].timeout", "text": False, "before": "PT1S"},
    ]


def test_true_is_not_one() -> None:
    old, new = (document({**A, "config": {"with": {"x": each}}}) for each in (True, 1))
    assert [each.as_dict() for each in compare(old, new)[0].fields] == [
        {"path": "$.steps[0].config.with.x", "text": False, "before": True, "after": 1}
    ]


def test_the_document_and_its_schemas() -> None:
    old = document(A, input_schema={"type": "object"}, timeout="PT1H")
    new = document(A, input_schema={"type": "string"}, output="{{ 1 }}")
    assert kinds(old, new) == [
        ("schema.changed", "$.input_schema", "$.input_schema"),
        ("document.changed", "", "$.output"),
        ("document.changed", "$.timeout", ""),
    ]


def test_a_thousand_steps_are_cheap() -> None:
    steps = [step(f"s{at}", when=str(at)) for at in range(1000)]
    other = [{**each, "id": f"t{at}"} for at, each in enumerate(reversed(steps))]
    start = time.process_time()
    assert len(compare(document(*steps), document(*reversed(steps)))) == 999
    assert {str(each.kind) for each in compare(document(*steps), document(*other))} == {
        "step.renamed",
        "step.moved",
    }
    assert time.process_time() - start < 2
