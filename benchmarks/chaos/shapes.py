"""The workflows that are run, of every type of step, and what each has to come to."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

SIGNAL, TASKS = "chaos.paid", "chaos"
QUICK = {"max_attempts": 3, "initial_interval": 0.05, "backoff": 1, "jitter": 0}
FAR = "1d"


@dataclass(frozen=True, slots=True)
class End:
    """What an execution has to come to. `codes`: one of these errors, none = no error."""

    state: str
    output: Any = None
    codes: tuple[str, ...] = ()
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Shape:
    """One workflow. `ends(n)`: what the execution with the number n may come to.

    variants: numbers that agree modulo this have the same history; it is learnt from one of them
    that ran in peace. A loose one may have several; only the books' general rules hold it.
    weight: how often it is started. 0 = only by others, so no number is its own.
    """

    name: str
    document: dict[str, Any]
    ends: Callable[[int], tuple[End, ...]]
    variants: int = 1
    weight: int = 1
    loose: bool = False


def step(id_: str, kind: str, config: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"id": id_, "name": id_, "type": kind, "config": config, **more}


def call(id_: str, give: Any = 1, *, action: str = "chaos.call", **more: Any) -> dict[str, Any]:
    """A call of the service; `fail`, `seconds` go with it, all else belongs to the step."""
    ask = {name: more.pop(name) for name in ("fail", "seconds") if name in more}
    return step(id_, "action", {"action": action, "with": {"give": give, **ask}}, **more)


def undone(fail: int = 0, attempts: int = 3) -> dict[str, Any]:
    """How a step is undone: by a call that fails so often before."""
    retry = {**QUICK, "max_attempts": attempts}
    return {"compensate": {"action": "chaos.call", "with": {"fail": fail}, "retry": retry}}


def succeed(output: Any) -> dict[str, Any]:
    return step("done", "succeed", {"output": output})


def _completed(output: Any) -> Callable[[int], tuple[End, ...]]:
    return lambda n: (End("completed", output),)


def _document(name: str, steps: list[dict[str, Any]], **more: Any) -> dict[str, Any]:
    return {"name": f"chaos {name}", "slug": f"chaos-{name}", "steps": steps, **more}


def _plain() -> Shape:
    steps = [
        call("ask", "{{ input.n }}", fail=1, retry=QUICK),
        step("twice", "transform", {"output": "{{ steps.ask.output * 2 }}"}, assign={"sum": 1}),
        step("never", "transform", {"output": 0}, when="input.n < 0"),
        step(
            "which",
            "choice",
            {"choices": [{"when": "input.n % 2 == 0", "next": "even"}], "default": "odd"},
        ),
        call("even", next="end_"),
        call("odd", fail=2, retry=QUICK, next="end_"),
        step("end_", "succeed", {"output": "{{ steps.twice.output + vars.sum }}"}),
    ]
    return Shape(
        "plain", _document("plain", steps), lambda n: (End("completed", 2 * n + 1),), 2, weight=4
    )


def _wait() -> Shape:
    steps = [call("before"), step("rest", "wait", {"duration": 0.7}), call("after", 7)]
    return Shape("wait", _document("wait", steps), _completed(7), weight=2)


def _map() -> Shape:
    inner = [call("look", "{{ item }}"), step("square", "transform", {"output": "{{ item ** 2 }}"})]
    config = {"items": "range(input.n % 3 + 3)", "as": "item", "max_concurrency": 2, "steps": inner}
    return Shape(
        "map",
        _document("map", [step("each", "map", config)]),
        lambda n: (End("completed", [i * i for i in range(n % 3 + 3)]),),
        3,
        weight=2,
    )


def _tolerant() -> Shape:
    bad = step("no", "fail", {"error": "chaos.no"}, when="item == 1")
    config = {
        "items": "range(3)",
        "as": "item",
        "tolerated_failures": 1,
        "steps": [bad, call("go")],
    }
    return Shape(
        "tolerant", _document("tolerant", [step("each", "map", config)]), _completed([1, None, 1])
    )


def _branches(name: str, wait_for: Any, output: Any, *sides: list[dict[str, Any]]) -> Shape:
    branches = [{"name": f"b{i}", "steps": steps} for i, steps in enumerate(sides)]
    steps = [step("sides", "parallel", {"wait_for": wait_for, "branches": branches})]
    return Shape(name, _document(name, steps), _completed(output))


def _parallels() -> list[Shape]:
    never = step("never", "wait", {"duration": FAR})
    both = _branches(
        "all", "all", {"b0": 1, "b1": 2}, [call("a", 1)], [call("b", 2, fail=1, retry=QUICK)]
    )
    first = _branches("any", "any", {"b0": None, "b1": 2}, [never], [call("b", 2)])
    two = _branches(
        "two", 2, {"b0": 1, "b1": None, "b2": 3}, [call("a", 1)], [never], [call("c", 3)]
    )
    race = _branches("race", "any", None, [call("a", 1)], [call("b", 2)])
    outputs = [{"b0": 1, "b1": None}, {"b0": None, "b1": 2}, {"b0": 1, "b1": 2}]
    raced = Shape(
        "race", race.document, lambda n: tuple(End("completed", o) for o in outputs), loose=True
    )
    return [both, first, two, raced]


def _group() -> Shape:
    inner = [call("begin"), call("bad", fail=9, retry={**QUICK, "max_attempts": 2})]
    config = {"steps": inner, "finally": [call("close")]}
    caught = {"catch": [{"errors": ["*"], "as": "problem", "next": "after"}]}
    steps = [
        step("part", "group", config, retry={**QUICK, "max_attempts": 2}, **caught),
        step("lost", "fail", {"error": "chaos.not_caught"}),
        call("after", 5),
    ]
    return Shape("group", _document("group", steps), _completed(5))


def _loop() -> Shape:
    again = {"choices": [{"when": "vars.i < 4", "next": "turn"}], "default": "done"}
    steps = [
        step("begin", "transform", {"output": 0}, assign={"i": 0}),
        call("turn", assign={"i": "{{ vars.i + 1 }}"}),
        step("again", "choice", again),
        succeed("{{ vars.i }}"),
    ]
    return Shape("loop", _document("loop", steps), _completed(4))


def _children() -> list[Shape]:
    small = Shape(
        "small",
        _document("small", [call("work", "{{ input.n + 1 }}")]),
        lambda n: (End("completed", n + 1),),
        weight=0,
    )
    go = step(
        "go",
        "workflow",
        {"workflow": "chaos-small", "input": {"n": "{{ input.n }}"}, "wait": False},
    )
    ask = step("ask", "workflow", {"workflow": "chaos-small", "input": {"n": "{{ input.n }}"}})
    parent = Shape(
        "parent", _document("parent", [go, ask]), lambda n: (End("completed", n + 1),), weight=2
    )
    return [small, parent]


def _outside() -> list[Shape]:
    order = {"signal": SIGNAL, "correlation": "{{ input.n }}"}
    signal = Shape(
        "signal",
        _document("signal", [step("paid", "signal", order), call("thank")]),
        _completed(1),
        weight=2,
    )
    asked = {"title": "Number {{ input.n }}?", "context": {"n": "{{ input.n }}"}}
    steps = [
        step("ask", "approval", asked, catch=[{"errors": ["approval.rejected"], "next": "no"}]),
        call("yes", "yes", next="end"),
        call("no", "no"),
    ]
    approval = Shape(
        "approval",
        _document("approval", steps),
        lambda n: (End("completed", "no" if n % 2 else "yes"),),
        2,
        weight=2,
    )
    queued = {"action": "task.queue", "with": {"queue": TASKS, "payload": {"n": "{{ input.n }}"}}}
    task = Shape(
        "task",
        _document("task", [step("work", "action", queued, retry=QUICK)]),
        lambda n: (End("completed", n * 2),),
        3,
        weight=2,
    )
    defer = call("defer", "{{ input.n }}", action="chaos.defer")
    deferred = Shape("callback", _document("callback", [defer]), lambda n: (End("completed", n),))
    return [signal, approval, task, deferred]


def _undoing() -> list[Shape]:
    config = {"items": "[1, 2]", "as": "item", "steps": [call("pay", **undone())]}
    child = {"workflow": "chaos-booking", "input": {}}
    steps = [
        call("book", **undone(1)),
        step("each", "map", config),
        step("child", "workflow", child),
        step("stop", "fail", {"error": "chaos.sold_out"}),
    ]
    after = {"workflow": "chaos-mourner", "compensate": True}
    trip = Shape(
        "undo",
        _document("undo", steps, on_failure=after),
        lambda n: (End("failed", codes=("chaos.sold_out",), reason="compensated"),),
        weight=2,
    )
    booking = Shape(
        "booking", _document("booking", [call("seat", **undone())]), _completed(1), weight=0
    )
    steps = [call("first", **undone()), call("second", **undone(9, 2)), steps[-1]]
    left = Shape(
        "left",
        _document("left", steps, on_failure="compensate"),
        lambda n: (End("failed", codes=("chaos.sold_out",), reason="compensation_failed"),),
    )
    mourner = Shape("mourner", _document("mourner", [call("mourn")]), _completed(1), weight=0)
    steps = [call("book", **undone()), step("rest", "wait", {"duration": FAR})]
    cancelled = Shape(
        "cancelled",
        _document("cancelled", steps),
        lambda n: (End("cancelled", reason="compensated"),),
    )
    return [booking, mourner, trip, left, cancelled]


def _limited() -> list[Shape]:
    slots = {"key": "input.n % 4", "limit": 2, "on_limit": "queue"}
    steps = [call("hold", seconds=0.02), step("rest", "wait", {"duration": 0.05}), call("end_", 3)]
    slotted = Shape("slots", _document("slots", steps, concurrency=slots), _completed(3))
    request = {
        "method": "POST",
        "url": "{{ input.url }}",
        "idempotency_header": "Idempotency-Key",
        "json": {"seconds": 0.01},
        "timeout": 20,
    }
    steps = [
        step("post", "action", {"action": "http.request", "with": request}, retry=QUICK),
        succeed("{{ steps.post.output.status }}"),
    ]
    http = Shape("http", _document("http", steps), _completed(200), weight=2)
    return [slotted, http]


def _others() -> list[Shape]:
    more = {"choices": [{"when": "input.left > 0", "next": "more"}], "default": "done"}
    new = {"continue_as_new": {"input": {"n": "{{ input.n }}", "left": "{{ input.left - 1 }}"}}}
    steps = [
        call("work"),
        step("which", "choice", more),
        step("more", "succeed", new),
        succeed("{{ input.n }}"),
    ]
    going = Shape("continued", _document("continued", steps), lambda n: (End("completed", n),))
    # Fails at first; the script has it tried again.
    retried = Shape("retried", _document("retried", [call("ask", 4, fail=1)]), _completed(4))
    once = Shape(
        "once",
        _document("once", [call("ask", 8, action="chaos.once")]),
        lambda n: (End("completed", 8), End("failed", codes=("worker.lost",))),
        loose=True,
    )
    return [going, retried, once]


# In the order in which they are published: children before parents is not needed, but kind.
SHAPES: tuple[Shape, ...] = (
    _plain(),
    _wait(),
    _map(),
    _tolerant(),
    *_parallels(),
    _group(),
    _loop(),
    *_children(),
    *_outside(),
    *_undoing(),
    *_limited(),
    *_others(),
)
BY_NAME = {shape.name: shape for shape in SHAPES}
