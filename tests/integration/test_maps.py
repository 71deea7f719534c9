"""Maps: items as child executions, joined in order, whatever happens to them."""

from __future__ import annotations

import pytest

from executions.models import Execution, StepExecution
from executions.services import cancel_execution, pause_execution, resume_execution
from tests.engine import SYSTEM, drain, published, reread, run, started

pytestmark = pytest.mark.django_db(transaction=True)


def mapping(body, **config):
    return {
        "id": "each",
        "type": "map",
        "config": {"items": "input.items", "as": "item", "steps": body, **config},
    }


DOUBLE = {
    "id": "double",
    "name": "double",
    "type": "action",
    "config": {"action": "noop", "with": {"n": "{{ item * 2 }}", "i": "{{ index }}"}},
}


def test_items_run_as_children_and_join_in_order():
    workflow = published([mapping([DOUBLE])])
    execution = run(workflow, {"items": [5, 6, 7]})
    assert execution.state == "completed", execution.error
    assert execution.output == [{"n": 10, "i": 0}, {"n": 12, "i": 1}, {"n": 14, "i": 2}]
    children = Execution.objects.filter(parent=execution).order_by("item_index")
    assert [(c.kind, c.item_index, c.state, c.input, c.depth) for c in children] == [
        ("item", 0, "completed", 5, 1),
        ("item", 1, "completed", 6, 1),
        ("item", 2, "completed", 7, 1),
    ]
    assert execution.children_open == 0


def test_an_empty_list_joins_at_once():
    execution = run(published([mapping([DOUBLE])]), {"items": []})
    assert (execution.state, execution.output) == ("completed", [])


def test_items_see_what_is_around_them_and_keep_their_own():
    body = [
        {
            "id": "sum",
            "name": "sum",
            "type": "transform",
            "config": {"output": "{{ item + input.plus + vars.base + steps.before.output.n }}"},
            "assign": {"own": "{{ index }}"},
        },
        {
            "id": "both",
            "name": "both",
            "type": "transform",
            "config": {"output": ["{{ steps.sum.output }}", "{{ vars.own }}", "{{ vars.base }}"]},
        },
    ]
    before = {
        "id": "before",
        "type": "transform",
        "config": {"output": {"n": 1000}},
        "assign": {"base": 100},
    }
    execution = run(published([before, mapping(body)]), {"items": [1, 2], "plus": 10})
    assert execution.state == "completed", execution.error
    assert execution.output == [[1111, 0, 100], [1112, 1, 100]]
    assert execution.variables == {"base": 100}


def test_maps_within_maps():
    inner = {
        "id": "inner",
        "name": "inner",
        "type": "map",
        "config": {
            "items": "row",
            "as": "cell",
            "steps": [
                {
                    "id": "cell_step",
                    "name": "cell",
                    "type": "transform",
                    "config": {"output": "{{ cell * 10 + len(row) + input.plus }}"},
                }
            ],
        },
    }
    workflow = published([mapping([inner], **{"as": "row"})])
    execution = run(workflow, {"items": [[1, 2], [3]], "plus": 1000})
    assert execution.state == "completed", execution.error
    assert execution.output == [[1012, 1022], [1031]]


def test_no_more_than_max_concurrency_are_let_go_at_once():
    workflow = published([mapping([DOUBLE], max_concurrency=2)])
    execution = run(workflow, {"items": list(range(25))})
    assert execution.state == "completed", execution.error
    assert [each["n"] for each in execution.output] == [n * 2 for n in range(25)]
    spans = sorted(Execution.objects.filter(parent=execution).values_list("started_at", "ended_at"))
    most = max(sum(a <= start < b for a, b in spans) for start, _ in spans)
    assert most <= 2


def test_batches_are_lists_of_items():
    body = [{"id": "s", "name": "s", "type": "transform", "config": {"output": "{{ sum(item) }}"}}]
    execution = run(published([mapping(body, batch_size=2)]), {"items": [1, 2, 3, 4, 5]})
    assert execution.output == [3, 7, 5]


FAIL_ODD = [
    {
        "id": "odd",
        "name": "odd",
        "type": "fail",
        "when": "item % 2 == 1",
        "config": {"error": "item.odd", "message": "{{ item }} is odd."},
    },
    {"id": "ok", "name": "ok", "type": "transform", "config": {"output": "{{ item }}"}},
]


def test_one_failure_fails_the_map():
    execution = run(published([mapping(FAIL_ODD)]), {"items": [2, 3, 4]})
    assert (execution.state, execution.error_code) == ("failed", "child.failed")
    assert execution.error["message"] == "1 of 3 items did not succeed; item 1: 3 is odd."
    assert execution.error["details"]["items"][0]["error"]["code"] == "item.odd"


@pytest.mark.parametrize(
    ("tolerated", "state"),
    [(1, "failed"), (2, "completed"), ("49%", "failed"), ("50%", "completed")],
)
def test_tolerated_failures_leave_null_in_their_place(tolerated, state):
    workflow = published([mapping(FAIL_ODD, tolerated_failures=tolerated)])
    execution = run(workflow, {"items": [1, 2, 3, 4]})
    assert execution.state == state
    if state == "completed":
        assert execution.output == [None, 2, None, 4]


def test_too_many_failures_cancel_the_rest():
    workflow = published([mapping(FAIL_ODD, max_concurrency=1)])
    execution = run(workflow, {"items": [1, *range(2, 40, 2)]})
    assert execution.state == "failed"
    states = list(Execution.objects.filter(parent=execution).values_list("state", flat=True))
    assert states.count("failed") == 1
    assert states.count("cancelled") >= 15
    assert execution.children_open == 0


