"""Concurrency slots with real workers that are killed: never more than there are, none lost."""

from __future__ import annotations

from collections import Counter

import pytest

from executions.models import Execution
from tests.concurrency.conftest import Workers
from tests.engine import published, started, wait_until

pytestmark = [pytest.mark.concurrency, pytest.mark.timeout(120)]

KEYS = ("a", "b", "c")
EACH = 14
LIMIT = 2


def test_no_key_ever_has_more_than_its_limit_and_all_complete(workers: Workers):
    config = {
        "action": "probe.places",
        "with": {"key": "{{ input.key }}", "limit": LIMIT, "seconds": 0.1},
    }
    steps = [{"id": f"s{n}", "type": "action", "config": config} for n in range(2)]
    workflow = published(steps, concurrency={"key": "input.key", "limit": LIMIT})
    for number in range(EACH * len(KEYS)):
        started(workflow, {"key": KEYS[number % len(KEYS)]})
    first = workers.start()
    workers.start()
    workers.start()
    most: Counter[str] = Counter()

    def completed(count: int) -> bool:
        rows = Execution.objects.filter(slot_held=True).values_list("slot_key", flat=True)
        for key, held in Counter(rows).items():
            most[key] = max(most[key], held)
        return Execution.objects.filter(state="completed").count() >= count

    wait_until(lambda: completed(6), seconds=30)
    workers.kill(first)
    wait_until(lambda: completed(EACH * len(KEYS)), seconds=60)
    # The probe saw every key full and none overfull, and no call found its places taken.
    assert set(most.values()) == {LIMIT}
    assert len(most) == len(KEYS)
    assert not Execution.objects.exclude(state="completed").exists()
    assert not Execution.objects.filter(slot_held=True).exists()
