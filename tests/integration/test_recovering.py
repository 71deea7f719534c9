"""Executions that nobody goes on with: each way to be stuck is named, and put right."""

from __future__ import annotations

import json
from datetime import timedelta
from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connection, transaction
from django.db.models.functions import Now

from autopilot.accounts import audit
from autopilot.accounts.models import AuditEntry
from autopilot.accounts.roles import Role
from autopilot.common import clock
from autopilot.common.errors import PermissionDenied
from executions import holding, limiting, recovering
from executions.models import (
    ActionLimit,
    ErrorStart,
    Execution,
    InboxMessage,
    LimitUse,
    SignalWait,
    Worker,
)
from executions.recovering import find_stuck, recover_executions
from executions.runtime import dispatch
from executions.runtime.faults import inject
from executions.services import pause_execution
from executions.signalling import send_signal
from tests.engine import NOOP, SYSTEM, drain, published, reread, run, started
from tests.factories import actor_with
from workflows import compiled

pytestmark = pytest.mark.django_db(transaction=True)

WAIT = {"id": "w", "type": "wait", "config": {"duration": "1h"}}
SIGNAL = {"id": "s", "type": "signal", "config": {"signal": "paid", "correlation": "A"}}


def mapped(**limits: Any) -> dict[str, Any]:
    config = {"items": "[1, 2, 3]", "as": "it", "steps": [{**NOOP, "id": "a", "name": "a"}]}
    return {"id": "m", "type": "map", "config": {**config, **limits}}


def change(execution: Execution, **values: Any) -> None:
    """By SQL, past the product: what should not be possible."""
    Execution.objects.filter(pk=execution.pk).update(**values)


def codes(**options: Any) -> dict[int, str]:
    return {one.execution_id: one.code for one in find_stuck(actor=SYSTEM, **options)}


def recovered() -> dict[int, tuple[str, bool | None]]:
    found = recover_executions(actor=SYSTEM)
    return {one.execution_id: (one.code, one.freed) for one in found}


def dead_worker(**fields: Any) -> Worker:
    values = {"name": "gone-1", "host": "gone", "pid": 1, "queues": ["default"]}
    return Worker.objects.create(
        **values, started_at=Now(), lease_until=Now() - timedelta(seconds=60), **fields
    )


def test_what_a_dead_worker_owns_is_freed_and_goes_on() -> None:
    execution = started(published([{**NOOP, "id": "a"}]))
    change(execution, owner=dead_worker())
    before = reread(execution)
    assert codes() == {execution.pk: "worker_lost"}
    assert (reread(execution).owner_id, reread(execution).epoch) == (before.owner_id, before.epoch)
    assert recovered() == {execution.pk: ("worker_lost", True)}
    assert not Worker.objects.exists()
    entry = AuditEntry.objects.get(action="execution.recovered")
    assert (entry.target_id, entry.after) == (str(execution.pk), {"was": "worker_lost"})
    drain()
    assert reread(execution).state == "completed"


def test_an_owner_that_does_not_exist_is_taken_away() -> None:
    execution = started(published([{**NOOP, "id": "a"}]))
    worker = dead_worker()
    change(execution, owner=worker)
    with connection.cursor() as cursor:
        cursor.execute("SET session_replication_role = replica")
        cursor.execute("DELETE FROM executions_worker")
        cursor.execute("SET session_replication_role = origin")
    assert codes() == {execution.pk: "owner_missing"}
    assert recovered() == {execution.pk: ("owner_missing", True)}
    drain()
    assert reread(execution).state == "completed"


def test_what_has_got_an_owner_since_it_was_found_is_left_to_it() -> None:
    execution, other = (started(published([{**NOOP, "id": "a"}], slug=slug)) for slug in "ab")
    change(execution, owner=dead_worker())
    with connection.cursor() as cursor:
        cursor.execute("SET session_replication_role = replica")
        cursor.execute("DELETE FROM executions_worker")
        cursor.execute("SET session_replication_role = origin")
    found = find_stuck(actor=SYSTEM, codes=["owner_missing"])
    assert [one.execution_id for one in found] == [execution.pk]
    alive = dead_worker()
    Worker.objects.filter(pk=alive.pk).update(lease_until=Now() + timedelta(seconds=60))
    # Somebody else has freed it, and this worker has taken it.
    for one in (execution, other):
        change(one, owner=alive)
    (kind,) = (each for each in recovering.KINDS if each.code == "owner_missing")
    with transaction.atomic():
        assert kind.heal([one.execution_id for one in found], SYSTEM) == []
    assert [reread(one).owner_id for one in (execution, other)] == [alive.pk, alive.pk]


