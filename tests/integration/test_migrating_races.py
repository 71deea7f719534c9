"""What happens to executions at the very moment at which they are moved: nothing of it is lost."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection, transaction

from autopilot.common import clock
from executions import limiting
from executions.limiting import LimitTerms
from executions.migrating.batches import advance
from executions.migrating.services import start_migration
from executions.models import Execution, LimitUse, Migration
from executions.runtime import limits_sql, matching
from executions.runtime.faults import inject
from executions.services import cancel_execution
from executions.signalling import send_signal
from tests.engine import SYSTEM, drain, published, reread, run, started, wait_until
from tests.migrating import item_of, moved, next_version, undone
from workflows.models import Workflow

pytestmark = pytest.mark.django_db(transaction=True)

SIGNAL = {"id": "pay", "type": "signal", "config": {"signal": "paid"}}
LAST = {"id": "last", "type": "transform", "config": {"output": "new"}}
CALL = {"id": "call", "type": "action", "config": {"action": "probe.trace", "with": {}}}
# Other than pg_stat_activity, this is looked at anew within a transaction.
BLOCKED = "SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted)"


@pytest.fixture(autouse=True)
def _no_faults_left() -> Iterator[None]:
    yield
    inject("migrating.before_commit", None)
    inject("ledger.after_claim", None)


def begun(workflow: Workflow) -> Migration:
    return start_migration(workflow=workflow, actor=SYSTEM, source="1.0.0", target="1.1.0")


class Aside:
    """Something done in a thread with a connection of its own."""

    def __init__(self, work: Callable[[], Any]) -> None:
        self.errors: list[BaseException] = []
        self._work = work
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        try:
            self._work()
        except BaseException as error:
            self.errors.append(error)
        finally:
            connection.close()

    def end(self) -> None:
        self._thread.join(20)
        assert not self._thread.is_alive()
        if self.errors:
            raise self.errors[0]


def someone_waits() -> bool:
    """Whether another connection waits for a row."""
    with connection.cursor() as cursor:
        cursor.execute(BLOCKED)
        return bool(cursor.fetchone()[0])


def test_who_was_just_given_a_place_goes_on_although_its_time_limits_change() -> None:
    found = limiting.create_limit(
        actor=SYSTEM, terms=LimitTerms(subject="action", pattern="probe.*", max_concurrent=1)
    )
    workflow = published([CALL], timeout="3h")
    busy = started(workflow, start_at=clock.now() + timedelta(days=1))
    place = LimitUse.objects.create(limit=found, execution=busy, kind="place", held=True)
    execution = run(workflow)
    assert (execution.state, execution.current_phase) == ("waiting", "limited")
    next_version(workflow, [CALL], timeout="10h")
    place.delete()
    with connection.cursor() as cursor:
        cursor.execute(limits_sql.HAND_ON)
    given = reread(execution).runnable_at
    migration = moved(workflow, ids=[execution.pk])
    row = reread(execution)
    assert (row.version.version, row.runnable_at) == ("1.1.0", given)
    undone(migration)
    row = reread(execution)
    assert (row.version.version, row.runnable_at) == ("1.0.0", given)
    drain()
    assert reread(execution).state == "completed"


def test_a_child_that_somebody_holds_is_waited_for_in_the_order_of_ids() -> None:
    child = published([SIGNAL])
    call = {"id": "sub", "type": "workflow", "config": {"workflow": child.slug}}
    parent = published([call])
    first, second = run(parent), run(parent)
    inner = Execution.objects.get(parent=first)
    assert first.pk < inner.pk < second.pk
    next_version(parent, [{**call, "id": "inner"}])
    migration = begun(parent)

    def step_on() -> None:
        """As a worker's batch does that writes the child, and tells the other parent."""
        with transaction.atomic(), connection.cursor() as cursor:
            lock = "SELECT 1 FROM executions_execution WHERE id = %s FOR NO KEY UPDATE"
            cursor.execute(lock, [inner.pk])
            holds.set()
            wait_until(someone_waits)
            cursor.execute(lock, [second.pk])

    holds = threading.Event()
    worker = Aside(step_on)
    assert holds.wait(10)
    advance(migration.pk)
    worker.end()
    assert reread(inner).parent_step == "inner"
    assert [item_of(migration, each).state for each in (first, second)] == ["moved"] * 2


@pytest.mark.parametrize("verb", ["signal", "cancel", "drain"])
def test_what_arrives_while_it_is_moved_is_heard_by_the_new_version(verb: str) -> None:
    workflow = published([SIGNAL], timeout="3h")
    execution = run(workflow)
    next_version(workflow, [SIGNAL, LAST], timeout="10h")
    migration = begun(workflow)

    def ask() -> None:
        if verb == "cancel":
            cancel_execution(execution=execution, actor=SYSTEM)
        elif verb == "signal":
            send_signal(name="paid", actor=SYSTEM, execution=execution, payload=1)
        else:
            drain()

    asides: list[Aside] = []

    def meanwhile() -> None:
        inject("migrating.before_commit", None)
        asides.append(Aside(ask))
        if verb == "cancel":
            wait_until(someone_waits)
        else:
            # Workers and signals leave alone what is held.
            asides[0].end()

    if verb == "drain":
        send_signal(name="paid", actor=SYSTEM, execution=execution, payload=1)
    inject("migrating.before_commit", meanwhile)
    advance(migration.pk)
    for each in asides:
        each.end()
    assert item_of(migration, execution).state == "moved"
    # As the clock does every second, for whoever could not be given a signal.
    matching.match_late(10.0)
    drain()
    row = reread(execution)
    expected = ("cancelled", None) if verb == "cancel" else ("completed", "new")
    assert (row.state, row.output, row.version.version) == (*expected, "1.1.0")


def test_a_child_that_ends_by_what_its_parents_step_was_called_is_heard() -> None:
    child = published([SIGNAL])
    call = {"id": "sub", "type": "workflow", "config": {"workflow": child.slug}}
    parent = published([call])
    execution = run(parent)
    inner = Execution.objects.get(parent=execution)
    next_version(parent, [{**call, "id": "inner"}, LAST])
    migration = begun(parent)
    send_signal(name="paid", actor=SYSTEM, execution=inner, payload=1)

    def meanwhile() -> None:
        if Execution.objects.get(pk=inner.pk).owner_id is not None:
            inject("ledger.after_claim", None)
            advance(migration.pk)

    inject("ledger.after_claim", lambda: Aside(meanwhile).end())
    drain()
    assert item_of(migration, execution).state == "moved"
    drain()
    row = reread(execution)
    assert (reread(inner).state, row.state, row.output) == ("completed", "completed", "new")
    assert row.version.version == "1.1.0"
