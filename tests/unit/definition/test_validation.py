"""Definitions that are wrong: every problem at once, each at its path with its code."""

from __future__ import annotations

from typing import Any

import pytest

from tests.effort import takes_less_than
from tests.unit.definition.catalogs import CATALOG, SEED, document, noop
from workflows.definition.validation import validate_definition


def found(doc: object) -> list[tuple[str, str]]:
    return [(p.path, p.code) for p in validate_definition(doc, catalog=CATALOG)]


def message(doc: object) -> str:
    (problem,) = validate_definition(doc, catalog=CATALOG)
    return problem.message


def test_the_seed_form_is_valid() -> None:
    assert found(SEED) == []


def test_all_mistakes_of_a_document_come_back_at_once() -> None:
    doc = {
        "name": "Refund",
        "descripton": "misspelt",
        "input_schema": {
            "type": "object",
            "properties": {"order": {"type": "strin"}},
            "additionalProperties": False,
        },
        "labels": {"team": 7},
        "output": "{{ steps.nowhere.output }}",
        "concurrency": {"key": "input.order"},
        "steps": [
            {"id": "a", "type": "acton", "config": {}},
            {"id": "b", "type": "action", "config": {"action": "mail.sent"}},
            {"id": "b", "type": "transform", "config": {"output": "{{ input.total }}"}},
            {"id": "c", "type": "action", "config": {"action": "mail.send", "with": {"to": 5}}},
            {"id": "d", "type": "transform", "config": {"output": "{{ 1 + }}"}},
            {"id": "e", "type": "wait", "timeout": "soon", "config": {"duration": "5x"}},
            {
                "id": "f",
                "type": "choice",
                "config": {"choices": [{"when": "secrets.KEY == 1", "next": "nowhere"}]},
            },
            {"id": "g", "type": "transform", "config": {"output": "{{ steps.h.output }}\x00"}},
            {"id": "h", "type": "fail", "config": {"error": "not a code", "message": "no"}},
            {
                "id": "i",
                "type": "map",
                "config": {"items": "input.order", "steps": [noop(next="b")]},
            },
        ],
    }
    assert [place for place in found(doc) if place[1] != "not_supported_yet"] == [
        ("$.steps[7].config.output", "json.text"),
        ("$.labels.team", "field.label"),
        ("$.steps[0].type", "step.type_unknown"),
        ("$.steps[5].timeout", "field.duration"),
        ("$.steps[5].config.duration", "field.duration"),
        ("$.descripton", "field.unknown"),
        ("$.steps[2].id", "step.id_duplicate"),
        ("$.steps[6].config.choices[0].next", "step.next_unknown"),
        ("$.steps[9].config.steps[0].next", "step.next_other_scope"),
        ("$.steps[9]", "step.unreachable"),
        ("$.steps[2].config.output", "expression.unknown_input"),
        ("$.steps[4].config.output", "expression.invalid"),
        ("$.steps[6].config.choices[0].when", "expression.no_secrets_here"),
        ("$.output", "expression.step_not_available"),
        ("$.steps[8].config.error", "fail.error"),
        ("$.steps[1].config.action", "action.unknown"),
        ("$.steps[3].config.with.to", "params.type"),
        ("$.input_schema.properties.order.type", "schema.invalid"),
    ]


@pytest.mark.parametrize("doc", [None, [], "text", 3, True])
def test_a_document_must_be_an_object(doc: object) -> None:
    assert found(doc) == [("$", "definition.no_object")]


def test_what_is_missing_is_named() -> None:
    assert found({}) == [("$.name", "field.missing"), ("$.steps", "field.missing")]
    assert found(document()) == [("$.steps", "field.too_short")]
    assert found(document({})) == [("$.steps[0].type", "field.missing")]
    assert found(document(3)) == [("$.steps[0]", "field.type")]
    assert found(document({"type": "action"})) == [("$.steps[0].config", "field.missing")]


def test_an_unknown_step_type_lists_the_known_ones() -> None:
    assert message(document({"type": "aktion", "config": {}})) == (
        '"aktion" is no step type; known types are action, transform, choice, parallel, map, '
        'wait, signal, approval, group, workflow, fail, succeed. Did you mean "action"?'
    )


