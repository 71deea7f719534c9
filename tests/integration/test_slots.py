"""Concurrency slots of workflows: taken, refused, given back and handed on, counted from rows."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
from django.db import IntegrityError, connection, connections, transaction

from autopilot.common import clock
from executions import failing, slots
from executions.bulk_start import start_many
from executions.errors import ConcurrencyReached, StartInvalid
from executions.models import ErrorStart, Execution, InboxMessage, StateTransition
from executions.runtime import slots_sql
from executions.services import (
    cancel_execution,
    pause_execution,
    rerun_execution,
    resume_execution,
    retry_execution,
)
from executions.situations import situation_of
from tests.engine import NOOP, SYSTEM, drain, published, reread, started, wait_until, worker
from workflows.models import Workflow

pytestmark = pytest.mark.django_db(transaction=True)

NAP = {"id": "nap", "type": "wait", "config": {"duration": "1h"}}
FAIL = {"id": "a", "type": "fail", "config": {"error": "no.way", "message": "no"}}


def limited(*steps: dict[str, Any], on_limit: str = "queue", limit: int = 1) -> Workflow:
    rule = {"key": "input.k", "limit": limit, "on_limit": on_limit}
    return published(list(steps) or [{**NOOP, "id": "a"}], concurrency=rule)


def slot_of(execution: Execution) -> tuple[str, bool, bool]:
    """Its reason, whether it holds a slot, whether a worker may take it."""
    row = reread(execution)
    return row.reason, row.slot_held, row.runnable_at is not None


def states(*executions: Execution) -> list[str]:
    return [reread(each).state for each in executions]


def test_one_more_waits_and_goes_when_a_slot_is_given_back():
    workflow = limited(NAP)
    first, second = started(workflow, {"k": "a"}), started(workflow, {"k": "a"})
    other = started(workflow, {"k": "b"})
    assert (first.reason, second.reason) == ("queued", "slot")
    assert slot_of(first) == ("queued", True, True)
    assert slot_of(second) == ("slot", False, False)
    assert slot_of(other) == ("queued", True, True)
    drain()
    assert states(first, second, other) == ["waiting", "initialized", "waiting"]
    cancel_execution(execution=first, actor=SYSTEM)
    drain()
    assert states(first, second) == ["cancelled", "waiting"]
    assert [slot_of(each)[1] for each in (first, second)] == [False, True]


def test_whoever_waits_goes_by_priority_and_then_by_age():
    workflow = limited(NAP)
    holder = started(workflow, {"k": 1})
    low, normal, high = (started(workflow, {"k": 1}, priority=each) for each in (0, 1, 2))
    later = started(workflow, {"k": 1}, priority=2)
    order = []
    for _ in range(4):
        cancel_execution(execution=holder, actor=SYSTEM)
        drain()
        holder = Execution.objects.get(slot_held=True)
        order.append(holder.pk)
    assert order == [high.pk, later.pk, normal.pk, low.pk]


def test_a_failed_one_gives_its_slot_back_and_its_retry_asks_again():
    workflow = limited(FAIL)
    first = started(workflow, {"k": "a"})
    drain()
    assert slot_of(first) == ("no.way", False, False)
    blocker = started(limited_version(workflow), {"k": "a"})
    drain()
    retry_execution(execution=first, actor=SYSTEM)
    drain()
    assert states(first, blocker) == ["resumed", "waiting"]
    assert slot_of(first)[1:] == (False, False)
    cancel_execution(execution=blocker, actor=SYSTEM)
    drain()
    assert states(first) == ["failed"]
    assert StateTransition.objects.filter(execution=first, target="failed").count() == 2


def limited_version(workflow: Workflow) -> Workflow:
    """The same workflow with a version that naps."""
    from workflows.services import create_version, publish_version

    document = {
        "name": "Test",
        "steps": [NAP],
        "concurrency": {"key": "input.k", "limit": 1},
    }
    draft = create_version(workflow=workflow, actor=SYSTEM, document=document)
    publish_version(actor=SYSTEM, version=draft, number="suggest")
    return workflow


def test_a_pause_gives_the_slot_back_and_time_limits_stand_still_until_it_has_one_again():
    workflow = limited(NAP)
    first, second = started(workflow, {"k": "a"}), started(workflow, {"k": "a"})
    drain()
    pause_execution(execution=first, actor=SYSTEM)
    drain()
    assert states(first, second) == ["paused", "waiting"]
    resume_execution(execution=first, actor=SYSTEM)
    drain()
    assert states(first, second) == ["resumed", "waiting"]
    assert slot_of(first)[1:] == (False, False)
    assert reread(first).paused_at is not None
    assert situation_of(reread(first)).why.code == "slot"
    cancel_execution(execution=second, actor=SYSTEM)
    drain()
    assert states(first) == ["waiting"]
    assert (slot_of(first)[1], reread(first).paused_at) == (True, None)


def test_a_pause_and_a_resume_at_once_keep_the_slot():
    workflow = limited(NAP)
    first, second = started(workflow, {"k": "a"}), started(workflow, {"k": "a"})
    drain()
    with worker() as process:
        pause_execution(execution=first, actor=SYSTEM)
        resume_execution(execution=first, actor=SYSTEM)
        process.drain("default")
    assert states(first, second) == ["waiting", "initialized"]
    assert slot_of(first)[1] is True


def test_what_waits_can_be_cancelled_and_paused_without_a_slot():
    workflow = limited(NAP)
    first, second, third = (started(workflow, {"k": "a"}) for _ in range(3))
    drain()
    cancel_execution(execution=second, actor=SYSTEM)
    pause_execution(execution=third, actor=SYSTEM)
    drain()
    assert states(first, second, third) == ["waiting", "cancelled", "paused"]
    resume_execution(execution=third, actor=SYSTEM)
    drain()
    assert states(third) == ["resumed"]
    cancel_execution(execution=first, actor=SYSTEM)
    drain()
    assert states(third) == ["waiting"]


def test_a_scheduled_start_holds_no_slot_before_it_is_due_and_asks_then():
    workflow = limited(NAP, on_limit="reject")
    later = started(workflow, {"k": "a"}, start_at=clock.now() + timedelta(seconds=0.3))
    assert slot_of(later) == ("scheduled", False, True)
    first = started(workflow, {"k": "a"})
    assert slot_of(first) == ("queued", True, True)
    wait_until(lambda: clock.now() > later.start_at)
    drain()
    assert slot_of(later) == ("slot", False, False)
    cancel_execution(execution=first, actor=SYSTEM)
    drain()
    assert states(first, later) == ["cancelled", "waiting"]


def test_reject_answers_with_a_conflict_and_nothing_is_kept():
    workflow = limited(on_limit="reject", limit=2)
    first = started(workflow, {"k": "a"})
    started(workflow, {"k": "a"})
    with pytest.raises(ConcurrencyReached) as caught:
        started(workflow, {"k": "a"})
    assert (caught.value.code, caught.value.status) == ("limit.concurrency", 409)
    assert caught.value.message == (
        "2 of the workflow test with the concurrency key “a” are running already, "
        "which is as many as may."
    )
    assert Execution.objects.count() == StateTransition.objects.count() == 2
    drain()
    assert states(first) == ["completed"]
    for _ in range(2):
        rerun_execution(execution=reread(first), actor=SYSTEM)
    with pytest.raises(ConcurrencyReached):
        rerun_execution(execution=reread(first), actor=SYSTEM)
    assert Execution.objects.filter(slot_held=True).count() == 2


def test_a_batch_is_refused_as_a_whole_and_names_those_that_find_no_slot():
    workflow = limited(on_limit="reject", limit=2)
    requests = [{"input": {"k": each}} for each in ("a", "b", "a", "a", "a")]
    with pytest.raises(ConcurrencyReached) as caught:
        start_many(workflow=workflow, actor=SYSTEM, requests=requests)
    assert [(each.path, each.code) for each in caught.value.details] == [
        ("$.requests[3].input", "limit.concurrency"),
        ("$.requests[4].input", "limit.concurrency"),
    ]
    assert not Execution.objects.exists()
    rows = start_many(workflow=workflow, actor=SYSTEM, requests=requests[:3])
    assert [slot_of(each.execution)[1] for each in rows] == [True, True, True]


def test_cancel_oldest_lets_the_newest_have_the_slot():
    workflow = limited(NAP, on_limit="cancel_oldest")
    first = started(workflow, {"k": "a"})
    drain()
    second = started(workflow, {"k": "a"})
    third = started(workflow, {"k": "a"})
    drain()
    assert states(first, second, third) == ["cancelled", "cancelled", "waiting"]
    assert reread(first).reason == "a newer execution with the same concurrency key takes its place"
    assert StateTransition.objects.get(execution=first, target="cancelled").actor == "engine"


def test_a_key_that_cannot_be_worked_out_is_refused_with_its_place():
    workflow = limited()
    with pytest.raises(StartInvalid) as caught:
        started(workflow, {"other": 1})
    (problem,) = caught.value.details
    assert (problem.path, problem.code) == ("$.input", "expression")
    with pytest.raises(StartInvalid, match="came to a list or an object"):
        started(workflow, {"k": [1]})
    assert not Execution.objects.exists()


def test_keys_are_the_workflows_own_bounded_and_null_is_none():
    rows = [started(limited(), {"k": each}) for each in ("x", "x", 7, True, "é" * 500, None)]
    keys = [reread(each).slot_key for each in rows]
    assert keys[0].split(":")[0] != keys[1].split(":")[0]
    assert [key.partition(":")[2] for key in keys[:4]] == ["x", "x", "7", "true"]
    assert len(keys[4]) < 150
    assert (keys[5], rows[5].reason, reread(rows[5]).slot_held) == ("", "queued", False)


def test_the_limit_is_that_of_the_version_that_asks():
    workflow = limited(NAP, limit=3)
    made = [started(workflow, {"k": "a"}) for _ in range(3)]
    narrow = started(workflow, {"k": "a"})
    Execution.objects.filter(pk=narrow.pk).update(slot_limit=1)
    drain()
    for held in (2, 1):
        cancel_execution(execution=made.pop(), actor=SYSTEM)
        drain()
        assert Execution.objects.filter(slot_held=True).count() == held
        assert slot_of(narrow)[1] is False
    cancel_execution(execution=made.pop(), actor=SYSTEM)
    drain()
    assert slot_of(narrow)[1] is True


def test_continue_as_new_gives_its_slot_to_whoever_waited_before():
    last = {
        "id": "z",
        "type": "succeed",
        "when": "input.n == 1",
        "config": {"continue_as_new": {"input": {"k": "a", "n": 2}}},
    }
    workflow = limited(last)
    first, second = started(workflow, {"k": "a", "n": 1}), started(workflow, {"k": "a", "n": 3})
    drain()
    follower = Execution.objects.get(continued_from=first)
    assert states(first, second, follower) == ["completed"] * 3
    assert follower.slot_key == first.slot_key
    assert follower.started_at > reread(second).started_at


def test_a_rolled_back_start_leaves_nothing():
    workflow = limited(on_limit="reject")
    with transaction.atomic():
        started(workflow, {"k": "a"})
        with pytest.raises(ConcurrencyReached):
            started(workflow, {"k": "a"})
        transaction.set_rollback(True)
    assert not Execution.objects.exists()
    started(workflow, {"k": "a"})


def at_once(count: int, work: Callable[[], Any]) -> list[Any]:
    def run(_: int) -> Any:
        try:
            return work()
        except ConcurrencyReached as error:
            return error
        finally:
            connections.close_all()

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(run, range(count)))


def test_starts_of_one_idempotency_key_at_once_are_one_execution_also_with_reject():
    workflow = limited(on_limit="reject")
    made = at_once(4, lambda: started(workflow, {"k": "a"}, idempotency_key="once"))
    assert {each.pk for each in made} == {Execution.objects.get().pk}


def test_of_many_starts_at_once_as_many_get_a_slot_as_there_are():
    rejecting, queueing = limited(on_limit="reject", limit=2), limited(limit=2)
    made = at_once(6, lambda: started(rejecting, {"k": "a"}))
    assert sorted(type(each).__name__ for each in made) == (
        ["ConcurrencyReached"] * 4 + ["Execution"] * 2
    )
    at_once(6, lambda: started(queueing, {"k": "a"}))
    assert Execution.objects.filter(workflow=queueing, slot_held=True).count() == 2
    drain()
    assert Execution.objects.filter(state="completed").count() == 8


def test_the_database_keeps_no_slot_of_what_has_ended():
    execution = started(limited(), {"k": "a"})
    drain()
    with pytest.raises(IntegrityError, match="execution_slot_is_used"):
        Execution.objects.filter(pk=execution.pk).update(slot_held=True)


def test_a_wake_that_was_skipped_is_made_up_for_by_the_clock():
    workflow = limited(NAP)
    first, second = started(workflow, {"k": "a"}), started(workflow, {"k": "a"})
    drain()
    other = connections["default"].copy()
    with other.cursor() as cursor:
        cursor.execute("BEGIN")
        cursor.execute(
            "SELECT FROM executions_execution WHERE id = %s FOR NO KEY UPDATE", [second.pk]
        )
        cancel_execution(execution=first, actor=SYSTEM)
        drain()
        cursor.execute("ROLLBACK")
    other.close()
    assert states(first) == ["cancelled"]
    assert slot_of(second) == ("slot", False, False)
    assert slots.sweep() == ("", 1)
    assert slot_of(second) == ("queued", True, True)
    assert slots.sweep() == ("", 0)


def test_the_sweep_goes_on_where_it_stopped():
    workflow = limited(NAP)
    for key in ("a", "b", "c"):
        started(workflow, {"k": key})
        started(workflow, {"k": key})
    Execution.objects.filter(slot_held=True).update(slot_held=False, runnable_at=None)
    after, first = slots.sweep("", limit=2)
    assert (after.endswith(":b"), first) == (True, 2)
    assert slots.sweep(after, limit=2) == ("", 1)


def test_the_clock_waits_for_no_transaction_that_counts_a_key_or_holds_a_row(monkeypatch):
    queued = limited(NAP)
    for key in ("a", "b"):
        started(queued, {"k": key})
        started(queued, {"k": key})
    Execution.objects.filter(slot_held=True).update(slot_held=False, runnable_at=None)
    newest = limited(NAP, on_limit="cancel_oldest")
    oldest, _ = started(newest, {"k": "c"}), started(newest, {"k": "c"})
    InboxMessage.objects.all().delete()
    hear = limited(on_limit="reject")
    owed = ErrorStart.objects.create(execution=oldest, seq=1, workflow_slug=hear.slug)
    monkeypatch.setattr(slots, "LOCK_TIMEOUT", "20ms")
    monkeypatch.setattr(failing, "input_of", lambda failed: {"k": "d"})
    other = connections["default"].copy()
    with other.cursor() as cursor:
        cursor.execute("BEGIN")
        keys = [f"{queued.pk}:a", f"{hear.pk}:d"]
        cursor.execute(slots_sql.LOCK, {"slots": keys})
        cursor.execute(
            "SELECT FROM executions_execution WHERE id = %s FOR NO KEY UPDATE", [oldest.pk]
        )
        with connection.cursor() as own:
            own.execute("SET lock_timeout = '20ms'")
        assert slots.sweep() == ("", 1)
        assert failing.start_owed() == 0
        cursor.execute("ROLLBACK")
    other.close()
    connection.close()
    assert not InboxMessage.objects.exists()
    assert slots.sweep() == ("", 1)
    assert InboxMessage.objects.get().execution_id == oldest.pk
    assert failing.start_owed() == 1
    assert ErrorStart.objects.get(pk=owed.pk).status == "started"


def test_why_says_what_it_waits_for():
    workflow = limited(NAP)
    made = [started(workflow, {"k": "a"}) for _ in range(4)]
    why = situation_of(reread(made[3])).why
    assert why.code == "slot"
    assert why.sentence == (
        "Accepted; waits for a slot: only one with the concurrency key “a” may run at once, "
        "and 2 wait before it."
    )
    assert why.details == {"key": "a", "limit": 1, "ahead": 2, "ahead_is_capped": False}


def explained(sql: str, parameters: dict[str, Any]) -> str:
    with connection.cursor() as cursor:
        cursor.execute(f"EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF) {sql}", parameters)
        return "\n".join(row[0] for row in cursor.fetchall())


@pytest.mark.usefixtures("new_tables")
def test_thousands_that_wait_cost_claims_nothing_and_handing_on_a_probe():
    workflow = limited(NAP)
    holder = started(workflow, {"k": "a"})
    Execution.objects.bulk_create(
        Execution(
            workflow=workflow,
            version=holder.version,
            created_at=clock.now(),
            slot_key=holder.slot_key,
            slot_limit=1,
            reason="slot",
            transition_seq=1,
        )
        for _ in range(4000)
    )
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE executions_execution")
    # All that the claim's index holds.
    in_index = Execution.objects.filter(owner__isnull=True, runnable_at__isnull=False)
    assert in_index.count() == 1
    sweep = explained(slots_sql.WAITED_FOR, {"after": "", "limit": 500})
    Execution.objects.filter(pk=holder.pk).update(slot_held=False)
    grant = explained(slots_sql.GRANT, {"slots": [holder.slot_key]})
    for plan in (grant, sweep):
        assert "execution_slot_queue" in plan
        assert "Seq Scan" not in plan
        assert "rows=4000" not in plan
    assert Execution.objects.filter(slot_held=True).count() == 1