def test_a_parent_that_was_not_told_of_its_childrens_end_is_told() -> None:
    execution = run(published([mapped(steps=[{**WAIT, "name": "w"}])]))
    for child in Execution.objects.filter(parent=execution):
        change(child, state="running")
        change(child, state="completed", ended_at=Now(), runnable_at=None, output=1)
    assert codes() == {execution.pk: "children_ended"}
    assert recovered() == {execution.pk: ("children_ended", True)}
    assert InboxMessage.objects.get().kind == "children"
    drain()
    assert (reread(execution).state, reread(execution).output) == ("completed", [1, 1, 1])


def test_items_that_nobody_lets_go_are_let_go_as_many_as_may() -> None:
    steps = [{**WAIT, "name": "w"}]
    execution = run(published([mapped(max_concurrency=2, steps=steps)]))
    first, second, third = Execution.objects.filter(parent=execution).order_by("item_index")
    for child in (first, second):
        change(child, state="running")
        change(child, state="completed", ended_at=Now(), runnable_at=None, output=1)
    change(execution, children_open=1)
    assert codes() == {execution.pk: "items_left"}
    assert recovered() == {execution.pk: ("items_left", True)}
    assert reread(third).runnable_at is not None
    assert reread(execution).children_next == 3
    assert codes() == {}


def test_a_message_that_nobody_reads_is_read() -> None:
    execution = run(published([WAIT]))
    pause_execution(execution=execution, actor=SYSTEM)
    change(execution, runnable_at=None)
    assert codes() == {execution.pk: "message_unheard"}
    assert recovered() == {execution.pk: ("message_unheard", True)}
    drain()
    assert reread(execution).state == "paused"


def test_a_timer_without_its_moment_is_set_again() -> None:
    execution = run(published([WAIT]))
    due = reread(execution).runnable_at
    change(execution, runnable_at=None)
    assert codes() == {execution.pk: "nothing_wakes"}
    assert recovered() == {execution.pk: ("nothing_wakes", True)}
    drain()
    assert (reread(execution).state, reread(execution).runnable_at) == ("waiting", due)


def test_a_child_of_something_that_has_ended_is_cancelled() -> None:
    execution = run(published([mapped(steps=[{**WAIT, "name": "w"}])]))
    change(execution, state="cancelled", ended_at=Now(), runnable_at=None)
    children = list(Execution.objects.filter(parent=execution).values_list("pk", flat=True))
    assert codes() == dict.fromkeys(children, "parent_ended")
    assert recovered() == dict.fromkeys(children, ("parent_ended", True))
    drain()
    states = Execution.objects.filter(parent=execution).values_list("state", flat=True)
    assert set(states) == {"cancelled"}


def test_a_wait_for_news_that_nothing_could_bring_is_named_and_left_to_people() -> None:
    execution = run(published([SIGNAL]))
    SignalWait.objects.all().delete()
    (one,) = find_stuck(actor=SYSTEM)
    assert (one.code, one.remedy, one.is_expected) == ("wait_missing", "", False)
    assert "Cancel it, skip the step, or rerun it." in one.sentence
    assert recovered() == {execution.pk: ("wait_missing", None)}
    assert not AuditEntry.objects.filter(action="execution.recovered").exists()


def test_a_signal_that_was_given_to_nobody_is_given() -> None:
    execution = run(published([SIGNAL]))

    inject("matching.before_giving", _die)
    try:
        with pytest.raises(_Died):
            send_signal(name="paid", actor=SYSTEM, correlation="A", payload=7)
    finally:
        inject("matching.before_giving", None)
    assert codes() == {execution.pk: "signal_there"}
    assert codes(ids=[execution.pk + 1]) == {}
    assert recovered() == {execution.pk: ("signal_there", True)}
    drain()
    assert (reread(execution).state, reread(execution).output) == ("completed", 7)


def test_a_slot_that_was_not_handed_on_is_handed_on() -> None:
    rule = {"key": "input.k", "limit": 1, "on_limit": "queue"}
    workflow = published([{**NOOP, "id": "a"}], concurrency=rule)
    execution = started(workflow, {"k": "a"})
    change(execution, slot_held=False, runnable_at=None, reason="slot")
    assert codes() == {execution.pk: "slot_free"}
    assert recovered() == {execution.pk: ("slot_free", True)}
    drain()
    assert reread(execution).state == "completed"


