"""Executions from start to end: the real ledger on a real database, in this process."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.db import connection

from autopilot.common import clock
from executions.models import Execution, LogLine, Priority, StateTransition, StepExecution
from tests.engine import drain, published, reread, run, started, wait_until, worker
from workflows import compiled
from workflows.actions.registry import registry

pytestmark = pytest.mark.django_db(transaction=True)

NOOP = {"type": "action", "config": {"action": "noop"}}


def steps_of(execution: Execution) -> list[tuple[int, str, str]]:
    return list(
        StepExecution.objects.filter(execution=execution).values_list("seq", "step_id", "state")
    )


def transitions_of(execution: Execution) -> list[tuple[str, str, str]]:
    rows = StateTransition.objects.filter(execution=execution)
    return list(rows.values_list("source", "target", "reason"))


def test_the_seed_form_runs_to_its_end():
    workflow = published([{"name": "Step 1", **NOOP}])
    execution = run(workflow)
    assert execution.state == "completed"
    assert execution.owner_id is None
    assert execution.runnable_at is None
    assert steps_of(execution) == [(1, "step_1", "completed")]
    assert transitions_of(execution) == [
        ("", "initialized", "queued"),
        ("initialized", "running", "running"),
        ("running", "completed", "done"),
    ]


def test_data_flows_from_the_input_through_steps_to_the_output():
    workflow = published(
        [
            {
                "id": "a",
                "type": "action",
                "config": {"action": "noop", "with": {"n": "{{ input.n + 1 }}"}},
                "assign": {"seen": "{{ steps.a.output.n }}"},
            },
            {
                "id": "b",
                "type": "transform",
                "config": {"output": {"double": "{{ steps.a.output.n * 2 }}"}},
            },
        ],
        output={"seen": "{{ vars.seen }}", "double": "{{ steps.b.output.double }}"},
    )
    execution = run(workflow, {"n": 20})
    assert execution.output == {"seen": 21, "double": 42}
    assert execution.variables == {"seen": 21}
    step = StepExecution.objects.get(execution=execution, step_id="a")
    assert (step.params, step.output) == ({"n": 21}, {"n": 21})


def test_a_purely_computed_workflow_takes_several_transitions_in_one_commit():
    execution = run(published([{"id": "a", "type": "transform", "config": {"output": 1}}]))
    assert execution.state == "completed"
    assert execution.revision == 1


def test_many_executions_at_once():
    workflow = published([{"id": f"s{n}", **NOOP} for n in range(5)])
    made = [started(workflow) for _ in range(60)]
    assert drain() == 60
    assert set(Execution.objects.values_list("state", flat=True)) == {"completed"}
    assert StepExecution.objects.count() == 300
    assert len(made) == 60


def failure_of(execution: Execution) -> tuple[str, str, str]:
    assert execution.state == "failed"
    return (execution.error["code"], execution.error["step"], execution.error_code)


@pytest.mark.parametrize(
    ("which", "code"),
    [
        ("nul", "validation.output"),
        ("surrogate", "validation.output"),
        ("nan", "validation.output"),
        ("infinity", "validation.output"),
        ("object", "validation.output"),
        ("huge_number", "validation.output"),
        ("large", "limit.output"),
    ],
)
def test_an_output_that_cannot_be_stored_fails_its_step_and_no_other_execution(which, code):
    good = started(published([{"id": "a", **NOOP}]), {"n": 1})
    config = {"action": "probe.give", "with": {"which": which}}
    bad = run(published([{"id": "a", "type": "action", "config": config}]))
    assert failure_of(bad) == (code, "a", code)
    assert steps_of(bad) == [(1, "a", "failed")]
    assert Execution.objects.get(pk=good.pk).state == "completed"


@pytest.mark.parametrize(
    ("which", "value"), [("big_integer", 2**70), ("emoji", "😀"), ("null", None)]
)
def test_unusual_outputs_are_kept_exactly(which, value):
    config = {"action": "probe.give", "with": {"which": which}}
    execution = run(published([{"id": "a", "type": "action", "config": config}]))
    assert (execution.state, execution.output) == ("completed", value)


@pytest.mark.parametrize(
    ("action", "how", "code", "message"),
    [
        ("probe.raise", "action", "action.Refused", "The bank said no."),
        ("probe.raise", "terminal", "action.Closed", "The account is closed."),
        (
            "probe.raise",
            "crash",
            "action.Crashed",
            "The action raised ZeroDivisionError: nobody expected\ufffdthis",
        ),
        ("probe.raise", "timeout", "action.Crashed", "The action raised TimeoutError: not ours"),
        ("probe.raise", "exit", "action.Crashed", "The action raised SystemExit: 3"),
        (
            "probe.raise_in_thread",
            "exit",
            "action.Crashed",
            "The action raised RuntimeError: SystemExit raised",
        ),
    ],
)
def test_what_an_action_raises_becomes_an_error_of_the_step(action, how, code, message):
    config = {"action": action, "with": {"how": how}}
    execution = run(published([{"id": "a", "type": "action", "config": config}]))
    assert failure_of(execution) == (code, "a", code)
    assert execution.error["message"] == message
    assert "Traceback" not in str(execution.error)


def test_log_lines_of_an_action_are_kept_even_if_it_fails():
    config = {"action": "probe.raise", "with": {"how": "log"}}
    execution = run(published([{"id": "a", "type": "action", "config": config}]))
    line = LogLine.objects.get(execution=execution)
    assert (line.level, line.event, line.fields) == ("warning", "about to fail", {"attempt": 1})


def test_a_step_that_takes_too_long_times_out():
    config = {"action": "probe.trace", "with": {"seconds": 30}}
    steps = [{"id": "a", "type": "action", "timeout": 0.1, "config": config}]
    execution = run(published(steps))
    assert failure_of(execution) == ("timeout.step", "a", "timeout.step")
    assert execution.error["message"] == "The action did not end within 0.1 seconds."


def test_a_thread_that_takes_too_long_keeps_its_place_until_it_ends():
    config = {"action": "probe.block", "with": {"seconds": 0.6}}
    workflow = published([{"id": "a", "type": "action", "timeout": 0.1, "config": config}])
    execution = started(workflow)
    with worker() as process:
        process.drain("default")
        assert process._performer.stuck_threads == 1
        wait_until(lambda: process._performer.stuck_threads == 0)
    assert failure_of(reread(execution)) == ("timeout.step", "a", "timeout.step")


@pytest.mark.parametrize(
    ("action", "attempts", "more"),
    [
        ("probe.block", 2, ""),
        ("probe.block_once", 1, " It still runs and is not safe to repeat."),
    ],
)
def test_a_call_is_repeated_beside_itself_only_if_it_is_idempotent(action, attempts, more):
    step = {
        "id": "a",
        "type": "action",
        "timeout": 0.1,
        "retry": {"max_attempts": 2, "initial_interval": 0.01},
        "config": {"action": action, "with": {"seconds": 0.6}},
    }
    execution = run(published([step]))
    assert failure_of(execution) == ("timeout.step", "a", "timeout.step")
    assert execution.error["message"] == f"The action did not end within 0.1 seconds.{more}"
    assert StepExecution.objects.filter(execution=execution).count() == attempts


def test_sync_actions_use_the_orm():
    config = {"action": "probe.orm"}
    execution = run(published([{"id": "a", "type": "action", "config": config}]))
    assert execution.output == {"workflows": 1}


def test_an_action_that_is_not_installed_any_more_fails_its_step(monkeypatch):
    workflow = published([{"id": "a", **NOOP}])
    monkeypatch.setattr(registry, "get", lambda name: None)
    execution = run(workflow)
    assert failure_of(execution) == ("action.Unknown", "a", "action.Unknown")


def test_a_timer_blocks_the_row_and_nothing_claims_it_early():
    steps = [{"id": "nap", "type": "wait", "config": {"duration": "1h"}}, {"id": "a", **NOOP}]
    execution = run(published(steps))
    assert (execution.state, execution.reason, execution.owner_id) == ("waiting", "timer", None)
    assert execution.runnable_at == execution.wait_until
    assert drain() == 0
    Execution.objects.filter(pk=execution.pk).update(
        wait_until=clock.now(), runnable_at=clock.now()
    )
    assert drain() == 1
    assert reread(execution).state == "completed"


def test_a_start_in_the_future_waits_for_its_moment():
    later = clock.now() + timedelta(hours=1)
    execution = started(published([{"id": "a", **NOOP}]), start_at=later)
    assert (execution.state, execution.reason) == ("initialized", "scheduled")
    assert drain() == 0


def test_higher_priorities_go_first_and_low_ones_are_not_starved(settings):
    settings.AUTOPILOT = {**settings.AUTOPILOT, "SLOTS": 1}
    workflow = published([{"id": "a", **NOOP}])
    for _ in range(30):
        started(workflow, priority=Priority.URGENT)
    low = started(workflow, priority=Priority.LOW)
    drain()
    order = list(
        StateTransition.objects.filter(target="completed")
        .order_by("id")
        .values_list("execution_id", flat=True)
    )
    assert len(order) == 31
    assert order.index(low.pk) == 7  # the eighth claim is led by the lowest priority


def test_a_definition_this_release_cannot_run_fails_with_that_reason():
    workflow = published([{"id": "a", **NOOP}])
    execution = started(workflow)
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE workflows_workflowversion DISABLE TRIGGER USER")
        cursor.execute(
            "UPDATE workflows_workflowversion SET content_hash = repeat('0', 64), "
            "definition = jsonb_set(definition, '{steps,0,type}', '\"parallel\"')"
        )
        cursor.execute("ALTER TABLE workflows_workflowversion ENABLE TRIGGER USER")
    compiled.cache.clear()
    drain()
    failed = reread(execution)
    assert (failed.state, failed.error_code) == ("failed", "definition.invalid")
