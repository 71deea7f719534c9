"""Parallels: branches as child executions, joined when enough have succeeded."""

from __future__ import annotations

from typing import Any

import pytest

from executions.models import Execution, StepExecution
from executions.services import (
    cancel_execution,
    pause_execution,
    resume_execution,
    retry_execution,
    skip_step,
)
from tests.engine import SYSTEM, drain, published, reread, run, started, wait_until

pytestmark = pytest.mark.django_db(transaction=True)


def parallel(id: str = "p", wait_for: Any = "all", **branches: Any) -> dict[str, Any]:
    """A parallel of these branches; a branch is a list of steps or one."""
    made = [
        {"name": name, "steps": steps if isinstance(steps, list) else [steps]}
        for name, steps in branches.items()
    ]
    config = {"branches": made, "wait_for": wait_for}
    return {"id": id, "name": id, "type": "parallel", "config": config}


def value(id: str, output: Any, **fields: Any) -> dict[str, Any]:
    return {"id": id, "name": id, "type": "transform", "config": {"output": output}, **fields}


def broken(id: str, message: str = "No.") -> dict[str, Any]:
    config = {"error": "my.no", "message": message}
    return {"id": id, "name": id, "type": "fail", "config": config}


def nap(id: str) -> dict[str, Any]:
    return {"id": id, "name": id, "type": "wait", "config": {"duration": "1h"}}


def fails_first(id: str, folder, times: Any = True) -> dict[str, Any]:
    params = {"file": str(folder), "key": id, "fail": times}
    config = {"action": "probe.fail_first", "with": params}
    return {"id": id, "name": id, "type": "action", "config": config}


def children(execution: Execution) -> list[tuple[Any, ...]]:
    rows = Execution.objects.filter(parent=execution).order_by("item_index", "pk")
    return list(rows.values_list("item_index", "generation", "state"))


def tree(execution: Execution) -> list[str]:
    """The states of all executions below this one."""
    found = []
    for child in Execution.objects.filter(parent=execution).order_by("item_index", "pk"):
        found += [child.state, *tree(child)]
    return found


def test_branches_run_as_children_and_join_by_name():
    execution = run(published([parallel(one=value("a", 1), two=[value("b", 2), value("c", 3)])]))
    assert execution.state == "completed", execution.error
    assert execution.output == {"one": 1, "two": 3}
    rows = Execution.objects.filter(parent=execution).order_by("item_index")
    assert [(c.kind, c.item_index, c.state, c.input, c.depth) for c in rows] == [
        ("branch", 0, "completed", None, 1),
        ("branch", 1, "completed", None, 1),
    ]
    assert (execution.children_open, execution.children_total, execution.revision) == (0, 2, 2)


def test_a_branch_sees_what_is_around_it_as_it_was_and_keeps_its_own():
    body = [
        value("sum", "{{ input.n + vars.base + steps.before.output }}", assign={"base": 1}),
        value("both", ["{{ steps.sum.output }}", "{{ vars.base }}"]),
    ]
    steps = [
        value("before", 100, assign={"base": 10}),
        parallel(one=body, two=value("other", "{{ vars.base }}")),
        value("after", ["{{ steps.p.output }}", "{{ vars.base }}"]),
    ]
    execution = run(published(steps), {"n": 5})
    assert execution.state == "completed", execution.error
    assert execution.output == [{"one": [115, 1], "two": 10}, 10]


@pytest.mark.parametrize(
    ("wait_for", "state", "output"),
    [
        ("any", "completed", {"one": 1, "two": None, "three": None}),
        (1, "completed", {"one": 1, "two": None, "three": None}),
        (2, "waiting", None),
        ("all", "waiting", None),
    ],
)
def test_enough_that_succeeded_cancel_the_rest(wait_for, state, output):
    branches = {"one": value("a", 1), "two": nap("b"), "three": nap("c")}
    execution = run(published([parallel(wait_for=wait_for, **branches)]))
    assert (execution.state, execution.output) == (state, output)
    expected = "cancelled" if state == "completed" else "waiting"
    assert tree(execution) == ["completed", expected, expected]


@pytest.mark.parametrize(("wait_for", "state"), [("all", "failed"), (2, "failed"), (1, "waiting")])
def test_failures_that_leave_too_few_cancel_the_rest(wait_for, state):
    branches = {"one": broken("a", "Card declined."), "two": broken("b"), "three": nap("c")}
    execution = run(published([parallel(wait_for=wait_for, **branches)]))
    assert execution.state == state
    expected = "cancelled" if state == "failed" else "waiting"
    assert tree(execution) == ["failed", "failed", expected]


