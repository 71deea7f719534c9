"""Where pieces meet: slots, undoing, pauses, hidden values and limits, with child executions."""

from __future__ import annotations

from typing import Any

import pytest

from executions import holding
from executions.models import Execution
from executions.services import cancel_execution, pause_execution, resume_execution
from tests.engine import SYSTEM, drain, published, reread, run, started
from tests.integration.test_child_workflows import calling, child_of
from tests.integration.test_parallel import nap
from workflows.models import Workflow

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def _no_lingering(settings: Any) -> None:
    settings.AUTOPILOT = {**settings.AUTOPILOT, "LINGER_SECONDS": 0.0}


KEYED = {"key": "input.k", "limit": 1}


def states(*executions: Execution) -> list[str]:
    return [reread(each).state for each in executions]


def drain_twice() -> None:
    """What a parent has passed on is done by its children in the second one."""
    drain()
    drain()


def test_a_pause_reaches_a_child_that_waits_for_a_slot():
    child = published([nap("n")], slug="child", concurrency=KEYED)
    holder = started(child, {"k": 1})
    drain()
    parent = run(published([calling("child", input={"k": 1})], slug="above"))
    waiting = child_of(parent)
    assert (waiting.state, waiting.reason) == ("initialized", "slot")
    pause_execution(execution=parent, actor=SYSTEM)
    drain_twice()
    cancel_execution(execution=holder, actor=SYSTEM)
    drain_twice()
    assert states(parent, waiting) == ["paused", "paused"]
    resume_execution(execution=parent, actor=SYSTEM)
    drain_twice()
    assert (reread(waiting).state, reread(waiting).slot_held) == ("waiting", True)


def test_a_pause_reaches_a_child_whose_workflow_is_off():
    child = published([nap("n")], slug="child")
    above = published([calling("child")], slug="above")
    holding.pause_workflow(workflow=child, actor=SYSTEM, mode="all")
    parent = run(above)
    holding.tend()
    waiting = child_of(parent)
    assert waiting.is_parked
    pause_execution(execution=parent, actor=SYSTEM)
    drain_twice()
    holding.resume_workflow(workflow=child, actor=SYSTEM)
    holding.tend()
    drain()
    assert states(parent, waiting) == ["paused", "paused"]


def test_a_child_does_not_wait_for_a_slot_of_what_waits_for_it():
    again = calling("loop", input={"k": "{{ input.k }}"})
    workflow = published([again], slug="loop", concurrency=KEYED)
    execution = run(workflow, {"k": "a"})
    assert (execution.state, execution.error_code) == ("failed", "limit.concurrency")
    assert execution.error["message"] == (
        "The child would wait for ever: the only slot of the concurrency key “a” is held by what "
        "waits for it."
    )
    assert Execution.objects.count() == 1
    published([calling("loop", input={"k": "b"})], slug="other", concurrency=KEYED)
    assert run(Workflow.objects.get(slug="other"), {"k": "b"}).error_code == "child.failed"
