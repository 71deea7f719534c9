"""Any definition, any crash points: the same history and the same end as without a crash."""

from __future__ import annotations

import json
import zlib
from datetime import UTC, datetime
from typing import Any

import orjson
from hypothesis import given, settings
from hypothesis import strategies as st

from executions.engine.commands import Block, Call, Finish, Rest, Yield
from executions.engine.errors import ErrorInfo
from executions.engine.events import CallFailed, CallSucceeded, Claimed, Continued, Event
from executions.engine.payload import encode
from executions.engine.planner import plan
from executions.engine.snapshot import Position, Snapshot, StepFact
from executions.engine.states import StepState
from executions.runtime import claims
from executions.runtime.checkpoint import Counters, build
from executions.runtime.definitions import Runnable
from executions.runtime.rows import DATA_STEPS
from workflows.definition.compiled import CompiledDefinition, compile_definition

NOW = datetime(2026, 1, 1, tzinfo=UTC)
MAX_PLANS = 2_000


def steps(depth: int, prefix: str) -> st.SearchStrategy[list[dict[str, Any]]]:
    return st.integers(1, 4).flatmap(
        lambda count: st.tuples(*(step(depth, f"{prefix}{n}") for n in range(count))).map(list)
    )


def step(depth: int, name: str) -> st.SearchStrategy[dict[str, Any]]:
    kinds = [
        st.just({"type": "transform", "config": {"output": {"was": name}}}),
        st.just({"type": "transform", "config": {"output": "{{ 1 / (len(steps) - 2) }}"}}),
        st.just({"type": "action", "config": {"action": "noop"}}),
        st.just({"type": "wait", "config": {"duration": 30}}),
        st.just({"type": "wait", "config": {"duration": 45}}),
        st.just({"type": "fail", "when": "execution.id == 1", "config": FAIL}),
        st.just({"type": "succeed", "when": "input.early", "config": {"output": name}}),
    ]
    if depth:
        inner = steps(depth - 1, f"{name}_")
        last = st.none() | steps(0, f"{name}_f") | steps(0, f"{name}_l")
        kinds.append(st.tuples(inner, last).map(_group))
    extra = st.fixed_dictionaries(
        {},
        optional={
            "retry": st.sampled_from([{"max_attempts": 2}, RETRY]),
            "catch": st.just([{"errors": ["action.*", "my.*"], "next": "end", "as": "problem"}]),
            "assign": st.just({"last": name}),
            "when": st.just("input.n != 3"),
        },
    )
    return st.tuples(st.one_of(kinds), extra).map(lambda both: _merge(name, *both))


FAIL = {"error": "my.error", "message": "No."}
RETRY = {"max_attempts": 4, "initial_interval": 60, "jitter": 0.5, "budget": 150}


def _group(parts: tuple[list[dict[str, Any]], list[dict[str, Any]] | None]) -> dict[str, Any]:
    inner, last = parts
    return {"type": "group", "config": {"steps": inner, **({"finally": last} if last else {})}}


def _merge(name: str, kind: dict[str, Any], extra: dict[str, Any]) -> dict[str, Any]:
    if kind["type"] in ("fail", "succeed"):
        extra = {key: value for key, value in extra.items() if key == "assign"}
    return {"id": name, "name": name, **extra, **kind}


def outcome(position: Position, seed: int) -> Event:
    """What an action comes to: the same for the same attempt at the same step."""
    key = f"{position.step_id} {position.seq} {position.attempt} {seed}"
    chance = zlib.crc32(key.encode()) % 10
    if chance < 3:
        code = "action.Refused" if chance else "http.503"
        return CallFailed(ErrorInfo(code, f"No {chance}.", retryable=chance < 2))
    return CallSucceeded(encode({"seq": position.seq, "c": chance}, limit=1000, what="It"))


class World:
    """The rows of one execution, written and read the way the ledger does it."""

    def __init__(self, definition: CompiledDefinition, data: Any) -> None:
        self.definition = definition
        self.steps: list[dict[str, Any]] = []
        self.transitions: list[dict[str, Any]] = []
        self.row: dict[str, Any] = {
            **dict.fromkeys(claims.Row._fields),
            **dict.fromkeys(
                ("current_seq", "steps_entered", "inbox_seq", "seen_seq", "log_seq"), 0
            ),
            **dict.fromkeys(("generation", "children_generation", "children_open"), 0),
            **dict.fromkeys(("children_failed", "children_tolerated", "epoch", "revision"), 0),
            "id": 1,
            "claims": 1,
            "version_id": 1,
            "state": "initialized",
            "input": json.dumps(data),
            "variables": "{}",
            "control": "{}",
            "current_step": "",
            "current_phase": "",
            "current_attempt": 1,
            "transition_seq": 1,
            "parent_step": "",
        }

    def load(self) -> tuple[Snapshot, Counters]:
        claim = claims._claim(claims.Row(**self.row))
        snapshot = claim.snapshot
        facts: dict[str, StepFact] = {}
        floor = snapshot.frames[-1].floor if snapshot.frames else 0
        for each in sorted(self.steps, key=lambda each: (each["seq"], each["attempt"])):
            value = StepFact(
                StepState(each["state"]), each["output"], each["error"], each["attempt"]
            )
            facts[each["step_id"]] = value
        done = [
            each
            for each in self.steps
            if each["type"] in DATA_STEPS and each["state"] == "completed" and each["seq"] > floor
        ]
        if done:
            snapshot.last_output = done[-1]["output"]
        snapshot.steps = facts
        return snapshot, claim.counters

    def write(self, checkpoint: Any) -> None:
        plain = orjson.loads(orjson.dumps(checkpoint.row))
        for key, value in plain.items():
            if key in ("variables", "control"):
                if value is not None:
                    self.row[key] = json.dumps(value)
            elif key in self.row:
                self.row[key] = self._moment(key, value)
            elif key in ("output", "error"):
                self.row[f"_{key}"] = value
        if plain.get("control") is not None:
            self.row["deadline_at"] = self._moment("deadline_at", plain["deadline_at"])
        self.steps += orjson.loads(orjson.dumps(checkpoint.steps))
        self.transitions += orjson.loads(orjson.dumps(checkpoint.transitions))

    @staticmethod
    def _moment(key: str, value: Any) -> Any:
        is_moment = key.endswith("_at") or key in ("current_since", "wait_until")
        return datetime.fromisoformat(value) if value and is_moment else value

    def history(self) -> dict[str, Any]:
        return {
            "state": self.row["state"],
            "output": self.row.get("_output"),
            "error": self.row.get("_error"),
            "variables": json.loads(self.row["variables"]),
            "steps": self.steps,
            "transitions": self.transitions,
        }


