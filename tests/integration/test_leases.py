"""Leases go by PostgreSQL's clock: a host whose own is wrong loses and keeps nothing by it."""

from __future__ import annotations

from contextlib import closing
from datetime import timedelta

import psycopg2
import pytest
from django.db import connection, connections
from django.db.models import DurationField, ExpressionWrapper, F
from django.db.models.functions import Now

from autopilot.common import clock
from executions.models import Execution, Worker
from executions.runtime.clock import Clock
from executions.runtime.lease import free_lost_workers
from executions.situations import situation_of
from monitoring.console import overview
from tests.engine import published, reread, started, worker

pytestmark = pytest.mark.django_db(transaction=True)

WAIT = [{"id": "wait", "type": "wait", "config": {"duration": "1h"}}]
HOUR = timedelta(hours=1)


@pytest.fixture(params=[HOUR, -HOUR], ids=["ahead", "behind"])
def skewed(request, monkeypatch):
    """This host's clock is wrong by an hour."""
    right = clock.now
    monkeypatch.setattr(clock, "now", lambda: right() + request.param)
    return request.param


def left_of(pk: int) -> float:
    rest = ExpressionWrapper(F("lease_until") - Now(), DurationField())
    return Worker.objects.filter(pk=pk).values_list(rest, flat=True).get().total_seconds()


def owned_by(pk: int) -> Execution:
    execution = started(published(WAIT))
    Execution.objects.filter(pk=execution.pk).update(
        owner=pk, runnable_at=None, current_step="wait", current_since=clock.now()
    )
    return reread(execution)


def test_a_living_worker_keeps_its_lease_and_what_it_owns(skewed):
    with worker() as process:
        pk = process._lease.worker_id
        execution = owned_by(pk)
        assert 20 < left_of(pk) <= 30
        assert process._lease._renew() is True
        assert 20 < left_of(pk) <= 30
        assert free_lost_workers() == set()
        Clock()._stand_in(clock.now())
        assert reread(execution).owner_id == pk
        assert situation_of(reread(execution)).why.code == "moving"
        assert [each.pk for each in overview.workers()] == [pk]
        assert overview.abandoned(Execution.objects.all()) == 0


def dead_worker() -> Worker:
    return Worker.objects.create(
        name="host-1",
        host="host",
        pid=1,
        queues=["default"],
        started_at=Now(),
        lease_until=Now() - timedelta(minutes=2),
    )


def test_a_dead_worker_loses_it_in_time(skewed):
    dead = dead_worker()
    execution = owned_by(dead.pk)
    why = situation_of(execution).why
    assert why.code == "worker_lost"
    assert "2 min" in why.sentence
    assert overview.workers() == []
    assert overview.abandoned(Execution.objects.all()) == 1
    assert free_lost_workers() == {"default"}
    assert (reread(execution).owner_id, Worker.objects.count()) == (None, 0)


def test_what_somebody_holds_of_a_dead_worker_keeps_nothing_else_back():
    dead = dead_worker()
    held, free = owned_by(dead.pk), owned_by(dead.pk)
    other = connections["default"].copy()
    with other.cursor() as cursor:
        cursor.execute("BEGIN")
        cursor.execute(
            "SELECT FROM executions_execution WHERE id = %s FOR NO KEY UPDATE", [held.pk]
        )
        assert free_lost_workers() == {"default"}
        assert [reread(each).owner_id for each in (held, free)] == [dead.pk, None]
        # Seen to just now: the leader is not taken for asleep because of it.
        assert left_of(dead.pk) > -1
        cursor.execute("ROLLBACK")
    other.close()
    assert free_lost_workers() == {"default"}
    assert (reread(held).owner_id, Worker.objects.count()) == (None, 0)


def test_a_worker_leaves_nothing_though_the_server_has_restarted_meanwhile() -> None:
    with worker():
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_backend_pid()")
            (pid,) = cursor.fetchone()
        with closing(psycopg2.connect(**connection.get_connection_params())) as other:
            other.cursor().execute("SELECT pg_terminate_backend(%s, 5000)", [pid])

    assert not Worker.objects.exists()
