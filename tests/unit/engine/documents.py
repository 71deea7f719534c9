"""Any definition: strategies that make documents of all types of steps, nested in each other."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

Json = dict[str, Any]

FAIL = {"error": "my.error", "message": "No."}
RETRY = {"max_attempts": 4, "initial_interval": 60, "jitter": 0.5, "budget": 150}
RETRIES = [
    {"max_attempts": 2},
    RETRY,
    {"max_attempts": 3, "errors": ["http.*", "child.*"]},
    {"max_attempts": 3, "except": ["timeout.*"]},
]
CAUGHT = [["*"], ["http.*"], ["my.error", "child.failed"], ["timeout.step"]]
SIGNALS = ("paid", "packed")
# What goes on as a new execution: once, by the round that its input says.
AS_NEW = {"continue_as_new": {"input": {"n": "{{ input.n }}", "early": False, "round": 2}}}


def named(step_id: str, type_: str, config: Json, **fields: Any) -> Json:
    """A step."""
    return {"id": step_id, "name": step_id, "type": type_, "config": config, **fields}


def undone_by(name: str) -> Json:
    """A compensation that says what it undoes."""
    return {
        "action": "noop",
        "with": {"of": name, "was": "{{ steps." + name + ".output }}"},
        "retry": {"max_attempts": 2, "initial_interval": 5},
    }


# What `workflow` steps start, by slug.
CHILDREN: dict[str, Json] = {
    "child": {
        "name": "Child",
        "steps": [
            named("cw", "wait", {"duration": 20}),
            named("ca", "action", {"action": "noop"}, compensate=undone_by("ca")),
        ],
    },
    "saga": {
        "name": "Saga",
        "on_failure": "compensate",
        "steps": [
            named("sa", "action", {"action": "noop"}, compensate=undone_by("sa")),
            named("sb", "action", {"action": "noop"}, compensate=undone_by("sb")),
            named("ss", "signal", {"signal": "paid"}, timeout=40),
            named("sc", "action", {"action": "noop"}),
        ],
    },
    "again": {
        "name": "Again",
        "steps": [
            named("nw", "wait", {"duration": 10}),
            named(
                "ns",
                "succeed",
                {"continue_as_new": {"input": {"of": "{{ input.of }}", "round": 2}}},
                when="default(input.round, 1) == 1",
            ),
            named("na", "action", {"action": "noop"}),
        ],
    },
    "single": {
        "name": "Single",
        "concurrency": {"key": "'all'", "limit": 1, "on_limit": "queue"},
        "steps": [
            named("sw", "wait", {"duration": 15}),
            named("sx", "action", {"action": "noop"}, compensate=undone_by("sx")),
        ],
    },
}


def steps(depth: int, prefix: str) -> st.SearchStrategy[list[Json]]:
    """A scope; with some of them the way leads back to its first step, twice."""

    def of(count: int) -> st.SearchStrategy[list[Json]]:
        names = [f"{prefix}{number}" for number in range(count)]
        parts = st.tuples(*(step(depth, name, names) for name in names)).map(list)
        order = st.just(names[1:]) | st.permutations(names[1:])
        return st.tuples(parts, order, st.sampled_from([False, False, False, True])).map(
            lambda made: _joined(made[0], [names[0], *made[1]], _loop(prefix, names[0]), made[2])
        )

    return st.integers(1, 4).flatmap(of)


def _joined(parts: list[Json], order: list[str], loop: list[Json], loops: bool) -> list[Json]:
    """The steps of a scope; flow goes through all of them in this order, whatever theirs is."""
    below = [each["id"] for each in (*parts, *(loop if loops else []))]
    after = [*order[1:], loop[0]["id"] if loops else "end"]
    for each in parts:
        follower = after[order.index(each["id"])]
        place = below.index(each["id"]) + 1
        if each["type"] == "choice":
            ways = [*each["config"]["choices"], {"when": "len(steps) < 20", "next": follower}]
            each["config"] = {**each["config"], "choices": ways}
        elif (below[place] if place < len(below) else "end") != follower:
            each["next"] = follower
    return [*parts, *(loop if loops else [])]


def _loop(prefix: str, first: str) -> list[Json]:
    rounds = f"{prefix}rounds"
    count = {rounds: "{{ default(vars." + rounds + ", 0) + 1 }}"}
    again = {"when": f"vars.{rounds} < 2", "next": first}
    return [
        named(f"{prefix}t", "transform", {"output": 1}, assign=count),
        named(f"{prefix}c", "choice", {"choices": [again], "default": "end"}),
    ]


def step(depth: int, name: str, siblings: list[str]) -> st.SearchStrategy[Json]:
    kinds = [*_simple(name), *_outside(), *_workflows(name), *_as_new(name)]
    if depth:
        kinds += _nested(depth, name)
    targets = st.sampled_from(["end", *siblings])
    # Only onwards: `_loop` says what comes by again, and how often. A choice that always leads
    # back would multiply with everything around and inside it.
    kinds += [_choice(st.sampled_from(["end", *siblings[siblings.index(name) + 1 :]]))]
    extra = st.fixed_dictionaries(
        {},
        optional={
            "retry": st.sampled_from(RETRIES),
            "catch": st.tuples(st.sampled_from(CAUGHT), targets).map(_catch),
            "heartbeat": st.just(15),
            "assign": st.sampled_from([{"last": name}, {"x": "{{ steps." + name + ".attempts }}"}]),
            "when": st.sampled_from(
                ["input.n != 3", f"default(steps.{name}.attempts, 0) == 0", "len(steps) < 9"]
            ),
            "compensate": st.just(undone_by(name)),
            "timeout": st.sampled_from([25, 50, 500]),
        },
    )
    return st.tuples(st.one_of(kinds), extra).map(lambda both: _merge(name, *both))


def _simple(name: str) -> list[st.SearchStrategy[Json]]:
    return [
        st.just({"type": "transform", "config": {"output": {"was": name}}}),
        st.just({"type": "transform", "config": {"output": "{{ 1 / (len(steps) - 2) }}"}}),
        st.just({"type": "action", "config": {"action": "noop"}}),
        st.just({"type": "action", "config": {"action": "noop", "with": {"of": name}}}),
        st.sampled_from([30, 45]).map(lambda n: {"type": "wait", "config": {"duration": n}}),
        st.sampled_from(["00:00:50", "00:02:00"]).map(
            lambda time: {"type": "wait", "config": {"until": f"2026-01-01T{time}Z"}}
        ),
        st.just({"type": "fail", "when": "execution.id == 1", "config": FAIL}),
        st.just({"type": "fail", "when": "len(steps) > 1", "config": FAIL}),
        st.just({"type": "succeed", "when": "input.early", "config": {"output": name}}),
    ]


def _choice(targets: st.SearchStrategy[str]) -> st.SearchStrategy[Json]:
    """Goes on somewhere below; sometimes nowhere, which is an error."""
    ways = st.lists(
        st.tuples(st.sampled_from(["input.n > 2", "len(steps) < 3"]), targets), min_size=1
    ).map(lambda found: [{"when": when, "next": target} for when, target in found[:2]])
    config = st.fixed_dictionaries({"choices": ways}, optional={"default": targets})
    return config.map(lambda made: {"type": "choice", "config": made})


def _catch(both: tuple[list[str], str]) -> list[Json]:
    """What is caught first is named; the rest goes on at the end."""
    errors, target = both
    rest = [] if "*" in errors else [{"errors": ["*"], "next": "end"}]
    return [{"errors": errors, "next": target, "as": "problem"}, *rest]


def _outside() -> list[st.SearchStrategy[Json]]:
    signal = st.fixed_dictionaries(
        {"signal": st.sampled_from(SIGNALS)}, optional={"schema": st.just({"type": "integer"})}
    )
    approval = st.fixed_dictionaries({"title": st.just("Is it?")}, optional={"quorum": st.just(2)})
    return [
        signal.map(lambda config: {"type": "signal", "config": config}),
        approval.map(lambda config: {"type": "approval", "config": config}),
    ]


def _workflows(name: str) -> list[st.SearchStrategy[Json]]:
    config = st.fixed_dictionaries(
        {"workflow": st.sampled_from(sorted(CHILDREN)), "input": st.just({"of": name})},
        optional={"wait": st.just(False)},
    )
    return [config.map(lambda made: {"type": "workflow", "config": made})]


def _as_new(name: str) -> list[st.SearchStrategy[Json]]:
    """Only steps of the document's own list go on as a new execution."""
    once = {"type": "succeed", "when": "default(input.round, 1) == 1", "config": AS_NEW}
    return [] if "_" in name else [st.just(once)]


