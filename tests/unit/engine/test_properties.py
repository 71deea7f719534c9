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
from executions.engine.events import (
    Asked,
    CallFailed,
    CallSucceeded,
    ChildFound,
    ChildrenEnded,
    ChildrenEnough,
    ChildrenFailing,
    ChildResult,
    Claimed,
    Continued,
    Event,
    Told,
    Verb,
)
from executions.engine.payload import encode
from executions.engine.planner import plan
from executions.engine.snapshot import WITH_CHILDREN, Outer, Position, Snapshot, StepFact
from executions.engine.states import ENDED, StepState
from executions.runtime import claims
from executions.runtime.checkpoint import Counters, build
from executions.runtime.definitions import Runnable
from executions.runtime.rows import DATA_STEPS
from workflows.definition.compiled import WorkflowConfig, compile_definition

NOW = datetime(2026, 1, 1, tzinfo=UTC)
MAX_PLANS = 2_000


CHILD: dict[str, Any] = {
    "name": "Child",
    "steps": [
        {"id": "cw", "name": "cw", "type": "wait", "config": {"duration": 20}},
        {"id": "ca", "name": "ca", "type": "action", "config": {"action": "noop"}},
    ],
}
CHILD_VERSION = 2


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
        st.just({"type": "workflow", "config": {"workflow": "child", "input": {"of": name}}}),
        st.just({"type": "workflow", "config": {"workflow": "child", "wait": False}}),
        st.just({"type": "fail", "when": "execution.id == 1", "config": FAIL}),
        st.just({"type": "succeed", "when": "input.early", "config": {"output": name}}),
    ]
    if depth:
        inner = steps(depth - 1, f"{name}_")
        last = st.none() | steps(0, f"{name}_f") | steps(0, f"{name}_l")
        kinds.append(st.tuples(inner, last).map(_group))
        sides = st.tuples(*(steps(depth - 1, f"{name}_{side}") for side in "ab"))
        kinds.append(st.tuples(sides, st.sampled_from(["all", "any", 2])).map(_parallel))
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


def _parallel(parts: tuple[tuple[list[dict[str, Any]], ...], Any]) -> dict[str, Any]:
    sides, wanted = parts
    branches = [{"name": f"b{n}", "steps": side} for n, side in enumerate(sides)]
    return {"type": "parallel", "config": {"branches": branches, "wait_for": wanted}}


def _merge(name: str, kind: dict[str, Any], extra: dict[str, Any]) -> dict[str, Any]:
    if kind["type"] in ("fail", "succeed"):
        extra = {key: value for key, value in extra.items() if key == "assign"}
    return {"id": name, "name": name, **extra, **kind}


def outcome(snapshot: Snapshot, position: Position, seed: int) -> Event:
    """What a call comes to: the same for the same attempt at the same step."""
    config = snapshot.definition.steps[position.step_id].config
    if isinstance(config, WorkflowConfig):
        new_id = 0 if config.wait else snapshot.execution_id * 1_000 + position.seq
        return ChildFound(CHILD_VERSION, encode({}, limit=1000, what="It"), new_id)
    key = f"{position.step_id} {position.seq} {position.attempt} {seed}"
    chance = zlib.crc32(key.encode()) % 10
    if chance < 3:
        code = "action.Refused" if chance else "http.503"
        return CallFailed(ErrorInfo(code, f"No {chance}.", retryable=chance < 2))
    return CallSucceeded(encode({"seq": position.seq, "c": chance}, limit=1000, what="It"))


