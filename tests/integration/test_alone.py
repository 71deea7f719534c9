"""An execution that is alone: its checkpoints leave the ledger's thread out, and nothing else."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import psycopg2
import pytest
from django.db import connection

from executions.engine.states import State
from executions.models import Execution, InboxMessage, StepExecution
from executions.runtime import ledger, strays
from executions.runtime import process as process_module
from executions.runtime.committing import Committer
from executions.runtime.direct import Direct, Reply
from executions.runtime.faults import inject
from executions.runtime.process import WorkerProcess
from executions.services import cancel_execution
from tests.engine import NOOP, SYSTEM, published, reread, started, worker

pytestmark = pytest.mark.django_db(transaction=True)

STEPS = [
    {"id": "nothing", "type": "action", "config": {"action": "probe.nothing"}},
    {
        **NOOP,
        "id": "a",
        "config": {"action": "noop", "with": {"n": 1}},
        "assign": {"seen": "{{ steps.a.output.n }}"},
    },
    {
        "id": "which",
        "type": "choice",
        "config": {"choices": [{"when": "vars.seen == 1", "next": "b"}], "default": "c"},
    },
    {
        **NOOP,
        "id": "b",
        "config": {"action": "noop", "with": {"text": "ü {{ vars.seen }} 'quoted' %s"}},
    },
    {**NOOP, "id": "c", "when": "vars.seen == 2"},
    {"id": "d", "type": "transform", "config": {"output": {"list": [1, None, "x"]}}},
]


@pytest.fixture
def threaded(monkeypatch) -> list[int]:
    """Of how many checkpoints each commit of the thread was."""
    found: list[int] = []
    commit = Committer.commit

    def noted(self, checkpoints, *, waits):
        found.append(len(checkpoints))
        return commit(self, checkpoints, waits=waits)

    monkeypatch.setattr(Committer, "commit", noted)
    return found


@contextmanager
def connected_worker() -> Iterator[WorkerProcess]:
    """A worker whose loop has its own connection already."""
    with worker() as process:
        connect(process)
        yield process


def connect(process: WorkerProcess) -> None:
    async def until_free() -> None:
        async with asyncio.timeout(10):
            while not process._ledger._lone.is_free():
                await asyncio.sleep(0.005)

    process._loop.run_until_complete(until_free())


def told(execution: Execution) -> list[Any]:
    """All that is stored of it but ids and moments; of documents whether there is one, too."""
    columns = ("state", "reason", "current_step", "current_seq", "current_phase", "steps_entered")
    more = ("variables", "output", "error", "seen_seq", "transition_seq", "log_seq", "revision")
    steps = StepExecution.objects.filter(execution=execution).order_by("seq", "attempt")
    documents = ("params", "output", "error")
    fields = ("seq", "attempt", "step_id", "name", "type", "state", *documents)
    # A model reads JSON's null and no document at all as the same.
    missing = [steps.filter(**{f"{name}__isnull": True}).count() for name in documents]
    row = reread(execution)
    return [
        [getattr(row, name) for name in (*columns, *more, "owner_id", "claims", "slot_held")],
        [[getattr(each, name) for name in fields] for each in steps],
        missing,
        [
            (each.source, each.target, each.reason, each.actor)
            for each in execution.transitions.order_by("seq")
        ],
    ]


@contextmanager
def at(point: str, action: Callable[[], Any]) -> Iterator[None]:
    """Do something on a thread of its own when the point is passed for the first time."""
    left = [1]

    def apart() -> None:
        try:
            action()
        finally:
            connection.close()

    def act() -> None:
        if left[0]:
            left[0] -= 1
            with ThreadPoolExecutor(1) as pool:
                pool.submit(apart).result()

    inject(point, act)
    try:
        yield
    finally:
        inject(point, None)
    assert left == [0]


def test_what_is_stored_is_the_same_whichever_way_it_went(threaded, monkeypatch) -> None:
    workflow = published(STEPS, output={"all": "{{ steps.b.output }}"})
    alone, together = started(workflow), started(workflow)
    Execution.objects.filter(pk=together.pk).update(runnable_at=None)

    with connected_worker() as process:
        process.drain("default")
        assert reread(alone).state == State.COMPLETED
        assert threaded == []
        monkeypatch.setattr(Direct, "is_free", lambda self: False)
        Execution.objects.filter(pk=together.pk).update(runnable_at=together.runnable_at)
        process.drain("default")

    assert threaded == [1, 1, 1, 1]
    assert told(alone) == told(together)
    assert told(alone)[0][0] == State.COMPLETED


def test_two_executions_go_by_the_thread(threaded) -> None:
    workflow = published([{**NOOP, "id": "a"}])
    both = [started(workflow), started(workflow)]

    with connected_worker() as process:
        process.drain("default")

    assert [reread(each).state for each in both] == [State.COMPLETED] * 2
    assert threaded[0] == 2


def test_whoever_has_lost_it_writes_nothing() -> None:
    execution = started(published(STEPS))

    def lose() -> None:
        Execution.objects.filter(pk=execution.pk).update(epoch=7)

    with connected_worker() as process, at("runner.after_call", lose):
        process.drain("default")

    assert reread(execution).state == State.RUNNING
    assert reread(execution).revision == 1
    assert not StepExecution.objects.filter(execution=execution).exists()


def test_a_wish_that_came_meanwhile_is_heard() -> None:
    execution = started(published([{**NOOP, "id": "a"}, {**NOOP, "id": "b"}]))

    def cancel() -> None:
        cancel_execution(execution=reread(execution), actor=SYSTEM, reason="enough")

    with connected_worker() as process, at("runner.after_call", cancel):
        process.drain("default")

    after = reread(execution)
    assert (after.state, after.reason) == (State.CANCELLED, "enough")
    steps = StepExecution.objects.filter(execution=execution).order_by("seq")
    assert [(each.step_id, each.state) for each in steps] == [
        ("a", "completed"),
        ("b", "cancelled"),
    ]
    assert InboxMessage.objects.get(execution=execution).seq == after.seen_seq


@pytest.mark.parametrize("which", [1, 2, 3])
def test_a_commit_whose_answer_was_lost_is_not_done_twice(which, monkeypatch) -> None:
    execution = started(published([{**NOOP, "id": "a"}, {**NOOP, "id": "b"}]))
    lose_answer(monkeypatch, which)

    with connected_worker() as process:
        process.drain("default")

    after = reread(execution)
    assert (after.state, after.epoch, after.revision) == (State.COMPLETED, 1, 3)
    assert StepExecution.objects.filter(execution=execution).count() == 2
    assert execution.transitions.count() == 3


def lose_answer(monkeypatch: Any, which: int) -> None:
    """Let the connection break after it has carried out its n-th statement."""
    execute, count = Direct.execute, [0]

    async def cut_off(self: Direct, sql: str, parameters: Any) -> Reply:
        reply = await execute(self, sql, parameters)
        count[0] += 1
        if count[0] == which:
            self._drop()
            raise psycopg2.OperationalError("cut off")
        return reply

    monkeypatch.setattr(Direct, "execute", cut_off)


def test_a_claim_whose_answer_was_lost_is_freed_and_taken_again(monkeypatch) -> None:
    execution = started(published([{**NOOP, "id": "a"}]))
    lose_answer(monkeypatch, 1)

    with connected_worker() as process:
        wanted = {"queue_name": "default", "suspect_after": 3}
        claims = process._loop.run_until_complete(process._ledger.claim_one(execution.pk, **wanted))

    assert [(each.snapshot_id, each.epoch) for each in claims] == [(execution.pk, 2)]


@pytest.mark.parametrize("is_alone", [True, False])
def test_one_that_could_not_be_read_is_free_again(is_alone, monkeypatch) -> None:
    execution = started(published([{**NOOP, "id": "a"}]))
    wanted = {"queue_name": "default", "suspect_after": 3}

    def fail(*given: Any) -> None:
        raise psycopg2.DataError("unreadable")

    with connected_worker() as process:
        with monkeypatch.context() as patch:
            patch.setattr(ledger, "read_claims", fail)
            if not is_alone:
                patch.setattr(Direct, "is_free", lambda self: False)
            claim = process._ledger.claim_one(execution.pk, **wanted)
            with pytest.raises(psycopg2.DataError):
                process._loop.run_until_complete(claim)
        assert reread(execution).owner_id
        process.drain("default")

    assert reread(execution).state == State.COMPLETED


@pytest.mark.parametrize("is_idle", [False, True])
def test_what_the_server_claimed_late_for_a_broken_connection_is_freed(
    is_idle, monkeypatch
) -> None:
    monkeypatch.setattr(strays, "LATER_SECONDS", 0.0)
    execution = started(published([{**NOOP, "id": "a"}]))

    with connected_worker() as process:
        suspects = process._ledger._strays
        suspects.suspect()
        process._loop.run_until_complete(process._ledger.freshen())
        Execution.objects.filter(pk=execution.pk).update(owner_id=process._ledger.worker_id)
        assert suspects.are_due
        if is_idle:
            process.tidy()
            assert reread(execution).owner_id is None
        process.drain("default")
        assert not suspects.are_due

    assert reread(execution).state == State.COMPLETED


def test_a_worker_without_a_bell_does_not_wait_for_a_database_that_is_away(monkeypatch) -> None:
    monkeypatch.setattr(process_module, "TIDY_SECONDS", 0.05)
    execution = started(published([{**NOOP, "id": "a"}]))

    def away(self: strays.Strays, held: Any) -> None:
        raise psycopg2.OperationalError("away")

    with worker() as process:
        with monkeypatch.context() as patch:
            patch.setattr(strays.Strays, "release", away)
            process._ledger._strays.suspect()
            process.tidy()
        process.drain("default")

    assert reread(execution).state == State.COMPLETED


def test_one_that_has_steps_is_claimed_with_them(threaded) -> None:
    execution = started(published([{**NOOP, "id": "a"}, {**NOOP, "id": "b"}]))
    wanted = {"queue_name": "default", "suspect_after": 3}

    with connected_worker() as process:

        def close() -> None:
            process.stop()
            process._drain.closing = True

        with at("runner.after_call", close):
            process.drain("default")
    assert threaded == []
    with connected_worker() as process:
        claim = process._ledger.claim_one(execution.pk, **wanted)
        (found,) = process._loop.run_until_complete(claim)

    assert found.snapshot.state == State.RUNNING
    assert list(found.snapshot.steps) == ["a"]


def test_the_server_may_end_the_connection_at_any_time(threaded) -> None:
    execution = started(published(STEPS))

    def end() -> None:
        with connection.cursor() as opened:
            opened.execute(
                "SELECT count(pg_terminate_backend(pid, 5000)) FROM pg_stat_activity"
                " WHERE pid <> pg_backend_pid() AND datname = current_database()"
            )

    with connected_worker() as process, at("runner.before_call", end):
        process.drain("default")

    assert reread(execution).state == State.COMPLETED
    assert threaded


def test_a_row_that_somebody_holds_is_waited_for() -> None:
    execution = started(published([{**NOOP, "id": "a"}]))
    other = psycopg2.connect(**connection.get_connection_params())

    def hold() -> None:
        other.cursor().execute(
            "SELECT 1 FROM executions_execution WHERE id = %s FOR UPDATE", [execution.pk]
        )

    fail = Direct._fail

    def failed(self: Direct, error: psycopg2.Error) -> None:
        other.rollback()
        fail(self, error)

    with pytest.MonkeyPatch.context() as patch, connected_worker() as process:
        patch.setattr(Direct, "_fail", failed)
        with at("runner.after_call", hold):
            process.drain("default")
    other.close()

    assert reread(execution).state == State.COMPLETED