def test_items_that_are_no_list_fail_the_step():
    execution = run(published([mapping([DOUBLE])]), {"items": {"a": 1}})
    assert (execution.error_code, execution.error["step"]) == ("map.items", "each")
    assert execution.error["message"] == "`items` came to an object; a list was expected."


def test_a_catch_takes_a_failed_map():
    steps = [
        {**mapping(FAIL_ODD), "catch": [{"errors": ["child.*"], "next": "rescue"}], "next": "end"},
        {"id": "rescue", "type": "transform", "config": {"output": "{{ error.code }}"}},
    ]
    assert run(published(steps), {"items": [1]}).output == "child.failed"


def test_a_retry_runs_again_only_what_failed(tmp_path):
    body = [
        {
            "id": "attempt",
            "name": "attempt",
            "type": "action",
            "config": {
                "action": "probe.fail_first",
                "with": {"file": str(tmp_path), "key": "{{ index }}", "fail": "{{ item }}"},
            },
        }
    ]
    step = {**mapping(body), "retry": {"max_attempts": 3, "initial_interval": 0.01}}
    execution = run(published([step]), {"items": [False, True, False, True]})
    assert execution.state == "completed", execution.error
    assert execution.output == [1, 2, 1, 2]
    generations = Execution.objects.filter(parent=execution).order_by("id")
    assert list(generations.values_list("generation", "item_index", "state")) == [
        (1, 0, "completed"),
        (1, 1, "failed"),
        (1, 2, "completed"),
        (1, 3, "failed"),
        (2, 1, "completed"),
        (2, 3, "completed"),
    ]


def test_cancel_goes_down_to_the_items():
    body = [{"id": "nap", "name": "nap", "type": "wait", "config": {"duration": "1h"}}]
    execution = run(published([mapping(body)]), {"items": [1, 2, 3]})
    assert (execution.state, execution.reason) == ("waiting", "children")
    cancel_execution(execution=execution, actor=SYSTEM, reason="enough")
    drain()
    assert reread(execution).state == "cancelled"
    children = Execution.objects.filter(parent=execution)
    assert set(children.values_list("state", flat=True)) == {"cancelled"}


def test_pause_and_resume_go_down_to_the_items():
    body = [{"id": "nap", "name": "nap", "type": "wait", "config": {"duration": "1h"}}]
    execution = run(published([mapping(body, max_concurrency=2)]), {"items": [1, 2, 3]})
    pause_execution(execution=execution, actor=SYSTEM)
    drain()
    children = Execution.objects.filter(parent=execution).order_by("item_index")
    assert [c.state for c in children] == ["paused", "paused", "initialized"]
    resume_execution(execution=reread(execution), actor=SYSTEM)
    drain()
    assert reread(execution).state == "waiting"
    assert [c.state for c in children.all()] == ["waiting", "waiting", "initialized"]


def test_an_item_that_ends_in_a_pause_lets_the_next_one_go_on_resume():
    body = [{"id": "nap", "name": "nap", "type": "wait", "config": {"duration": "1h"}}]
    one = mapping(body, max_concurrency=1, tolerated_failures=2)
    execution = run(published([one]), {"items": [1, 2, 3]})
    children = Execution.objects.filter(parent=execution).order_by("item_index")
    pause_execution(execution=execution, actor=SYSTEM)
    drain()
    cancel_execution(execution=children[0], actor=SYSTEM)
    drain()
    assert [c.state for c in children.all()] == ["cancelled", "paused", "initialized"]
    resume_execution(execution=reread(execution), actor=SYSTEM)
    drain()
    assert [c.state for c in children.all()] == ["cancelled", "waiting", "initialized"]


def test_a_child_that_ends_while_its_parent_is_paused_counts_on_resume():
    body = [{"id": "nap", "name": "nap", "type": "wait", "config": {"duration": "1h"}}]
    execution = run(published([mapping(body)]), {"items": [1]})
    child = Execution.objects.get(parent=execution)
    pause_execution(execution=execution, actor=SYSTEM)
    drain()
    cancel_execution(execution=reread(child), actor=SYSTEM)
    drain()
    assert (reread(child).state, reread(execution).state) == ("cancelled", "paused")
    resume_execution(execution=reread(execution), actor=SYSTEM)
    drain()
    assert (reread(execution).state, reread(execution).error_code) == ("failed", "child.failed")


def test_a_maps_timeout_cancels_its_items():
    body = [{"id": "nap", "name": "nap", "type": "wait", "config": {"duration": "1h"}}]
    group = {
        "id": "g",
        "type": "group",
        "timeout": 0.2,
        "config": {"steps": [{**mapping(body), "name": "each"}]},
    }
    execution = started(published([group]), {"items": [1, 2]})
    drain()
    assert reread(execution).state == "waiting"
    import time

    time.sleep(0.25)
    drain()
    assert reread(execution).error_code == "timeout.step"
    children = Execution.objects.filter(parent=execution)
    assert set(children.values_list("state", flat=True)) == {"cancelled"}


def test_a_thousand_items_join():
    execution = run(published([mapping([DOUBLE])]), {"items": list(range(1000))})
    assert execution.state == "completed", execution.error
    assert [each["n"] for each in execution.output] == [n * 2 for n in range(1000)]
    assert StepExecution.objects.count() == 1001
    # The parent is planned when it starts and when all have ended, not once per item.
    assert execution.revision <= 4