class World:
    """The rows of one execution, written and read the way the ledger does it."""

    def __init__(self, pk: int, **columns: Any) -> None:
        self.steps: list[dict[str, Any]] = []
        self.transitions: list[dict[str, Any]] = []
        self.inbox: list[tuple[int, Event]] = []
        self.due: datetime | None = NOW
        self.result: dict[str, Any] = {}
        self.row: dict[str, Any] = {
            **dict.fromkeys(claims.Row._fields),
            **dict.fromkeys(
                ("current_seq", "steps_entered", "inbox_seq", "seen_seq", "log_seq"), 0
            ),
            **dict.fromkeys(("generation", "children_generation", "children_open"), 0),
            **dict.fromkeys(("children_failed", "children_tolerated", "epoch", "revision"), 0),
            **dict.fromkeys(("children_total", "children_needed"), 0),
            "id": pk,
            "claims": 1,
            "version_id": 1,
            "state": "initialized",
            "input": "null",
            "variables": "{}",
            "control": "{}",
            "current_step": "",
            "current_phase": "",
            "current_attempt": 1,
            "transition_seq": 1,
            "parent_step": "",
            "kind": "root",
            **columns,
        }

    @property
    def has_ended(self) -> bool:
        return self.row["state"] in ENDED

    def load(self, outer: Outer | None = None) -> claims.Claim:
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
        snapshot.outer = outer
        return claim

    def unread(self) -> list[Event]:
        return [event for seq, event in self.inbox if seq > self.row["seen_seq"]]

    def post(self, event: Event, now: datetime) -> None:
        """A message; it wakes whoever nobody owns, and all are at rest while one has a turn."""
        self.row["inbox_seq"] += 1
        self.inbox.append((self.row["inbox_seq"], event))
        self.due = now

    def write(self, checkpoint: Any, now: datetime) -> None:
        plain = orjson.loads(orjson.dumps(checkpoint.row))
        for key, value in plain.items():
            if key in ("variables", "control"):
                if value is not None:
                    self.row[key] = json.dumps(value)
            elif key in self.row:
                self.row[key] = self._moment(key, value)
            elif key in ("output", "error"):
                self.result[key] = value
        if plain.get("control") is not None:
            self.row["deadline_at"] = self._moment("deadline_at", plain["deadline_at"])
        self.steps += orjson.loads(orjson.dumps(checkpoint.steps))
        self.transitions += orjson.loads(orjson.dumps(checkpoint.transitions))
        self.due = now
        if isinstance(checkpoint.directive, Finish):
            self.due = None
        elif isinstance(checkpoint.directive, Block) and not self.unread():
            self.due = checkpoint.directive.until

    @staticmethod
    def _moment(key: str, value: Any) -> Any:
        is_moment = key.endswith("_at") or key in ("current_since", "wait_until")
        return datetime.fromisoformat(value) if value and is_moment else value

    def history(self) -> dict[str, Any]:
        return {
            "state": self.row["state"],
            "output": self.result.get("output"),
            "error": self.result.get("error"),
            "variables": json.loads(self.row["variables"]),
            "steps": self.steps,
            "transitions": self.transitions,
        }


class Family:
    """An execution with all those below it, and what the ledger's SQL does to them."""

    def __init__(self, data: Any) -> None:
        self.worlds = {1: World(1, input=json.dumps(data))}
        self.now = NOW

    @property
    def root(self) -> World:
        return self.worlds[1]

    def next(self) -> World | None:
        """Whose turn it is; time passes until there is one."""
        due = [(each.due, pk) for pk, each in self.worlds.items() if each.due is not None]
        if not due:
            return None
        moment, pk = min(due)
        self.now = max(self.now, moment)
        return self.worlds[pk]

    def load(self, world: World) -> tuple[Snapshot, Counters, list[Event]]:
        """What a claim brings, and the events that the runner makes of it."""
        claim = world.load(self._outer(world.row))
        events: list[Event] = [*world.unread(), Claimed()]
        claim.counters.seen_seq = world.row["inbox_seq"]
        news = self._news(world, claim)
        if news is not None:
            events.insert(-1 if world.row["state"] == "waiting" else len(events), news)
        return claim.snapshot, claim.counters, events

    def _outer(self, row: dict[str, Any]) -> Outer | None:
        if row["kind"] not in ("item", "branch"):
            return None
        parent = self.worlds[row["parent_id"]]
        around = self._outer(parent.row)
        own = parent.load()
        snapshot = own.snapshot
        if around is None:
            around = Outer(snapshot.input, {}, {}, {}, None)
        return Outer(
            input=around.input,
            vars={**around.vars, **snapshot.vars},
            steps={**around.steps, **snapshot.steps},
            names={**around.names, **snapshot.names},
            caught=snapshot.caught or around.caught,
        )

    def _news(self, world: World, claim: claims.Claim) -> Event | None:
        position = claim.snapshot.position
        if position is None or position.phase not in WITH_CHILDREN:
            return None
        if claim.children_open:
            if claim.children_failing:
                return ChildrenFailing(position.generation)
            return ChildrenEnough(position.generation) if claim.children_enough else None
        results: dict[int, World] = {}
        for child in self._children(world.row["id"], position.step_id):
            if child.row["generation"] >= position.base:
                best = results.get(child.row["item_index"])
                if best is None or best.row["state"] != "completed":
                    results[child.row["item_index"]] = child
        found = [
            ChildResult(
                index,
                child.row["state"] == "completed",
                child.result.get("output"),
                child.result.get("error"),
                child.row["id"],
            )
            for index, child in sorted(results.items())
        ]
        return ChildrenEnded(tuple(found), position.generation)

    def _children(self, parent: int, step: str) -> list[World]:
        return [
            each
            for each in self.worlds.values()
            if (each.row["parent_id"], each.row["parent_step"]) == (parent, step)
        ]

    def write(self, world: World, checkpoint: Any) -> None:
        world.write(checkpoint, self.now)
        if checkpoint.spawn:
            self._spawn(world, checkpoint.spawn)
        for start in checkpoint.starts:
            assert start["id"] not in self.worlds
            self.worlds[start["id"]] = World(start["id"], version_id=start["version"])
            self.worlds[start["id"]].due = self.now
        for tell in checkpoint.tell:
            for child in self._children(tell["parent"], tell["step"]):
                if child.row["generation"] == tell["generation"] and not child.has_ended:
                    child.post(Asked(Verb(tell["verb"]), tell["actor"], tell["reason"]), self.now)
        if checkpoint.ends:
            self._count(*checkpoint.ends, failed=world.row["state"] != "completed")

    def _spawn(self, world: World, rows: list[dict[str, Any]]) -> None:
        first = rows[0]
        siblings = self._children(world.row["id"], first["step"])
        done = {
            each.row["item_index"]
            for each in siblings
            if each.row["state"] == "completed" and each.row["generation"] >= first["base"]
        }
        wanted = [row for row in rows if row["idx"] not in done]
        if first["needed"] and len(done) >= first["needed"]:
            wanted = []
        for row in wanted:
            pk = len(self.worlds) + 1
            self.worlds[pk] = World(
                pk,
                kind=row["kind"],
                version_id=row["version"] or world.row["version_id"],
                parent_id=world.row["id"],
                parent_step=row["step"],
                generation=row["generation"],
                item_index=row["idx"],
            )
            self.worlds[pk].due = self.now
        world.row |= {
            "children_generation": first["generation"],
            "children_total": len(rows),
            "children_open": len(wanted),
            "children_failed": 0,
            "children_tolerated": first["tolerated"],
            "children_needed": first["needed"],
        }
        if not wanted:
            world.due = self.now

    def _count(self, parent: int, step: str, generation: int, *, failed: bool) -> None:
        world = self.worlds[parent]
        row = world.row
        if row["children_generation"] != generation:
            return
        row["children_open"] -= 1
        row["children_failed"] += failed
        succeeded = row["children_total"] - row["children_open"] - row["children_failed"]
        failing = failed and row["children_failed"] == row["children_tolerated"] + 1
        enough = not failed and row["children_needed"] == succeeded
        if not world.has_ended and (row["children_open"] == 0 or failing or enough):
            world.post(Told(), self.now)

    def history(self) -> list[dict[str, Any]]:
        return [world.history() for world in self.worlds.values()]