def _nested(depth: int, name: str) -> list[st.SearchStrategy[Json]]:
    inner = steps(depth - 1, f"{name}_")
    last = st.none() | steps(0, f"{name}_f")
    sides = st.tuples(*(steps(depth - 1, f"{name}_{side}") for side in "ab"))
    limits = st.fixed_dictionaries(
        {},
        optional={
            "items": st.sampled_from(["[]", "[1, 2, 3, 4, 5]", "input.n"]),
            "batch_size": st.just(2),
            "max_concurrency": st.sampled_from([1, 2]),
            "tolerated_failures": st.sampled_from([1, "50%"]),
        },
    )
    return [
        st.tuples(inner, last).map(_group),
        st.tuples(sides, st.sampled_from(["all", "any", 1, 2])).map(_parallel),
        st.tuples(inner, limits).map(_map),
    ]


def _group(parts: tuple[list[Json], list[Json] | None]) -> Json:
    inner, last = parts
    return {"type": "group", "config": {"steps": inner, **({"finally": last} if last else {})}}


def _parallel(parts: tuple[tuple[list[Json], ...], Any]) -> Json:
    sides, wanted = parts
    branches = [{"name": f"b{n}", "steps": side} for n, side in enumerate(sides)]
    return {"type": "parallel", "config": {"branches": branches, "wait_for": wanted}}


def _map(parts: tuple[list[Json], Json]) -> Json:
    inner, limits = parts
    config = {"items": "[1, 2, 3]", "as": "it", "steps": inner, **limits}
    return {"type": "map", "config": config}


_WITHOUT = {
    "fail": {"compensate", "catch", "retry", "timeout"},
    "succeed": {"compensate", "catch", "retry", "timeout"},
    "transform": {"timeout"},
    "choice": {"compensate"},
}


def _merge(name: str, kind: Json, extra: Json) -> Json:
    without = _WITHOUT.get(kind["type"], set())
    if kind["type"] != "action":
        without = {*without, "heartbeat"}
    kept = {key: value for key, value in extra.items() if key not in without}
    return {"id": name, "name": name, **kept, **kind}


def documents(depth: int = 2) -> st.SearchStrategy[Json]:
    """Whole documents, some of which undo what they did when they fail."""
    return st.fixed_dictionaries(
        {
            "name": st.just("Any"),
            "steps": steps(depth, "s"),
            "timeout": st.sampled_from(["1d", "1d", "100s"]),
        },
        optional={"on_failure": st.sampled_from(["compensate", {"workflow": "mourner"}])},
    )