def test_the_error_names_the_branches():
    branches = {"pay": broken("a", "Card declined."), "ship": nap("b"), "tell": value("c", 1)}
    execution = run(published([parallel(**branches)]))
    pay = Execution.objects.get(parent=execution, item_index=0)
    assert execution.error == {
        "code": "child.failed",
        "message": "1 of 3 branches failed, and all of them have to succeed; "
        "branch 'pay': Card declined.",
        "step": "p",
        "attempt": 1,
        "retryable": True,
        "details": {
            "failed": 1,
            "total": 3,
            "needed": 3,
            "branches": [{"name": "pay", "execution_id": pay.pk, "error": pay.error}],
        },
    }


def test_a_cancelled_branch_did_not_succeed():
    execution = run(published([parallel(one=nap("a"), two=nap("b"))]))
    child = Execution.objects.get(parent=execution, item_index=1)
    cancel_execution(execution=child, actor=SYSTEM)
    drain()
    row = reread(execution)
    assert row.error["message"] == (
        "The branches were cancelled before enough of them (2) had succeeded; "
        "branch 'one': It was cancelled."
    )
    assert tree(execution) == ["cancelled", "cancelled"]


def test_a_retry_of_the_step_begins_anew_what_did_not_succeed(tmp_path):
    step = parallel(good=value("a", 1), bad=[value("b", 2), fails_first("f", tmp_path)])
    step["retry"] = {"max_attempts": 3, "initial_interval": 0.01}
    execution = run(published([step]))
    assert execution.state == "completed", execution.error
    assert execution.output == {"good": 1, "bad": 2}
    assert children(execution) == [
        (0, 1, "completed"),
        (1, 1, "failed"),
        (1, 2, "completed"),
    ]


def test_a_retry_of_the_execution_goes_on_inside_the_branch_that_failed(tmp_path):
    inner = parallel("q", deep=[value("b", 2), fails_first("f", tmp_path)], sane=value("s", 3))
    steps = [value("first", 0), parallel(good=value("a", 1), bad=[value("x", 5), inner])]
    execution = run(published(steps))
    assert (execution.state, execution.error_code) == ("failed", "child.failed")
    before = set(Execution.objects.values_list("pk", flat=True))
    retry_execution(execution=execution, actor=SYSTEM)
    drain()
    row = reread(execution)
    assert row.state == "completed", row.error
    assert row.output == {"good": 1, "bad": {"deep": 2, "sane": 3}}
    assert set(Execution.objects.values_list("pk", flat=True)) == before
    assert children(execution) == [(0, 1, "completed"), (1, 2, "completed")]
    attempts = StepExecution.objects.exclude(attempt=1).values_list("step_id", "attempt")
    assert sorted(attempts) == [("f", 2), ("p", 2), ("q", 2)]
    assert StepExecution.objects.filter(step_id="b").count() == 1


def test_what_was_cancelled_beside_the_failure_begins_anew(tmp_path):
    step = parallel(bad=fails_first("f", tmp_path), rest=[value("v", 1), nap("n")])
    execution = run(published([step]))
    assert tree(execution) == ["failed", "cancelled"]
    retry_execution(execution=execution, actor=SYSTEM)
    drain()
    assert reread(execution).state == "waiting"
    assert children(execution) == [(0, 2, "completed"), (1, 1, "cancelled"), (1, 2, "waiting")]


def test_a_branch_is_retried_alone_while_the_others_are_waited_for(tmp_path):
    step = parallel(wait_for="any", bad=fails_first("f", tmp_path), rest=nap("n"))
    execution = run(published([step]))
    assert tree(execution) == ["failed", "waiting"]
    retry_execution(execution=Execution.objects.get(parent=execution, item_index=0), actor=SYSTEM)
    drain()
    row = reread(execution)
    assert (row.state, row.output) == ("completed", {"bad": 2, "rest": None})
    assert tree(execution) == ["completed", "cancelled"]


