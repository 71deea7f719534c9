"""A worker whose threads are stuck in calls that never end."""

from __future__ import annotations

from executions.models import Worker
from tests.concurrency.conftest import Workers
from tests.engine import NOOP, published, reread, started, wait_until


def test_a_worker_with_too_many_stuck_threads_replaces_itself_and_works_on(
    workers: Workers, monkeypatch
):
    monkeypatch.setenv("AUTOPILOT_SYNC_THREADS", "2")
    process = workers.start()
    block = {"action": "probe.block", "with": {"seconds": 600}}
    stuck = started(published([{"id": "a", "type": "action", "timeout": 0.1, "config": block}]))
    wait_until(lambda: reread(stuck).has_ended, seconds=60)
    assert reread(stuck).error_code == "timeout.step"

    later = started(published([{"id": "a", **NOOP}]))
    wait_until(lambda: reread(later).has_ended, seconds=60)

    assert reread(later).state == "completed"
    assert process.poll() is None
    assert "worker.recycles" in workers.logs()


def test_a_worker_that_is_told_to_stop_does_not_wait_for_a_stuck_thread(workers: Workers):
    process = workers.start()
    block = {"action": "probe.block", "with": {"seconds": 600}}
    stuck = started(published([{"id": "a", "type": "action", "timeout": 0.1, "config": block}]))
    wait_until(lambda: reread(stuck).has_ended, seconds=60)

    assert workers.stop(process, seconds=30) == 0
    assert Worker.objects.count() == 0
