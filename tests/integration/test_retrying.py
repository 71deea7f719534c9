"""Retry with the real engine: an execution goes on where it failed and repeats nothing else."""

from __future__ import annotations

import pytest

from autopilot.common.errors import PermissionDenied
from executions.errors import ExecutionEnded, TransitionRefused
from executions.models import Execution, StateTransition, StepExecution
from executions.services import (
    cancel_execution,
    pause_execution,
    pending_verbs,
    resume_execution,
    retry_execution,
)
from tests.engine import SYSTEM, drain, published, reread, run, started
from tests.factories import actor_with

pytestmark = pytest.mark.django_db(transaction=True)


def call(id_, tmp_path, **fields):
    """Fails the first time it is called with its key, and gives how often it was called."""
    params = {"file": str(tmp_path), "key": id_, "fail": True}
    config = {"action": "probe.fail_first", "with": params}
    return {"id": id_, "name": id_, "type": "action", "config": config, **fields}


NOOP = {"id": "before", "name": "before", "type": "action", "config": {"action": "noop"}}


def rows_of(execution):
    rows = StepExecution.objects.filter(execution=execution).order_by("seq", "attempt")
    return list(rows.values_list("step_id", "seq", "attempt", "state"))


def transitions_of(execution):
    rows = StateTransition.objects.filter(execution=execution).order_by("seq")
    return list(rows.values_list("source", "target", "reason", "actor"))


def test_a_failed_execution_goes_on_at_the_step_that_failed(tmp_path):
    execution = run(published([NOOP, call("a", tmp_path)], timeout=60))
    assert execution.state == "failed"
    assert (execution.current_step, execution.error is None) == ("a", False)
    asked = retry_execution(execution=execution, actor=SYSTEM, reason="fixed")
    assert (asked.state, asked.reason, asked.error_code, asked.ended_at, asked.error) == (
        "resumed",
        "fixed",
        "",
        None,
        None,
    )
    assert pending_verbs(asked) == ["retry"]
    drain()
    done = reread(execution)
    assert (done.state, done.output, done.error, done.error_code) == ("completed", 2, None, "")
    assert rows_of(execution) == [
        ("before", 1, 1, "completed"),
        ("a", 2, 1, "failed"),
        ("a", 2, 2, "completed"),
    ]
    assert transitions_of(execution)[-4:] == [
        ("running", "failed", "action.NotYet", "engine"),
        ("failed", "resumed", "fixed", SYSTEM.name),
        ("resumed", "running", "running", "engine"),
        ("running", "completed", "done", "engine"),
    ]
    # The timeout begins anew.
    assert done.deadline_at > execution.deadline_at


def test_inside_a_group_only_what_failed_is_taken_again(tmp_path):
    group = {"id": "g", "type": "group", "config": {"steps": [NOOP, call("a", tmp_path)]}}
    execution = run(published([group]))
    assert (execution.state, execution.current_step) == ("failed", "a")
    retry_execution(execution=execution, actor=SYSTEM)
    drain()
    assert (reread(execution).state, reread(execution).output) == ("completed", 2)
    assert rows_of(execution) == [
        ("g", 1, 1, "failed"),
        ("g", 1, 2, "completed"),
        ("before", 2, 1, "completed"),
        ("a", 3, 1, "failed"),
        ("a", 3, 2, "completed"),
    ]


def mapping(tmp_path, **config):
    body = call("one", tmp_path)
    body["config"] = {
        "action": "probe.fail_first",
        "with": {"file": str(tmp_path), "key": "{{ index }}", "fail": "{{ item }}"},
    }
    return {
        "id": "each",
        "type": "map",
        "config": {"items": "input.items", "as": "item", "steps": [body], **config},
    }


def children_of(execution):
    rows = Execution.objects.filter(parent=execution).order_by("id")
    return list(rows.values_list("generation", "item_index", "state"))


def test_a_failed_map_runs_again_what_did_not_succeed(tmp_path):
    workflow = published([mapping(tmp_path, max_concurrency=1)])
    execution = run(workflow, {"items": [False, True, False]})
    assert execution.error_code == "child.failed"
    assert children_of(execution) == [
        (1, 0, "completed"),
        (1, 1, "failed"),
        (1, 2, "cancelled"),
    ]
    retry_execution(execution=execution, actor=SYSTEM)
    drain()
    assert (reread(execution).state, reread(execution).output) == ("completed", [1, 2, 1])
    # What failed goes on where it failed; what was cancelled is final, and begins anew.
    assert children_of(execution) == [
        (1, 0, "completed"),
        (2, 1, "completed"),
        (1, 2, "cancelled"),
        (2, 2, "completed"),
    ]


def test_a_map_all_of_whose_items_succeeded_joins_again(settings):
    body = [{"id": "s", "name": "s", "type": "transform", "config": {"output": "{{ item }}"}}]
    each = {
        "id": "each",
        "type": "map",
        "config": {"items": "input.items", "as": "item", "steps": body},
    }
    settings.AUTOPILOT = {**settings.AUTOPILOT, "MAX_JOINED_BYTES": 10}
    execution = run(published([each]), {"items": ["long enough", "to be too much"]})
    assert (execution.state, execution.error_code) == ("failed", "limit.output")
    settings.AUTOPILOT = {**settings.AUTOPILOT, "MAX_JOINED_BYTES": 1000}
    retry_execution(execution=execution, actor=SYSTEM)
    drain()
    assert reread(execution).output == ["long enough", "to be too much"]
    assert Execution.objects.filter(parent=execution).count() == 2


