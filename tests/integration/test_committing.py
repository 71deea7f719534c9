"""A batch goes in one trip if every fence holds, and what does not hold is told one by one."""

from __future__ import annotations

import asyncio
import threading
from dataclasses import replace

import pytest
from django.db import connection

from executions.models import Worker
from executions.runtime import drain as module
from executions.runtime.committing import Committer
from executions.runtime.ledger import Ledger
from executions.runtime.process import WorkerProcess
from tests.engine import NOOP, published, reread, started, wait_until, worker

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def second_ways(monkeypatch) -> list[int]:
    """How many checkpoints went the second way, each time one did."""
    found: list[int] = []
    ask_first = Committer._ask_first

    def noted(self, checkpoints, *, waits):
        found.append(len(checkpoints))
        return ask_first(self, checkpoints, waits=waits)

    monkeypatch.setattr(Committer, "_ask_first", noted)
    return found


def test_whoever_is_undisturbed_never_asks_first(second_ways) -> None:
    execution = started(published([{**NOOP, "id": "a"}, {**NOOP, "id": "b"}]))

    with worker() as process:
        process.drain("default")

    assert reread(execution).state == "completed"
    assert second_ways == []


def test_one_fence_that_does_not_hold_harms_no_other_checkpoint(second_ways, monkeypatch) -> None:
    lost, kept = (started(published([{**NOOP, "id": "a"}], slug=name)) for name in ("one", "two"))
    record = Ledger.record

    async def out_of_date(self, checkpoint):
        if checkpoint.execution_id == lost.pk:
            checkpoint = replace(checkpoint, epoch=checkpoint.epoch - 1)
        return await record(self, checkpoint)

    monkeypatch.setattr(Ledger, "record", out_of_date)
    with worker() as process:
        process.drain("default")

    assert reread(kept).state == "completed"
    after = reread(lost)
    assert (after.state, after.revision) == ("initialized", 0)
    assert second_ways


def test_an_idle_drain_takes_the_one_that_it_is_told_of_without_looking(
    settings, monkeypatch
) -> None:
    settings.AUTOPILOT = {**settings.AUTOPILOT, "LINGER_SECONDS": 2.0}
    # It would look by itself after half a second.
    monkeypatch.setattr(module, "LOOK_SECONDS", 60.0)
    looks: list[str] = []
    claim, claim_one = Ledger.claim, Ledger.claim_one

    async def look(self, **wanted):
        looks.append("look")
        return await claim(self, **wanted)

    async def take(self, execution_id, **wanted):
        looks.append("take")
        return await claim_one(self, execution_id, **wanted)

    monkeypatch.setattr(Ledger, "claim", look)
    monkeypatch.setattr(Ledger, "claim_one", take)
    workflow = published([{**NOOP, "id": "a"}])

    with worker() as process:
        thread = threading.Thread(target=_drain, args=(process,))
        thread.start()
        wait_until(lambda: looks == ["look"])
        made = started(workflow)
        wait_until(lambda: reread(made).state == "completed")
        taken = looks[:2]
        process.stop()
        process._on_bell("default", 0)
        thread.join(10)

    assert taken == ["look", "take"]


def _drain(process: WorkerProcess) -> None:
    try:
        process.drain("default")
    finally:
        connection.close()


def test_of_two_drains_that_hear_of_one_only_one_gets_it() -> None:
    execution = started(published([{**NOOP, "id": "a"}]))
    ledgers = []
    with worker() as process:
        ledgers = [process._ledger, Ledger(Worker.objects.get().pk)]

        async def both() -> list[int]:
            wanted = {"queue_name": "default", "suspect_after": 3}
            found = await asyncio.gather(
                *(each.claim_one(execution.pk, **wanted) for each in ledgers)
            )
            return sorted(len(each) for each in found)

        assert process._loop.run_until_complete(both()) == [0, 1]
        ledgers[1].close()
    assert reread(execution).epoch == 1
