"""Executions from start to end: the real ledger on a real database, in this process."""

from __future__ import annotations

import pytest

from executions.models import Execution, StateTransition, StepExecution
from tests.engine import drain, published, reread, run, started

pytestmark = pytest.mark.django_db(transaction=True)

NOOP = {"type": "action", "config": {"action": "noop"}}


@pytest.fixture(autouse=True)
def _no_lingering(settings):
    settings.AUTOPILOT = {**settings.AUTOPILOT, "LINGER_SECONDS": 0.0}


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
