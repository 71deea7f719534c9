"""Migrations batch by batch: deaths in between, workers that come first or too late, cancelling."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from django.db import DataError, connection

from autopilot.accounts.models import AuditEntry
from autopilot.accounts.roles import Role
from autopilot.common.errors import PermissionDenied
from executions.errors import MigrationInvalid, MigrationOver, MigrationUnderWay, StartInvalid
from executions.migrating import batches
from executions.migrating.batches import advance, advance_all
from executions.migrating.reads import counts_of, sentence_of
from executions.migrating.selecting import Chosen
from executions.migrating.services import cancel_migration, start_migration, undo_migration
from executions.models import Execution, Migration, MigrationItem, StepExecution
from executions.runtime.clock import Clock
from executions.runtime.faults import inject
from executions.runtime.lease import remove_worker
from executions.signalling import send_signal
from tests.engine import SYSTEM, drain, published, reread, run, wait_until
from tests.factories import actor_with
from tests.migrating import finished, item_of, next_version
from workflows.models import Workflow

pytestmark = pytest.mark.django_db(transaction=True)

SIGNAL = {"id": "pay", "type": "signal", "config": {"signal": "paid"}}
LAST = {"id": "last", "type": "transform", "config": {"output": "new"}}


@pytest.fixture(autouse=True)
def _small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batches, "BATCH", 2)


def waiting(count: int) -> tuple[Workflow, list[Execution]]:
    """So many executions of 1.0.0 that wait for a signal, and a version 1.1.0."""
    workflow = published([SIGNAL])
    found = [run(workflow) for _ in range(count)]
    next_version(workflow, [SIGNAL, LAST])
    return workflow, found


def begun(workflow: Workflow, **options: Any) -> Migration:
    return start_migration(
        workflow=workflow, actor=SYSTEM, source="1.0.0", target="1.1.0", **options
    )


def versions(executions: list[Execution]) -> list[str]:
    return [reread(each).version.version for each in executions]


class Died(BaseException):
    """Nothing in the product catches it, as nothing catches a killed process."""


@contextmanager
def at(point: str, action: Callable[[], None]) -> Iterator[None]:
    inject(point, action)
    try:
        yield
    finally:
        inject(point, None)


def die() -> None:
    raise Died


def elsewhere(work: Callable[[], Any]) -> None:
    """In another thread, with a connection of its own, to the end."""

    def run_it() -> None:
        try:
            work()
        finally:
            connection.close()

    thread = threading.Thread(target=run_it)
    thread.start()
    thread.join(20)
    assert not thread.is_alive()


def test_who_dies_in_a_batch_has_done_nothing_of_it_and_the_rest_follows() -> None:
    workflow, found = waiting(3)
    migration = begun(workflow)
    with at("migrating.before_commit", die), pytest.raises(Died):
        advance(migration.pk)
    assert versions(found) == ["1.0.0"] * 3
    with at("migrating.after_commit", die), pytest.raises(Died):
        advance(migration.pk)
    assert versions(found) == ["1.1.0", "1.1.0", "1.0.0"]
    assert counts_of(migration)["pending"] == 1
    assert advance_all() == 1
    assert versions(found) == ["1.1.0"] * 3
    migration = Migration.objects.get(pk=migration.pk)
    assert migration.state == "done"
    assert sentence_of(migration, counts_of(migration)) == "Of 3 executions: 3 moved."
    entries = AuditEntry.objects.filter(action="execution.moved").order_by("target_id")
    assert [each.target_id for each in entries] == [str(each.pk) for each in found]


def test_the_clock_goes_on_with_what_is_open() -> None:
    workflow, found = waiting(3)
    migration = begun(workflow)
    clock = Clock()
    clock.start()
    try:
        wait_until(lambda: Migration.objects.get(pk=migration.pk).state == "done")
    finally:
        clock.close()
    assert versions(found) == ["1.1.0"] * 3


def test_a_worker_that_has_it_comes_first() -> None:
    workflow, (execution,) = waiting(1)
    migration = begun(workflow)
    send_signal(name="paid", actor=SYSTEM, execution=execution, payload=1)

    def try_it() -> None:
        if Execution.objects.get(pk=execution.pk).owner_id is not None:
            advance(migration.pk)

    with at("ledger.after_claim", lambda: elsewhere(try_it)):
        drain()
    item = item_of(migration, execution)
    assert (item.state, item.tries, item.code) == ("pending", 1, "migration.not_at_rest")
    # By the old version it has come to its end.
    finished(migration)
    assert item_of(migration, execution).code == "migration.ended"
    assert (reread(execution).state, versions([execution])) == ("completed", ["1.0.0"])


def test_a_worker_that_has_lost_it_writes_nothing() -> None:
    workflow, (execution,) = waiting(1)
    migration = begun(workflow)
    send_signal(name="paid", actor=SYSTEM, execution=execution, payload=1)

    def take_away_and_move() -> None:
        owner = Execution.objects.get(pk=execution.pk).owner_id
        if owner is not None:
            remove_worker(owner)
            finished(migration)

    with at("ledger.after_claim", lambda: elsewhere(take_away_and_move)):
        drain()
    assert item_of(migration, execution).state == "moved"
    drain()
    done = reread(execution)
    assert (done.state, done.output, versions([execution])) == ("completed", "new", ["1.1.0"])
    steps = StepExecution.objects.filter(execution=execution).order_by("seq")
    assert list(steps.values_list("step_id", "attempt")) == [("pay", 1), ("last", 1)]


def test_what_never_comes_to_rest_is_refused_after_some_tries() -> None:
    workflow, (execution,) = waiting(1)
    migration = begun(workflow)
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE executions_execution SET state = 'running', current_phase = 'call', "
            "runnable_at = now() + interval '1 h'"
        )
    for _ in range(batches.MAX_TRIES):
        assert advance(migration.pk) is not None
    item = item_of(migration, execution)
    assert (item.state, item.code) == ("refused", "migration.not_at_rest")
    assert versions([execution]) == ["1.0.0"]


def test_one_that_can_not_be_looked_at_stops_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    workflow, found = waiting(3)
    migration = begun(workflow)
    examine = batches.examine

    def stumble(tree: Any, *rest: Any) -> Any:
        if tree.head_id == found[0].pk:
            raise DataError("a defect")
        return examine(tree, *rest)

    monkeypatch.setattr(batches, "examine", stumble)
    advance_all()
    states = list(migration.items.values_list("state", "code"))
    assert states == [("refused", "engine.internal"), ("moved", ""), ("moved", "")]


def test_cancelling_leaves_the_rest_as_it_is() -> None:
    workflow, found = waiting(3)
    migration = begun(workflow)
    with pytest.raises(MigrationUnderWay):
        undo_migration(migration=migration, actor=SYSTEM)
    advance(migration.pk)
    cancelled = cancel_migration(migration=migration, actor=SYSTEM)
    assert (cancelled.state, advance(migration.pk)) == ("cancelled", None)
    assert versions(found) == ["1.1.0", "1.1.0", "1.0.0"]
    assert counts_of(cancelled)["left"] == 1
    with pytest.raises(MigrationOver):
        cancel_migration(migration=migration, actor=SYSTEM)
    with pytest.raises(MigrationInvalid) as caught:
        undo_migration(migration=migration, actor=SYSTEM, ids=[found[1].pk, 999_999])
    assert [(each.path, each.code) for each in caught.value.details] == [("$.ids[1]", "not_found")]
    assert not Migration.objects.get(pk=migration.pk).is_open
    # What was moved can still be put back, one of them if need be.
    undo_migration(migration=migration, actor=SYSTEM, ids=[found[1].pk])
    finished(migration)
    assert versions(found) == ["1.1.0", "1.0.0", "1.0.0"]
    with pytest.raises(MigrationInvalid):
        undo_migration(migration=migration, actor=SYSTEM, ids=[found[2].pk])


def test_what_can_not_be_meant_is_refused_and_nothing_is_kept() -> None:
    workflow, found = waiting(1)

    def refused(**options: Any) -> list[tuple[str, str]]:
        given = {"source": "1.0.0", "target": "1.1.0", **options}
        with pytest.raises(MigrationInvalid) as caught:
            start_migration(workflow=workflow, actor=SYSTEM, **given)
        return [(each.path, each.code) for each in caught.value.details]

    assert refused(mapping={"pay": "payd"}) == [("$.mapping.pay", "mapping.unknown_target")]
    assert refused(target="1.0.0") == [("$.to", "migration.same_version")]
    assert refused(target="2.0.0") == [("$.to", "version.unknown")]
    assert refused(mapping={"pay": 1}) == [("$.mapping.pay", "field.type")]
    assert refused(chosen=Chosen.of_ids([found[0].pk, 999_999], SYSTEM)) == [
        ("$.ids[1]", "not_found")
    ]
    assert refused(source="1.1.0", target="1.0.0") == [("$", "migration.nothing")]
    with pytest.raises(StartInvalid):
        begun(workflow, reason="x" * 201)
    with pytest.raises(PermissionDenied):
        start_migration(
            workflow=workflow,
            actor=actor_with(Role.OPERATOR),
            source="1.0.0",
            target="1.1.0",
        )
    assert not Migration.objects.exists()
    assert not MigrationItem.objects.exists()
    assert (
        start_migration(
            workflow=workflow, actor=actor_with(Role.DESIGNER), source="1.0.0", target="1.1.0"
        ).items.count()
        == 1
    )
