"""Calls that end elsewhere: by a token that works once and for one attempt; and tasks in queues."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection

from autopilot.accounts.actors import Actor
from autopilot.accounts.kinds import ActorKind
from autopilot.accounts.models import AuditEntry, SecurityEvent
from autopilot.common import clock
from autopilot.common.errors import DomainError, PermissionDenied
from executions.calling_back import (
    complete_callback,
    fail_callback,
    heartbeat_callback,
    take_tasks,
)
from executions.errors import (
    CallbackGone,
    CallbackInvalid,
    CallbackTooLarge,
    CallbackUnknown,
    CallbackUsed,
    TaskInvalid,
)
from executions.models import Callback, Execution, InboxMessage, LogLine, StepExecution
from executions.runtime import matching, runner
from executions.services import cancel_execution, pause_execution, resume_execution
from executions.situations import situation_of
from executions.tokens import Place, make_token, read_token
from tests.engine import SYSTEM, drain, published, reread, run
from tests.probe.actions import HANDED_OVER, ON_HAND_OVER

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def _nothing_handed_over() -> Iterator[None]:
    HANDED_OVER.clear()
    yield
    ON_HAND_OVER.clear()


def handing_over(**fields: Any) -> dict[str, Any]:
    config = {"action": "probe.hand_over", "with": {"order": "{{ input.order }}"}}
    return {"id": "ask", "type": "action", "config": config, **fields}


def tasks(queue: str = "render", **fields: Any) -> dict[str, Any]:
    config = {"action": "task.queue", "with": {"queue": queue, "payload": "{{ input }}"}}
    return {"id": "do", "type": "action", "config": config, **fields}


def waiting(**fields: Any) -> tuple[Execution, str]:
    execution = run(published([handing_over(**fields)]), {"order": 17})
    assert (execution.state, execution.reason) == ("waiting", "callback")
    return execution, HANDED_OVER[-1]


def outcome(execution: Execution) -> tuple[str, Any]:
    row = reread(execution)
    return row.state, row.output if row.output is not None else row.error_code


def in_a_thread(work: Any) -> Any:
    def run_it() -> Any:
        try:
            return work()
        finally:
            connection.close()

    with ThreadPoolExecutor(1) as pool:
        return pool.submit(run_it).result()


def make_due(execution: Execution) -> None:
    """Its time was over a second ago."""
    moment = clock.now() - timedelta(seconds=1)
    Execution.objects.filter(pk=execution.pk).update(wait_until=moment, runnable_at=moment)


def test_a_token_is_for_one_attempt_and_nobody_makes_one():
    token = make_token(Place(12, 3, 1))
    assert read_token(token) == Place(12, 3, 1)
    for forged in ("", "12-3-1", token[:-1], f"12-3-2.{token.split('.')[1]}", f"{token}\n"):
        assert read_token(forged) is None


def test_the_call_is_completed_once():
    execution, token = waiting()
    why = situation_of(execution).why
    assert why.code == "callback"
    complete_callback(token=token, output={"ok": True})
    with pytest.raises(CallbackUsed):
        complete_callback(token=token, output={"ok": False})
    drain()
    assert outcome(execution) == ("completed", {"ok": True})
    with pytest.raises(CallbackUsed):
        fail_callback(token=token, code="Late", message="No.")
    step = StepExecution.objects.get(execution=execution)
    assert (step.params, step.output) == ({"order": 17}, {"ok": True})
    assert LogLine.objects.get(execution=execution).event == "handed over"
    row = Callback.objects.get()
    assert (row.outcome, row.answer) == ("delivered", None)
    entries = AuditEntry.objects.filter(action__startswith="callback.")
    assert [each.action for each in entries] == ["callback.completed"]
    assert token not in str(list(entries.values()))


def test_an_end_that_comes_before_the_action_has_returned_is_not_lost():
    ON_HAND_OVER.append(lambda token: in_a_thread(lambda: complete_callback(token=token, output=1)))
    execution = run(published([handing_over()]), {"order": 17})
    assert outcome(execution) == ("completed", 1)
    with pytest.raises(CallbackUsed):
        complete_callback(token=HANDED_OVER[-1], output=2)


def test_a_failure_is_the_error_of_the_step_and_a_retry_has_another_token():
    retry = {"max_attempts": 2, "initial_interval": 0.01, "jitter": 0}
    execution, first = waiting(retry=retry)
    fail_callback(token=first, code="Busy", message="Not now.", details={"line": 3})
    drain()
    assert reread(execution).state == "waiting"
    error = StepExecution.objects.get(execution=execution).error
    assert (error["code"], error["details"]) == ("action.Busy", {"line": 3})
    with pytest.raises(CallbackUsed):
        complete_callback(token=first)
    fail_callback(token=HANDED_OVER[-1], code="Gone", message="Never.", retryable=False)
    drain()
    assert outcome(execution) == ("failed", "action.Gone")


def test_cancelled_or_timed_out_the_token_is_void():
    execution, token = waiting(timeout=3600)
    make_due(execution)
    drain()
    assert outcome(execution) == ("failed", "timeout.step")
    assert reread(execution).error["message"] == "The call was not ended within 1:00:00."
    with pytest.raises(CallbackGone):
        complete_callback(token=token)
    other, token = waiting_of_another()
    cancel_execution(execution=other, actor=SYSTEM)
    drain()
    with pytest.raises(CallbackGone):
        complete_callback(token=token)
    assert not InboxMessage.objects.filter(kind="callback").exists()


def waiting_of_another() -> tuple[Execution, str]:
    execution = run(published([handing_over()], slug="another"), {"order": 18})
    return execution, HANDED_OVER[-1]


def test_an_end_that_was_accepted_is_not_beaten_by_the_timeout(monkeypatch: pytest.MonkeyPatch):
    execution, token = waiting(timeout=3600)
    make_due(execution)
    planned = runner.build
    said: list[Any] = []

    def build_late(**parts: Any) -> Any:
        checkpoint = planned(**parts)
        if checkpoint.heeds and not said:
            said.append(in_a_thread(lambda: complete_callback(token=token, output="in time")))
        return checkpoint

    monkeypatch.setattr(runner, "build", build_late)
    drain()
    assert outcome(execution) == ("completed", "in time")


def test_heartbeats_put_the_end_of_silence_off():
    execution, token = waiting(heartbeat=3600)
    first = reread(execution).wait_until
    heartbeat_callback(token=token, details={"done": 0.5})
    drain()
    row = reread(execution)
    assert row.state == "waiting"
    assert row.wait_until > first
    make_due(execution)
    drain()
    assert reread(execution).error["message"] == "Nothing was heard of the call for 1:00:00."
    with pytest.raises(CallbackGone):
        heartbeat_callback(token=token)


def test_in_a_pause_the_end_is_taken_in_and_followed_later():
    steps = [handing_over(), {"id": "b", "type": "transform", "config": {"output": "after"}}]
    execution = run(published(steps), {"order": 17})
    pause_execution(execution=execution, actor=SYSTEM)
    drain()
    complete_callback(token=HANDED_OVER[-1], output=1)
    drain()
    assert reread(execution).state == "paused"
    resume_execution(execution=reread(execution), actor=SYSTEM)
    drain()
    assert outcome(execution) == ("completed", "after")


@pytest.mark.parametrize(
    ("call", "error", "path"),
    [
        (lambda t: complete_callback(token=t, output="\x00"), CallbackInvalid, "$.output"),
        (lambda t: complete_callback(token=t, output="x" * 300_000), CallbackTooLarge, "$.output"),
        (lambda t: fail_callback(token=t, code="a b", message="No."), CallbackInvalid, "$.code"),
        (lambda t: fail_callback(token=t, code="A", message=""), CallbackInvalid, "$.message"),
        (
            lambda t: heartbeat_callback(token=t, lease_seconds=0),
            CallbackInvalid,
            "$.lease_seconds",
        ),
    ],
)
def test_what_cannot_be_said_leaves_the_token_as_it_is(call: Any, error: type, path: str):
    token = make_token(Place(1, 1, 1))
    with pytest.raises(error) as refused:
        call(token)
    assert [each.path for each in refused.value.details] == [path]
    assert not Callback.objects.exists()


def test_a_forged_token_is_a_security_event():
    with pytest.raises(CallbackUnknown):
        complete_callback(token="1-1-1.forged")
    event = SecurityEvent.objects.get()
    assert (event.kind, event.path) == ("token_invalid", "/api/v1/executions/callbacks/")
    with pytest.raises(CallbackUnknown):
        complete_callback(token=make_token(Place(10**15, 1, 1)))


# Tasks -------------------------------------------------------------------------------------------


def test_a_task_is_taken_once_for_a_lease_and_ends_its_step():
    execution = run(published([tasks()]), {"page": 3})
    assert take_tasks(queue="other", actor=SYSTEM) == []
    (task,) = take_tasks(queue="render", actor=SYSTEM, limit=10)
    assert (task.payload, task.execution_id, task.step) == ({"page": 3}, execution.pk, "do")
    assert (task.attempt, task.lease) == (1, 1)
    assert take_tasks(queue="render", actor=SYSTEM) == []
    assert "given to tests" in situation_of(reread(execution)).why.sentence
    complete_callback(token=task.token, output="done")
    drain()
    assert outcome(execution) == ("completed", "done")
    assert Callback.objects.get().payload is None


def test_a_lease_that_is_over_makes_the_task_free_unless_a_heartbeat_came():
    run(published([tasks()]), {})
    (task,) = take_tasks(queue="render", actor=SYSTEM)
    Callback.objects.update(available_at=clock.now() - timedelta(seconds=1))
    heartbeat_callback(token=task.token, lease_seconds=600)
    assert take_tasks(queue="render", actor=SYSTEM) == []
    Callback.objects.update(available_at=clock.now() - timedelta(seconds=1))
    (again,) = take_tasks(queue="render", actor=SYSTEM, worker="b")
    assert (again.lease, again.token) == (2, task.token)
    assert Callback.objects.get().worker == "b"


def test_a_cancelled_step_withdraws_its_task():
    execution = run(published([tasks()]), {})
    cancel_execution(execution=execution, actor=SYSTEM)
    drain()
    assert take_tasks(queue="render", actor=SYSTEM) == []
    Callback.objects.update(created_at=clock.now() - timedelta(days=8))
    assert matching.purge() == 1


@pytest.mark.parametrize(
    ("options", "path"),
    [
        ({"queue": "a b"}, "$.queue"),
        ({"limit": 0}, "$.limit"),
        ({"limit": 101}, "$.limit"),
        ({"lease_seconds": 0.5}, "$.lease_seconds"),
        ({"worker": "\x00"}, "$.worker"),
    ],
)
def test_tasks_are_asked_for_sensibly(options: dict[str, Any], path: str):
    with pytest.raises(TaskInvalid) as refused:
        take_tasks(**{"queue": "render", "actor": SYSTEM, **options})
    assert [each.path for each in refused.value.details] == [path]


def test_tasks_need_their_own_permission():
    viewer = Actor(ActorKind.USER, 1, "vera", frozenset({"executions.view_execution"}))
    with pytest.raises(PermissionDenied):
        take_tasks(queue="render", actor=viewer)


def test_two_with_one_token_at_once_and_two_takers_of_one_task():
    """Whoever comes first is taken at his word; the other one is told."""
    execution = run(published([tasks()]), {})

    def taking() -> list[Any]:
        return in_a_thread(lambda: take_tasks(queue="render", actor=SYSTEM))

    with ThreadPoolExecutor(2) as pool:
        taken = [each for found in pool.map(lambda _: taking(), range(2)) for each in found]
    assert len(taken) == 1

    def completing(output: int) -> Any:
        try:
            in_a_thread(lambda: complete_callback(token=taken[0].token, output=output))
        except DomainError as error:
            return error.code
        return output

    with ThreadPoolExecutor(2) as pool:
        said = list(pool.map(completing, (1, 2)))
    assert said.count("callback.used") == 1
    drain()
    assert outcome(execution) == (
        "completed",
        min(each for each in said if each != "callback.used"),
    )
