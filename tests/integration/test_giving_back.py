"""What a worker gives back, and the order in which children are told."""

from __future__ import annotations

import json
import threading

import pytest
from django.db import connection, transaction

from executions.models import Execution, InboxMessage
from executions.runtime import drain as drain_module
from executions.runtime.children_sql import TELL
from executions.runtime.ledger import Ledger
from executions.runtime.rows import cursor
from executions.services import cancel_execution
from tests.engine import NOOP, SYSTEM, published, reread, started, wait_until, worker

pytestmark = pytest.mark.django_db(transaction=True)


def test_a_drain_gives_back_what_its_runner_could_not(monkeypatch):
    monkeypatch.setattr(drain_module, "RETURN_SECONDS", 0.01)
    execution = started(published([{"id": "one", **NOOP}]))
    record, release = Ledger.record, Ledger.release
    broken = {"record": 1, "release": 3}
    asked = []

    async def failing_record(self, checkpoint):
        if broken["record"]:
            broken["record"] -= 1
            raise RuntimeError("a defect")
        return await record(self, checkpoint)

    async def failing_release(self, held):
        asked.append([(each.execution_id, each.untouched, each.in_trouble) for each in held])
        if broken["release"]:
            broken["release"] -= 1
            raise RuntimeError("the same")
        await release(self, held)
        asked.append("given back")

    monkeypatch.setattr(Ledger, "record", failing_record)
    monkeypatch.setattr(Ledger, "release", failing_release)
    with worker() as process:
        assert process.drain("default") == 2
    # Claimed anew by the same drain; that it was in trouble counts each time.
    assert asked == [*[[(execution.pk, False, True)]] * 4, "given back"]
    assert (reread(execution).state, reread(execution).epoch) == ("completed", 2)


def test_children_are_told_in_the_order_in_which_their_worker_locks_them():
    body = [{"id": "wait", "name": "wait", "type": "wait", "config": {"duration": "1h"}}]
    config = {"items": "range(3)", "as": "item", "steps": body}
    parent = started(published([{"id": "each", "type": "map", "config": config}]))
    with worker() as process:
        process.drain("default")
    children = list(Execution.objects.filter(parent=parent).order_by("pk"))
    assert [child.state for child in children] == ["waiting"] * 3
    # So that neither the index nor the place in the table gives the order of ids by chance.
    for child in reversed(children):
        Execution.objects.filter(pk=child.pk).update(item_index=100 - child.item_index)
    told = [
        {
            "parent": parent.pk,
            "step": "each",
            "generation": 1,
            "verb": "pause",
            "actor": "tests",
            "reason": "",
        }
    ]

    def tell() -> None:
        try:
            with cursor() as opened:
                opened.execute(TELL, {"tell": json.dumps(told)})
        finally:
            connection.close()

    thread = threading.Thread(target=tell)
    with transaction.atomic():
        first, *others = (child.pk for child in children)
        Execution.objects.select_for_update(no_key=True).get(pk=first)
        thread.start()
        wait_until(_somebody_waits)
        # It waits for the lowest and has taken none of the others: no circle can come of it.
        free = Execution.objects.select_for_update(no_key=True, nowait=True).filter(pk__in=others)
        assert len(free) == 2
    thread.join(10)
    messages = InboxMessage.objects.filter(execution__in=children).order_by("execution")
    assert list(messages.values_list("execution", "kind")) == [
        (child.pk, "pause") for child in children
    ]
    cancel_execution(execution=parent, actor=SYSTEM)


def _somebody_waits() -> bool:
    with connection.cursor() as opened:
        opened.execute("SELECT EXISTS (SELECT 1 FROM pg_locks WHERE NOT granted)")
        return bool(opened.fetchone()[0])
