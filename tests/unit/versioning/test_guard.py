"""The smallest honest bump between two definitions, with its reasons."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest

from workflows.versioning.contract import Bump
from workflows.versioning.guard import judge, suggest
from workflows.versioning.semver import parse

TEXT = {"type": "string"}
BASE: dict[str, Any] = {
    "name": "Orders",
    "input_schema": {"type": "object", "properties": {"id": {"type": "integer"}}},
    "output_schema": {"type": "object", "properties": {"state": {"enum": ["paid", "open"]}}},
    "steps": [
        {"id": "call", "name": "Call", "type": "action", "config": {"action": "noop"}},
        {"id": "paid", "type": "signal", "config": {"signal": "order.paid", "schema": TEXT}},
        {
            "id": "ask",
            "type": "approval",
            "config": {"title": "Ship it?", "form": {"type": "object", "title": "Answer"}},
        },
        {
            "id": "both",
            "type": "parallel",
            "config": {
                "branches": [
                    {"name": "a", "steps": [{"id": "wait", "type": "wait", "config": {}}]},
                    {"name": "b", "steps": [{"id": "build", "type": "transform", "config": {}}]},
                ]
            },
        },
        {"id": "stop", "type": "fail", "config": {"error": "order.lost", "message": "Lost."}},
    ],
}


def changed(change: Callable[[dict[str, Any]], Any]) -> dict[str, Any]:
    document = copy.deepcopy(BASE)
    change(document)
    return document


def config(document: dict[str, Any], at: int) -> dict[str, Any]:
    found: dict[str, Any] = document["steps"][at]["config"]
    return found


CASES: list[tuple[Callable[[dict[str, Any]], Any], str, str, str]] = [
    # The schemas.
    (lambda d: d.pop("input_schema"), "minor", "input.widened", "$.input_schema"),
    (
        lambda d: d["input_schema"].update(required=["id"]),
        "major",
        "input.narrowed",
        "$.input_schema.required",
    ),
    (
        lambda d: d["input_schema"]["properties"]["id"].update(type="number"),
        "minor",
        "input.widened",
        "$.input_schema",
    ),
    (
        lambda d: d["input_schema"].update(title="An order"),
        "patch",
        "text.schema",
        "$.input_schema.title",
    ),
    (lambda d: d.pop("output_schema"), "major", "output.removed", "$.output_schema"),
    (
        lambda d: d["output_schema"]["properties"]["state"]["enum"].append("lost"),
        "major",
        "output.widened",
        "$.output_schema.properties.state.enum",
    ),
    (
        lambda d: d["output_schema"].update(required=["state"]),
        "minor",
        "output.narrowed",
        "$.output_schema",
    ),
    # Signals, approvals, errors.
    (
        lambda d: config(d, 1).update(signal="order.done"),
        "major",
        "signal.removed",
        "$.steps[1].config.signal",
    ),
    (
        lambda d: config(d, 1).update(schema={"type": "string", "maxLength": 3}),
        "major",
        "signal.narrowed",
        "$.steps[1].config.schema.maxLength",
    ),
    (
        lambda d: config(d, 1).pop("schema"),
        "minor",
        "signal.widened",
        "$.steps[1].config.schema",
    ),
    (
        lambda d: config(d, 1).update(correlation="{{ input.id }}"),
        "major",
        "signal.correlation",
        "$.steps[1].config.correlation",
    ),
    (
        lambda d: config(d, 2)["form"].update(required=["note"]),
        "major",
        "approval.narrowed",
        "$.steps[2].config.form.required",
    ),
    (
        lambda d: config(d, 2)["form"].update(title="Your answer"),
        "patch",
        "text.schema",
        "$.steps[2].config.form.title",
    ),
    (
        lambda d: config(d, 2).update(title="Shall it go?"),
        "patch",
        "text.changed",
        "$.steps[2].config.title",
    ),
    (
        lambda d: config(d, 2).update(quorum=2),
        "minor",
        "behaviour.changed",
        "$.steps[2].config.quorum",
    ),
    (lambda d: d["steps"].pop(2), "major", "approval.removed", "$.steps[2]"),
    (
        lambda d: config(d, 4).update(error="order.gone"),
        "major",
        "error.removed",
        "$.steps[4].config.error",
    ),
    # The steps.
    (lambda d: d["steps"].pop(0), "major", "step.removed", "$.steps[0]"),
    (
        lambda d: d["steps"][0].update(type="wait"),
        "major",
        "step.type",
        "$.steps[0].type",
    ),
    (
        lambda d: config(d, 3)["branches"].reverse(),
        "major",
        "step.scope",
        "$.steps[3].config.branches[1].steps[0]",
    ),
    (
        lambda d: d["steps"].append({"id": "late", "type": "action", "config": {}}),
        "minor",
        "step.added",
        "$.steps[5]",
    ),
    (
        lambda d: d["steps"].insert(0, d["steps"].pop(1)),
        "minor",
        "behaviour.moved",
        "$.steps[0]",
    ),
    (
        lambda d: config(d, 0).update(action="log"),
        "minor",
        "behaviour.changed",
        "$.steps[0].config.action",
    ),
    (lambda d: d.update(timeout="PT1H"), "minor", "behaviour.changed", "$.timeout"),
    # Texts.
    (lambda d: d["steps"][0].update(name="Ring"), "patch", "text.changed", "$.steps[0].name"),
    (lambda d: d.update(description="All of it."), "patch", "text.changed", "$.description"),
    (lambda d: d.update(labels={"team": "a"}), "patch", "text.changed", "$.labels"),
    (
        lambda d: config(d, 4).update(message="It is lost."),
        "patch",
        "text.changed",
        "$.steps[4].config.message",
    ),
]


# The text of a function holds its address, and two runs side by side must have the same names.
@pytest.mark.parametrize(
    ("change", "bump", "kind", "path"),
    CASES,
    ids=[f"{number}-{kind}-{path}" for number, (_, _, kind, path) in enumerate(CASES)],
)
def test_a_change_needs_this_bump(
    change: Callable[[dict[str, Any]], Any], bump: str, kind: str, path: str
) -> None:
    found = judge(BASE, changed(change))
    assert found.bump.word == bump
    assert (kind, path, bump) in [(each.kind, each.path, each.bump.word) for each in found.reasons]
    assert found.reasons[0].bump == found.bump


def test_a_text_of_a_schema_is_no_change_of_behaviour() -> None:
    found = judge(BASE, changed(lambda d: d["input_schema"].update(required=["id"], title="x")))
    assert [each.kind for each in found.reasons] == ["input.narrowed"]


def test_a_breaking_input_is_explained() -> None:
    found = judge(BASE, changed(lambda d: d["input_schema"].update(required=["id"])))
    assert [each.as_dict() for each in found.reasons] == [
        {
            "path": "$.input_schema.required",
            "kind": "input.narrowed",
            "sentence": 'An input that was taken is refused now: The field "id" is missing.',
            "bump": "major",
            "example": "{}",
        }
    ]


def test_what_is_unknown_counts_as_breaking() -> None:
    old = changed(lambda d: d["input_schema"].update(propertyNames={"pattern": "^ab$"}))
    new = changed(lambda d: d["input_schema"].update(propertyNames={"pattern": "^a"}))
    found = judge(old, new)
    assert (found.bump, found.reasons[0].kind) == (Bump.MAJOR, "input.unknown")
    assert found.reasons[0].sentence.startswith(
        "Whether this breaks anybody is unknown, which counts as breaking."
    )


def test_no_change_needs_no_bump_and_still_a_new_number() -> None:
    found = judge(BASE, copy.deepcopy(BASE))
    assert (found.bump, found.reasons) == (Bump.NONE, ())
    assert str(suggest(parse("1.2.3"), BASE, copy.deepcopy(BASE))) == "1.2.4"


@pytest.mark.parametrize(
    ("change", "number"),
    [
        (lambda d: d.pop("output_schema"), "2.0.0"),
        (lambda d: d.update(timeout="PT1H"), "1.3.0"),
        (lambda d: d.update(description="x"), "1.2.4"),
    ],
)
def test_the_suggested_number(change: Callable[[dict[str, Any]], Any], number: str) -> None:
    previous = parse("1.2.3")
    found = judge(BASE, changed(change))
    assert str(found.number(previous)) == number
    assert found.allows(previous, parse("2.0.0"))
    assert found.allows(previous, parse("1.2.4")) is (number == "1.2.4")


def test_the_list_of_reasons_is_bounded() -> None:
    many = changed(
        lambda d: d["steps"].extend(
            {"id": f"s{at}", "type": "action", "config": {}} for at in range(150)
        )
    )
    found = judge(BASE, many)
    assert (len(found.reasons), found.more) == (100, 50)
