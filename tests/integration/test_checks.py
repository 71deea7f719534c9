"""What health finds: each sign of trouble is named with what to do, by command, API and page."""

from __future__ import annotations

import json
import threading
import time
from dataclasses import replace
from datetime import timedelta
from io import StringIO
from types import SimpleNamespace
from typing import Any

import pytest
from django.core.management import call_command
from django.db import connection
from django.db.models.functions import Now
from django.test import Client
from rest_framework.test import APIClient

from autopilot.accounts.roles import Role
from autopilot.common import clock
from executions import holding, recovering
from executions.models import ErrorStart, Execution, Worker
from executions.runtime.clock import Clock
from monitoring.checks import base, broker, everything, processes, storage, work
from monitoring.checks.base import Check, Level
from monitoring.checks.everything import check_everything
from monitoring.management.commands import check_health
from tests.conftest import OwnServers
from tests.engine import NOOP, SYSTEM, published, started
from tests.factories import UserFactory

pytestmark = pytest.mark.django_db

WAIT = {"id": "w", "type": "wait", "config": {"duration": "1h"}}
# The servers that the tests share don't flush; see tests/conftest.py.
EXPECTED = {"postgres.durability"}


@pytest.fixture(autouse=True)
def _no_second_look(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "LEADER_TRIES_SECONDS", 0)


def found() -> dict[str, Check]:
    return {each.name: each for each in check_everything().checks}


def levels() -> dict[str, str]:
    """What is not as it should be."""
    return {
        name: each.level.value
        for name, each in found().items()
        if each.level is not Level.OK and name not in EXPECTED
    }


def alive(**fields: Any) -> Worker:
    values = {"name": "here-1", "host": "here", "pid": 1, "queues": ["default"], "slots": 200}
    until = Now() + timedelta(seconds=30)
    return Worker.objects.create(**{**values, "started_at": Now(), "lease_until": until, **fields})


class Leader:
    """Holds the clock's lock in a connection of its own for the length of a block."""

    def __enter__(self) -> None:
        self.clock = Clock()
        self.clock.start()
        while not self.clock.is_leader:
            time.sleep(0.01)

    def __exit__(self, *_: object) -> None:
        self.clock.close()


@pytest.mark.django_db(transaction=True)
def test_where_all_is_well_everything_is_ok_but_what_the_tests_leave_out(
    redis_client: Any,
) -> None:
    alive()
    with Leader():
        assert levels() == {}
        checks = found()
    assert checks["postgres.durability"].level is Level.PROBLEM
    assert "Set fsync" in checks["postgres.durability"].advice
    assert "here-1 serves default" in checks["workers.alive"].message
    assert checks["clock.leader"].facts["seconds"] < 10
    assert checks["queue.default"].facts["workers"] == 1
    assert all(each.advice == "" for each in checks.values() if each.level is Level.OK)


def test_without_worker_and_clock_nothing_runs_and_it_says_so() -> None:
    started(published([NOOP]))
    assert levels() == {
        "workers.alive": "problem",
        "clock.leader": "problem",
        "queue.default": "problem",
    }
    queue = found()["queue.default"]
    assert queue.message.startswith("default: 1 ready, 0 running, 0 workers: nobody takes what is")
    assert queue.advice == "Start one that serves it: manage.py worker default"


