"""Plans for moving executions: which step becomes which, and what speaks against standing there."""

from __future__ import annotations

from typing import Any

from workflows.versioning.migration import make_plan, suggest

NUMBERS = ("1.0.0", "1.1.0")


def step(id: str, type: str = "action", config: Any = None, **fields: Any) -> dict[str, Any]:
    return {"id": id, "type": type, "config": config or {"action": "noop"}, **fields}


def transform(id: str, output: Any, **fields: Any) -> dict[str, Any]:
    return step(id, "transform", {"output": output}, **fields)


def group(id: str, *steps: dict[str, Any], **config: Any) -> dict[str, Any]:
    return step(id, "group", {"steps": list(steps), **config})


def document(*steps: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return {"name": "One", **fields, "steps": list(steps)}


def plan(old: dict[str, Any], new: dict[str, Any], mapping: Any = None) -> Any:
    return make_plan(old, new, mapping, numbers=NUMBERS)


ASK = step("ask", "signal", {"signal": "paid", "correlation": "{{ steps.a.output.id }}"})


def test_same_ids_and_same_content_belong_together() -> None:
    old = document(step("a"), step("b", when="1 > 0"), step("gone", when="2 > 0"))
    new = document(step("a"), step("z", when="1 > 0"), step("fresh", when="3 > 0"))
    assert suggest(old, new) == {"a": "a", "b": "z", "gone": None}
    found = plan(old, new)
    assert found.names() == {"b": "z"}
    assert [each.id for each in found.unmapped] == ["gone"]
    assert [each.id for each in found.added] == ["fresh"]


def test_what_is_given_comes_first_and_takes_its_place() -> None:
    old, new = document(step("a"), step("b")), document(step("b"), step("c"))
    found = plan(old, new, {"a": "b"})
    assert {old: found.target(old) for old in ("a", "b")} == {"a": "b", "b": None}
    # What `b` has come to before is not that of the new `b`.
    assert found.names() == {"a": "b", "b": None}


def test_a_mapping_names_steps_that_are_there_and_each_target_once() -> None:
    old, new = document(step("a"), step("check")), document(step("a"), step("verify"))
    found = plan(old, new, {"chek": "verify", "a": "verifi", "check": "a"})
    assert [(each.path, each.code, each.message) for each in found.problems] == [
        (
            "$.mapping.chek",
            "mapping.unknown_source",
            'Version 1.0.0 has no step "chek". Did you mean "check"?',
        ),
        (
            "$.mapping.a",
            "mapping.unknown_target",
            'Version 1.1.0 has no step "verifi". Did you mean "verify"?',
        ),
    ]
    twice = plan(old, new, {"a": "verify", "check": "verify"})
    assert [(each.path, each.code) for each in twice.problems] == [
        ("$.mapping.check", "mapping.twice")
    ]


def test_a_step_that_becomes_none_or_is_elsewhere_holds_what_stands_there() -> None:
    old = document(step("a"), group("g", step("b")), step("gone", when="2 > 0"))
    new = document(group("a2", step("a")), group("g", step("b")))
    found = plan(old, new)
    unmapped = found.obstacle("gone", begun=False)
    assert (unmapped.code, unmapped.path) == ("migration.step_unmapped", "$.steps[2]")
    elsewhere = found.obstacle("a", begun=False)
    assert (elsewhere.code, elsewhere.path) == (
        "migration.step_elsewhere",
        "$.steps[0].config.steps[0]",
    )
    assert elsewhere.message == (
        'In 1.1.0 the step "a" is inside "a2"; in 1.0.0 "a" is inside no other.'
    )
    assert found.obstacle("b", begun=True) is None


def test_what_others_know_of_a_wait_can_not_change_under_it() -> None:
    old = document(step("a"), ASK)
    other = document(step("a"), step("ask", "signal", {"signal": "payed"}))
    found = plan(old, other)
    assert found.obstacle("ask", begun=False) is None
    assert [each.code for each in found.pairs["ask"].obstacles] == [
        "migration.other_signal",
        "migration.other_correlation",
    ]
    # The same correlation by the name that its step has now.
    same = document(
        step("b"),
        step("ask", "signal", {**ASK["config"], "correlation": "{{ steps.b.output.id }}"}),
    )
    assert plan(old, same).obstacle("ask", begun=True) is None
    became = plan(old, document(step("a"), step("ask", "wait", {"duration": "1h"})))
    assert became.obstacle("ask", begun=True).code == "migration.step_type"
    assert became.obstacle("ask", begun=False) is None


def test_children_that_are_under_way_keep_their_number_and_their_rules() -> None:
    def parallel(*names: str, **config: Any) -> dict[str, Any]:
        branches = [{"name": name, "steps": [step(name)]} for name in names]
        return document(step("p", "parallel", {"branches": branches, **config}))

    def mapped(**config: Any) -> dict[str, Any]:
        return document(step("m", "map", {"items": "input.all", "steps": [step("s")], **config}))

    more = plan(parallel("a", "b"), parallel("a", "b", "c")).pairs["p"].obstacles
    assert [each.code for each in more] == ["migration.other_branches"]
    joined = plan(parallel("a", "b"), parallel("a", "b", wait_for="any")).pairs["p"].obstacles
    assert [each.code for each in joined] == ["migration.other_join"]
    assert not plan(mapped(), mapped(tolerated_failures=0, max_concurrency=2)).pairs["m"].obstacles
    found = plan(mapped(), mapped(batch_size=2, tolerated_failures="10%")).pairs["m"].obstacles
    assert [each.code for each in found] == ["migration.other_batches", "migration.other_tolerance"]


STAND = step("ask", "wait", {"duration": "1h"})


def test_what_the_rest_asks_for_and_can_not_have() -> None:
    use = transform("use", {"risk": "{{ steps.score.output.risk }}", "who": "{{ vars.who }}"})
    old = document(transform("load", {"id": 1}), STAND, transform("use", 1))
    new = document(
        transform("load", {"id": 1}, assign={"who": "{{ input.customer.name }}"}),
        transform("score", {"risk": 2}),
        STAND,
        use,
    )
    needs = plan(old, new).needs("ask")
    assert [(each.text, each.path, each.must_run) for each in needs.steps] == [
        ("steps.score.output.risk", "$.steps[3].config.output.risk", True)
    ]
    assert [(each.text, each.path) for each in needs.variables] == [
        ("vars.who", "$.steps[3].config.output.who")
    ]
    # Before all of that nothing is missing yet; the input has to have it.
    begun = plan(old, new).needs("load")
    assert (begun.steps, begun.variables) == ((), ())
    assert [each.text for each in begun.input] == ["input.customer.name"]
    assert plan(old, new).needs("") == begun


def test_what_the_old_definition_asks_for_as_well_is_no_news() -> None:
    use = transform("use", "{{ steps.load.output.id + vars.n }}")
    old = document(transform("load", {"id": 1}, assign={"n": 1}), STAND, use)
    renamed = transform("use", "{{ steps.fetch.output.id + vars.n }}")
    new = document(transform("fetch", {"id": 1}, assign={"n": 1}), STAND, renamed)
    assert not plan(old, new).needs("ask")
    # Another key of the same result is looked for in what was recorded.
    further = transform("use", "{{ steps.load.output.name }}")
    needs = plan(old, document(transform("load", {"id": 1, "name": "x"}), STAND, further)).needs(
        "ask"
    )
    assert [(each.text, each.must_run) for each in needs.steps] == [
        ("steps.load.output.name", False)
    ]


def test_steps_inside_see_what_is_around_them_and_what_follows_their_group() -> None:
    old = document(group("g", STAND), step("end"))
    new = document(
        step("first", when="9 > 0"),
        group("g", STAND, **{"finally": [transform("log", "{{ steps.first.state }}")]}),
        transform("end", "{{ steps.g.output }}"),
    )
    needs = plan(old, new).needs("ask")
    # The group ends after this, so what it comes to will be there.
    assert [(each.text, each.must_run) for each in needs.steps] == [("steps.first.state", True)]


def test_a_caught_error_goes_by_its_name() -> None:
    catching = {"errors": ["*"], "next": "mend"}
    old = document(
        step("a", catch=[{**catching, "as": "why"}], next="end"),
        transform("mend", "{{ why.code }}"),
    )
    new = document(
        step("a", catch=[{**catching, "as": "cause"}], next="end"),
        transform("mend", "{{ cause.code }}"),
    )
    assert [(each.text, each.path) for each in plan(old, new).needs("mend").names] == [
        ("cause", "$.steps[1].config.output")
    ]
    assert plan(old, new).needs("a").names == ()


def test_notices_say_what_stays_as_it_was() -> None:
    old = document(step("a"), step("w", "wait", {"duration": "1h"}), redact=["/input/card"])
    new = document(
        step("a"),
        step("w", "wait", {"duration": "2h"}),
        redact=["/input/card", "/steps/a/output/pin"],
    )
    assert [(each.code, each.path) for each in plan(old, new).notices] == [
        ("migration.hides_more", "$.redact"),
        ("migration.timer_stays", "$.steps[1].config"),
    ]
