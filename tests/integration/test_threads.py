"""The threads beside the loop go on after something that nobody expected."""

from __future__ import annotations

import threading

import pytest

from executions.models import Worker
from executions.runtime import clock as clocks
from executions.runtime.clock import Clock
from executions.runtime.lease import Lease

pytestmark = pytest.mark.django_db(transaction=True)


def test_a_clock_goes_on_after_a_defect(monkeypatch) -> None:
    monkeypatch.setattr(clocks, "LEADER_TRIES_SECONDS", 0.0)
    ticks: list[int] = []
    twice = threading.Event()

    def tick(self: Clock) -> float:
        ticks.append(1)
        if len(ticks) == 1:
            raise KeyError("a defect")
        twice.set()
        return 60.0

    monkeypatch.setattr(Clock, "_tick", tick)
    clock = Clock()
    clock.start()
    try:
        assert twice.wait(timeout=10)
    finally:
        clock.close()


def test_a_lease_goes_on_after_a_defect(settings) -> None:
    settings.AUTOPILOT = {**settings.AUTOPILOT, "HEARTBEAT_SECONDS": 0.01}
    asked: list[int] = []
    again = threading.Event()

    def busy() -> int:
        asked.append(1)
        if len(asked) == 1:
            raise AttributeError("a defect")
        if len(asked) == 3:
            again.set()
        return 7

    lease = Lease(queues=["default"], busy=busy, on_lost=lambda: None, on_messages=lambda ids: None)
    try:
        assert again.wait(timeout=10)
        assert Worker.objects.get(pk=lease.worker_id).busy == 7
    finally:
        lease.close()
