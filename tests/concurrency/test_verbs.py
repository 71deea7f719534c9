"""Verbs against running workers: what was asked is done once, whoever is faster."""

from __future__ import annotations

from collections import Counter

import pytest

from autopilot.common.errors import Conflict
from executions.models import Execution, StateTransition, StepExecution
from executions.services import cancel_execution, pause_execution, resume_execution
from tests.concurrency.conftest import Workers
from tests.engine import SYSTEM, published, reread, started, wait_until

pytestmark = [pytest.mark.concurrency, pytest.mark.timeout(120)]


def action(name: str, seconds: float) -> dict:
    return {"type": "action", "config": {"action": name, "with": {"seconds": seconds}}}


def targets(execution: Execution) -> list[str]:
    rows = StateTransition.objects.filter(execution=execution).order_by("seq")
    return list(rows.values_list("target", flat=True))


def test_pause_against_completion_ends_in_one_of_the_two(workers: Workers):
    workflow = published([{"id": "a", **action("probe.trace", 0.02)}])
    workers.start()
    workers.start()
    first = started(workflow)
    wait_until(lambda: reread(first).has_ended, seconds=30)
    refused = 0
    made = []
    for _ in range(60):
        execution = started(workflow)
        made.append(execution)
        try:
            pause_execution(execution=execution, actor=SYSTEM)
        except Conflict:
            refused += 1
    wait_until(
        lambda: all(
            each.state in ("completed", "paused")
            for each in Execution.objects.filter(pk__in=[one.pk for one in made])
        ),
        seconds=30,
    )
    for execution in made:
        row = reread(execution)
        assert row.owner_id is None
        if row.state == "paused":
            resume_execution(execution=row, actor=SYSTEM)
    wait_until(lambda: all(reread(each).has_ended for each in made), seconds=30)
    assert {reread(each).state for each in made} == {"completed"}
    recorded = Counter(StepExecution.objects.values_list("execution_id", "seq"))
    assert set(recorded.values()) == {1}


def test_cancel_reaches_a_call_on_another_process_at_once(workers: Workers):
    execution = started(published([{"id": "a", **action("probe.trace", 60)}]))
    workers.start()
    wait_until(lambda: len(workers.calls()) == 1, seconds=30)
    cancel_execution(execution=execution, actor=SYSTEM, reason="no longer needed")
    wait_until(lambda: reread(execution).state == "cancelled", seconds=3)
    assert targets(execution) == ["initialized", "running", "cancelled"]


def test_cancel_reaches_a_call_without_redis_by_the_heartbeat(workers: Workers):
    execution = started(published([{"id": "a", **action("probe.trace", 60)}]))
    workers.start()
    wait_until(lambda: len(workers.calls()) == 1, seconds=30)
    workers.servers.pair.stop_valkey()
    cancel_execution(execution=execution, actor=SYSTEM)
    wait_until(lambda: reread(execution).state == "cancelled", seconds=10)


def test_a_sync_action_hears_that_it_was_cancelled(workers: Workers):
    execution = started(published([{"id": "a", **action("probe.until_cancelled", 60)}]))
    process = workers.start()
    wait_until(lambda: reread(execution).current_phase == "call", seconds=30)
    cancel_execution(execution=execution, actor=SYSTEM)
    wait_until(lambda: reread(execution).state == "cancelled", seconds=5)
    # Its thread has ended too: nothing holds the process up.
    assert workers.stop(process) == 0


def test_timers_fire_close_to_their_moment(workers: Workers):
    workers.start()
    workflow = published([{"id": "nap", "type": "wait", "config": {"duration": 1.2}}])
    made = [started(workflow) for _ in range(10)]
    wait_until(lambda: all(reread(each).has_ended for each in made), seconds=30)
    late = [
        (row.ended_at - row.started_at).total_seconds() - 1.2
        for row in Execution.objects.filter(pk__in=[each.pk for each in made])
    ]
    assert min(late) >= 0
    assert max(late) < 1.0


def test_a_start_is_taken_up_at_once_by_an_idle_worker(workers: Workers):
    workers.start()
    workflow = published([{"id": "a", **action("probe.trace", 0)}])
    first = started(workflow)
    wait_until(lambda: reread(first).has_ended, seconds=30)
    quick = started(workflow)
    wait_until(lambda: reread(quick).has_ended, seconds=2)


def test_two_workers_share_the_work_and_run_nothing_twice(workers: Workers):
    workflow = published([{"id": f"s{n}", **action("probe.trace", 0.01)} for n in range(4)])
    made = [started(workflow) for _ in range(300)]
    workers.start()
    workers.start()
    wait_until(lambda: Execution.objects.filter(state="completed").count() == len(made), seconds=60)
    assert Counter(workers.calls()).most_common(1)[0][1] == 1
    assert len(workers.calls()) == 1200
    assert StepExecution.objects.count() == 1200
