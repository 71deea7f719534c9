"""Where pieces meet: slots, undoing, pauses, hidden values and limits, with child executions."""

from __future__ import annotations

from typing import Any

import pytest

from executions import holding
from executions.failing import start_owed
from executions.models import Approval, Callback, ErrorStart, Execution, SignalWait
from executions.services import cancel_execution, pause_execution, resume_execution
from executions.signalling import send_signal
from tests.approvals import person
from tests.engine import NOOP, SYSTEM, drain, published, reread, run, started
from tests.factories import UserFactory
from tests.integration.test_child_workflows import calling, child_of
from tests.integration.test_parallel import nap, parallel
from tests.integration.test_redact import step
from workflows.models import Workflow

pytestmark = pytest.mark.django_db(transaction=True)


KEYED = {"key": "input.k", "limit": 1}
FAILING = {"id": "f", "type": "fail", "config": {"error": "my.no"}}


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


def starting(slug: str) -> dict[str, Any]:
    config = {"action": "workflow.start", "with": {"workflow": slug}}
    return {"id": "go", "type": "action", "config": config}


def test_what_an_action_starts_is_linked_bounded_and_somebodys_request(settings: Any):
    settings.AUTOPILOT = {**settings.AUTOPILOT, "MAX_DEPTH": 3}
    published([starting("again")], slug="again")
    anna = UserFactory.create()
    first = started(Workflow.objects.get(slug="again"))
    Execution.objects.filter(pk=first.pk).update(started_by=anna, is_test=True)
    drain()
    rows = Execution.objects.order_by("pk")
    assert [(row.state, row.started_by_execution_id) for row in rows] == [
        ("completed", None),
        ("completed", rows[0].pk),
        ("failed", rows[1].pk),
    ]
    assert rows[2].error_code == "limit.depth"
    assert rows[2].error["details"]["chain"] == ["again"] * 4
    assert {(row.started_by_id, row.is_test) for row in rows} == {(anna.pk, True)}


def test_failures_do_not_start_each_other_in_a_circle_through_an_action():
    published([starting("failing")], slug="hear")
    run(published([FAILING], slug="failing", on_failure={"workflow": "hear"}))
    for _ in range(2):
        start_owed()
        drain()
    assert list(ErrorStart.objects.order_by("pk").values_list("status", flat=True)) == [
        "started",
        "refused",
    ]
    assert Execution.objects.count() == 3


def test_what_takes_no_starts_is_not_started_by_a_step_that_lets_it_go():
    child = published([{"id": "a", **NOOP}], slug="child")
    holding.pause_workflow(workflow=child, actor=SYSTEM, reason="stock-taking")
    free = run(published([calling("child", wait=False)], slug="free"))
    assert (free.state, free.error_code) == ("failed", "workflow.paused")
    assert free.error["message"] == "The workflow child is paused: stock-taking."
    assert not Execution.objects.filter(workflow=child).exists()
    assert run(published([calling("child")], slug="waiting")).state == "completed"


@pytest.mark.parametrize("ends_by", ["enough", "cancel"])
def test_branches_and_items_that_are_not_waited_for_withdraw_what_they_ask(ends_by: str):
    person("anna", "Finance")
    question = {"title": "Pay?", "assignees": {"groups": ["Finance"]}}
    ask = step("ask", "approval", question)
    signal = step("paid", "signal", {"signal": "paid", "correlation": "x"})
    task = step("task", "action", {"action": "task.queue", "with": {"queue": "q"}})
    again = {**ask, "id": "ask_each"}
    each = step("each", "map", {"items": "[1, 2]", "as": "n", "steps": [again]})
    execution = run(published([parallel(wait_for="any", a=ask, b=signal, c=task, d=each)]))
    drain()

    def left() -> tuple[list[str], int, int]:
        asked = list(Approval.objects.values_list("state", flat=True))
        called = Callback.objects.filter(closed_at__isnull=True).count()
        return asked, SignalWait.objects.count(), called

    assert left() == (["open"] * 3, 1, 1)
    if ends_by == "enough":
        send_signal(name="paid", actor=SYSTEM, correlation="x", payload=5)
    else:
        cancel_execution(execution=execution, actor=SYSTEM)
    for _ in range(3):
        drain()
    assert left() == (["withdrawn"] * 3, 0, 0)
    assert reread(execution).state == {"enough": "completed", "cancel": "cancelled"}[ends_by]