def simulate(
    data: Any,
    seed: int,
    crashes: set[int],
    *,
    reloads: bool = True,
) -> list[dict[str, Any]]:
    """Run to the end; at the plans numbered in `crashes` the worker dies.

    An even number dies before its checkpoint is durable, an odd one after. reloads: let time pass
    between a worker's death and the next one's claim.
    """
    family = Family(data)
    number = 0
    while (world := family.next()) is not None:
        snapshot, counters, events = family.load(world)
        while True:
            assert number < MAX_PLANS, "it never ended"
            dies = number in crashes
            before = number
            number += 1
            commands: list[Any] = []
            after = snapshot
            for event in events:
                planned = plan(after, event, family.now, spent=lambda dies=dies: dies)
                commands += planned.commands
                after = planned.after
            if dies and before % 2 == 0:
                snapshot, counters, events = family.load(world)
                continue
            checkpoint = build(
                commands=commands,
                after=after,
                epoch=1,
                revision=0,
                counters=counters,
                now=family.now,
                child_of=_parent_of(world.row),
            )
            family.write(world, checkpoint)
            snapshot, directive = after, checkpoint.directive
            if isinstance(directive, (Finish, Block)):
                break
            if isinstance(directive, Call):
                events = [outcome(snapshot, directive.position, seed)]
            else:
                assert isinstance(directive, (Rest, Yield))
                if isinstance(directive, Rest):
                    family.now = max(family.now, directive.until)
                events = [Continued()]
            if dies and reloads:
                snapshot, counters, events = family.load(world)
    assert all(world.has_ended for world in family.worlds.values()), "somebody waits for nothing"
    return family.history()


def _parent_of(row: dict[str, Any]) -> tuple[int, str, int] | None:
    if row["parent_id"] is None:
        return None
    return row["parent_id"], row["parent_step"], row["generation"]


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
    known = {1: definition, CHILD_VERSION: compile_definition(CHILD)}
    claims.runnable_version = lambda version_id: Runnable(known[version_id], "any", "1.0.0")  # type: ignore[assignment]
    try:
        calm = simulate(data, seed, set())
        return calm, simulate(data, seed, crashes)
    finally:
        claims.runnable_version = original


def test_what_an_earlier_attempt_has_made_is_not_the_output_of_a_later_one() -> None:
    ends = set()
    for seed in range(60):
        calm, troubled = both_ways({"name": "Any", "steps": [SECOND_ATTEMPT]}, {}, seed, set())
        assert calm == troubled
        ends.add((calm[0]["state"], len(calm[0]["steps"])))
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
    for each in calm:
        keys = [(step["seq"], step["attempt"]) for step in each["steps"]]
        assert len(keys) == len(set(keys))
    assert calm[0]["state"] in ("completed", "failed")