def simulate(
    definition: CompiledDefinition,
    data: Any,
    seed: int,
    crashes: set[int],
    *,
    reloads: bool = True,
) -> Any:
    """Run to the end; at the plans numbered in `crashes` the worker dies.

    An even number dies before its checkpoint is durable, an odd one after. reloads: read everything
    anew after each wait, as another worker would.
    """
    world = World(definition, data)
    snapshot, counters = world.load()
    event: Event = Claimed()
    now = NOW
    for number in range(MAX_PLANS):
        dies = number in crashes
        planned = plan(snapshot, event, now, spent=lambda dies=dies: dies)
        if dies and number % 2 == 0:
            snapshot, counters = world.load()
            event = Claimed()
            continue
        checkpoint = build(
            commands=planned.commands,
            after=planned.after,
            epoch=1,
            revision=0,
            counters=counters,
            now=now,
        )
        world.write(checkpoint)
        snapshot = planned.after
        directive = checkpoint.directive
        if isinstance(directive, Finish):
            return world.history()
        if isinstance(directive, Block):
            assert directive.until is not None
            now = max(now, directive.until)
        if isinstance(directive, Block) or dies:
            if reloads:
                snapshot, counters = world.load()
            event = Claimed()
        elif isinstance(directive, Call):
            event = outcome(directive.position, seed)
        else:
            assert isinstance(directive, (Rest, Yield))
            if isinstance(directive, Rest):
                now = max(now, directive.until)
            event = Continued()
    raise AssertionError("it never ended")


# A second attempt at a group that makes nothing, after a first one whose `finally` made something:
# its output is null, also if it is read anew in between.
SECOND_ATTEMPT = {
    "id": "g",
    "name": "g",
    "type": "group",
    "retry": {"max_attempts": 2},
    "config": {
        "steps": [
            {
                "id": "x",
                "name": "x",
                "type": "action",
                "when": "default(steps.t.attempts, 0) == 0",
                "config": {"action": "noop"},
            },
            {"id": "w", "name": "w", "type": "wait", "config": {"duration": 30}},
        ],
        "finally": [{"id": "t", "name": "t", "type": "transform", "config": {"output": 1}}],
    },
}


def both_ways(
    document: dict[str, Any], data: dict[str, Any], seed: int, crashes: set[int]
) -> tuple[Any, Any]:
    """The history without any interruption, and the one with them."""
    definition = compile_definition(document)
    original = claims.runnable_version
    claims.runnable_version = lambda version_id: Runnable(definition, "any", "1.0.0")  # type: ignore[assignment]
    try:
        calm = simulate(definition, data, seed, set(), reloads=False)
        return calm, simulate(definition, data, seed, crashes)
    finally:
        claims.runnable_version = original


def test_what_an_earlier_attempt_has_made_is_not_the_output_of_a_later_one() -> None:
    ends = set()
    for seed in range(60):
        calm, troubled = both_ways({"name": "Any", "steps": [SECOND_ATTEMPT]}, {}, seed, set())
        assert calm == troubled
        ends.add((calm["state"], len(calm["steps"])))
    assert ("completed", 7) in ends  # tried twice


@settings(max_examples=250, deadline=None)
@given(
    body=steps(2, "s"),
    data=st.fixed_dictionaries({"n": st.integers(1, 4), "early": st.booleans()}),
    seed=st.integers(0, 1000),
    crashes=st.sets(st.integers(0, 30), max_size=12),
)
def test_crashes_change_nothing(
    body: list[dict[str, Any]], data: dict[str, Any], seed: int, crashes: set[int]
) -> None:
    document = {"name": "Any", "steps": body, "timeout": "1d"}
    calm, troubled = both_ways(document, data, seed, crashes)
    assert troubled == calm
    keys = [(each["seq"], each["attempt"]) for each in calm["steps"]]
    assert len(keys) == len(set(keys))
    assert calm["state"] in ("completed", "failed")
