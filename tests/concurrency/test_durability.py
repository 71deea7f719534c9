"""Workers, Redis and PostgreSQL are treated badly; then the books are checked."""

from __future__ import annotations

from collections import Counter

import psutil
import pytest

from executions.models import Execution, StateTransition, StepExecution, Worker
from tests.concurrency.conftest import Workers
from tests.engine import published, reread, started, wait_until
from workflows.models import Workflow

pytestmark = [pytest.mark.concurrency, pytest.mark.timeout(180)]

STEPS = 6
COUNT = 40


def traced(seconds: float, action: str = "probe.trace", steps: int = STEPS) -> Workflow:
    """A workflow whose every step takes time and leaves a line in the trace."""
    config = {"action": action, "with": {"seconds": seconds}}
    return published([{"id": f"s{n}", "type": "action", "config": config} for n in range(steps)])


def all_ended() -> bool:
    return not Execution.objects.exclude(state__in=["completed", "failed", "cancelled"]).exists()


def some_running() -> bool:
    return StepExecution.objects.count() >= COUNT


def check_books(workers: Workers, count: int = COUNT, steps: int = STEPS) -> None:
    """Every execution completed, every step recorded once, every transition once, nothing owned."""
    states = Counter(Execution.objects.values_list("state", flat=True))
    assert states == {"completed": count}, workers.logs()[-4000:]
    recorded = Counter(StepExecution.objects.values_list("execution_id", "seq"))
    assert len(recorded) == count * steps
    assert set(recorded.values()) == {1}
    moves = Counter(StateTransition.objects.values_list("source", "target"))
    assert moves == {
        ("", "initialized"): count,
        ("initialized", "running"): count,
        ("running", "completed"): count,
    }
    assert not Execution.objects.filter(owner__isnull=False).exists()
    # Each step was called at least once, under one key however often.
    assert len(set(workers.calls())) == count * steps


def test_workers_killed_in_the_middle_lose_nothing_and_record_nothing_twice(workers: Workers):
    workflow = traced(0.15)
    for _ in range(COUNT):
        started(workflow)
    first, second = workers.start(), workers.start()
    wait_until(some_running, seconds=60)
    workers.kill(first)
    workers.kill(second)
    owned = Execution.objects.filter(owner__isnull=False).count()
    assert owned > 0
    workers.start()
    wait_until(all_ended, seconds=60)
    check_books(workers)
    # What was in flight when they died was called again, nothing else.
    assert 0 < len(workers.calls()) - COUNT * STEPS <= owned
    wait_until(lambda: Worker.objects.count() == 1, seconds=10)


