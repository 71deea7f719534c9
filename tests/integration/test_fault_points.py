"""Processes that die between a commit and what comes after it: somebody else does that, once."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import pytest

import executions
from autopilot.common import clock
from executions import slots
from executions.calling_back import complete_callback, take_tasks
from executions.failing import start_owed
from executions.models import Callback, ErrorStart, Execution, Signal, Worker
from executions.runtime import matching
from executions.runtime.clock import Clock
from executions.runtime.faults import POINTS, inject
from executions.runtime.lease import Lease, free_lost_workers
from executions.services import pause_execution
from executions.signalling import send_signal
from tests.engine import NOOP, SYSTEM, drain, published, reread, run, started

pytestmark = pytest.mark.django_db(transaction=True)


class Died(BaseException):
    """Nothing in the product catches it, as nothing catches a killed process."""


@contextmanager
def dying_at(point: str) -> Iterator[None]:
    def die() -> None:
        raise Died

    inject(point, die)
    try:
        with pytest.raises(Died):
            yield
    finally:
        inject(point, None)


def test_every_point_that_is_named_lies_somewhere_and_has_a_test():
    root = Path(executions.__file__).parent
    lies = re.compile(
        r'"((?:dispatch|failing|ledger|lease|mails|matching|migrating|runner|slots|tasks)\.\w+)"'
    )
    found: set[str] = set()
    for path in root.rglob("*.py"):
        if path.name != "faults.py":
            text = path.read_text()
            found |= {name for name in lies.findall(text) if re.search(r"\.(before|after)_", name)}
    assert found == set(POINTS)
    tests = "".join(path.read_text() for path in Path(__file__).parent.parent.rglob("test_*.py"))
    assert {name for name in POINTS if f'"{name}"' not in tests} == set()


def test_a_start_that_rang_no_bell_is_rung_for_by_the_clock():
    workflow = published([{**NOOP, "id": "a"}])
    with dying_at("dispatch.before_ring"):
        started(workflow)
    execution = Execution.objects.get()
    assert (execution.state, Clock()._due(clock.now())) == ("initialized", {"default"})
    drain()
    assert reread(execution).state == "completed"


def test_a_message_that_its_owner_was_not_told_of_is_found_with_the_next_heartbeat():
    heard: list[list[int]] = []
    lease = Lease(
        queues=["default"], busy=lambda: 1, on_lost=lambda: None, on_messages=heard.append
    )
    execution = started(published([{**NOOP, "id": "a"}]))
    Execution.objects.filter(pk=execution.pk).update(owner=lease.worker_id)
    with dying_at("dispatch.before_wake"):
        pause_execution(execution=reread(execution), actor=SYSTEM)
    assert lease._renew()
    assert heard == [[execution.pk]]
    lease.close()
    drain()
    assert reread(execution).state == "paused"


def test_what_a_dead_worker_owned_is_rung_for_though_the_one_who_freed_it_died_too():
    execution = started(published([{**NOOP, "id": "a"}]))
    now = clock.now()
    dead = Worker.objects.create(
        name="gone-1", host="gone", pid=1, started_at=now, lease_until=now - timedelta(minutes=1)
    )
    Execution.objects.filter(pk=execution.pk).update(owner=dead)
    with dying_at("lease.after_freeing"):
        free_lost_workers()
    assert (reread(execution).owner_id, Worker.objects.exists()) == (None, False)
    assert Clock()._due(clock.now()) == {"default"}
    drain()
    assert reread(execution).state == "completed"


def test_a_start_that_was_handed_no_slot_is_given_one_by_the_sweep():
    rule = {"key": "input.k", "limit": 1, "on_limit": "queue"}
    workflow = published([{**NOOP, "id": "a"}], concurrency=rule)
    with dying_at("slots.before_hand_out"):
        started(workflow, {"k": "a"})
    execution = Execution.objects.get()
    assert (execution.slot_held, execution.runnable_at) == (False, None)
    assert slots.sweep() == ("", 1)
    drain()
    row = reread(execution)
    assert (row.state, row.slot_held) == ("completed", False)


def test_a_signal_that_was_given_to_nobody_is_given_by_the_clock_once():
    step = {"id": "s", "type": "signal", "config": {"signal": "paid", "correlation": "A"}}
    execution = run(published([step]))
    with dying_at("matching.before_giving"):
        send_signal(name="paid", actor=SYSTEM, correlation="A", payload=7)
    assert Signal.objects.get().state == "kept"
    assert matching.match_late(60) == {"default"}
    assert matching.match_late(60) == set()
    drain()
    row = reread(execution)
    assert (row.state, row.output, Signal.objects.get().state) == ("completed", 7, "consumed")


def test_what_a_failure_owes_is_started_once_wherever_the_clock_dies():
    published([{**NOOP, "id": "a"}], name="Hear", slug="hear")
    fail = {"id": "stop", "type": "fail", "config": {"error": "my.error"}}
    run(published([fail], on_failure={"workflow": "hear"}))
    with dying_at("failing.before_commit"):
        start_owed()
    assert (ErrorStart.objects.get().status, Execution.objects.count()) == ("owed", 1)
    with dying_at("failing.after_commit"):
        start_owed()
    assert (ErrorStart.objects.get().status, Execution.objects.count()) == ("started", 2)
    assert (start_owed(), Execution.objects.count()) == (0, 2)


def test_a_task_that_was_taken_and_never_answered_for_is_there_again_after_its_lease():
    config = {"action": "task.queue", "with": {"queue": "render"}}
    execution = run(published([{"id": "do", "type": "action", "config": config}]))
    with dying_at("tasks.after_taking"):
        take_tasks(queue="render", actor=SYSTEM)
    assert take_tasks(queue="render", actor=SYSTEM) == []
    Callback.objects.update(available_at=clock.now() - timedelta(seconds=1))
    (task,) = take_tasks(queue="render", actor=SYSTEM)
    assert task.lease == 2
    complete_callback(token=task.token, output=7)
    drain()
    assert (reread(execution).state, reread(execution).output) == ("completed", 7)
