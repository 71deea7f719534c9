"""Limits and rates of calls: enforced for all workers before a call begins."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from itertools import pairwise
from typing import Any

import pytest
from django.db import connection, connections, transaction

from autopilot.accounts.models import AuditEntry
from autopilot.accounts.roles import Role
from autopilot.common import clock
from autopilot.common.errors import PermissionDenied
from executions import limiting
from executions.errors import LimitConflict, LimitInvalid
from executions.limiting import LimitTerms
from executions.models import ActionLimit, Execution, LimitUse, StateTransition, StepExecution
from executions.runtime import limits, limits_sql
from executions.runtime.rules import host_of
from executions.services import cancel_execution, pause_execution, resume_execution
from executions.situations import situation_of
from tests.engine import SYSTEM, drain, published, reread, started, wait_until, worker
from tests.factories import actor_with
from workflows.models import Workflow

pytestmark = pytest.mark.django_db(transaction=True)


def limit(pattern: str = "probe.*", subject: str = "action", **terms: Any) -> ActionLimit:
    return limiting.create_limit(
        actor=SYSTEM, terms=LimitTerms(subject=subject, pattern=pattern, **terms)
    )


def calling(seconds: float = 0.0, **step: Any) -> Workflow:
    config = {"action": "probe.trace", "with": {"seconds": seconds}}
    return published([{"id": "a", "type": "action", "config": config, **step}])


def occupied(found: ActionLimit) -> Execution:
    """Let an execution that nobody runs have a place, as one whose worker has just died."""
    execution = started(calling(), start_at=clock.now() + timedelta(days=1))
    LimitUse.objects.create(limit=found, execution=execution, kind="place", held=True)
    return execution


def states(*executions: Execution) -> list[str]:
    return [reread(each).state for each in executions]


def test_no_more_are_under_way_than_may_and_each_waits_without_a_worker():
    limit(max_concurrent=2)
    made = [started(calling(0.05)) for _ in range(8)]
    with worker() as process:
        wait_until(lambda: process.drain("default") == 0 and _all_ended(made))
    assert set(states(*made)) == {"completed"}
    rows = StateTransition.objects.filter(target="waiting")
    assert set(rows.values_list("reason", flat=True)) == {"slot"}
    # Woken once each, by whoever handed on the place.
    assert max(rows.filter(execution=each).count() for each in made) == 1
    assert not LimitUse.objects.exists()


def _all_ended(made: list[Execution]) -> bool:
    return all(reread(each).has_ended for each in made)


def test_one_that_waits_is_given_up_and_says_why():
    found = limit(max_concurrent=1)
    occupied(found)
    first = started(calling())
    drain()
    second = started(calling())
    drain()
    row = reread(first)
    assert (row.state, row.reason, row.current_phase) == ("waiting", "slot", "limited")
    assert (row.owner_id, row.runnable_at) == (None, None)
    why = situation_of(reread(second)).why
    assert (why.code, why.sentence) == (
        "limit.place",
        "Waits at step “a” to begin: of calls of probe.* only one may be under way at once, "
        "and 1 waits before it.",
    )
    assert StepExecution.objects.count() == 0


def test_what_is_left_behind_is_swept_up_and_the_next_one_goes():
    found = limit(max_concurrent=1)
    dead = occupied(found)
    first, second = started(calling()), started(calling())
    drain()
    # It stands at no call, so the place belongs to nobody.
    assert limiting.sweep() == (1, 1)
    assert not LimitUse.objects.filter(execution=dead).exists()
    drain()
    drain()
    assert states(first, second) == ["completed", "completed"]
    assert limiting.sweep() == (0, 0)


@pytest.mark.parametrize("verb", ["cancel", "pause"])
def test_who_waits_can_be_cancelled_and_paused_and_leaves_the_line(verb):
    found = limit(max_concurrent=1)
    occupied(found)
    execution = started(calling())
    drain()
    assert LimitUse.objects.filter(execution=execution, held=False).count() == 1
    ask = cancel_execution if verb == "cancel" else pause_execution
    ask(execution=execution, actor=SYSTEM)
    drain()
    assert not LimitUse.objects.filter(execution=execution).exists()
    if verb == "cancel":
        assert states(execution) == ["cancelled"]
        return
    resume_execution(execution=execution, actor=SYSTEM)
    drain()
    assert states(execution) == ["waiting"]
    LimitUse.objects.filter(held=True).delete()
    limiting.sweep()
    drain()
    assert states(execution) == ["completed"]


def test_the_steps_timeout_does_not_count_the_wait_but_the_executions_does():
    found = limit(max_concurrent=1)
    occupied(found)
    step = started(calling(timeout=0.2))
    config = {"action": "probe.trace"}
    whole = started(published([{"id": "a", "type": "action", "config": config}], timeout=0.2))
    drain()
    due = reread(whole).runnable_at
    assert due is not None
    wait_until(lambda: clock.now() > due)
    drain()
    assert (reread(whole).state, reread(whole).error_code) == ("failed", "timeout.execution")
    LimitUse.objects.filter(held=True).delete()
    limiting.sweep()
    drain()
    assert states(step) == ["completed"]


def test_a_rate_lets_so_many_begin_and_gives_the_others_their_moment():
    limit(rate=2, period_seconds=60)
    made = [started(calling()) for _ in range(4)]
    drain()
    assert sorted(states(*made)) == ["completed", "completed", "waiting", "waiting"]
    waiting = list(Execution.objects.filter(state="waiting").order_by("runnable_at"))
    assert {each.reason for each in waiting} == {"rate"}
    gap = (waiting[1].runnable_at - waiting[0].runnable_at).total_seconds()
    assert gap == pytest.approx(30, abs=0.01)
    why = situation_of(waiting[0]).why
    assert why.code == "limit.rate"
    assert why.sentence.startswith("Waits at step “a” for its turn, which comes in ")
    assert why.sentence.endswith("of calls of probe.* 2 may begin in 60 s.")


def test_a_turn_that_has_come_is_used_once():
    limit(rate=1, period_seconds=0.2)
    made = [started(calling()) for _ in range(3)]
    with worker() as process:
        wait_until(lambda: process.drain("default") >= 0 and _all_ended(made))
    begun = sorted(StepExecution.objects.values_list("ended_at", flat=True))
    gaps = [(b - a).total_seconds() for a, b in pairwise(begun)]
    assert min(gaps) > 0.15
    assert StateTransition.objects.filter(reason="rate").count() == 2


def test_a_changed_limit_is_asked_again_and_a_deleted_one_lets_all_go():
    found = limit(rate=1, period_seconds=3600)
    made = [started(calling()) for _ in range(4)]
    drain()
    assert sorted(states(*made)) == ["completed"] + ["waiting"] * 3
    limiting.update_limit(
        limit=found, actor=SYSTEM, terms=LimitTerms("action", "probe.*", rate=2, period_seconds=60)
    )
    drain()
    assert sorted(states(*made)) == ["completed"] * 3 + ["waiting"]
    limiting.delete_limit(limit=found, actor=SYSTEM)
    drain()
    assert set(states(*made)) == {"completed"}
    actions = AuditEntry.objects.filter(action__startswith="limit.").order_by("pk")
    assert list(actions.values_list("action", flat=True)) == [
        "limit.created",
        "limit.changed",
        "limit.deleted",
    ]


def test_several_limits_of_one_call_are_all_kept():
    limit("probe.*", max_concurrent=3)
    limit("probe.trace", max_concurrent=1, rate=50)
    made = [started(calling(0.02)) for _ in range(5)]
    with worker() as process:
        wait_until(lambda: process.drain("default") >= 0 and _all_ended(made))
    steps = sorted(StepExecution.objects.values_list("started_at", "ended_at"))
    assert len(steps) == 5
    assert not LimitUse.objects.exists()


def test_askers_at_once_get_as_many_places_as_there_are():
    found = limit(max_concurrent=3)
    made = [started(calling(), start_at=clock.now() + timedelta(days=1)) for _ in range(8)]

    def ask(execution: Execution) -> bool:
        try:
            return limits.enter(execution.pk, [found.pk]) is None
        finally:
            connections.close_all()

    with ThreadPoolExecutor(8) as pool:
        assert sorted(pool.map(ask, made)) == [False] * 5 + [True] * 3
    assert LimitUse.objects.filter(held=True).count() == 3
    # Who has a place already is not asked twice.
    holder = LimitUse.objects.first()
    assert limits.enter(holder.execution_id, [found.pk]) is None
    connection.close()


def test_a_limit_is_deleted_while_a_call_begins_under_it():
    found = limit(max_concurrent=3)
    execution = started(calling(), start_at=clock.now() + timedelta(days=1))

    def delete() -> None:
        try:
            limiting.delete_limit(limit=ActionLimit.objects.get(), actor=SYSTEM)
        finally:
            connections.close_all()

    def is_waiting() -> bool:
        with connection.cursor() as cursor:
            cursor.execute("SELECT count(*) FROM pg_locks WHERE NOT granted")
            return cursor.fetchone()[0] == 1

    with ThreadPoolExecutor(1) as pool:
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(limits_sql.LOCK, {"limits": [found.pk]})
            deleting = pool.submit(delete)
            wait_until(is_waiting)
            LimitUse.objects.create(limit=found, execution=execution, kind="place", held=True)
        deleting.result(timeout=10)
    assert (ActionLimit.objects.count(), LimitUse.objects.count()) == (0, 0)


@pytest.mark.parametrize(
    ("action", "params", "host"),
    [
        ("http.request", {"url": "https://API.Example.com:8443/x"}, "api.example.com"),
        ("webhook.send", {"url": "http://example.com./"}, "example.com"),
        ("http.request", {"url": "http://[::1"}, ""),
        ("http.request", {"url": 5}, ""),
        ("crm.update", {"url": "https://example.com"}, ""),
    ],
)
def test_the_host_of_a_call(action, params, host):
    assert host_of(action, params) == host


def test_what_is_refused_changes_nothing():
    with pytest.raises(PermissionDenied):
        limiting.create_limit(
            actor=actor_with(Role.DESIGNER), terms=LimitTerms("action", "x", max_concurrent=1)
        )
    bad = LimitTerms("moon", "a b", max_concurrent=0, rate=True, period_seconds=0)
    with pytest.raises(LimitInvalid) as caught:
        limiting.create_limit(actor=SYSTEM, terms=bad)
    assert [each.path for each in caught.value.details] == [
        "$.subject",
        "$.pattern",
        "$.max_concurrent",
        "$.rate",
        "$.period_seconds",
    ]
    with pytest.raises(LimitInvalid, match="Say `max_concurrent`, `rate` or both"):
        limit()
    limit(max_concurrent=1)
    with pytest.raises(LimitConflict, match=r"There is a limit for the action probe.\* already"):
        limit(rate=1)
    assert ActionLimit.objects.count() == 1
