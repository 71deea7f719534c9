"""Executions whose workers died again and again without being to blame for it."""

from __future__ import annotations

import pytest

from executions.models import Execution
from executions.runtime import drain as module
from tests.engine import NOOP, drain, published, started

pytestmark = pytest.mark.django_db(transaction=True)


def test_one_drain_runs_all_that_had_bad_luck_with_their_workers(monkeypatch: pytest.MonkeyPatch):
    workflow = published([{"id": "a", **NOOP}])
    unlucky = [started(workflow).pk for _ in range(5)]
    lucky = started(workflow).pk
    often = Execution.objects.filter(pk__in=unlucky)
    often.update(claims=module.SUSPECT_AFTER_CLAIMS)
    alone: list[tuple[int, int]] = []
    start = module.Drain._start

    def watched(self, runner):
        start(self, runner)
        alone.append((runner.execution_id, self.held))

    monkeypatch.setattr(module.Drain, "_start", watched)

    drain()

    assert {each.state for each in Execution.objects.all()} == {"completed"}
    # Each by itself, and before those that nobody suspects.
    assert sorted(alone[:5]) == [(pk, 1) for pk in unlucky]
    assert alone[5:] == [(lucky, 1)]
    assert set(often.values_list("claims", flat=True)) == {0}


def test_suspects_get_a_while_and_then_the_others_are_served(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(module, "SUSPECTS_SECONDS", 0.1)
    nap = {"action": "probe.trace", "with": {"seconds": 0.2}}
    workflow = published([{"id": "a", "type": "action", "config": nap}])
    first, second, lucky = (started(workflow).pk for _ in range(3))
    often = Execution.objects.filter(pk__in=[first, second])
    often.update(claims=module.SUSPECT_AFTER_CLAIMS)

    drain()

    states = dict(Execution.objects.values_list("pk", "state"))
    assert states == {first: "completed", second: "initialized", lucky: "completed"}
