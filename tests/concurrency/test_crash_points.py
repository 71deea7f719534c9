"""A worker dies at each named point; the next one ends what it had begun, once."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from executions.limiting import LimitTerms, create_limit
from executions.models import (
    Compensation,
    Execution,
    LimitUse,
    StateTransition,
    StepExecution,
    Worker,
)
from executions.runtime.lease import remove_worker
from tests.concurrency.conftest import Workers
from tests.engine import SYSTEM, published, reread, started, wait_until

pytestmark = [pytest.mark.concurrency, pytest.mark.timeout(120)]

# With the how-manieth time it is passed.
POINTS = [
    ("ledger.after_claim", "1"),
    ("ledger.before_commit", "2"),
    ("ledger.after_commit", "2"),
    ("runner.after_checkpoint", "1"),
    ("runner.before_call", "1"),
]
ON_THE_WAY = [
    ("lease.before_heartbeat", "1"),
    ("runner.after_limits", "1"),
    ("runner.after_call", "1"),
    ("runner.before_join", "1"),
    ("runner.after_undo", "1"),
]


def run_with_deaths(workers: Workers, execution: Execution, points: list[tuple[str, str]]) -> None:
    """One worker after the other dies at its point; the last one lives."""
    for point, time in points:
        deadly = workers.start("worker_with_fault", point, time, "--signal", "SIGKILL")
        assert deadly.wait(timeout=40) == -9
        assert not reread(execution).has_ended
        for pk in Worker.objects.values_list("pk", flat=True):
            # What the clock does once the lease is over.
            remove_worker(pk)
    workers.start()
    wait_until(lambda: reread(execution).has_ended, seconds=40)


def test_workers_that_die_around_claims_commits_and_calls_cost_nothing_but_time(workers: Workers):
    config = {"action": "probe.trace", "with": {}}
    steps = [{"id": f"s{n}", "type": "action", "config": config} for n in range(6)]
    execution = started(published(steps))
    run_with_deaths(workers, execution, POINTS)
    assert reread(execution).state == "completed"
    recorded = Counter(StepExecution.objects.values_list("execution_id", "seq"))
    assert recorded == {(execution.pk, seq): 1 for seq in range(1, 7)}
    targets = StateTransition.objects.filter(execution=execution).values_list("target", flat=True)
    assert list(targets) == ["initialized", "running", "completed"]
    # Only the call whose result was not durable is made again.
    assert Counter(workers.calls()) == {
        f"{execution.pk}-s{n}-{n + 1}": 2 if n == 0 else 1 for n in range(6)
    }
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


def test_whoever_dies_on_the_way_to_an_end_the_next_one_goes_on(workers: Workers):
    """One worker after the other dies: in a call, at a limit, at a join, while it undoes."""
    terms = LimitTerms(subject="action", pattern="probe.*", max_concurrent=1)
    create_limit(actor=SYSTEM, terms=terms)
    execution = started(published(_long_way(), on_failure="compensate"))
    run_with_deaths(workers, execution, ON_THE_WAY)
    row = reread(execution)
    assert (row.state, row.reason, row.error_code) == ("failed", "compensated", "my.error")
    assert set(Execution.objects.filter(parent=row).values_list("state", flat=True)) == {
        "completed"
    }
    keys = StepExecution.objects.values_list("execution_id", "seq", "attempt")
    assert set(Counter(keys).values()) == {1}
    assert list(Compensation.objects.values_list("state", flat=True)) == ["done"] * 3
    assert not LimitUse.objects.exists()
    # Once by each who died between its begin and the record of its end, and once for good.
    calls = Counter(workers.calls())
    assert (calls[f"{row.pk}-a-1"], calls[f"{row.pk}-a-1-undo"]) == (3, 1)
    assert sum(calls.values()) == 3 + 2 + 4


def _long_way() -> list[dict[str, Any]]:
    def call(id_: str, seconds: float = 0.0) -> dict[str, Any]:
        config = {"action": "probe.trace", "with": {"seconds": seconds}}
        undo = {"action": "probe.trace", "with": {}}
        return {"id": id_, "name": id_, "type": "action", "config": config, "compensate": undo}

    branches = [{"name": name, "steps": [call(name)]} for name in ("left", "right")]
    return [
        # Long enough for a heartbeat of whoever makes the call.
        call("a", 1.0),
        {"id": "p", "type": "parallel", "config": {"branches": branches}},
        {"id": "stop", "type": "fail", "config": {"error": "my.error"}},
    ]
