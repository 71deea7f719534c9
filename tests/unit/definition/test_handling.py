"""What is wrong with retries, catches, groups, maps, heartbeats, redactions and continuing."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.definition.catalogs import CATALOG, document, noop
from workflows.definition.validation import validate_definition

OUTPUT = "$.steps[0].config.output"


def problems(*steps: dict[str, Any], **fields: Any) -> list[tuple[str, str, str]]:
    """Findings without those that only say that this release cannot run something."""
    found = validate_definition(document(*steps, **fields), catalog=CATALOG)
    return [(p.path, p.code, p.message) for p in found if p.code != "not_supported_yet"]


def found(*steps: dict[str, Any], **fields: Any) -> list[tuple[str, str]]:
    return [(path, code) for path, code, _ in problems(*steps, **fields)]


def transform(source: str, **fields: Any) -> dict[str, Any]:
    return {"type": "transform", "config": {"output": source}, **fields}


def group(*steps: dict[str, Any], last: list[Any] | None = None, **fields: Any) -> dict[str, Any]:
    config: dict[str, Any] = {"steps": list(steps)}
    if last is not None:
        config["finally"] = last
    return {"id": "g", "type": "group", "config": config, **fields}


def items(*steps: dict[str, Any], **config: Any) -> dict[str, Any]:
    given = {"items": "input.rows", "steps": list(steps) or [noop(id="inner")], **config}
    return {"id": "m", "type": "map", "config": given}


def caught(next_: str, errors: list[str] | None = None, **fields: Any) -> list[dict[str, Any]]:
    return [{"errors": errors or ["*"], "next": next_, **fields}]


# Retry


@pytest.mark.parametrize(
    ("retry", "field", "code"),
    [
        ({"max_attempts": 0}, "max_attempts", "field.range"),
        ({"max_attempts": 101}, "max_attempts", "field.range"),
        ({"max_attempts": True}, "max_attempts", "field.type"),
        ({"max_attempts": "3"}, "max_attempts", "field.type"),
        ({"initial_interval": 0}, "initial_interval", "field.duration"),
        ({"initial_interval": "-1s"}, "initial_interval", "field.duration"),
        ({"max_interval": 0}, "max_interval", "field.duration"),
        ({"initial_interval": "2m", "max_interval": "1m"}, "max_interval", "retry.max_interval"),
        ({"max_interval": 0.5}, "max_interval", "retry.max_interval"),
        ({"backoff": 0.9}, "backoff", "field.range"),
        ({"backoff": 10.1}, "backoff", "field.range"),
        ({"backoff": "2"}, "backoff", "field.type"),
        ({"jitter": -0.1}, "jitter", "field.range"),
        ({"jitter": 1.1}, "jitter", "field.range"),
        ({"budget": 0}, "budget", "field.duration"),
        ({"budget": "5s", "initial_interval": "6s"}, "budget", "retry.budget"),
        ({"budget": 0.5}, "budget", "retry.budget"),
        ({"errors": []}, "errors", "field.type"),
        ({"errors": ["http.*", "a b"]}, "errors[1]", "field.error_pattern"),
        ({"errors": ["http.?"]}, "errors[0]", "field.error_pattern"),
        ({"except": ["http."]}, "except[0]", "field.error_pattern"),
        ({"except": ["*"] * 101}, "except", "field.too_long"),
        ({"attempts": 3}, "attempts", "field.unknown"),
    ],
)
def test_retries_out_of_bounds(retry: dict[str, Any], field: str, code: str) -> None:
    assert found(noop(retry=retry)) == [(f"$.steps[0].retry.{field}", code)]
    assert found(noop(), defaults={"retry": retry}) == [(f"$.defaults.retry.{field}", code)]


@pytest.mark.parametrize(
    "retry",
    [
        {},
        {"max_attempts": 1, "budget": 0.5},
        {"max_attempts": 100, "backoff": 10, "jitter": 1},
        {"backoff": 1, "jitter": 0, "initial_interval": 0.001, "max_interval": 0.001},
        {"initial_interval": "1h"},
        {"initial_interval": "10s", "max_interval": "10s", "budget": "10s"},
    ],
)
def test_retries_within_the_bounds(retry: dict[str, Any]) -> None:
    assert found(noop(retry=retry)) == []


def test_the_sentences_about_pauses_name_the_first_pause() -> None:
    ((_, _, message),) = problems(noop(retry={"max_interval": 0.5}))
    assert message == (
        '"max_interval" must be at least the first pause ("initial_interval"), which is 1 s.'
    )


# Catch


def test_a_catch_to_nowhere() -> None:
    steps = [noop(id="a", catch=caught("cleanp")), noop(id="cleanup")]
    assert problems(*steps) == [
        (
            "$.steps[0].catch[0].next",
            "step.next_unknown",
            'There is no step "cleanp" to go to. Did you mean "cleanup"?',
        )
    ]


def test_a_catch_to_nowhere_is_the_only_problem_of_what_it_was_meant_to_reach() -> None:
    risky = noop(id="a", catch=caught("hlep", **{"as": "problem"}))
    assert found(risky, transform("{{ error.code }} {{ problem.code }}", id="help")) == [
        ("$.steps[0].catch[0].next", "step.next_unknown")
    ]


def test_a_catch_to_another_scope() -> None:
    inside = noop(id="a", catch=caught("z"))
    expected = [("$.steps[0].config.steps[0].catch[0].next", "step.next_other_scope")]
    assert found(group(inside), noop(id="z")) == expected
    assert found(items(inside), noop(id="z")) == expected
    assert found(noop(id="a", catch=caught("b")), group(noop(id="b"))) == [
        ("$.steps[0].catch[0].next", "step.next_other_scope")
    ]


@pytest.mark.parametrize(
    ("entry", "path", "code"),
    [
        ({"next": "end"}, ".errors", "field.missing"),
        ({"errors": ["*"]}, ".next", "field.missing"),
        ({"errors": [], "next": "end"}, ".errors", "field.type"),
        ({"errors": [3], "next": "end"}, ".errors[0]", "field.error_pattern"),
        ({"errors": ["*"], "next": "end", "as": "a-b"}, ".as", "field.variable"),
        ({"errors": ["*"], "next": "end", "as": "error"}, ".as", "field.variable"),
        ({"errors": ["*"], "next": "end", "as": "vars"}, ".as", "field.variable"),
        ({"errors": ["*"], "next": "end", "as": "index"}, ".as", "field.variable"),
        ({"errors": ["*"], "next": "end", "as": "True"}, ".as", "field.variable"),
        ({"errors": ["*"], "next": "end", "retry": 1}, ".retry", "field.unknown"),
    ],
)
def test_entries_of_a_catch_that_are_wrong(entry: dict[str, Any], path: str, code: str) -> None:
    assert found(noop(catch=[entry])) == [(f"$.steps[0].catch[0]{path}", code)]


def test_an_entry_below_one_that_catches_everything() -> None:
    entries = caught("end", ["http.*"]) + caught("end") + caught("end", ["limit.*"])
    assert found(noop(catch=entries)) == [("$.steps[0].catch[2]", "step.catch_unused")]


def test_the_name_of_an_error_cannot_be_the_item_of_the_map_around_it() -> None:
    step = noop(catch=caught("end", **{"as": "row"}))
    assert found(items(group(step), **{"as": "row"})) == [
        ("$.steps[0].config.steps[0].config.steps[0].catch[0].as", "step.catch_name_taken")
    ]
    assert found(items(step)) == []


def test_a_step_that_only_a_catch_leads_to_is_reachable() -> None:
    risky = noop(id="a", next="end", catch=caught("b"))
    assert found(risky, noop(id="b"), noop(id="c")) == []
    assert found(noop(id="a", next="end"), noop(id="b")) == [("$.steps[1]", "step.unreachable")]
    stop = {"id": "a", "type": "fail", "config": {"error": "a.b"}, "catch": caught("b")}
    assert found(stop, noop(id="b")) == []


def test_the_failed_step_can_be_read_where_its_catch_leads() -> None:
    risky = noop(id="a", next="end", catch=caught("b"))
    assert found(risky, transform("{{ steps.a.error.code }}", id="b")) == []


READS = "{{ error.code }} {{ problem.code }}"
PROBLEM = {"as": "problem"}
NEITHER = ["expression.no_error_here", "expression.unknown_name"]


def test_the_error_and_its_name_are_visible_in_what_the_catch_reaches() -> None:
    risky = noop(id="a", catch=caught("c", **PROBLEM))
    assert found(risky, noop(id="b"), noop(id="c"), transform(READS, id="d")) == []
    assert found(risky, transform(READS, id="b"), noop(id="c")) == [
        ("$.steps[1].config.output", code) for code in NEITHER
    ]
    assert found(risky, noop(id="c"), output=READS) == []
    assert found(noop(id="a"), output=READS) == [("$.output", code) for code in NEITHER]


def test_a_name_is_visible_only_where_a_catch_with_that_name_leads() -> None:
    entries = caught("b", ["http.*"], **{"as": "first"}) + caught("c", **{"as": "second"})
    steps = [
        noop(id="a", next="end", catch=entries),
        transform("{{ first.code }}", id="b", next="end"),
        transform("{{ first.code }}", id="c"),
    ]
    assert found(*steps) == [("$.steps[2].config.output", "expression.unknown_name")]


def test_an_error_caught_inside_a_group_is_visible_after_the_group() -> None:
    for target in ("y", "end"):
        inside = group(noop(id="x", catch=caught(target, **PROBLEM)), noop(id="y"))
        assert found(inside, transform(READS, id="z")) == []
        assert found(inside, noop(id="z"), output=READS) == []
        assert found(transform(READS, id="z"), inside) == [(OUTPUT, code) for code in NEITHER]


def test_an_error_caught_outside_is_visible_inside_but_not_the_other_way_round_in_a_map() -> None:
    risky = noop(id="a", next="end", catch=caught("m", **PROBLEM))
    assert found(risky, items(transform(READS))) == []
    inside = items(noop(id="x", catch=caught("end", **PROBLEM)))
    assert found(inside, transform(READS, id="z")) == [
        ("$.steps[1].config.output", code) for code in NEITHER
    ]


# Group


def test_finally_knows_the_error_and_the_steps_of_its_group() -> None:
    read = transform("{{ 'ok' if error is null else error.code }} {{ steps.x.state }}")
    assert found(group(noop(id="x"), last=[read])) == []
    assert found(group(transform("{{ error }}", id="x"), last=[noop()])) == [
        ("$.steps[0].config.steps[0].config.output", "expression.no_error_here")
    ]
    named = transform("{{ problem.code }}")
    assert found(group(noop(id="x", catch=caught("end", **PROBLEM)), last=[named])) == []
    assert found(group(noop(id="x"), last=[named])) == [
        ("$.steps[0].config.finally[0].config.output", "expression.unknown_name")
    ]
    assert found(group(noop(), last=[items(transform("{{ error }}"))])) == []


def test_the_steps_of_a_group_are_visible_after_it_but_not_before() -> None:
    after = transform("{{ steps.x.output }} {{ steps.y.output }} {{ steps.g.output }}")
    inside = group(noop(id="x"), last=[noop(id="y")])
    assert found(inside, after) == []
    assert found(after, inside) == [(OUTPUT, "expression.step_not_available")] * 3
    assert found(group(transform("{{ steps.y.output }}", id="x"), last=[noop(id="y")])) == [
        ("$.steps[0].config.steps[0].config.output", "expression.step_not_available")
    ]
    assert found(group(transform("{{ steps.g.output }}", id="x"))) == [
        ("$.steps[0].config.steps[0].config.output", "expression.step_not_available")
    ]


def test_the_lists_of_a_group_are_not_empty() -> None:
    assert found(group()) == [("$.steps[0].config.steps", "field.too_short")]
    assert found(group(noop(), last=[])) == [("$.steps[0].config.finally", "field.too_short")]


def test_timeouts_are_allowed_on_groups_and_maps() -> None:
    assert found(group(noop()) | {"timeout": "1m"}, items() | {"timeout": "1h"}) == []


# Map


@pytest.mark.parametrize(
    ("field", "value", "code"),
    [
        ("max_concurrency", 0, "field.range"),
        ("max_concurrency", 10_001, "field.range"),
        ("max_concurrency", 2.5, "field.type"),
        ("batch_size", 0, "field.range"),
        ("batch_size", 10_001, "field.range"),
        ("tolerated_failures", -1, "field.tolerated_failures"),
        ("tolerated_failures", 1_000_001, "field.tolerated_failures"),
        ("tolerated_failures", True, "field.tolerated_failures"),
        ("tolerated_failures", "101%", "field.tolerated_failures"),
        ("tolerated_failures", "100.01%", "field.tolerated_failures"),
        ("tolerated_failures", "10", "field.tolerated_failures"),
        ("tolerated_failures", "-1%", "field.tolerated_failures"),
        ("tolerated_failures", 0.1, "field.tolerated_failures"),
        ("as", "input", "field.variable"),
        ("as", "secrets", "field.variable"),
        ("as", "index", "field.variable"),
        ("as", "for", "field.variable"),
        ("as", "1st", "field.variable"),
        ("as", "None", "field.variable"),
        ("steps", [], "field.too_short"),
        ("items", ["a"], "field.type"),
    ],
)
def test_fields_of_a_map_that_are_wrong(field: str, value: object, code: str) -> None:
    assert found(items(**{field: value})) == [(f"$.steps[0].config.{field}", code)]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("max_concurrency", 10_000),
        ("batch_size", 1),
        ("tolerated_failures", 0),
        ("tolerated_failures", "0%"),
        ("tolerated_failures", "99.95%"),
        ("tolerated_failures", "100%"),
        ("as", "Row2"),
    ],
)
def test_fields_of_a_map_that_are_right(field: str, value: object) -> None:
    assert found(items(**{field: value})) == []


def test_the_body_of_a_map_sees_what_was_there_before_it() -> None:
    body = transform("{{ item }} {{ index }} {{ input.a }} {{ vars.n }} {{ steps.a.output }}")
    assert found(noop(id="a", assign={"n": 1}), items(body)) == []
    assert found(items(transform("{{ steps.z.output }}")), noop(id="z")) == [
        ("$.steps[0].config.steps[0].config.output", "expression.step_not_available")
    ]
    assert found(items(noop(id="x"), transform("{{ steps.x.output }}"))) == []
    assert found(items(transform("{{ steps.m.output }}"))) == [
        ("$.steps[0].config.steps[0].config.output", "expression.step_not_available")
    ]


def test_only_the_output_of_a_map_is_visible_outside() -> None:
    assert found(items(noop(id="x")), transform("{{ steps.m.output }}")) == []
    for source, code in (
        ("{{ steps.x.output }}", "expression.step_not_available"),
        ("{{ index }}", "expression.unknown_name"),
        ("{{ item }}", "expression.unknown_name"),
    ):
        assert found(items(noop(id="x")), transform(source)) == [("$.steps[1].config.output", code)]
    assert found(items(group(noop(id="x"))), transform("{{ steps.x.output }}")) == [
        ("$.steps[1].config.output", "expression.step_not_available")
    ]


def test_variables_of_an_item_stay_inside_the_map() -> None:
    body = [noop(id="x", assign={"n": "{{ item }}"}), transform("{{ vars.n }}")]
    assert found(items(*body)) == []
    assert problems(items(*body), transform("{{ vars.n }}")) == [
        (
            "$.steps[1].config.output",
            "expression.unknown_variable",
            'The variable "n" is only assigned inside the step "m", whose variables cannot be '
            "seen from outside; read that step's output instead.",
        )
    ]
    assert found(items(*body), noop(assign={"n": 1}), transform("{{ vars.n }}")) == []
    assert found(group(noop(assign={"n": 1})), transform("{{ vars.n }}")) == []
    inner = items(transform("{{ vars.n }}")) | {"id": "inner"}
    assert found(items(noop(assign={"n": 1}), inner)) == []


def test_maps_in_maps_have_the_names_of_both() -> None:
    inner = items(transform("{{ row.id }} {{ cell }} {{ index }}"), **{"as": "cell"}) | {"id": "n"}
    inner["config"]["items"] = "row.cells"
    assert found(items(inner, **{"as": "row"})) == []


# Heartbeat, continuing, redaction


def test_only_an_action_has_a_heartbeat() -> None:
    assert found(noop(heartbeat="10s")) == []
    assert found(noop(heartbeat=0)) == [("$.steps[0].heartbeat", "field.duration")]
    for step in (transform("x"), group(noop()), items()):
        assert found(step | {"heartbeat": "10s"}) == [
            ("$.steps[0].heartbeat", "step.heartbeat_not_action")
        ]


def succeed(**config: Any) -> dict[str, Any]:
    return {"type": "succeed", "config": config}


def test_going_on_as_a_new_execution_excludes_a_result() -> None:
    following = {"input": {"n": "{{ input.n + 1 }}"}}
    assert found(succeed(continue_as_new=following)) == []
    for output in (1, None):
        assert found(succeed(continue_as_new=following, output=output)) == [
            ("$.steps[0].config.output", "succeed.output_or_continue")
        ]
    assert found(succeed(continue_as_new={})) == [
        ("$.steps[0].config.continue_as_new.input", "field.missing")
    ]
    assert found(succeed(continue_as_new={"input": "{{ inptu }}"})) == [
        ("$.steps[0].config.continue_as_new.input", "expression.unknown_name")
    ]


def test_only_a_step_of_the_documents_own_list_can_go_on_as_a_new_execution() -> None:
    step = succeed(continue_as_new={"input": {}})
    path = "$.steps[0].config.steps[0].config.continue_as_new"
    assert found(items(step)) == [(path, "succeed.continue_inside")]
    assert found(group(step)) == [(path, "succeed.continue_inside")]


@pytest.mark.parametrize(
    "pointer",
    ["/input", "/output", "/input/a~0b~1c//0", "/steps/a/output", "/steps/a/output/x", "/output/é"],
)
def test_pointers_that_redact_something(pointer: str) -> None:
    assert found(noop(id="a"), redact=[pointer]) == []


@pytest.mark.parametrize(
    ("pointer", "code"),
    [
        ("", "field.pointer"),
        ("input/a", "field.pointer"),
        ("/input/~2", "field.pointer"),
        ("/input/a~", "field.pointer"),
        ("/" + "x" * 512, "field.pointer"),
        (3, "field.pointer"),
        ("/", "redact.place"),
        ("/inputs", "redact.place"),
        ("/vars/a", "redact.place"),
        ("/steps", "redact.place"),
        ("/steps/a", "redact.place"),
        ("/steps/a/error", "redact.place"),
        ("/steps/a/outputs", "redact.place"),
        ("/steps//output", "redact.place"),
        ("/steps/b/output", "redact.step_unknown"),
    ],
)
def test_pointers_that_redact_nothing(pointer: object, code: str) -> None:
    assert found(noop(id="a"), redact=["/input", pointer]) == [("$.redact[1]", code)]


@pytest.mark.parametrize(
    ("rest", "token"), [("/*/card", "*"), ("/card", "card"), ("/01", "01"), ("/-", "-")]
)
def test_a_pointer_into_the_list_of_a_map_needs_an_index(rest: str, token: str) -> None:
    document = items(noop(id="x"))
    assert found(document, redact=["/steps/m/output", "/steps/m/output/0/card"]) == []
    ((path, code, message),) = problems(document, redact=[f"/steps/m/output{rest}"])
    assert (path, code) == ("$.redact[0]", "redact.index")
    assert message == (
        f'The output of the map "m" is a list, and "{token}" is no index of one. To hide something '
        "of every item, point into the output of the step that makes it, or at the whole list."
    )


def test_redaction_reaches_steps_anywhere_and_is_bounded() -> None:
    assert found(items(noop(id="x")), redact=["/steps/x/output"]) == []
    assert found(noop(), redact="/input") == [("$.redact", "field.type")]
    assert found(noop(), redact=["/input"] * 201) == [("$.redact", "field.too_long")]
    ((_, _, message),) = problems(noop(id="charge"), redact=["/steps/chrage/output"])
    assert message == 'There is no step with the id "chrage". Did you mean "charge"?'


@pytest.mark.parametrize(
    ("wait_for", "message"),
    [
        (3, "3 branches can never be done: there are 2."),
        (0, 'Expected "all", "any" or the number of branches to wait for, from 1.'),
    ],
)
def test_a_parallel_cannot_wait_for_more_branches_than_there_are(
    wait_for: int, message: str
) -> None:
    branches = [{"name": name, "steps": [noop()]} for name in "ab"]
    step = {"type": "parallel", "config": {"branches": branches, "wait_for": wait_for}}
    (problem,) = validate_definition(document(step), catalog=CATALOG)
    assert (problem.path, problem.message) == ("$.steps[0].config.wait_for", message)
