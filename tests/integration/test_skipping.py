"""Skip with the real engine: the step is recorded, and flow goes on at its next."""

from __future__ import annotations

from datetime import timedelta

import pytest

from autopilot.accounts.models import AuditEntry
from executions.errors import ExecutionEnded, StartInvalid, TransitionRefused
from executions.models import Execution, LogLine, StepExecution
from executions.services import pause_execution, resume_execution, skip_step
from tests.engine import SYSTEM, drain, published, reread, run, started

pytestmark = pytest.mark.django_db(transaction=True)


NAP = {"id": "nap", "name": "nap", "type": "wait", "config": {"duration": "1h"}}
LAST = {"id": "last", "name": "last", "type": "transform", "config": {"output": "{{ steps }}"}}
FAIL = {
    "id": "stop",
    "name": "stop",
    "when": "not input",
    "type": "fail",
    "config": {"error": "my.error", "message": "No."},
}


def rows_of(execution):
    rows = StepExecution.objects.filter(execution=execution).order_by("seq", "attempt")
    return list(rows.values_list("step_id", "seq", "attempt", "state"))


def seen(step, execution):
    return reread(execution).output[step]


def test_a_waiting_step_is_skipped_with_an_output():
    execution = run(published([NAP, LAST]))
    asked = skip_step(execution=execution, actor=SYSTEM, reason="told by phone", output={"n": 1})
    assert asked.state == "waiting"
    drain()
    assert seen("nap", execution) == {
        "state": "skipped",
        "output": {"n": 1},
        "error": None,
        "attempts": 1,
    }
    line = LogLine.objects.get(execution=execution)
    assert (line.event, line.fields) == (
        "step.skipped",
        {"actor": SYSTEM.name, "reason": "told by phone"},
    )
    entry = AuditEntry.objects.get(action="execution.skip_requested")
    assert entry.after == {"state": "waiting", "reason": "told by phone", "with_output": True}


def test_a_paused_execution_stays_paused_after_a_skip():
    execution = run(published([NAP, {**NAP, "id": "second"}]))
    pause_execution(execution=execution, actor=SYSTEM)
    drain()
    skip_step(execution=reread(execution), actor=SYSTEM)
    drain()
    now = reread(execution)
    assert (now.state, now.current_step, now.current_phase) == ("paused", "nap", "skipped")
    with pytest.raises(TransitionRefused) as refused:
        skip_step(execution=now, actor=SYSTEM)
    assert refused.value.message == "Step nap is over, so there is nothing of it to skip."
    resume_execution(execution=now, actor=SYSTEM)
    drain()
    assert (reread(execution).state, reread(execution).current_step) == ("waiting", "second")


def test_a_skip_and_a_resume_may_be_asked_one_after_the_other():
    execution = run(published([NAP, LAST]))
    pause_execution(execution=execution, actor=SYSTEM)
    drain()
    skip_step(execution=reread(execution), actor=SYSTEM)
    resume_execution(execution=reread(execution), actor=SYSTEM)
    drain()
    assert (reread(execution).state, seen("nap", execution)["state"]) == ("completed", "skipped")


def test_what_failed_is_skipped_inside_its_group():
    group = {"id": "g", "type": "group", "config": {"steps": [FAIL, {**LAST, "id": "inner"}]}}
    execution = run(published([group, LAST]))
    assert (execution.state, execution.current_step) == ("failed", "stop")
    asked = skip_step(execution=execution, actor=SYSTEM)
    assert (asked.state, asked.error_code) == ("resumed", "")
    drain()
    assert reread(execution).state == "completed"
    assert rows_of(execution) == [
        ("g", 1, 1, "failed"),
        ("g", 1, 2, "completed"),
        ("stop", 2, 1, "failed"),
        ("stop", 2, 2, "skipped"),
        ("inner", 3, 1, "completed"),
        ("last", 4, 1, "completed"),
    ]


def test_the_items_of_a_skipped_map_are_cancelled_and_the_next_map_counts_its_own():
    config = {"items": "input.items", "as": "item", "steps": [NAP]}
    doubles = {"id": "s", "name": "s", "type": "transform", "config": {"output": "{{ n * 2 }}"}}
    steps = [
        {"id": "first", "type": "map", "config": config},
        {
            "id": "second",
            "type": "map",
            "config": {"items": "input.items", "as": "n", "steps": [doubles]},
        },
    ]
    execution = run(published(steps), {"items": [1, 2]})
    skip_step(execution=execution, actor=SYSTEM)
    drain()
    done = reread(execution)
    assert (done.state, done.output) == ("completed", [2, 4])
    children = Execution.objects.filter(parent=execution).order_by("id")
    assert list(children.values_list("parent_step", "state")) == [
        ("first", "cancelled"),
        ("first", "cancelled"),
        ("second", "completed"),
        ("second", "completed"),
    ]


def test_a_step_of_an_item_is_skipped():
    config = {"items": "input.items", "as": "item", "steps": [NAP]}
    execution = run(published([{"id": "each", "type": "map", "config": config}]), {"items": [1, 2]})
    for child in Execution.objects.filter(parent=execution):
        skip_step(execution=child, actor=SYSTEM)
    drain()
    assert (reread(execution).state, reread(execution).output) == ("completed", [None, None])


def test_a_skip_that_comes_too_late_skips_nothing_else():
    execution = run(published([NAP, {**NAP, "id": "second"}]))
    skip_step(execution=execution, actor=SYSTEM)
    # Its time has come before a worker sees to it.
    past = execution.wait_until - timedelta(hours=2)
    Execution.objects.filter(pk=execution.pk).update(wait_until=past)
    drain()
    assert reread(execution).current_step == "second"
    assert len(rows_of(execution)) == 1


def test_what_cannot_be_skipped_is_refused_and_left_alone(settings):
    fresh = started(published([NAP]))
    with pytest.raises(TransitionRefused) as refused:
        skip_step(execution=fresh, actor=SYSTEM)
    assert refused.value.message == (
        "The execution is initialized; a step can be skipped while the execution is waiting, "
        "paused or failed."
    )
    pause_execution(execution=fresh, actor=SYSTEM)
    drain()
    with pytest.raises(TransitionRefused) as refused:
        skip_step(execution=reread(fresh), actor=SYSTEM)
    assert refused.value.message == "The execution stands at no step that could be skipped."
    resume_execution(execution=reread(fresh), actor=SYSTEM)
    drain()
    for output, code in (("x" * 300_000, "limit.output"), ("\x00", "validation.output")):
        with pytest.raises(StartInvalid) as invalid:
            skip_step(execution=reread(fresh), actor=SYSTEM, output=output)
        assert [(each.path, each.code) for each in invalid.value.details] == [("$.output", code)]
    assert reread(fresh).state == "waiting"
    skip_step(execution=reread(fresh), actor=SYSTEM)
    drain()
    with pytest.raises(ExecutionEnded):
        skip_step(execution=reread(fresh), actor=SYSTEM)


def test_a_result_that_failed_has_no_step_to_skip():
    execution = run(published([LAST], output_schema={"type": "string"}))
    assert execution.error_code == "validation.output"
    with pytest.raises(TransitionRefused) as refused:
        skip_step(execution=execution, actor=SYSTEM)
    assert refused.value.message == "Step last is over, so there is nothing of it to skip."
    assert reread(execution).state == "failed"
