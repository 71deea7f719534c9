"""A candidate that fails too much is stopped by the clock, with its evidence; else it goes on."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.db.models import F

from autopilot.common.database_time import database_now
from executions import rollouts
from executions.bulk_start import start_many
from executions.models import Execution
from executions.runtime.clock import Clock
from executions.services import cancel_execution, retry_execution
from tests.engine import NOOP, SYSTEM, drain, started, wait_until
from tests.migrating import moved
from tests.rollouts import key_for, rolling
from workflows.models import Rollout, RolloutDecision
from workflows.rollouts import rollback_rollout

pytestmark = pytest.mark.django_db(transaction=True)
DAY = timedelta(days=1)
# As the input says.
SPLIT = [
    {
        "id": "stop",
        "type": "fail",
        "when": "input.fails",
        "config": {"error": "bank.away", "message": "It is away."},
    },
    {**NOOP, "id": "b"},
]


def go(rollout: Rollout, *, fails: int, fine: int, version: str = "1.1.0") -> None:
    """Executions of a version that run to their end."""
    inputs = [{"fails": True}] * fails + [{"fails": False}] * fine
    start_many(
        workflow=rollout.workflow,
        actor=SYSTEM,
        requests=[{"input": each, "version": version} for each in inputs],
    )
    drain()


def now_of(rollout: Rollout) -> Rollout:
    return Rollout.objects.get(pk=rollout.pk)


def test_what_fails_is_stopped_and_later_starts_take_the_baseline() -> None:
    """End to end: starts that heed the rollout, a real drain, the clock's own tick."""
    rollout = rolling(50)
    taken, other = (key_for(rollout, taken=each) for each in (True, False))
    requests = [{"correlation_id": key} for key in [taken] * 6 + [other] * 6]
    start_many(workflow=rollout.workflow, actor=SYSTEM, requests=requests)
    waiting = started(rollout.workflow, correlation_id=taken, start_at=database_now() + DAY)
    drain()
    clock = Clock()
    clock.start()
    try:
        wait_until(lambda: now_of(rollout).state == "stopped")
    finally:
        clock.close()
    candidate = now_of(rollout).candidate
    assert (candidate.version, candidate.state) == ("1.1.0", "deprecated")
    for key in (taken, other):
        assert started(rollout.workflow, correlation_id=key).version.version == "1.0.0"
    decision = RolloutDecision.objects.get(kind="stopped")
    assert (decision.actor, float(decision.percent_before or 0), float(decision.percent_after)) == (
        "clock",
        50.0,
        0.0,
    )
    assert decision.reason == (
        "6 of 6 executions failed within 15 min (100 %), and at most 5 % may."
    )
    evidence = decision.evidence
    failed = Execution.objects.filter(state="failed").order_by("-ended_at", "-pk")
    assert evidence["candidate"] == {
        "ended": 6,
        "failed": 6,
        "failure_percent": 100.0,
        "is_capped": False,
    }
    assert (evidence["baseline"]["ended"], evidence["baseline"]["failed"]) == (6, 0)
    assert evidence["error_codes"] == {"test.broken": 6}
    assert evidence["failed_executions"] == [row.pk for row in failed]
    assert (evidence["max_failure_percent"], evidence["min_executions"]) == (5.0, 5)
    # What was accepted before stays on its version.
    assert Execution.objects.get(pk=waiting.pk).version_id == candidate.pk
    assert rollouts.live_executions(candidate) == rollouts.LiveCount(1, False)


def test_too_few_or_few_failures_stop_nothing_and_one_more_does() -> None:
    rollout = rolling(50, steps=SPLIT, max_failure_percent=25, min_executions=4)
    go(rollout, fails=3, fine=0)
    assert (rollouts.tend(database_now()), now_of(rollout).state) == (0, "active")
    go(rollout, fails=0, fine=9)
    assert (rollouts.tend(database_now()), now_of(rollout).state) == (0, "active")
    go(rollout, fails=2, fine=0)
    assert (rollouts.tend(database_now()), now_of(rollout).state) == (1, "stopped")
    assert rollouts.tend(database_now()) == 0


def test_only_what_ended_within_the_window_and_was_not_cancelled_counts() -> None:
    rollout = rolling(50, steps=SPLIT, window="60s", min_executions=2)
    go(rollout, fails=4, fine=0)
    Execution.objects.update(ended_at=F("ended_at") - timedelta(seconds=61))
    waiting = started(
        rollout.workflow, {"fails": False}, version="1.1.0", start_at=database_now() + DAY
    )
    cancel_execution(execution=waiting, actor=SYSTEM)
    tests = started(rollout.workflow, {"fails": True}, version="1.1.0")
    Execution.objects.filter(pk=tests.pk).update(is_test=True)
    go(rollout, fails=1, fine=0)
    rollout = now_of(rollout)
    rollout.started_at -= timedelta(hours=1)
    evidence = rollouts.measure(rollout, database_now())
    assert (evidence.candidate.ended, evidence.candidate.failed) == (1, 1)
    rollout.window_seconds = 300
    assert rollouts.measure(rollout, database_now()).candidate.failed == 5
    assert evidence.error_codes == {"bank.away": 1}
    assert rollouts.tend(database_now()) == 0


