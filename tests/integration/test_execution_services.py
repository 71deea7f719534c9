"""Starting, pausing, resuming, cancelling: the one door, and what it leaves behind."""

from __future__ import annotations

import threading

import pytest
from django.db import IntegrityError, connection, transaction
from rq import Queue
from rq.serializers import JSONSerializer

from autopilot.accounts.actors import Actor
from autopilot.accounts.kinds import ActorKind
from autopilot.accounts.models import AuditEntry
from autopilot.accounts.roles import MATRIX, Role
from autopilot.common.errors import Conflict, PermissionDenied
from executions.errors import (
    ExecutionEnded,
    IdempotencyConflict,
    InputInvalid,
    InputTooLarge,
    StartInvalid,
    TransitionRefused,
)
from executions.hidden.veil import Veil
from executions.models import Execution, InboxMessage, StateTransition, StepExecution
from executions.runtime import dispatch
from executions.services import (
    cancel_execution,
    pause_execution,
    pending_verbs,
    resume_execution,
    start_execution,
)
from tests.engine import NOOP, SYSTEM, drain, published, reread, run, started, wait_until, worker
from workflows.services import create_version, create_workflow, publish_version

pytestmark = pytest.mark.django_db(transaction=True)


def with_role(role: Role) -> Actor:
    return Actor(ActorKind.USER, None, role.value, frozenset(MATRIX[role]))


@pytest.fixture
def workflow():
    return published([{"id": "a", **NOOP}])


def test_a_start_is_a_row_a_transition_an_audit_entry_and_a_bell(workflow, redis_client):
    execution = started(workflow, {"n": 1}, labels={"team": "support"}, correlation_id="c-1")
    assert (execution.state, execution.reason) == ("initialized", "queued")
    assert execution.version.version == "1.0.0"
    row = StateTransition.objects.get(execution=execution)
    assert (row.seq, row.source, row.target, row.actor) == (1, "", "initialized", "tests")
    entry = AuditEntry.objects.get(action="execution.started")
    assert (entry.target_id, entry.after) == (
        str(execution.pk),
        {"workflow": "test", "version": "1.0.0"},
    )
    bells = Queue("default", connection=redis_client, serializer=JSONSerializer)
    assert [job.args for job in bells.jobs] == [["default"]]


def test_bells_do_not_pile_up(workflow, redis_client):
    for _ in range(20):
        started(workflow)
    assert redis_client.llen("rq:queue:default") == dispatch.ENOUGH_BELLS


def test_a_start_that_is_rolled_back_leaves_nothing_and_rings_no_bell(workflow, redis_client):
    with transaction.atomic():
        started(workflow)
        transaction.set_rollback(True)
    assert Execution.objects.count() == 0
    assert redis_client.llen("rq:queue:default") == 0


def test_a_start_runs_what_was_published_a_moment_ago(workflow):
    first = started(workflow)
    draft = create_version(
        actor=SYSTEM,
        workflow=workflow,
        document={"name": "Test", "steps": [{"id": "b", "name": "b", **NOOP}]},
    )
    assert started(workflow).version_id == first.version_id
    publish_version(actor=SYSTEM, version=draft, number="suggest")
    second = started(workflow)
    assert second.version_id == draft.pk
    assert second.version.definition["steps"][0]["id"] == "b"


def test_a_start_that_the_database_refuses_spoils_no_transaction_around_it(workflow, monkeypatch):
    with transaction.atomic():
        with monkeypatch.context() as patch:
            patch.setattr("executions.services.check_input", _with_unknown_priority)
            with pytest.raises(IntegrityError):
                start_execution(workflow=workflow, actor=SYSTEM)
        started(workflow)
    assert Execution.objects.count() == 1
    assert StateTransition.objects.count() == 1
    assert AuditEntry.objects.filter(action="execution.started").count() == 1


def _with_unknown_priority(row):
    row.priority = 7
    return Veil()


def test_a_start_answers_normally_while_redis_is_away(workflow, settings, monkeypatch):
    settings.REDIS_URL = "redis://127.0.0.1:1/0"
    monkeypatch.setattr(dispatch, "_silent_until", 0.0)
    execution = started(workflow)
    monkeypatch.setattr(dispatch, "_silent_until", 0.0)
    settings.REDIS_URL = dispatch.settings.REDIS_URL
    assert drain() == 1
    assert reread(execution).state == "completed"


def test_the_same_key_answers_the_first_execution_again(workflow):
    first = start_execution(workflow=workflow, actor=SYSTEM, input={"n": 1}, idempotency_key="k")
    again = start_execution(workflow=workflow, actor=SYSTEM, input={"n": 1}, idempotency_key="k")
    assert (first.created, again.created) == (True, False)
    assert again.execution.pk == first.execution.pk
    assert Execution.objects.count() == 1
    with pytest.raises(IdempotencyConflict, match=f"execution {first.execution.pk}"):
        start_execution(workflow=workflow, actor=SYSTEM, input={"n": 2}, idempotency_key="k")
    assert Execution.objects.count() == 1