def test_a_slot_of_something_that_has_ended_is_taken_from_it() -> None:
    rule = {"key": "input.k", "limit": 1, "on_limit": "queue"}
    workflow = published([{**NOOP, "id": "a"}], concurrency=rule)
    ended, waiting = run(workflow, {"k": "a"}), None
    with connection.cursor() as cursor:
        check = "SELECT pg_get_constraintdef(oid) FROM pg_constraint WHERE conname = %s"
        cursor.execute(check, ["execution_slot_is_used"])
        (rule_text,) = cursor.fetchone()
        table = "ALTER TABLE executions_execution"
        cursor.execute(f"{table} DROP CONSTRAINT execution_slot_is_used")
        try:
            change(ended, slot_held=True)
            waiting = started(workflow, {"k": "a"})
            assert codes() == {ended.pk: "slot_of_ended"}
            assert recovered() == {ended.pk: ("slot_of_ended", True)}
        finally:
            change(ended, slot_held=False)
            cursor.execute(f"{table} ADD CONSTRAINT execution_slot_is_used {rule_text}")
    drain()
    assert reread(waiting).state == "completed"


def test_places_of_limits_are_taken_from_who_makes_no_call_and_handed_on() -> None:
    execution = run(published([WAIT]))
    values = {"subject": "action", "pattern": "noop", "max_concurrent": 1}
    limit = ActionLimit.objects.create(**values, created_at=Now(), updated_at=Now())
    LimitUse.objects.create(limit=limit, execution=execution, kind="place", held=True)
    other = started(published([{**NOOP, "id": "a"}]))
    drain()
    assert reread(other).current_phase == "limited"
    assert codes() == {execution.pk: "limit_stray"}
    assert recovered() == {execution.pk: ("limit_stray", True), other.pk: ("limit_free", True)}
    drain()
    assert reread(other).state == "completed"


def test_what_was_put_aside_is_taken_up_once_its_workflow_is_on() -> None:
    workflow = published([{**NOOP, "id": "a"}])
    execution = started(workflow)
    holding.pause_workflow(workflow=workflow, actor=SYSTEM, mode="all")
    holding.tend()
    assert (reread(execution).is_parked, codes()) == (True, {})
    holding.resume_workflow(workflow=workflow, actor=SYSTEM)
    assert codes() == {execution.pk: "parked"}
    assert recovered() == {execution.pk: ("parked", True)}
    drain()
    assert reread(execution).state == "completed"


def test_a_start_that_a_failure_owes_is_made() -> None:
    published([{**NOOP, "id": "a"}], name="Hear", slug="hear")
    fail = {"id": "stop", "type": "fail", "config": {"error": "my.error"}}
    execution = run(published([fail], on_failure={"workflow": "hear"}))
    assert codes() == {}
    ErrorStart.objects.update(created_at=clock.now() - timedelta(minutes=1))
    assert codes() == {execution.pk: "start_owed"}
    assert recovered()[execution.pk] == ("start_owed", True)
    assert ErrorStart.objects.get().status == "started"


def test_what_is_ready_and_not_taken_is_rung_for_and_not_changed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rung: list[str] = []
    monkeypatch.setattr(dispatch, "ring", lambda queue, *_: rung.append(queue))
    execution = started(published([{**NOOP, "id": "a"}]))
    assert codes() == {}
    change(execution, runnable_at=clock.now() - timedelta(minutes=1))
    before = Execution.objects.filter(pk=execution.pk).values().get()
    rung.clear()
    assert recovered() == {execution.pk: ("not_taken", True)}
    assert rung == ["default"]
    assert Execution.objects.filter(pk=execution.pk).values().get() == before
    assert not AuditEntry.objects.filter(action="execution.recovered").exists()


