"""Retries, catches, groups, deadlines, heartbeats and continuation on the real engine."""

from __future__ import annotations

from datetime import timedelta

import pytest

from executions.models import Execution, StateTransition, StepExecution
from tests.engine import drain, published, reread, run, started

pytestmark = pytest.mark.django_db(transaction=True)

SECOND = timedelta(seconds=1)


def call(id_, action, step=None, **params):
    return {
        "id": id_,
        "name": id_,
        "type": "action",
        "config": {"action": action, "with": params},
        **(step or {}),
    }


def attempts_of(execution):
    rows = StepExecution.objects.filter(execution=execution).order_by("seq", "attempt")
    return list(rows.values_list("step_id", "attempt", "state"))


def test_a_step_is_tried_again_after_a_short_backoff_without_leaving_its_worker(tmp_path):
    retry = {"retry": {"max_attempts": 3, "initial_interval": 0.05}}
    step = call("a", "probe.fail_first", retry, file=str(tmp_path), key="k", fail=True)
    execution = run(published([step]))
    assert (execution.state, execution.output) == ("completed", 2)
    assert attempts_of(execution) == [("a", 1, "failed"), ("a", 2, "completed")]
    targets = StateTransition.objects.filter(execution=execution).values_list("target", flat=True)
    assert list(targets) == ["initialized", "running", "completed"]


def test_a_long_backoff_survives_the_worker(tmp_path):
    retry = {"retry": {"max_attempts": 2, "initial_interval": 3600, "jitter": 0}}
    step = call("a", "probe.fail_first", retry, file=str(tmp_path), key="k", fail=True)
    execution = run(published([step]))
    assert (execution.state, execution.reason) == ("waiting", "backoff")
    past = execution.wait_until - 3601 * SECOND
    Execution.objects.filter(pk=execution.pk).update(runnable_at=past, wait_until=past)
    drain()
    assert (reread(execution).state, reread(execution).output) == ("completed", 2)


def test_a_group_and_its_catch_survive_being_put_down_in_between():
    inner = [
        {"id": "nap", "name": "nap", "type": "wait", "config": {"duration": "1h"}},
        {
            "id": "stop",
            "name": "stop",
            "type": "fail",
            "config": {"error": "my.error", "message": "No."},
        },
    ]
    steps = [
        {
            "id": "g",
            "type": "group",
            "config": {"steps": inner},
            "catch": [{"errors": ["my.*"], "next": "rescue", "as": "problem"}],
            "next": "end",
        },
        {"id": "pause", "type": "wait", "config": {"duration": "1h"}, "next": "rescue"},
        {"id": "rescue", "type": "wait", "config": {"duration": "1h"}},
        {
            "id": "last",
            "type": "transform",
            "config": {"output": "{{ problem.code if problem else 'none' }}"},
        },
    ]
    steps = [steps[0], *steps[2:]]
    execution = run(published(steps))
    for _ in range(2):
        assert execution.state == "waiting", execution.error
        past = execution.created_at - 7200 * SECOND
        Execution.objects.filter(pk=execution.pk).update(runnable_at=past, wait_until=past)
        drain()
        execution = reread(execution)
    assert (execution.state, execution.output) == ("completed", "my.error")


def test_an_execution_ends_at_its_timeout_even_inside_a_call():
    execution = run(published([call("a", "probe.trace", seconds=30)], timeout=0.3))
    assert (execution.state, execution.error_code) == ("failed", "timeout.execution")
    assert attempts_of(execution) == [("a", 1, "cancelled")]


def test_a_silent_action_is_given_up_and_one_that_beats_is_not():
    silent = run(published([call("a", "probe.trace", {"heartbeat": 0.2}, seconds=30)]))
    assert silent.error["message"] == "The action gave no heartbeat for 0.2 seconds."
    alive = run(published([call("a", "probe.beat", {"heartbeat": 0.3}, times=6, pause=0.1)]))
    assert (alive.state, alive.output) == ("completed", 6)
    threaded = run(
        published([call("a", "probe.beat_in_thread", {"heartbeat": 0.3}, times=6, pause=0.1)])
    )
    assert (threaded.state, threaded.output) == ("completed", 6)


def test_continue_as_new_ends_it_and_starts_the_next():
    steps = [
        {
            "id": "again",
            "type": "succeed",
            "when": "input.n < 3",
            "config": {"continue_as_new": {"input": {"n": "{{ input.n + 1 }}"}}},
        },
        {"id": "done", "type": "transform", "config": {"output": "{{ input.n }}"}},
    ]
    first = started(published(steps), {"n": 1}, labels={"team": "support"}, correlation_id="c")
    drain()
    chain = list(Execution.objects.order_by("id"))
    assert [each.input for each in chain] == [{"n": 1}, {"n": 2}, {"n": 3}]
    assert [each.continued_from_id for each in chain] == [None, chain[0].pk, chain[1].pk]
    assert [each.state for each in chain] == ["completed"] * 3
    assert [each.reason for each in chain] == ["continued", "continued", "done"]
    assert chain[2].output == 3
    assert {each.correlation_id for each in chain} == {"c"}
    assert chain[0].pk == first.pk


def test_continuing_with_an_input_that_breaks_the_schema_fails():
    steps = [
        {"id": "again", "type": "succeed", "config": {"continue_as_new": {"input": {"n": "text"}}}}
    ]
    schema = {"type": "object", "properties": {"n": {"type": "integer"}}}
    execution = run(published(steps, input_schema=schema), {"n": 1})
    assert (execution.state, execution.error_code) == ("failed", "validation.input")
    assert Execution.objects.count() == 1
