"""What expressions and templates may name, depending on where they stand."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.definition.catalogs import CATALOG, document, noop
from workflows.definition.validation import validate_definition


def found(*steps: dict[str, Any], **fields: Any) -> list[tuple[str, str]]:
    """Findings of the document, without what only says that this release cannot run it."""
    problems = validate_definition(document(*steps, **fields), catalog=CATALOG)
    return [(p.path, p.code) for p in problems if p.code != "not_supported_yet"]


def transform(source: str, **fields: Any) -> dict[str, Any]:
    return {"type": "transform", "config": {"output": source}, **fields}


def group(*steps: dict[str, Any], **config: Any) -> dict[str, Any]:
    return {"type": "group", "config": {"steps": list(steps), **config}}


OUTPUT = "$.steps[0].config.output"


@pytest.mark.parametrize(
    "source",
    [
        "{{ input.a.b }}",
        "{{ execution.id }} {{ execution.started_at }}",
        "{{ [x * 2 for x in input.rows] }}",
        "{{ default(input.maybe, 1) }}",
        "{{ input.name.upper() }}",
        "no expression",
        "a } lone }",
    ],
)
def test_names_that_are_known_everywhere(source: str) -> None:
    assert found(transform(source)) == []


@pytest.mark.parametrize(
    ("source", "code"),
    [
        ("{{ inptu.a }}", "expression.unknown_name"),
        ("{{ default(inptu.a, 1) }}", "expression.unknown_name"),
        ("{{ index }}", "expression.unknown_name"),
        ("{{ steps.nowhere.output }}", "expression.step_not_available"),
        ("{{ steps.t.outptu }}", "expression.step_not_available"),
        ("{{ vars.total }}", "expression.unknown_variable"),
        ("{{ execution.nme }}", "expression.unknown_field"),
        ("{{ error.code }}", "expression.no_error_here"),
        ("{{ secrets.KEY }}", "expression.no_secrets_here"),
        ("{{ 1 + }}", "expression.invalid"),
        ("{{ input.a", "expression.invalid"),
        ("{{ __import__('os') }}", "expression.invalid"),
    ],
)
def test_names_that_cannot_exist(source: str, code: str) -> None:
    assert found(transform(source, id="t")) == [(OUTPUT, code)]


def test_the_sentence_suggests_the_nearest_name() -> None:
    (problem,) = validate_definition(document(transform("{{ inptu }}")), catalog=CATALOG)
    assert problem.message == (
        'There is no name "inptu" here; known are error, execution, input, secrets, steps, vars. '
        'Did you mean "input"?'
    )


def test_an_output_only_of_a_step_that_can_have_run() -> None:
    reads = "{{ steps.b.output }}"
    assert found(transform(reads, id="a"), noop(id="b")) == [
        (OUTPUT, "expression.step_not_available")
    ]
    assert found(noop(id="b"), transform(reads, id="a")) == []
    assert found(transform(reads, id="b")) == [(OUTPUT, "expression.step_not_available")]
    assert found(transform("{{ default(steps.b.output, 0) }}"), noop(id="b")) == []


def test_a_loop_lets_a_step_see_what_stands_below_it() -> None:
    again = {
        "id": "b",
        "type": "choice",
        "config": {"choices": [{"when": "input.more", "next": "a"}], "default": "end"},
    }
    assert found(transform("{{ steps.b.state }}", id="a"), again) == []


def test_steps_on_other_ways_cannot_have_run() -> None:
    choice = {
        "type": "choice",
        "config": {"choices": [{"when": "input.x", "next": "a"}], "default": "b"},
    }
    doc = [choice, noop(id="a", next="end"), transform("{{ steps.a.output }}", id="b")]
    assert found(*doc) == [("$.steps[2].config.output", "expression.step_not_available")]


def test_assign_sees_the_output_of_its_own_step_and_makes_variables() -> None:
    assert (
        found(
            noop(id="a", assign={"total": "{{ steps.a.output.total }}"}),
            transform("{{ vars.total }}"),
        )
        == []
    )
    assert found(noop(id="a", when="steps.a.output")) == [
        ("$.steps[0].when", "expression.step_not_available")
    ]


def test_secrets_only_in_the_parameters_of_an_action() -> None:
    def config(value: str) -> dict[str, Any]:
        return {"action": "noop", "with": {"auth": [value]}}

    assert found(noop(config=config("Bearer {{ secrets.TOKEN }}"))) == []
    assert found(noop(config=config("{{ secrets }}"))) == [
        ("$.steps[0].config.with.auth[0]", "expression.no_secrets_here")
    ]
    assert found(noop(assign={"x": "{{ secrets.TOKEN }}"})) == [
        ("$.steps[0].assign.x", "expression.no_secrets_here")
    ]


def test_input_that_a_closed_schema_does_not_have() -> None:
    schema = {
        "type": "object",
        "properties": {
            "order": {
                "type": "object",
                "properties": {"id": {}},
                "additionalProperties": False,
            },
            "open": {"type": "object"},
        },
        "additionalProperties": False,
    }
    assert found(transform("{{ input.order.id }} {{ input.open.x }}"), input_schema=schema) == []
    for source in ("{{ input.ordr }}", "{{ input.order.no }}", "{{ default(input.ordr, 1) }}"):
        assert found(transform(source), input_schema=schema) == [
            (OUTPUT, "expression.unknown_input")
        ]


def test_map_names_live_inside_the_map_only() -> None:
    inner = transform("{{ row.id }} {{ index }} {{ steps.before.output }}")
    loop: dict[str, Any] = {
        "id": "m",
        "type": "map",
        "config": {"items": "input.rows", "as": "row", "steps": [inner]},
    }
    assert found(noop(id="before"), loop) == []
    assert found(loop | {"config": loop["config"] | {"items": "row"}}, noop(id="before")) == [
        ("$.steps[0].config.items", "expression.unknown_name"),
        ("$.steps[0].config.steps[0].config.output", "expression.step_not_available"),
    ]
    assert found(noop(id="before"), loop, transform("{{ row }}")) == [
        ("$.steps[2].config.output", "expression.unknown_name")
    ]


def test_what_is_inside_a_group_is_seen_after_it_but_not_inside_branches() -> None:
    reads = "{{ steps.inner.output }}"
    assert found(group(noop(id="inner")), transform(reads)) == []
    assert found(group(noop(id="inner"), **{"finally": [transform(reads)]})) == []
    branches = [
        {"name": "a", "steps": [noop(id="inner")]},
        {"name": "b", "steps": [transform(reads)]},
    ]
    parallel = {"id": "p", "type": "parallel", "config": {"branches": branches}}
    assert found(parallel, transform(reads), transform("{{ steps.p.output.a }}")) == [
        ("$.steps[0].config.branches[1].steps[0].config.output", "expression.step_not_available"),
        ("$.steps[1].config.output", "expression.step_not_available"),
    ]


def test_error_exists_where_a_catch_leads() -> None:
    risky = noop(id="a", next="end", catch=[{"errors": ["http.*"], "next": "b", "as": "problem"}])
    assert found(risky, transform("{{ error.code }} {{ problem.message }}", id="b")) == []


def test_the_output_of_the_document_sees_all_steps_of_its_scope() -> None:
    assert found(noop(id="a"), output={"x": ["{{ steps.a.output }}"]}) == []
    assert found(noop(id="a"), output={"x": ["{{ steps.b.output }}"]}) == [
        ("$.output.x[0]", "expression.step_not_available")
    ]


def test_a_concurrency_key_sees_the_input_only() -> None:
    assert found(noop(id="a"), concurrency={"key": "input.customer"}) == []
    assert found(noop(id="a"), concurrency={"key": "steps.a.output"}) == [
        ("$.concurrency.key", "expression.unknown_name")
    ]
