"""A row that somebody else holds holds up nobody but itself."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from django.db import connection, transaction

from executions.models import Execution, StepExecution
from tests.engine import NOOP, published, reread, started, wait_until, worker

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def _short_lingering(settings):
    settings.AUTOPILOT = {**settings.AUTOPILOT, "LINGER_SECONDS": 0.2}


@contextmanager
def held(pk: int) -> Iterator[threading.Event]:
    """Another transaction locks the row, as a service inside somebody's own transaction would."""
    locked, let_go = threading.Event(), threading.Event()

    def hold() -> None:
        try:
            with transaction.atomic():
                Execution.objects.select_for_update(no_key=True).get(pk=pk)
                locked.set()
                assert let_go.wait(60)
        finally:
            connection.close()

    thread = threading.Thread(target=hold)
    thread.start()
    assert locked.wait(10)
    try:
        yield let_go
    finally:
        let_go.set()
        thread.join(10)


def slow_then(count: int) -> list[dict]:
    config = {"action": "probe.trace", "with": {"seconds": 0.3}}
    first = {"id": "slow", "type": "action", "config": config}
    return [first, *({"id": f"s{n}", **NOOP} for n in range(count))]


def test_the_others_go_on_while_one_row_is_held():
    workflow = published(slow_then(5))
    victim = started(workflow)
    others = [started(workflow) for _ in range(20)]
    with worker() as process:
        thread = threading.Thread(target=_drain, args=(process,))
        thread.start()
        wait_until(lambda: reread(victim).current_step == "slow")
        with held(victim.pk) as let_go:
            wait_until(
                lambda: all(reread(each).state == "completed" for each in others), seconds=20
            )
            assert reread(victim).state == "running"
            let_go.set()
            wait_until(lambda: reread(victim).state == "completed")
        thread.join(20)
    assert StepExecution.objects.count() == 21 * 6


def test_an_item_waits_for_its_parents_row_and_is_counted_once():
    body = [{**step, "name": step["id"]} for step in slow_then(1)]
    step = {
        "id": "each",
        "type": "map",
        "config": {"items": "range(4)", "as": "item", "steps": body},
    }
    parent = started(published([step]))
    with worker() as process:
        thread = threading.Thread(target=_drain, args=(process,))
        thread.start()
        wait_until(lambda: Execution.objects.filter(parent=parent, state="running").count() == 4)
        with held(parent.pk) as let_go:
            wait_until(lambda: StepExecution.objects.filter(step_id="slow").count() == 4)
            assert reread(parent).children_open == 4
            let_go.set()
        wait_until(lambda: reread(parent).state == "completed")
        thread.join(20)
    assert reread(parent).children_open == 0


def _drain(process) -> None:
    try:
        process.drain("default")
    finally:
        connection.close()
