"""A worker dies at each named point; the next one ends what it had begun, once."""

from __future__ import annotations

from collections import Counter

import pytest

from executions.models import Execution, StateTransition, StepExecution
from tests.concurrency.conftest import Workers
from tests.engine import published, reread, started, wait_until

pytestmark = [pytest.mark.concurrency, pytest.mark.timeout(120)]

POINTS = [
    "ledger.after_claim",
    "ledger.before_commit",
    "ledger.after_commit",
    "runner.after_checkpoint",
    "runner.before_call",
]


@pytest.mark.parametrize("point", POINTS)
def test_a_worker_that_dies_there_costs_nothing_but_time(workers: Workers, point: str):
    config = {"action": "probe.trace", "with": {}}
    steps = [{"id": f"s{n}", "type": "action", "config": config} for n in range(4)]
    execution = started(published(steps))
    time = "1" if point == "ledger.after_claim" else "3"
    deadly = workers.start("worker_with_fault", point, time, "--signal", "SIGKILL")
    assert deadly.wait(timeout=40) == -9
    assert not reread(execution).has_ended
    workers.start()
    wait_until(lambda: reread(execution).has_ended, seconds=40)
    assert reread(execution).state == "completed"
    recorded = Counter(StepExecution.objects.values_list("execution_id", "seq"))
    assert recorded == {(execution.pk, seq): 1 for seq in range(1, 5)}
    targets = StateTransition.objects.filter(execution=execution).values_list("target", flat=True)
    assert list(targets) == ["initialized", "running", "completed"]
    assert len(workers.calls()) in (4, 5)
    assert not Execution.objects.filter(owner__isnull=False).exists()


def test_what_a_step_starts_and_lets_go_is_started_once(workers: Workers):
    """One worker dies before what it started is durable, the next one right after."""
    other = published([{"id": "s", "type": "transform", "config": {"output": 1}}], slug="other")
    config = {"workflow": "other", "wait": False}
    execution = started(published([{"id": "call", "type": "workflow", "config": config}]))
    for point, time in (("ledger.before_commit", "2"), ("ledger.after_commit", "1")):
        deadly = workers.start("worker_with_fault", point, time, "--signal", "SIGKILL")
        assert deadly.wait(timeout=40) == -9
    workers.start()
    wait_until(lambda: not Execution.objects.filter(ended_at__isnull=True).exists(), seconds=40)
    (made,) = Execution.objects.filter(workflow=other)
    row = reread(execution)
    assert (row.state, row.output) == ("completed", {"execution_id": made.pk})
    assert (made.state, made.output, made.started_by_execution_id) == ("completed", 1, row.pk)