def test_enough_that_had_succeeded_before_join_again(settings):
    settings.AUTOPILOT = {**settings.AUTOPILOT, "MAX_JOINED_BYTES": 10}
    step = parallel(wait_for=2, one=value("a", "long enough"), two=value("b", 1), three=nap("c"))
    execution = run(published([step]))
    assert execution.error_code == "limit.output"
    settings.AUTOPILOT = {**settings.AUTOPILOT, "MAX_JOINED_BYTES": 1000}
    retry_execution(execution=execution, actor=SYSTEM)
    drain()
    row = reread(execution)
    assert row.output == {"one": "long enough", "two": 1, "three": None}
    assert [state for *_, state in children(execution)] == ["completed", "completed", "cancelled"]


def nested() -> dict[str, Any]:
    """Three levels: a branch that ended, one that waits, a map inside a branch inside a branch."""
    each = {
        "id": "each",
        "name": "each",
        "type": "map",
        "config": {"items": "[1, 2]", "max_concurrency": 1, "steps": [nap("deep")]},
    }
    group = {"id": "g", "name": "g", "type": "group", "config": {"steps": [each]}}
    inner = parallel("q", map=group, done=value("v", 1))
    return parallel(done=value("w", 1), waits=nap("n"), inner=inner)


def test_pause_resume_and_cancel_go_down_the_tree():
    execution = run(published([nested()]))
    waiting = ["completed", "waiting", "waiting", "waiting", "waiting", "initialized", "completed"]
    assert tree(execution) == waiting
    pause_execution(execution=execution, actor=SYSTEM)
    drain()
    assert reread(execution).state == "paused"
    assert tree(execution) == ["paused" if state == "waiting" else state for state in waiting]
    resume_execution(execution=reread(execution), actor=SYSTEM)
    drain()
    assert (reread(execution).state, tree(execution)) == ("waiting", waiting)
    cancel_execution(execution=reread(execution), actor=SYSTEM)
    drain()
    ended = [state if state == "completed" else "cancelled" for state in waiting]
    assert (reread(execution).state, tree(execution)) == ("cancelled", ended)


def test_a_skipped_parallel_cancels_its_branches():
    execution = run(published([nested(), value("next", "{{ steps.p.output }}")]))
    skip_step(execution=execution, actor=SYSTEM, output={"given": 1})
    drain()
    row = reread(execution)
    assert (row.state, row.output) == ("completed", {"given": 1})
    assert set(tree(execution)) == {"completed", "cancelled"}


def test_branches_that_end_while_the_parent_is_paused_count_on_resume():
    step = parallel(wait_for="any", one=nap("a"), two=nap("b"))
    execution = run(published([step]))
    one = Execution.objects.get(parent=execution, item_index=0)
    pause_execution(execution=execution, actor=SYSTEM)
    drain()
    skip_step(execution=reread(one), actor=SYSTEM)
    resume_execution(execution=reread(one), actor=SYSTEM)
    drain()
    assert (reread(one).state, reread(execution).state) == ("completed", "paused")
    resume_execution(execution=reread(execution), actor=SYSTEM)
    drain()
    assert (reread(execution).state, tree(execution)) == ("completed", ["completed", "cancelled"])


def test_a_parallel_that_takes_too_long_cancels_its_branches():
    step = {**parallel(one=nap("a"), two=value("b", 1)), "timeout": 0.05}
    execution = started(published([step]))
    wait_until(lambda: bool(drain()) and reread(execution).has_ended)
    drain()
    row = reread(execution)
    assert (row.error_code, row.error["step"]) == ("timeout.step", "p")
    assert tree(execution) == ["cancelled", "completed"]


def test_the_scope_around_a_branch_has_its_own_end():
    """`succeed` and `fail` end the branch alone; `finally` around it runs when all have ended."""
    succeed = {"id": "s", "name": "s", "type": "succeed", "config": {"output": "early"}}
    steps = parallel(one=[{**succeed, "when": "true"}, value("never", 1)], two=broken("b"))
    group = {
        "id": "g",
        "type": "group",
        "config": {"steps": [steps], "finally": [value("last", "{{ error.code }}")]},
        "catch": [{"errors": ["child.failed"], "next": "rescue"}],
        "next": "end",
    }
    rescue = value("rescue", "{{ [steps.last.output, len(error.details.branches)] }}")
    execution = run(published([group, rescue]))
    assert (execution.state, execution.output) == ("completed", ["child.failed", 1])


def test_a_hundred_branches_join():
    branches = {f"b{n}": value(f"s{n}", n) for n in range(100)}
    execution = run(published([parallel(**branches)]))
    assert execution.state == "completed", execution.error
    assert execution.output == {f"b{n}": n for n in range(100)}
    assert execution.revision == 2