def test_what_failed_before_it_was_moved_to_the_candidate_is_not_its_failure() -> None:
    rollout = rolling(50, steps=[*SPLIT, {**NOOP, "id": "c"}], base=SPLIT, min_executions=2)
    go(rollout, fails=3, fine=0, version="1.0.0")
    failed = list(Execution.objects.values_list("pk", flat=True))
    migration = moved(rollout.workflow, ids=failed)
    assert set(migration.items.values_list("state", flat=True)) == {"moved"}
    evidence = rollouts.measure(rollout, database_now())
    assert (evidence.candidate.ended, rollouts.tend(database_now())) == (0, 0)
    # What it comes to from then on is.
    for pk in failed[:2]:
        retry_execution(execution=Execution.objects.get(pk=pk), actor=SYSTEM)
    drain()
    assert rollouts.measure(rollout, database_now()).candidate.failed == 2
    assert (rollouts.tend(database_now()), now_of(rollout).state) == (1, "stopped")


def test_an_outage_that_hits_both_stops_the_candidate_only_if_it_is_not_compared() -> None:
    compared = rolling(50, steps=SPLIT, base=SPLIT, margin_percent=10, min_executions=4)
    go(compared, fails=2, fine=2)
    assert rollouts.measure(compared, database_now()).finding == "fails"
    go(compared, fails=2, fine=2, version="1.0.0")
    evidence = rollouts.measure(compared, database_now())
    assert (evidence.finding, evidence.baseline.failed) == ("shared", 2)
    assert (rollouts.tend(database_now()), now_of(compared).state) == (0, "active")
    go(compared, fails=3, fine=0)
    assert (rollouts.tend(database_now()), now_of(compared).state) == (1, "stopped")


def test_two_clocks_and_a_person_at_once_decide_once() -> None:
    rollout = rolling(50, min_executions=1)
    go(rollout, fails=2, fine=0)
    barrier, outcomes = threading.Barrier(3), []

    def race(work: Callable[[], Any]) -> None:
        try:
            barrier.wait()
            outcomes.append(work())
        except Exception as error:
            outcomes.append(type(error).__name__)
        finally:
            connection.close()

    def person() -> str:
        return rollback_rollout(rollout=rollout, actor=SYSTEM).state

    works: list[Callable[[], Any]] = [lambda: rollouts.tend(database_now())] * 2 + [person]
    threads = [threading.Thread(target=race, args=[work]) for work in works]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    ended = list(RolloutDecision.objects.exclude(kind="started").values_list("kind", flat=True))
    assert len(ended) == 1
    assert (outcomes.count(1), outcomes.count("rolled_back")) == (
        ended.count("stopped"),
        ended.count("rolled_back"),
    )
    assert now_of(rollout).state == ended[0]


@pytest.mark.usefixtures("new_tables")
def test_a_look_reads_a_bounded_part_of_an_index(monkeypatch: pytest.MonkeyPatch) -> None:
    rollout = rolling(50, steps=SPLIT)
    go(rollout, fails=1, fine=0)
    row = Execution.objects.get()
    names = [
        field.column
        for field in Execution._meta.concrete_fields
        if field.column not in {"id", "ended_at"}
    ]
    columns = ", ".join(names)
    with connection.cursor() as cursor:
        cursor.execute(
            f"INSERT INTO executions_execution ({columns}, ended_at) "
            f"SELECT {columns}, ended_at - n * interval '10 ms' FROM executions_execution "
            "CROSS JOIN generate_series(1, 20000) AS n WHERE id = %s",
            [row.pk],
        )
        cursor.execute("ANALYZE executions_execution")
        cursor.execute(
            "EXPLAIN (ANALYZE, FORMAT JSON) " + rollouts._ENDED,
            {
                "version": rollout.candidate_id,
                "since": row.ended_at - timedelta(minutes=2),
                "limit": 500,
                "shown": 10,
            },
        )
        plan = cursor.fetchone()[0][0]["Plan"]
    scans = list(scans_of(plan))
    assert [(each["Node Type"], each.get("Index Name")) for each in scans] == [
        ("Index Scan", "execution_version_ended")
    ]
    assert scans[0]["Actual Rows"] == 500
    assert scans[0]["Scan Direction"] == "Backward"
    monkeypatch.setattr(rollouts, "NEWEST", 500)
    rollout = now_of(rollout)
    rollout.started_at -= timedelta(hours=1)
    evidence = rollouts.measure(rollout, database_now())
    assert (evidence.candidate.ended, evidence.candidate.is_capped) == (500, True)
    assert len(evidence.failed_executions) == 10


def scans_of(plan: dict[str, Any]) -> Any:
    """Every node that reads the table."""
    if plan.get("Relation Name") == "executions_execution":
        yield plan
    for below in plan.get("Plans", ()):
        yield from scans_of(below)
