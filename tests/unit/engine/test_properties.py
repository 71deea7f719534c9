"""Any definition, any order of events, any crash points: what has to hold whatever happens."""

from __future__ import annotations

import os
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from executions.engine.events import Verb
from executions.runtime import claims
from executions.runtime.definitions import Runnable
from tests.unit.engine.documents import CHILDREN, Json, documents, named
from tests.unit.engine.simulated import Family
from tests.unit.engine.simulated_rows import Script, Wish, World
from tests.unit.engine.turns import CHILD_VERSIONS, run_turn
from workflows.definition.compiled import CompiledDefinition, compile_definition

DEFINITIONS = {CHILD_VERSIONS[slug]: compile_definition(CHILDREN[slug]) for slug in CHILDREN}
MAX_NUDGES = 300
# Of each property; whoever changes the engine lets it look at thousands, and at others each time.
SHORT = 70
EXAMPLES = int(os.environ.get("AUTOPILOT_TEST_EXAMPLES") or SHORT)
CALM = Script()


def simulate(document: Json | CompiledDefinition, data: Any, script: Script) -> Family:
    """Run to the end of everything."""
    definition = compile_definition(document) if isinstance(document, dict) else document
    known = {**DEFINITIONS, 1: definition}
    family = Family(data, script, known)
    original = claims.runnable_version
    claims.runnable_version = lambda version_id: Runnable(known[version_id], "any", "1.0.0")  # type: ignore[assignment]
    try:
        for _ in range(MAX_NUDGES):
            while (world := family.next()) is not None:
                run_turn(family, world)
            stuck = [each for each in family.worlds.values() if not each.has_ended]
            if not stuck:
                check_ended(family)
                return family
            nudge(family, stuck)
    finally:
        claims.runnable_version = original
    raise AssertionError("somebody waits for nothing")


def nudge(family: Family, stuck: list[World]) -> None:
    """Everybody has waited for ever: what is paused goes on, what waits for news is cancelled."""
    ids = sorted(family.worlds)
    for world in stuck:
        if world.row["state"] == "paused":
            family.ask(Wish(Verb.RESUME, ids.index(world.row["id"])))
            return
    waiting = {pk for _, pk, _, _ in family.waits}
    for world in stuck:
        if world.row["id"] in waiting:
            family.ask(Wish(Verb.CANCEL, ids.index(world.row["id"])))
            return
    raise AssertionError(("somebody waits for nothing", [each.row for each in stuck]))


def check_ended(family: Family) -> None:
    """What holds once everything has ended."""
    assert not family.waits, "a wait was never closed"
    assert not any(each.row["slot_held"] for each in family.worlds.values())
    for world in family.worlds.values():
        keys = [(each["seq"], each["attempt"]) for each in world.steps]
        assert len(keys) == len(set(keys)), "recorded twice"
        states = [each["target"] for each in world.transitions]
        sources = [each["source"] for each in world.transitions]
        assert sources == ["initialized", *states[:-1]], "a transition is missing"
        assert [each["seq"] for each in world.transitions] == list(range(2, len(states) + 2))
        check_promised(family, world)
        check_undone(family, world)


def check_promised(family: Family, world: World) -> None:
    """Each completed step with a compensation has left one, no other has."""
    definition = family.definitions[world.row["version_id"]]
    expected = {
        each["seq"]
        for each in world.steps
        if each["state"] == "completed"
        and each["type"] != "compensation"
        and definition.steps[each["step_id"]].compensate is not None
    }
    found = [
        each["seq"] for each in family.promises.values() if each["execution_id"] == world.row["id"]
    ]
    assert sorted(found) == sorted(expected)


def check_undone(family: Family, world: World) -> None:
    """Whoever undoes what it did has done so with all of it, or says what is left."""
    row = world.row
    if row["kind"] in ("item", "branch") or row["state"] == "completed":
        return
    definition = family.definitions[row["version_id"]]
    rows = family.promised(row["id"])
    left = [each for each in rows if each["state"] != "done"]
    if (row["state"] == "failed" and definition.on_failure.compensate) or world.was_undone:
        reason = row["reason"]
        if left:
            assert reason == "compensation_failed"
            assert world.result["error"]["details"]["left_total"] == len(left)
        elif rows:
            assert reason == "compensated"