def slow_mapping(tmp_path, **config):
    """Items that fail at once, and others that wait for an hour."""
    each = mapping(tmp_path, tolerated_failures=9, **config)
    nap = {"id": "nap", "name": "nap", "type": "wait", "when": "not item"}
    each["config"]["steps"].append({**nap, "config": {"duration": "1h"}})
    return each


def test_a_failed_item_is_retried_on_its_own_while_its_map_waits(tmp_path):
    execution = run(published([slow_mapping(tmp_path)]), {"items": [True, False, True]})
    assert (execution.state, execution.children_open, execution.children_failed) == (
        "waiting",
        1,
        2,
    )
    first, _, third = Execution.objects.filter(parent=execution).order_by("item_index")
    retry_execution(execution=third, actor=SYSTEM)
    now = reread(execution)
    assert (now.children_open, now.children_failed) == (2, 1)
    drain()
    assert reread(third).state == "completed"
    now = reread(execution)
    assert (now.state, now.children_open, now.children_failed) == ("waiting", 1, 1)
    assert reread(first).state == "failed"


def test_items_taken_up_again_keep_to_max_concurrency(tmp_path):
    workflow = published([slow_mapping(tmp_path, max_concurrency=2)])
    execution = run(workflow, {"items": [True, True, False, False, False]})
    states = ["failed", "failed", "waiting", "waiting", "initialized"]
    children = Execution.objects.filter(parent=execution).order_by("item_index")
    assert [child.state for child in children] == states
    retry_execution(execution=children[0], actor=SYSTEM)
    drain()
    assert [child.state for child in children.all()] == ["resumed", *states[1:]]
    cancel_execution(execution=children[2], actor=SYSTEM)
    drain()
    assert [child.state for child in children.all()] == [
        "completed",
        "failed",
        "cancelled",
        "waiting",
        "waiting",
    ]


def test_an_item_of_a_map_that_has_failed_points_to_the_execution_to_retry(tmp_path):
    execution = run(published([mapping(tmp_path)]), {"items": [True, False]})
    child = Execution.objects.get(parent=execution, item_index=0)
    with pytest.raises(TransitionRefused) as refused:
        retry_execution(execution=child, actor=SYSTEM)
    assert refused.value.message == (
        f"It is part of execution {execution.pk}, which has ended too: "
        f"retry execution {execution.pk} instead."
    )
    assert reread(child).state == "failed"


def test_an_item_of_a_paused_map_is_not_retried(tmp_path):
    execution = run(published([slow_mapping(tmp_path)]), {"items": [True, False]})
    pause_execution(execution=execution, actor=SYSTEM)
    drain()
    child = Execution.objects.get(parent=execution, item_index=0)
    with pytest.raises(TransitionRefused) as refused:
        retry_execution(execution=child, actor=SYSTEM)
    assert refused.value.message == f"It is part of execution {execution.pk}, which is paused."
    resume_execution(execution=reread(execution), actor=SYSTEM)
    drain()
    retry_execution(execution=child, actor=SYSTEM)
    drain()
    assert reread(child).state == "completed"


def test_what_was_asked_before_it_failed_is_void_after_a_retry(tmp_path):
    execution = run(published([call("a", tmp_path)]))
    # As if a pause had come in while the execution was failing.
    Execution.objects.filter(pk=execution.pk).update(inbox_seq=1)
    execution.inbox.create(seq=1, kind="cancel", actor="x", created_at=execution.created_at)
    retry_execution(execution=execution, actor=SYSTEM)
    drain()
    assert reread(execution).state == "completed"


def test_a_retry_that_was_asked_for_is_asked_for_once(tmp_path):
    execution = run(published([call("a", tmp_path)]))
    retry_execution(execution=execution, actor=SYSTEM)
    again = retry_execution(execution=execution, actor=SYSTEM)
    assert (again.state, again.inbox_seq) == ("resumed", 1)
    assert transitions_of(execution)[-1][1] == "resumed"
    drain()
    assert len(transitions_of(execution)) == 6


def test_what_has_not_failed_is_not_retried():
    execution = run(published([NOOP]))
    with pytest.raises(ExecutionEnded) as ended:
        retry_execution(execution=execution, actor=SYSTEM)
    assert ended.value.message == "The execution has ended: it is completed."
    fresh = started(published([NOOP], name="Other"))
    with pytest.raises(TransitionRefused) as refused:
        retry_execution(execution=fresh, actor=SYSTEM)
    assert (
        refused.value.message == "The execution is initialized; only a failed one can be retried."
    )
    assert reread(fresh).inbox_seq == 0


def test_a_retry_needs_the_permission(tmp_path):
    execution = run(published([call("a", tmp_path)]))
    with pytest.raises(PermissionDenied):
        retry_execution(execution=execution, actor=actor_with())
    assert reread(execution).state == "failed"