def test_a_repeated_request_gets_the_same_answer_after_a_stricter_version(workflow):
    first = start_execution(workflow=workflow, actor=SYSTEM, input={}, idempotency_key="k")
    document = {
        "name": "Test",
        "steps": [{"name": "a", "id": "a", **NOOP}],
        "input_schema": {"type": "object", "required": ["amount"]},
    }
    draft = create_version(actor=SYSTEM, workflow=workflow, document=document)
    publish_version(actor=SYSTEM, version=draft, number="suggest")
    again = start_execution(workflow=workflow, actor=SYSTEM, input={}, idempotency_key="k")
    assert (again.execution.pk, again.created) == (first.execution.pk, False)


def test_another_actor_or_workflow_may_use_the_same_key(workflow):
    other = published([{"id": "a", **NOOP}], name="Other")
    start_execution(workflow=workflow, actor=SYSTEM, idempotency_key="k")
    assert start_execution(workflow=other, actor=SYSTEM, idempotency_key="k").created
    operator = with_role(Role.OPERATOR)
    assert start_execution(workflow=workflow, actor=operator, idempotency_key="k").created


def test_two_starts_with_one_key_at_once_make_one_execution(workflow):
    answers: list[tuple[int, bool]] = []
    barrier = threading.Barrier(6)

    def start() -> None:
        try:
            barrier.wait(10)
            done = start_execution(workflow=workflow, actor=SYSTEM, idempotency_key="k")
            answers.append((done.execution.pk, done.created))
        finally:
            connection.close()

    threads = [threading.Thread(target=start) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert len(answers) == 6
    assert len({pk for pk, _ in answers}) == 1
    assert [created for _, created in answers].count(True) == 1


def test_input_is_checked_before_an_execution_exists():
    schema = {
        "type": "object",
        "properties": {"amount": {"type": "number"}, "days": {"type": "integer"}},
        "required": ["amount", "days"],
    }
    workflow = published([{"id": "a", **NOOP}], input_schema=schema)
    with pytest.raises(InputInvalid) as caught:
        started(workflow, {"amount": "much", "days": 1.5})
    assert [each.path for each in caught.value.details] == ["$.input.amount", "$.input.days"]
    assert Execution.objects.count() == 0


@pytest.mark.parametrize(
    ("data", "error", "code"),
    [
        ({"text": "x" * 5_000_000}, InputTooLarge, "limit.input"),
        ({"text": "a\x00b"}, InputInvalid, "validation.input"),
        ({"text": "\ud800"}, InputInvalid, "validation.input"),
        ({"n": float("nan")}, InputInvalid, "validation.input"),
    ],
)
def test_input_that_cannot_be_stored_is_refused(workflow, data, error, code):
    with pytest.raises(error) as caught:
        started(workflow, data)
    assert [(each.path, each.code) for each in caught.value.details] == [("$.input", code)]
    assert Execution.objects.count() == 0


@pytest.mark.parametrize(
    ("options", "path"),
    [
        ({"queue": "nowhere"}, "$.queue"),
        ({"priority": 7}, "$.priority"),
        ({"labels": {"a": "x" * 101}}, "$.labels"),
        ({"labels": {"a": 1}}, "$.labels"),
        ({"correlation_id": "x" * 201}, "$.correlation_id"),
        ({"idempotency_key": "a\x00"}, "$.idempotency_key"),
    ],
)
def test_options_that_make_no_sense_are_refused(workflow, options, path):
    with pytest.raises(StartInvalid) as caught:
        started(workflow, **options)
    assert [each.path for each in caught.value.details] == [path]
    assert Execution.objects.count() == 0


def test_a_workflow_with_nothing_published_cannot_be_started():
    draft = create_workflow(
        actor=SYSTEM, document={"name": "Draft", "steps": [{"name": "a", **NOOP}]}
    )
    with pytest.raises(Conflict, match="no published version"):
        started(draft.workflow)


@pytest.mark.parametrize("verb", [pause_execution, resume_execution, cancel_execution])
def test_whoever_lacks_the_permission_changes_nothing(workflow, verb):
    execution = started(workflow)
    for role in (Role.VIEWER, Role.DESIGNER):
        with pytest.raises(PermissionDenied):
            verb(execution=execution, actor=with_role(role))
    with pytest.raises(PermissionDenied):
        start_execution(workflow=workflow, actor=with_role(Role.VIEWER))
    assert InboxMessage.objects.count() == 0
    assert Execution.objects.count() == 1


def test_pause_before_the_start_then_resume_runs_it(workflow):
    execution = started(workflow)
    asked = pause_execution(execution=execution, actor=SYSTEM, reason="wait for Monday")
    assert (asked.state, pending_verbs(asked)) == ("initialized", ["pause"])
    drain()
    paused = reread(execution)
    assert (paused.state, paused.reason, pending_verbs(paused)) == (
        "paused",
        "wait for Monday",
        [],
    )
    assert paused.paused_at is not None
    assert drain() == 0
    resumed = resume_execution(execution=paused, actor=SYSTEM)
    assert resumed.state == "resumed"
    drain()
    assert reread(execution).paused_at is None
    assert reread(execution).state == "completed"
    path = StateTransition.objects.filter(execution=execution).values_list("target", flat=True)
    assert list(path) == ["initialized", "paused", "resumed", "running", "completed"]


def test_pause_while_a_step_runs_lets_it_end_and_stops_before_the_next():
    config = {"action": "probe.trace", "with": {"seconds": 0.3}}
    steps = [{"id": "slow", "type": "action", "config": config}, {"id": "next", **NOOP}]
    execution = started(published(steps))
    with worker() as process:
        thread = threading.Thread(target=_pause_when_running, args=(execution,))
        thread.start()
        process.drain("default")
        thread.join()
    paused = reread(execution)
    assert (paused.state, paused.current_step) == ("paused", "next")
    assert list(StepExecution.objects.values_list("step_id", "state")) == [("slow", "completed")]
    resume_execution(execution=paused, actor=SYSTEM)
    drain()
    assert reread(execution).state == "completed"


def _pause_when_running(execution: Execution) -> None:
    try:
        wait_until(lambda: reread(execution).current_phase == "call")
        asked = pause_execution(execution=execution, actor=SYSTEM)
        assert (asked.state, pending_verbs(asked)) == ("running", ["pause"])
    finally:
        connection.close()


def test_cancel_interrupts_a_running_call():
    config = {"action": "probe.trace", "with": {"seconds": 60}}
    execution = started(published([{"id": "slow", "type": "action", "config": config}]))

    def cancel() -> None:
        try:
            wait_until(lambda: reread(execution).current_phase == "call")
            cancel_execution(execution=execution, actor=SYSTEM, reason="customer called")
        finally:
            connection.close()

    with worker() as process:
        thread = threading.Thread(target=cancel)
        thread.start()
        process.drain("default")
        thread.join()
    cancelled = reread(execution)
    assert (cancelled.state, cancelled.reason) == ("cancelled", "customer called")
    assert list(StepExecution.objects.values_list("step_id", "state")) == [("slow", "cancelled")]


def test_cancel_wakes_a_waiting_execution():
    steps = [{"id": "nap", "type": "wait", "config": {"duration": "1h"}}]
    execution = run(published(steps))
    assert execution.state == "waiting"
    cancel_execution(execution=execution, actor=SYSTEM)
    drain()
    assert reread(execution).state == "cancelled"


def test_pause_and_resume_of_a_timer_keep_its_moment():
    steps = [{"id": "nap", "type": "wait", "config": {"duration": "1h"}}]
    execution = run(published(steps))
    until = execution.wait_until
    pause_execution(execution=execution, actor=SYSTEM)
    drain()
    paused = reread(execution)
    assert (paused.state, paused.runnable_at, paused.wait_until) == ("paused", None, until)
    resume_execution(execution=paused, actor=SYSTEM)
    drain()
    waiting = reread(execution)
    assert (waiting.state, waiting.runnable_at) == ("waiting", until)


def test_wishes_that_make_no_sense_are_refused_with_the_reason(workflow):
    execution = started(workflow)
    with pytest.raises(TransitionRefused, match="only a paused one can be resumed"):
        resume_execution(execution=execution, actor=SYSTEM)
    pause_execution(execution=execution, actor=SYSTEM)
    assert pending_verbs(pause_execution(execution=execution, actor=SYSTEM)) == ["pause"]
    cancel_execution(execution=execution, actor=SYSTEM)
    with pytest.raises(TransitionRefused, match="being cancelled"):
        pause_execution(execution=execution, actor=SYSTEM)
    drain()
    for verb in (pause_execution, resume_execution, cancel_execution):
        with pytest.raises(ExecutionEnded, match="it is cancelled"):
            verb(execution=execution, actor=SYSTEM)
    assert InboxMessage.objects.count() == 2


def test_resume_asked_before_the_pause_was_done_is_kept(workflow):
    execution = started(workflow)
    pause_execution(execution=execution, actor=SYSTEM)
    resume_execution(execution=execution, actor=SYSTEM)
    drain()
    assert reread(execution).state == "completed"
    path = StateTransition.objects.filter(execution=execution).values_list("target", flat=True)
    assert list(path) == ["initialized", "paused", "resumed", "running", "completed"]


def test_every_wish_is_audited_with_its_reason(workflow):
    execution = started(workflow)
    cancel_execution(execution=execution, actor=with_role(Role.OPERATOR), reason="duplicate")
    entry = AuditEntry.objects.get(action="execution.cancel_requested")
    assert (entry.actor_name, entry.after) == (
        "Operator",
        {"state": "initialized", "reason": "duplicate"},
    )