def test_of_those_that_were_named_it_does_what_the_clock_does_for_everybody() -> None:
    """Two of each kind, and only the first one is named."""
    lost = [started(published([NOOP], slug=f"lost-{n}")) for n in "ab"]
    gone = dead_worker()
    for one in lost:
        change(one, owner=gone)
    workflow = published([NOOP], slug="off")
    parked = [started(workflow) for _ in "ab"]
    for one in parked:
        change(one, runnable_at=None, is_parked=True)
    rule = {"key": "input.k", "limit": 1, "on_limit": "queue"}
    workflow = published([NOOP], slug="slots", concurrency=rule)
    slots = [started(workflow, {"k": key}) for key in "ab"]
    for one in slots:
        change(one, slot_held=False, runnable_at=None, reason="slot")
    published([NOOP], slug="hear")
    fail = {"id": "stop", "type": "fail", "config": {"error": "my.error"}}
    workflow = published([fail], slug="owes", on_failure={"workflow": "hear"})
    owing = [started(workflow) for _ in "ab"]
    signals = [started(published([SIGNAL], slug=f"signal-{n}")) for n in "ab"]
    drain()
    ErrorStart.objects.update(created_at=clock.now() - timedelta(minutes=1))
    for _ in "ab":
        inject("matching.before_giving", _die)
        with pytest.raises(_Died):
            send_signal(name="paid", actor=SYSTEM, correlation="A")
    inject("matching.before_giving", None)
    kinds = {
        "worker_lost": lost,
        "parked": parked,
        "slot_free": slots,
        "start_owed": owing,
        "signal_there": signals,
    }
    assert codes() == {one.pk: code for code, both in kinds.items() for one in both}
    chosen = [both[0].pk for both in kinds.values()]
    others = Execution.objects.exclude(pk__in=chosen).filter(workflow__slug__in=_slugs(kinds))
    before = list(others.order_by("pk").values())
    found = recover_executions(actor=SYSTEM, ids=chosen)
    assert {one.execution_id: one.freed for one in found} == dict.fromkeys(chosen, True)
    assert list(others.order_by("pk").values()) == before
    assert codes() == {both[1].pk: code for code, both in kinds.items()}
    audited = AuditEntry.objects.filter(action="execution.recovered")
    assert sorted(int(entry.target_id) for entry in audited) == sorted(chosen)


def _slugs(kinds: dict[str, list[Execution]]) -> list[str]:
    return [one.workflow.slug for both in kinds.values() for one in both]


class _Died(BaseException):
    pass


def _die() -> None:
    raise _Died


def test_places_in_limits_are_seen_to_for_those_that_were_named() -> None:
    values = {"subject": "action", "pattern": "noop", "max_concurrent": 2}
    limit = ActionLimit.objects.create(**values, created_at=Now(), updated_at=Now())
    strays = [run(published([WAIT], slug=f"stray-{n}")) for n in "ab"]
    for one in strays:
        LimitUse.objects.create(limit=limit, execution=one, kind="place", held=True)
    for name in "ab":
        started(published([{**NOOP, "id": "a"}], slug=f"waiting-{name}"))
    drain()
    one, freed = strays
    assert [each.freed for each in recover_executions(actor=SYSTEM, ids=[freed.pk])] == [True]
    uses = LimitUse.objects.order_by("pk")
    assert [use.execution_id for use in uses.filter(held=True)] == [one.pk]
    # There is one place, and it is the turn of the first in the line.
    first, second = (use.execution_id for use in uses.filter(held=False))
    assert recover_executions(actor=SYSTEM, ids=[second]) == []
    found = recover_executions(actor=SYSTEM, ids=[first])
    assert [(each.code, each.freed) for each in found] == [("limit_free", True)]
    assert codes() == {one.pk: "limit_stray"}


def test_whoever_changes_a_limit_holds_up_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limiting, "LOCK_TIMEOUT", "50ms")
    values = {"subject": "action", "pattern": "noop", "max_concurrent": 1}
    limit = ActionLimit.objects.create(**values, created_at=Now(), updated_at=Now())
    stray = run(published([WAIT], slug="stray"))
    LimitUse.objects.create(limit=limit, execution=stray, kind="place", held=True)
    waits = started(published([{**NOOP, "id": "a"}], slug="waits"))
    drain()
    parked = started(published([NOOP], slug="off"))
    change(parked, runnable_at=None, is_parked=True)
    LimitUse.objects.filter(execution=stray).delete()
    other = connection.copy()
    try:
        other.set_autocommit(False)
        with other.cursor() as cursor:
            cursor.execute("SELECT id FROM executions_actionlimit FOR UPDATE")
        found = recovered()
    finally:
        other.close()
    assert found == {waits.pk: ("limit_free", False), parked.pk: ("parked", True)}
    assert LimitUse.objects.filter(execution=waits, held=False).count() == 1


