"""How often a drain asks for work."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from executions.runtime import drain as module
from executions.runtime.drain import Drain
from executions.runtime.performer import Performer


class CountingLedger:
    """Has nothing to claim, and counts how often it was asked."""

    def __init__(self) -> None:
        self.claims = 0

    async def freshen(self) -> None:
        pass

    async def claim(self, **wanted: Any) -> list[Any]:
        self.claims += 1
        return []

    async def claim_suspect(self, **wanted: Any) -> list[Any]:
        return []


@pytest.fixture
def _lingering(settings) -> None:
    settings.AUTOPILOT = {**settings.AUTOPILOT, "LINGER_SECONDS": 60.0}


def ring_through(rings: int, *, holds: bool, claims: int = 0) -> tuple[int, float]:
    """Ring a drain that often, each time until it has heard, and then wait for `claims` claims.

    holds: something runs there meanwhile. Answers how often it claimed, after its first look, and
    how many seconds passed.
    """
    ledger = CountingLedger()
    performer = Performer()
    stop = asyncio.Event()

    async def scenario() -> tuple[int, float]:
        drain = Drain("default", ledger=ledger, performer=performer, must_stop=stop.is_set)
        running = asyncio.create_task(drain.run())
        while not ledger.claims:
            await asyncio.sleep(0)
        held = asyncio.create_task(asyncio.Event().wait())
        if holds:
            drain._tasks[1] = held
        began = asyncio.get_running_loop().time()
        for _ in range(rings):
            drain.ring()
            for _ in range(5):
                await asyncio.sleep(0)
        while ledger.claims < 1 + claims:
            await asyncio.sleep(0)
        answer = ledger.claims - 1, asyncio.get_running_loop().time() - began
        drain._tasks.clear()
        held.cancel()
        stop.set()
        drain.ring()
        await running
        return answer

    try:
        return asyncio.run(scenario())
    finally:
        performer.close()


@pytest.mark.usefixtures("_lingering")
def test_a_burst_of_bells_is_no_claim_each_while_something_runs(monkeypatch) -> None:
    monkeypatch.setattr(module, "CLAIM_GAP_SECONDS", 60.0)

    assert ring_through(50, holds=True)[0] == 0


@pytest.mark.usefixtures("_lingering")
def test_every_bell_of_an_idle_drain_is_answered_at_once(monkeypatch) -> None:
    monkeypatch.setattr(module, "CLAIM_GAP_SECONDS", 60.0)

    assert ring_through(50, holds=False)[0] == 50


@pytest.mark.usefixtures("_lingering")
def test_bells_that_were_put_off_are_answered_by_one_claim_after_the_gap(monkeypatch) -> None:
    monkeypatch.setattr(module, "LOOK_SECONDS", 60.0)
    monkeypatch.setattr(module, "CLAIM_GAP_SECONDS", 0.2)

    claims, seconds = ring_through(50, holds=True, claims=1)

    assert claims == 1
    assert seconds < 30


def test_a_bell_that_rings_during_the_last_look_is_answered() -> None:

    class RungLedger(CountingLedger):
        async def claim(self, **wanted: Any) -> list[Any]:
            if self.claims < 2:
                drain.ring()
            return await super().claim(**wanted)

    ledger = RungLedger()
    performer = Performer()
    drain = Drain("default", ledger=ledger, performer=performer, must_stop=lambda: False)
    try:
        asyncio.run(drain.run())
    finally:
        performer.close()

    assert ledger.claims == 3