@pytest.mark.parametrize(
    ("step", "path", "hint"),
    [
        (noop(asign={}), "$.steps[0].asign", '"assign"'),
        (noop(config={"action": "noop", "wiht": {}}), "$.steps[0].config.wiht", '"with"'),
        (noop(action="noop"), "$.steps[0].action", ""),
        (
            {"type": "choice", "config": {"choices": [{"wen": "true", "next": "end"}]}},
            "$.steps[0].config.choices[0].wen",
            '"when"',
        ),
    ],
)
def test_a_misspelt_field_suggests_the_nearest(step: dict[str, Any], path: str, hint: str) -> None:
    problems = validate_definition(document(step), catalog=CATALOG)
    problem = next(p for p in problems if p.code == "field.unknown")
    assert problem.path == path
    assert hint in problem.message


def test_no_sentence_speaks_of_the_library() -> None:
    doc = document(
        {"type": 3},
        noop(config=[]),
        noop(id=4, when=True, assign=3, next=[]),
        {"type": "wait", "config": {}},
        {"type": "approval", "config": {"title": 3, "quorum": 0, "allow_requester": "yes"}},
        noop(retry={"backoff": "x", "max_attempts": 1.5, "errors": []}),
        version="one",
        slug="A B",
        name="x" * 201,
        on_failure="explode",
        redact="x",
        defaults=[],
    )
    problems = validate_definition(doc, catalog=CATALOG)
    assert len(problems) > 18
    for problem in problems:
        for word in ("pydantic", "Input should", "dict", "str ", "tag", "Extra", "validator"):
            assert word not in problem.message
        assert problem.message.endswith((".", "?"))
        assert problem.code != "field.invalid"


def test_duplicate_ids_are_refused_anywhere_in_the_document() -> None:
    inner = {"type": "group", "config": {"steps": [noop(id="a")]}}
    assert ("$.steps[1].config.steps[0].id", "step.id_duplicate") in found(
        document(noop(id="a"), inner)
    )


@pytest.mark.parametrize("id_", ["A", "1a", "a-b", "", "a" * 64, "é"])
def test_ids_that_are_no_identifiers(id_: str) -> None:
    assert found(document(noop(id=id_))) == [("$.steps[0].id", "step.id_invalid")]


@pytest.mark.parametrize("id_", ["end", "if", "true", "null"])
def test_ids_that_expressions_reserve(id_: str) -> None:
    assert found(document(noop(id=id_))) == [("$.steps[0].id", "step.id_reserved")]


def test_a_target_to_nowhere_is_one_problem_and_suggests_the_nearest() -> None:
    doc = document(noop(id="first", next="secnd"), noop(id="second"))
    assert found(doc) == [("$.steps[0].next", "step.next_unknown")]
    assert message(doc) == 'There is no step "secnd" to go to. Did you mean "second"?'


def test_steps_that_no_way_leads_to() -> None:
    doc = document(noop(id="a", next="c"), noop(id="b"), noop(id="c"))
    assert found(doc) == [("$.steps[1]", "step.unreachable")]
    doc = document({"id": "a", "type": "succeed"}, noop(id="b"))
    assert found(doc) == [("$.steps[1]", "step.unreachable")]
    doc = document({"id": "a", "type": "succeed", "when": "input.done"}, noop(id="b"))
    assert found(doc) == []


def test_a_loop_is_allowed() -> None:
    choice = {
        "id": "more",
        "type": "choice",
        "config": {"choices": [{"when": "vars.n < 3", "next": "work"}], "default": "end"},
    }
    work = noop(id="work", assign={"n": "{{ default(vars.n, 0) + 1 }}"})
    assert found(document(work, choice)) == []


def test_a_next_that_flow_never_follows_is_refused() -> None:
    doc = document({"type": "succeed", "next": "end"})
    assert found(doc) == [("$.steps[0].next", "step.next_unused")]


def test_wait_takes_exactly_one_of_two() -> None:
    def wait(**config: Any) -> list[tuple[str, str]]:
        return found(document({"type": "wait", "config": config}))

    assert wait() == [("$.steps[0].config", "wait.duration_or_until")]
    assert wait(duration=3, until="{{ input.at }}") == [
        ("$.steps[0].config", "wait.duration_or_until")
    ]
    assert wait(duration="{{ input.pause }}") == []
    assert wait(until="2030-01-31T09:00:00Z") == []
    assert wait(until="2030-01-31T09:00:00") == [("$.steps[0].config.until", "wait.until")]
    assert wait(until="tomorrow") == [("$.steps[0].config.until", "wait.until")]