def test_what_is_put_right_and_who_did_it_are_one_commit(monkeypatch: pytest.MonkeyPatch) -> None:
    asleep = run(published([WAIT], slug="asleep"))
    change(asleep, runnable_at=None)
    lost = started(published([NOOP], slug="lost"))
    change(lost, owner=dead_worker())
    items = run(published([mapped(max_concurrency=1, steps=[{**WAIT, "name": "w"}])]))
    first, *_ = Execution.objects.filter(parent=items).order_by("item_index")
    change(first, state="running")
    change(first, state="completed", ended_at=Now(), runnable_at=None, output=1)
    before = list(Execution.objects.order_by("pk").values())

    def refuse(**_: Any) -> None:
        raise RuntimeError("The trail is full.")

    monkeypatch.setattr(audit, "record_many", refuse)
    for execution in (asleep, lost, items):
        with pytest.raises(RuntimeError, match="full"):
            recover_executions(actor=SYSTEM, ids=[execution.pk])
    assert list(Execution.objects.order_by("pk").values()) == before
    assert Worker.objects.count() == 1


def test_one_whose_version_can_not_be_read_keeps_no_other_from_going_on() -> None:
    broken, sound = (
        run(published([mapped(max_concurrency=1, steps=[{**WAIT, "name": "w"}])], slug=slug))
        for slug in ("broken", "sound")
    )
    for parent in (broken, sound):
        first, *_ = Execution.objects.filter(parent=parent).order_by("item_index")
        change(first, state="running")
        change(first, state="completed", ended_at=Now(), runnable_at=None, output=1)
    with connection.cursor() as cursor:
        cursor.execute("SET session_replication_role = replica")
        cursor.execute(
            "UPDATE workflows_workflowversion SET definition = %s, content_hash = %s WHERE id = %s",
            ["{}", "0" * 64, broken.version_id],
        )
        cursor.execute("SET session_replication_role = origin")
    compiled.cache.clear()
    found = {broken.pk: ("items_left", False), sound.pk: ("items_left", True)}
    assert recovered() == found


def test_nothing_healthy_is_called_stuck_or_touched() -> None:
    live = dead_worker()
    Worker.objects.filter(pk=live.pk).update(lease_until=Now() + timedelta(seconds=60))
    owned = run(published([WAIT]))
    change(owned, owner=live, runnable_at=Now())
    signal = run(published([SIGNAL]))
    approval = run(published([{"id": "q", "type": "approval", "config": {"title": "Is it?"}}]))
    items = run(published([mapped(max_concurrency=1, steps=[{**WAIT, "name": "w"}])]))
    later = started(published([NOOP]), start_at=clock.now() + timedelta(hours=1))
    paused = run(published([WAIT]))
    pause_execution(execution=paused, actor=SYSTEM)
    drain()
    rule = {"key": "input.k", "limit": 1, "on_limit": "queue"}
    workflow = published([WAIT], concurrency=rule)
    run(workflow, {"k": "a"})
    started(workflow, {"k": "a"})
    before = list(Execution.objects.order_by("pk").values())
    assert len(before) == len({owned.pk, signal.pk, approval.pk, items.pk, later.pk, paused.pk}) + 5
    assert recover_executions(actor=SYSTEM) == []
    assert list(Execution.objects.order_by("pk").values()) == before


def test_who_may_not_control_frees_nothing() -> None:
    execution = run(published([WAIT]))
    change(execution, runnable_at=None)
    viewer = actor_with(Role.VIEWER)
    assert [one.code for one in find_stuck(actor=viewer)] == ["nothing_wakes"]
    with pytest.raises(PermissionDenied):
        recover_executions(actor=viewer)
    assert reread(execution).runnable_at is None
    with pytest.raises(PermissionDenied):
        find_stuck(actor=actor_with(None))


def command(*arguments: str) -> tuple[int, str]:
    out = StringIO()
    try:
        call_command("recover_executions", *arguments, stdout=out)
    except SystemExit as end:
        return int(end.code or 0), out.getvalue()
    return 0, out.getvalue()


def test_the_command_says_what_it_would_do_and_does_it_only_when_told() -> None:
    assert command() == (0, "Nothing is stuck.\n")
    with pytest.raises(CommandError, match="the id of an execution is a whole number"):
        command("--id", str(2**64))
    execution = run(published([WAIT]))
    change(execution, runnable_at=None)
    code, said = command()
    assert code == 1
    assert f"{execution.pk}\tnothing_wakes\tIt is waiting, nobody has it" in said
    assert "1 execution: nothing was changed. --free does what is said. 1 of them should" in said
    assert reread(execution).runnable_at is None
    assert command("--free", "--id", str(execution.pk + 1)) == (0, "Nothing is stuck.\n")
    code, said = command("--json")
    assert (code, json.loads(said)["code"]) == (1, "nothing_wakes")
    code, said = command("--free")
    assert (code, said.splitlines()[-1]) == (0, "Of 1 execution 1 went on.")
    assert command() == (0, "Nothing is stuck.\n")