def ended(*steps: Json, script: Script = CALM, **document: Any) -> tuple[str, Any]:
    """State and output of an execution of these steps."""
    family = simulate({"name": "Any", "steps": list(steps), **document}, {}, script)
    root = family.worlds[1]
    return root.row["state"], root.result.get("output")


def test_a_step_that_came_by_again_and_failed_leaves_the_output_it_had() -> None:
    count = "{{ default(vars.n, 0) + 1 }}"
    divide = {"output": "{{ 6 / (1 - default(vars.n, 0)) }}"}
    catch = [{"errors": ["*"], "next": "last"}]
    rounds = {"choices": [{"when": "vars.n < 2", "next": "a"}], "default": "end"}
    steps = [
        named("a", "transform", divide, assign={"n": count}, catch=catch),
        named("back", "choice", rounds),
        named("last", "wait", {"duration": 5}),
    ]
    assert ended(*steps) == ("completed", 6.0)


def test_a_group_that_failed_and_made_nothing_leaves_the_output_before_it() -> None:
    fail = named("f", "fail", {"error": "my.error", "message": "No."})
    catch = [{"errors": ["*"], "next": "c"}]
    steps = [
        named("a", "transform", {"output": 1}),
        named("g", "group", {"steps": [fail]}, catch=catch),
        named("c", "choice", {"choices": [], "default": "end"}),
    ]
    steps[2]["config"]["choices"] = [{"when": "false", "next": "a"}]
    assert ended(*steps) == ("completed", 1)
    assert ended(*steps, script=Script(crashes=frozenset(range(9)))) == ("completed", 1)


def test_what_is_given_back_before_its_second_attempt_is_not_looked_at_anew() -> None:
    """`when` is asked once, before the first attempt, whoever makes the second one."""
    step = named("a", "action", {"action": "noop"}, when="default(steps.a.attempts, 0) == 0")
    document = {"name": "Any", "steps": [{**step, "retry": {"max_attempts": 3}}]}
    for seed in range(30):
        calm = simulate(document, {}, Script(seed)).history()
        for number in range(6):
            script = Script(seed, returns=frozenset({number}))
            assert simulate(document, {}, script).history() == calm


SCRIPT = {
    "seed": st.integers(0, 1000),
    "signals": st.lists(
        st.tuples(st.integers(0, 200), st.sampled_from(["paid", "packed"])), max_size=6
    ).map(tuple),
    "crashes": st.frozensets(st.integers(0, 40), max_size=12),
    "returns": st.frozensets(st.integers(0, 40), max_size=4),
}
DATA = st.fixed_dictionaries({"n": st.integers(1, 4), "early": st.booleans()})
WISH = st.builds(
    Wish,
    verb=st.sampled_from([each for each in Verb if each is not Verb.RERUN]),
    target=st.integers(0, 9),
    compensate=st.booleans(),
)
WISHES = st.lists(st.tuples(st.integers(0, 300), WISH), max_size=6).map(tuple)


@settings(max_examples=EXAMPLES, deadline=None, derandomize=EXAMPLES == SHORT)
@given(document=documents(), data=DATA, script=st.builds(Script, wishes=WISHES, **SCRIPT))
def test_crashes_change_nothing(document: Json, data: Any, script: Script) -> None:
    definition = compile_definition(document)
    calm = Script(script.seed, script.signals, script.wishes)
    expected = simulate(definition, data, calm).history()
    assert simulate(definition, data, script).history() == expected


@settings(max_examples=EXAMPLES, deadline=None, derandomize=EXAMPLES == SHORT)
@given(
    document=documents(),
    data=DATA,
    script=st.builds(
        Script,
        wishes=WISHES,
        busy=st.dictionaries(st.integers(0, 40), WISH, max_size=6),
        repeatable=st.just(False),
        **SCRIPT,
    ),
)
def test_whatever_happens_everything_ends_and_is_accounted_for(
    document: Json, data: Any, script: Script
) -> None:
    simulate(document, data, script)
