"""How long a call may take, in the words of its error."""

from __future__ import annotations

import asyncio
from datetime import timedelta

from executions.runtime.performer import Watch


def test_a_timer_that_goes_off_a_hair_too_early_is_no_missing_heartbeat() -> None:
    async def messages() -> list[str]:
        watches = [Watch(9, None), Watch(9, timedelta(seconds=2))]
        return [watch.error(runs_on=False).message for watch in watches]

    assert asyncio.run(messages()) == [
        "The action did not end within 9 seconds.",
        "The action gave no heartbeat for 2 seconds.",
    ]