def test_actions_and_their_literal_parameters() -> None:
    def call(name: str, **params: Any) -> list[tuple[str, str]]:
        return found(document(noop(config={"action": name, "with": params})))

    assert call("mail.send", to="a@example.com") == []
    assert call("mail.send") == [("$.steps[0].config.with.to", "params.missing")]
    assert call("mail.send", to="{{ input.to }}") == []
    assert call("mail.send", to="a", retries="{{ input.n }}") == []
    assert call("mail.send", retries="{{ input.n }}") == [
        ("$.steps[0].config.with.to", "params.missing")
    ]
    assert call("mail.send", to="{{ input.to }}", cc=1) == [
        ("$.steps[0].config.with.cc", "params.unknown")
    ]
    doc = document(noop(config={"action": "mail.sent"}))
    assert message(doc) == 'There is no action "mail.sent". Did you mean "mail.send"?'


def test_text_and_numbers_that_cannot_be_stored() -> None:
    doc = document(
        noop(config={"action": "noop", "with": {"a\x00": 1, "b": "\ud800", "c": float("nan")}})
    )
    assert found(doc) == [
        ('$.steps[0].config.with["a\\u0000"]', "json.text"),
        ("$.steps[0].config.with.b", "json.text"),
        ("$.steps[0].config.with.c", "json.number"),
    ]


def test_the_bounds_of_a_document() -> None:
    assert found(document(*[noop()] * 1001)) == [("$.steps", "definition.too_many_steps")]
    assert found({"name": "x" * 1024 * 1024}) == [("$", "definition.too_large")]
    deep: Any = []
    for _ in range(100_000):
        deep = [deep]
    assert [code for _, code in found(document(noop(), output=deep))] == ["json.depth"]
    nested = noop()
    for _ in range(11):
        nested = {"type": "group", "config": {"steps": [nested]}}
    assert [code for _, code in found(document(nested))] == ["definition.too_deep"]


def test_the_number_of_expressions_is_bounded() -> None:
    output = ["{{ input.x }}"] * 10_001
    assert found(document(noop(), output=output)) == [("$", "definition.too_many_expressions")]


def test_names_that_already_mean_something_cannot_be_taken() -> None:
    for name in ("input", "index", "steps"):
        step = {"type": "map", "config": {"items": "[1]", "as": name, "steps": [noop()]}}
        assert ("$.steps[0].config.as", "field.variable") in found(document(step))
    assert found(document(noop(assign={"a-b": 1}))) == [("$.steps[0].assign.a-b", "field.variable")]


def test_a_thousand_misspelt_targets_are_reported_quickly() -> None:
    steps = [noop(id=f"some_step_{n}", next=f"some_stpe_{n}") for n in range(1000)]
    assert takes_less_than(2, lambda: validate_definition(document(*steps), catalog=CATALOG))
    problems = validate_definition(document(*steps), catalog=CATALOG)
    assert 'Did you mean "some_step_7"?' in problems[7].message


def test_a_document_that_refers_to_itself_is_refused_quickly() -> None:
    doc: dict[str, Any] = document(noop())
    doc["output"] = doc
    assert [code for _, code in found(doc)] == ["definition.too_large"]
    shared: Any = ["x"]
    for _ in range(40):
        shared = [shared, shared]
    assert [code for _, code in found(document(noop(), output=shared))] == ["definition.too_large"]
    assert takes_less_than(5, lambda: found(document(noop(), output=shared)))


def test_the_number_of_problems_is_bounded() -> None:
    problems = validate_definition(document(*[{"type": "x"}] * 500), catalog=CATALOG)
    assert len(problems) == 201
    assert problems[-1].code == "definition.more"


def test_a_thousand_steps_validate_quickly() -> None:
    steps = [noop(id="s0")] + [
        noop(
            id=f"s{n}",
            config={"action": "noop", "with": {"x": f"{{{{ steps.s{n - 1}.output }}}}"}},
        )
        for n in range(1, 1000)
    ]
    steps[999]["next"] = "s0"
    assert found(document(*steps)) == []
    assert takes_less_than(2, lambda: found(document(*steps)))
