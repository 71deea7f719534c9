"""Workflows and queues that are switched off, and go on again."""

from __future__ import annotations

from datetime import timedelta

import pytest

from autopilot.accounts.models import AuditEntry
from autopilot.accounts.roles import Role
from autopilot.common import clock
from autopilot.common.errors import PermissionDenied
from executions import holding
from executions.bulk_start import start_many
from executions.errors import (
    HoldInvalid,
    NotPaused,
    QueuePaused,
    QueueUnknown,
    WorkflowPaused,
)
from executions.models import Execution, Hold
from executions.services import cancel_execution, rerun_execution
from executions.situations import situation_of
from tests.engine import NOOP, SYSTEM, drain, published, reread, run, started, wait_until, worker
from tests.factories import actor_with
from workflows.models import Workflow

pytestmark = pytest.mark.django_db(transaction=True)


def one() -> Workflow:
    return published([{**NOOP, "id": "a"}])


def states(*executions: Execution) -> list[str]:
    return [reread(each).state for each in executions]


def test_a_workflow_that_takes_no_starts_refuses_them_all_and_finishes_what_it_has():
    workflow, other = one(), one()
    done, waiting = run(workflow), started(workflow)
    until = clock.now() + timedelta(hours=2)
    holding.pause_workflow(workflow=workflow, actor=SYSTEM, reason="the bank is away", until=until)
    with pytest.raises(WorkflowPaused) as caught:
        started(workflow)
    assert (caught.value.code, caught.value.status) == ("workflow.paused", 409)
    assert caught.value.message == (
        f"The workflow test is paused until {until:%Y-%m-%d %H:%M} UTC: the bank is away."
    )
    with pytest.raises(WorkflowPaused):
        start_many(workflow=workflow, actor=SYSTEM, requests=[{}, {}])
    with pytest.raises(WorkflowPaused):
        rerun_execution(execution=done, actor=SYSTEM)
    assert Execution.objects.filter(workflow=workflow).count() == 2
    drain()
    assert states(waiting, run(other)) == ["completed", "completed"]
    holding.resume_workflow(workflow=workflow, actor=SYSTEM)
    assert run(workflow).state == "completed"
    with pytest.raises(NotPaused):
        holding.resume_workflow(workflow=workflow, actor=SYSTEM)
    actions = AuditEntry.objects.filter(action__startswith="workflow.", target_id=workflow.pk)
    assert list(actions.order_by("pk").values_list("action", flat=True))[-2:] == [
        "workflow.paused",
        "workflow.resumed",
    ]


def test_of_a_workflow_that_is_off_nothing_runs_and_all_of_it_goes_on_later():
    workflow, other = one(), one()
    first = started(workflow)
    holding.pause_workflow(workflow=workflow, actor=SYSTEM, mode="all", reason="it charges twice")
    second, harmless = started(workflow), started(other)
    drain()
    assert states(first, second, harmless) == ["initialized", "initialized", "completed"]
    sentence = "Accepted, but the workflow test is paused by tests: it charges twice."
    assert situation_of(reread(first)).why.sentence == sentence
    # The clock puts them out of the way of claims; they say the same.
    assert holding.tend() == (2, 0)
    assert [reread(each).runnable_at for each in (first, second)] == [None, None]
    why = situation_of(reread(first)).why
    assert (why.code, why.sentence) == ("paused.workflow", sentence)
    cancel_execution(execution=second, actor=SYSTEM)
    drain()
    assert states(first, second) == ["initialized", "cancelled"]
    holding.resume_workflow(workflow=workflow, actor=SYSTEM)
    assert holding.tend() == (0, 2)
    drain()
    assert states(first, second) == ["completed", "cancelled"]
    assert not Execution.objects.filter(is_parked=True).exists()


def test_what_is_under_way_stops_at_its_next_step():
    nap = {"type": "action", "config": {"action": "probe.block", "with": {"seconds": 0.6}}}
    workflow = published([{"id": f"s{n}", **nap} for n in range(3)])
    execution = started(workflow)
    with worker() as process:
        from concurrent.futures import ThreadPoolExecutor

        from django.db import connections

        def pause() -> None:
            wait_until(lambda: reread(execution).current_phase == "call")
            holding.pause_workflow(workflow=workflow, actor=SYSTEM, mode="all")
            connections.close_all()

        with ThreadPoolExecutor(1) as pool:
            paused = pool.submit(pause)
            process.drain("default")
            paused.result()
    row = reread(execution)
    assert (row.state, row.owner_id) == ("running", None)
    assert row.current_step in ("s1", "s2")
    holding.resume_workflow(workflow=workflow, actor=SYSTEM)
    drain()
    assert states(execution) == ["completed"]


def test_a_queue_that_is_off_keeps_what_comes_and_still_hears_what_is_asked():
    first, second = started(one()), started(one())
    holding.pause_queue(queue="default", actor=SYSTEM, reason="deploying")
    third = started(one())
    drain()
    assert states(first, second, third) == ["initialized"] * 3
    why = situation_of(reread(first)).why
    assert why.sentence == "Accepted, but its queue “default” is paused by tests: deploying."
    assert why.details == {"queue": "default", "by": "tests", "reason": "deploying", "until": None}
    cancel_execution(execution=second, actor=SYSTEM)
    drain()
    assert states(first, second, third) == ["initialized", "cancelled", "initialized"]
    holding.resume_queue(queue="default", actor=SYSTEM)
    drain()
    assert states(first, third) == ["completed"] * 2
    holding.pause_queue(queue="default", actor=SYSTEM, mode="starts")
    with pytest.raises(QueuePaused, match="The queue default takes no new executions"):
        started(one())


def test_one_that_is_over_is_as_good_as_gone_and_the_clock_takes_it_away():
    workflow = one()
    until = clock.now() + timedelta(seconds=0.3)
    holding.pause_workflow(workflow=workflow, actor=SYSTEM, mode="all", until=until)
    execution = started(workflow)
    holding.tend()
    drain()
    assert states(execution) == ["initialized"]
    wait_until(lambda: clock.now() > until)
    assert holding.end_expired(clock.now()) == 1
    assert not Hold.objects.exists()
    entry = AuditEntry.objects.filter(action="workflow.resumed").get()
    assert entry.actor_name == "clock"
    holding.tend()
    drain()
    assert states(execution) == ["completed"]


def test_a_second_pause_replaces_the_first():
    workflow = one()
    holding.pause_workflow(workflow=workflow, actor=SYSTEM, reason="one")
    hold = holding.pause_workflow(workflow=workflow, actor=SYSTEM, mode="all", reason="two")
    assert list(Hold.objects.values_list("pk", "mode", "reason")) == [(hold.pk, "all", "two")]


def test_what_is_refused_changes_nothing():
    workflow = one()
    viewer, operator = actor_with(Role.VIEWER), actor_with(Role.OPERATOR)
    with pytest.raises(PermissionDenied):
        holding.pause_workflow(workflow=workflow, actor=viewer)
    with pytest.raises(HoldInvalid) as caught:
        holding.pause_workflow(
            workflow=workflow, actor=operator, mode="some", until=clock.now() - timedelta(hours=1)
        )
    assert [each.path for each in caught.value.details] == ["$.mode", "$.until"]
    with pytest.raises(QueueUnknown, match="There is no queue 'nowhere'"):
        holding.pause_queue(queue="nowhere", actor=operator)
    assert not Hold.objects.exists()
    holding.pause_queue(queue="default", actor=operator)
