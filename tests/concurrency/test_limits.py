"""Limits of calls with real workers that are killed: never more at once, and no place is lost."""

from __future__ import annotations

import pytest

from executions import limiting
from executions.limiting import LimitTerms
from executions.models import Execution, LimitUse
from tests.concurrency.conftest import Workers
from tests.engine import SYSTEM, published, started, wait_until

pytestmark = [pytest.mark.concurrency, pytest.mark.timeout(120)]

COUNT = 14
LIMIT = 2


def test_a_dead_workers_places_are_free_again_and_never_more_are_taken(workers: Workers):
    terms = LimitTerms(subject="action", pattern="probe.places", max_concurrent=LIMIT)
    limiting.create_limit(actor=SYSTEM, terms=terms)
    config = {
        "action": "probe.places",
        "with": {"key": "all", "limit": LIMIT, "seconds": 0.2},
    }
    workflow = published([{"id": "call", "type": "action", "config": config}])
    for _ in range(COUNT):
        started(workflow)
    first = workers.start()
    held = LimitUse.objects.filter(kind="place", held=True)
    wait_until(lambda: held.count() == LIMIT, seconds=30)
    # All that is under way is this worker's; its calls end with it, its places do not.
    workers.kill(first)
    assert held.count() == LIMIT
    workers.start()
    workers.start()
    most = 0

    def all_ended() -> bool:
        nonlocal most
        most = max(most, held.count())
        return Execution.objects.filter(ended_at__isnull=False).count() == COUNT

    wait_until(all_ended, seconds=60)
    assert most == LIMIT
    # A call that found both places taken would have failed.
    assert set(Execution.objects.values_list("state", flat=True)) == {"completed"}
    assert not LimitUse.objects.exists()
