"""Readers across executions miss nothing, however late a transaction commits."""

from __future__ import annotations

import threading

import pytest
from django.db import connection, transaction

from executions.models import StateTransition
from tests.engine import NOOP, published, started, wait_until

pytestmark = pytest.mark.django_db(transaction=True)


def test_a_row_committed_late_is_not_skipped_by_a_reader_that_was_ahead():
    workflow = published([{"id": "a", **NOOP}])
    inserted, may_commit = threading.Event(), threading.Event()
    slow_ids: list[int] = []

    def slow() -> None:
        try:
            with transaction.atomic():
                slow_ids.append(started(workflow).pk)
                inserted.set()
                assert may_commit.wait(10)
        finally:
            connection.close()

    thread = threading.Thread(target=slow)
    thread.start()
    assert inserted.wait(10)
    fast = started(workflow)

    # The later row is visible, with a larger id, while the earlier one is not.
    visible = list(StateTransition.objects.order_by("id").values_list("execution_id", flat=True))
    assert visible == [fast.pk]
    assert list(StateTransition.objects.settled()) == []

    may_commit.set()
    thread.join(10)
    wait_until(lambda: StateTransition.objects.settled().count() == 2)
    settled = list(StateTransition.objects.settled())
    assert [row.execution_id for row in settled] == [slow_ids[0], fast.pk]


def test_a_reader_goes_on_after_the_last_row_it_has_seen():
    workflow = published([{"id": "a", **NOOP}])
    made = [started(workflow).pk for _ in range(5)]
    # Transactions of others on the same server, of other databases too, are waited for.
    wait_until(lambda: StateTransition.objects.settled().count() == 5)
    read: list[int] = []
    xid, row_id = 0, 0
    while page := list(StateTransition.objects.after(xid, row_id)[:2]):
        read.extend(row.execution_id for row in page)
        xid, row_id = page[-1].xid, page[-1].pk
    assert read == made


def test_writers_under_load_lose_no_row_to_a_reader_that_polls():
    workflow = published([{"id": "a", **NOOP}])
    done = threading.Event()
    made: list[int] = []

    def write() -> None:
        try:
            for number in range(25):
                with transaction.atomic():
                    pk = started(workflow).pk
                    if number % 3 == 0:
                        with connection.cursor() as cursor:
                            cursor.execute("SELECT pg_sleep(0.01)")
                made.append(pk)
        finally:
            connection.close()

    threads = [threading.Thread(target=write) for _ in range(4)]
    for thread in threads:
        thread.start()

    def wait_for_writers() -> None:
        for thread in threads:
            thread.join(60)
        done.set()

    watcher = threading.Thread(target=wait_for_writers)
    watcher.start()
    read: list[int] = []
    xid, row_id = 0, 0
    while True:
        finished = done.is_set() and StateTransition.objects.settled().count() == len(made)
        page = list(StateTransition.objects.after(xid, row_id))
        if page:
            read.extend(row.execution_id for row in page)
            xid, row_id = page[-1].xid, page[-1].pk
        elif finished:
            break
    watcher.join(10)
    assert len(read) == len(made) == 100
    assert sorted(read) == sorted(made)
