"""The ledger waits for a database that is away, however long its coming back takes."""

from __future__ import annotations

import asyncio

from autopilot.common import clock
from executions.models import Worker
from executions.runtime.ledger import Ledger


def test_a_ledger_waits_while_nothing_listens_and_then_answers(own_servers) -> None:
    now = clock.now()
    worker = Worker.objects.create(name="w", host="h", pid=1, started_at=now, lease_until=now)
    ledger = Ledger(worker.pk)

    async def claim() -> list:
        return await ledger.claim(
            queue_name="default", priorities=(3, 2, 1, 0), limit=10, suspect_after=3
        )

    async def scenario() -> list:
        # A connection first, so that losing it and failing to make a new one are both met.
        assert await claim() == []
        await asyncio.to_thread(own_servers.pair.stop_postgres)
        waiting = asyncio.create_task(claim())
        # Longer than one try to connect.
        done, _ = await asyncio.wait([waiting], timeout=1.0)
        assert not done
        await asyncio.to_thread(own_servers.pair.start_postgres)
        async with asyncio.timeout(30):
            return await waiting

    try:
        assert asyncio.run(scenario()) == []
    finally:
        ledger.close()