def test_redis_flushed_and_stopped_in_the_middle_loses_nothing(workers: Workers):
    workflow = traced(0.1)
    for _ in range(COUNT // 2):
        started(workflow)
    workers.start()
    workers.start()
    wait_until(lambda: StepExecution.objects.count() >= COUNT // 2, seconds=60)
    workers.servers.pair.flush()
    workers.servers.pair.stop_valkey()
    for _ in range(COUNT // 2):
        started(workflow)
    wait_until(all_ended, seconds=60)
    check_books(workers)
    workers.servers.pair.start_valkey()
    later = started(workflow)
    wait_until(lambda: reread(later).state == "completed", seconds=30)


def test_postgresql_restarted_in_the_middle_loses_nothing(workers: Workers):
    workflow = traced(0.15)
    for _ in range(COUNT):
        started(workflow)
    workers.start()
    workers.start()
    wait_until(some_running, seconds=60)
    workers.servers.pair.restart_postgres()
    wait_until_answering(all_ended)
    check_books(workers)


def test_postgresql_killed_in_the_middle_loses_nothing(workers: Workers):
    workflow = traced(0.15)
    for _ in range(COUNT):
        started(workflow)
    workers.start()
    wait_until(some_running, seconds=60)
    workers.servers.pair.kill_postgres()
    workers.servers.pair.start()
    wait_until_answering(all_ended)
    check_books(workers)


def wait_until_answering(condition) -> None:
    """The same, for a test whose own connection was cut as well."""
    from django.db import DatabaseError, connection

    def holds() -> bool:
        try:
            return condition()
        except DatabaseError:
            connection.close()
            return False

    wait_until(holds, seconds=90)


def test_a_call_that_is_not_safe_to_repeat_is_not_repeated(workers: Workers):
    execution = started(traced(30, "probe.once", steps=1))
    first = workers.start()
    wait_until(lambda: len(workers.calls()) == 1, seconds=30)
    workers.kill(first)
    workers.start()
    wait_until(lambda: reread(execution).state == "failed", seconds=30)
    assert reread(execution).error_code == "worker.lost"
    assert len(workers.calls()) == 1


def test_an_execution_that_kills_its_workers_ends_and_the_others_go_on(workers: Workers):
    config = {"action": "probe.die"}
    deadly = started(published([{"id": "a", "type": "action", "config": config}]))
    harmless = [started(traced(0.05, steps=2)) for _ in range(5)]

    def keep_alive() -> bool:
        """What systemd or Docker does: a worker that died is started again."""
        if workers.processes[-1].poll() is not None:
            workers.start()
        return reread(deadly).has_ended

    workers.start()
    wait_until(keep_alive, seconds=120)
    assert (reread(deadly).state, reread(deadly).error_code) == ("failed", "worker.lost")
    wait_until(lambda: all(reread(each).has_ended for each in harmless), seconds=30)
    assert {reread(each).state for each in harmless} == {"completed"}


def test_a_worker_told_to_stop_gives_everything_back_and_nothing_runs_twice(workers: Workers):
    workflow = traced(0.2)
    for _ in range(COUNT):
        started(workflow)
    first = workers.start()
    wait_until(some_running, seconds=60)
    assert workers.stop(first) == 0
    assert not Execution.objects.filter(owner__isnull=False).exists()
    assert not Worker.objects.exists()
    assert not all_ended()
    workers.start()
    wait_until(all_ended, seconds=60)
    check_books(workers)
    assert len(workers.calls()) == COUNT * STEPS


def test_the_projects_rqworker_executes_too(workers: Workers):
    process = workers.start("rqworker", "default")
    execution = started(traced(0.01, steps=2))
    wait_until(lambda: reread(execution).state == "completed", seconds=30)
    assert workers.stop(process) == 0


def test_a_frozen_worker_writes_nothing_once_its_lease_is_over(workers: Workers):
    import os
    import signal

    executions = [started(traced(0.3)) for _ in range(5)]
    frozen = workers.start()
    wait_until(lambda: StepExecution.objects.count() >= 5, seconds=60)
    os.kill(frozen.pid, signal.SIGSTOP)
    workers.start()
    wait_until(lambda: all(reread(each).has_ended for each in executions), seconds=60)
    os.kill(frozen.pid, signal.SIGCONT)
    later = [started(traced(0.05, steps=2)) for _ in range(5)]
    wait_until(lambda: all(reread(each).has_ended for each in later), seconds=60)
    recorded = Counter(StepExecution.objects.values_list("execution_id", "seq"))
    assert set(recorded.values()) == {1}
    assert len(recorded) == 5 * STEPS + 5 * 2
    assert frozen.poll() is None, workers.logs()[-4000:]
    # It has come back as a new worker.
    wait_until(lambda: Worker.objects.count() == 2, seconds=20)


def test_the_commands_refuse_an_unknown_queue_with_a_sentence(workers: Workers):
    process = workers.start("worker", "nowhere")
    assert process.wait(timeout=30) == 1
    assert "The queue 'nowhere' is not configured" in workers.logs()
    assert "Traceback" not in workers.logs()


def test_a_worker_without_a_database_says_so_in_a_sentence(workers: Workers):
    workers.servers.pair.stop_postgres()
    process = workers.start()
    assert process.wait(timeout=30) == 1
    assert "PostgreSQL is not ready" in workers.logs()
    assert "Traceback" not in workers.logs()
    workers.servers.pair.start_postgres()


def test_a_worker_frozen_between_lock_and_commit_does_not_keep_its_rows(workers: Workers):
    execution = started(traced(0.05))
    frozen = workers.start("worker_with_fault", "ledger.before_commit", "3")
    wait_until(lambda: psutil.Process(frozen.pid).status() == psutil.STATUS_STOPPED, seconds=30)
    assert StepExecution.objects.count() == 1
    workers.start()
    wait_until(lambda: reread(execution).state == "completed", seconds=40)
    check_books(workers, count=1)
    assert frozen.poll() is None
    workers.kill(frozen)
