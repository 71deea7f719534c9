"""Undoing with real processes: a worker dies in the middle, and cancels race with the end."""

from __future__ import annotations

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from django.db import connection

from autopilot.common.errors import Conflict
from executions.models import Compensation, Execution, StepExecution
from executions.services import cancel_execution
from tests.concurrency.conftest import Workers
from tests.engine import SYSTEM, published, reread, started, wait_until

pytestmark = [pytest.mark.concurrency, pytest.mark.timeout(120)]
FAIL = {"id": "stop", "type": "fail", "config": {"error": "trip.sold_out"}}


def step(id_: str, undo: str = "probe.trace", seconds: float = 0.0) -> dict[str, Any]:
    config = {"action": "probe.trace", "with": {"seconds": seconds}}
    compensate = {"action": undo, "with": {}}
    return {"id": id_, "type": "action", "config": config, "compensate": compensate}


def undone(workers: Workers, execution: Execution) -> list[str]:
    """The steps whose compensations were called, in order."""
    start = f"{execution.pk}-"
    keys = [key for key in workers.calls() if key.startswith(start) and key.endswith("-undo")]
    return [key.split("-")[1] for key in keys]


@pytest.mark.parametrize(
    ("point", "time", "reason"),
    [
        # Before its second call, of which nobody can say afterwards that it was not made.
        ("runner.before_undo", "2", "compensation_failed"),
        # After the commit that starts to undo; nothing has been called.
        ("ledger.after_commit", "4", "compensated"),
    ],
)
def test_a_worker_that_dies_while_it_undoes(workers: Workers, point: str, time: str, reason: str):
    steps = [step("a"), step("b", "probe.once"), step("c"), FAIL]
    execution = started(published(steps, on_failure="compensate"))
    deadly = workers.start("worker_with_fault", point, time, "--signal", "SIGKILL")
    assert deadly.wait(timeout=40) == -9
    assert not reread(execution).has_ended
    workers.start()
    wait_until(lambda: reread(execution).has_ended, seconds=40)
    row = reread(execution)
    assert (row.state, row.reason, row.error_code) == ("failed", reason, "trip.sold_out")
    states = dict(Compensation.objects.values_list("step_id", "state"))
    if reason == "compensated":
        assert undone(workers, row) == ["c", "b", "a"]
        assert states == {"a": "done", "b": "done", "c": "done"}
    else:
        assert undone(workers, row) == ["c", "a"]
        assert states == {"a": "done", "b": "left", "c": "done"}
        (left,) = row.error["details"]["left"]
        assert (left["step"], left["code"]) == ("b", "worker.lost")
    recorded = Counter(StepExecution.objects.values_list("seq", "attempt"))
    assert set(recorded.values()) == {1}


def test_cancels_against_the_end_undo_all_or_nothing(workers: Workers):
    workflow = published([step("a", seconds=0.02), step("b", seconds=0.02)])
    workers.start()
    workers.start()
    first = started(workflow)
    wait_until(lambda: reread(first).has_ended, seconds=30)
    made = [started(workflow) for _ in range(30)]
    wait_until(lambda: Compensation.objects.count() > 10, seconds=30)

    def cancel(execution: Execution) -> None:
        try:
            cancel_execution(execution=execution, actor=SYSTEM, compensate=True)
        except Conflict:
            pass  # it has ended, or the other one was faster
        finally:
            connection.close()

    # Two at once for each.
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(cancel, [each for each in made for _ in range(2)]))
    wait_until(lambda: all(reread(each).has_ended for each in made), seconds=30)
    for execution in map(reread, made):
        rows = Compensation.objects.filter(execution=execution)
        states = [row.state for row in rows]
        if execution.state == "completed":
            assert (states, undone(workers, execution)) == (["pending", "pending"], [])
            continue
        assert execution.state == "cancelled"
        assert states == ["done"] * len(states)
        assert undone(workers, execution) == [row.step_id for row in rows]
        assert (execution.reason == "compensated") == bool(states)
    assert not Execution.objects.filter(owner__isnull=False).exists()