@pytest.mark.django_db(transaction=True)
def test_a_leader_that_comes_between_the_two_looks_is_seen(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    leader = Leader()
    monkeypatch.setattr(processes, "time", SimpleNamespace(sleep=lambda _: leader.__enter__()))
    try:
        assert found()["clock.leader"].level is Level.OK
    finally:
        leader.__exit__()


def test_all_workers_are_counted_however_many_have_gone() -> None:
    for number in range(processes.MANY):
        alive(name=f"gone-{number}", lease_until=Now() - timedelta(seconds=60))
    alive(name="here-1")
    assert "1 worker: here-1" in found()["workers.alive"].message


def test_workers_that_are_silent_or_gone_are_named() -> None:
    alive(name="silent-1", lease_until=Now() + timedelta(seconds=5))
    assert levels()["workers.leases"] == "warning"
    alive(name="gone-1", lease_until=Now() - timedelta(seconds=60))
    leases = found()["workers.leases"]
    assert (leases.level.value, leases.facts) == ("problem", {"late": ["gone-1"]})


def test_a_backlog_and_what_nobody_takes_though_there_is_room_are_told_apart() -> None:
    worker = alive(slots=10, busy=10)
    execution = started(published([NOOP]))
    rows = Execution.objects.filter(pk=execution.pk)
    rows.update(runnable_at=clock.now() - timedelta(minutes=2))
    queue = found()["queue.default"]
    assert (queue.level.value, "more work than workers" in queue.advice) == ("warning", True)
    rows.update(runnable_at=clock.now() - timedelta(hours=1))
    assert levels()["queue.default"] == "problem"
    Worker.objects.filter(pk=worker.pk).update(busy=3)
    queue = found()["queue.default"]
    assert (queue.level.value, "room for 7 more" in queue.message) == ("problem", True)
    holding.pause_queue(queue="default", actor=SYSTEM)
    assert levels()["queue.default"] == "warning"


def test_what_lies_in_a_queue_that_is_not_configured_is_a_problem() -> None:
    execution = started(published([NOOP]))
    Execution.objects.filter(pk=execution.pk).update(queue="former")
    assert found()["queue.unknown"].facts == {"queues": ["former"]}


def test_suspects_late_timers_owed_starts_and_what_is_stuck_are_told() -> None:
    fail = {"id": "stop", "type": "fail", "config": {"error": "my.error"}}
    failed = started(published([fail]))
    ErrorStart.objects.create(
        execution=failed, seq=3, workflow_slug="hear", created_at=Now() - timedelta(hours=1)
    )
    one, other, third = (started(published([WAIT])) for _ in range(3))
    Execution.objects.filter(pk=one.pk).update(claims=3)
    late = {"state": "running"}, {"state": "waiting", "current_phase": "timer"}
    for values in late:
        Execution.objects.filter(pk__in=[other.pk, third.pk]).update(**values)
    Execution.objects.filter(pk=other.pk).update(runnable_at=Now() - timedelta(hours=1))
    Execution.objects.filter(pk=third.pk).update(runnable_at=None)
    checks = found()
    names = ("suspects", "timers", "owed_starts", "stuck")
    of = {name: checks[f"executions.{name}"] for name in names}
    assert {each.level for each in of.values()} == {Level.WARNING}
    assert of["suspects"].facts == {"ids": [one.pk]}
    assert of["timers"].facts == {"count": 1}
    assert of["stuck"].facts["counts"] == {"nothing_wakes": 1, "start_owed": 1}
    assert "manage.py recover_executions" in of["stuck"].advice


def test_what_could_not_be_delivered_is_told_for_a_day() -> None:
    failed = started(published([NOOP]))
    refused = {"status": "refused", "problem": 'There is no workflow "hear".'}
    row = ErrorStart.objects.create(
        execution=failed, seq=3, workflow_slug="hear", settled_at=Now(), **refused
    )
    assert 'There is no workflow "hear".' in found()["dead_letters.error_workflows"].message
    ErrorStart.objects.filter(pk=row.pk).update(settled_at=Now() - timedelta(days=2))
    assert found()["dead_letters"].level is Level.OK


def test_a_long_transaction_and_full_connections_are_judged_by_what_is_usual(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from monitoring.checks import database

    monkeypatch.setattr(database, "CONNECTIONS_WARNING", 0.0)
    assert levels()["postgres.connections"] == "warning"
    monkeypatch.setattr(database, "CONNECTIONS_PROBLEM", 0.0)
    monkeypatch.setattr(database, "IDS_WARNING", 0)
    assert levels()["postgres.connections"] == "problem"
    assert levels()["postgres.transaction_ids"] == "warning"


def test_a_disk_is_only_short_by_share_and_by_size(monkeypatch: pytest.MonkeyPatch) -> None:
    class Usage:
        total, free = 1000 * storage.GIB, 20 * storage.GIB

    monkeypatch.setattr(storage.shutil, "disk_usage", lambda folder: Usage)
    assert "disk.here" not in levels()
    Usage.free = 5 * storage.GIB
    assert levels()["disk.here"] == "warning"
    Usage.free = storage.GIB // 2
    assert levels()["disk.here"] == "problem"


def test_redis_that_is_full_and_bells_that_failed_are_a_warning(redis_client: Any) -> None:
    memory = {"used_memory": 95, "maxmemory": 100, "maxmemory_policy": "noeviction"}
    check = broker._memory(memory)
    assert (check.level, check.facts["policy"]) == (Level.WARNING, "noeviction")
    redis_client.zadd("rq:failed:default", {"bell": time.time() + 60})
    assert found()["redis.bells"].facts == {"failed": {"default": 1}}


def test_a_check_that_takes_too_long_is_given_up_and_the_others_are_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def slow(cursor: Any) -> Any:
        cursor.execute("SELECT pg_sleep(5)")
        yield from ()

    monkeypatch.setattr(everything, "bounded", lambda: base.bounded(0.05))
    (check,) = everything._look(slow)
    assert (check.level, "could not be found out" in check.message) == (Level.WARNING, True)
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")


def test_a_check_that_breaks_is_said_and_the_others_are_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refused(folder: Any) -> Any:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(storage.shutil, "disk_usage", refused)
    check = found()["storage.disks"]
    assert (check.level, "Permission denied" in check.message) == (Level.WARNING, True)
    assert "queue.default" in found()


@pytest.mark.django_db(transaction=True)
def test_what_was_found_in_time_is_said_when_the_rest_is_given_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    given_up = threading.Event()

    def silent(cursor: Any) -> Any:
        given_up.wait(30)
        yield from ()

    monkeypatch.setattr(storage, "LOOKS", (silent,))
    report, is_done = check_health.within(2.0)
    given_up.set()
    checks = report.checks
    assert (is_done, report.level) == (False, Level.PROBLEM)
    assert [each.name for each in checks[-2:]] == ["dead_letters", "health.unfinished"]
    assert "within 2 seconds" in checks[-1].message


def test_questions_that_take_too_long_are_named_and_are_no_trouble(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def slow(cursor: Any, given: Any) -> Any:
        cursor.execute("SELECT pg_sleep(5)")

    first, *rest = recovering.KINDS
    monkeypatch.setattr(work, "QUESTION_SECONDS", 0.05)
    monkeypatch.setattr(recovering, "KINDS", (replace(first, find=slow), *rest))
    check = found()["executions.stuck"]
    assert (check.level, check.facts) == (Level.OK, {"not_looked_for": ["worker_lost"]})
    assert "not for worker_lost" in check.message


def command(*arguments: str) -> tuple[int, str]:
    out = StringIO()
    try:
        call_command("check_health", *arguments, stdout=out)
    except SystemExit as end:
        return int(end.code or 0), out.getvalue()
    return 0, out.getvalue()


@pytest.mark.django_db(transaction=True)
def test_the_command_says_a_line_each_and_answers_by_its_exit_code(
    monkeypatch: pytest.MonkeyPatch, redis_client: Any
) -> None:
    code, said = command()
    assert code == 1
    assert "problem  workers.alive" in said
    assert "-> Start one: manage.py worker" in said
    report = json.loads(command("--json")[1])
    assert report["level"] == "problem"
    assert {"name", "level", "message", "advice", "facts"} == set(report["checks"][0])
    alive(lease_until=Now() + timedelta(seconds=10))
    monkeypatch.setattr("monitoring.checks.database.DURABLE", ("track_counts",))
    with Leader():
        code, said = command("--quiet")
        assert (code, "ok   " in said, "warning  workers.leases" in said) == (0, False, True)
        assert command("--strict")[0] == 2


def test_without_redis_and_postgresql_the_command_says_so_in_a_sentence(
    own_servers: OwnServers,
) -> None:
    own_servers.pair.stop_valkey()
    redis = found()["redis.answers"]
    assert (redis.level, "Nothing is lost" in redis.advice) == (Level.WARNING, True)
    own_servers.pair.start_valkey()
    connection.close()
    own_servers.pair.stop_postgres()
    code, said = command()
    assert code == 1
    first, advice, *rest = said.splitlines()
    assert first.startswith("problem  postgres.answers             PostgreSQL does not answer: ")
    assert "Nothing is lost" in advice
    assert [line.split()[1] for line in rest[:-1]] == [
        "redis.answers",
        "redis.memory",
        "redis.bells",
    ]
    own_servers.pair.start_postgres()


def signed_in(role: Role | None) -> tuple[APIClient, Client]:
    user = UserFactory.create(role=role, is_staff=True)
    api, browser = APIClient(), Client()
    api.force_authenticate(user)
    browser.force_login(user)
    return api, browser


def test_the_api_and_the_page_say_the_same_to_those_who_may_see_it() -> None:
    api, browser = signed_in(Role.VIEWER)
    body = api.get("/api/v1/monitoring/health/").json()
    assert body["level"] == "problem"
    by_name = {each["name"]: each for each in body["checks"]}
    assert by_name["workers.alive"]["message"] == "No worker is alive; nothing runs."
    page = browser.get("/admin/monitoring/monitoring/").content.decode()
    assert "No worker is alive; nothing runs." in page
    assert "Stuck executions" not in page
    api, browser = signed_in(None)
    assert api.get("/api/v1/monitoring/health/").status_code == 403
    assert browser.get("/admin/monitoring/monitoring/").status_code == 403


def test_what_is_stuck_is_let_go_by_api_and_page_by_who_may_control() -> None:
    execution = started(published([WAIT]))
    rows = Execution.objects.filter(pk=execution.pk)
    rows.update(runnable_at=None)
    api, browser = signed_in(Role.VIEWER)
    recovery, page = "/api/v1/monitoring/recovery/", "/admin/monitoring/monitoring/recovery/"
    (one,) = api.get(recovery).json()
    assert (one["execution_id"], one["code"], one["freed"]) == (
        execution.pk,
        "nothing_wakes",
        None,
    )
    assert (api.post(recovery).status_code, browser.post(page).status_code) == (403, 403)
    assert rows.get().runnable_at is None
    api, browser = signed_in(Role.OPERATOR)
    assert api.post(recovery, {"ids": [0]}, format="json").status_code == 400
    assert api.post(recovery, {"ids": [execution.pk + 1]}, format="json").json() == []
    assert rows.get().runnable_at is None
    (one,) = api.post(recovery, {}, format="json").json()
    assert (one["freed"], rows.get().runnable_at is not None) == (True, True)
    rows.update(runnable_at=None)
    shown = browser.get(page).content.decode()
    assert f"Execution {execution.pk}" in shown
    assert "Let them go on" in shown
    assert browser.post(page, follow=True).status_code == 200
    assert rows.get().runnable_at is not None
    assert "Nothing is stuck" in browser.get(page).content.decode()
