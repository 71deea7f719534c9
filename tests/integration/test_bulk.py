"""Starting and asking many at once: all or nothing, one result each, and what is left behind."""

from __future__ import annotations

import threading
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from rq import Queue
from rq.serializers import JSONSerializer

from autopilot.accounts.actors import Actor
from autopilot.accounts.kinds import ActorKind
from autopilot.accounts.models import AuditEntry
from autopilot.accounts.roles import MATRIX, Role
from autopilot.common import clock
from autopilot.common.errors import Conflict, PermissionDenied
from executions import bulk, bulk_start
from executions.bulk import Result, Selection, apply, preview
from executions.bulk_start import start_many
from executions.engine.events import Verb
from executions.engine.states import State
from executions.errors import BulkNothing, BulkTooMany, IdempotencyConflict, StartInvalid
from executions.models import Execution, InboxMessage, StateTransition
from executions.runtime import dispatch
from executions.services import cancel_execution, pause_execution, start_execution
from tests.engine import NOOP, SYSTEM, drain, published, reread, started
from workflows.services import create_workflow

pytestmark = pytest.mark.django_db(transaction=True)

NUMBER = {
    "type": "object",
    "required": ["n"],
    "properties": {"n": {"type": "integer"}},
}


@pytest.fixture
def workflow():
    return published([{"id": "a", **NOOP}], input_schema=NUMBER)


def with_role(role: Role) -> Actor:
    return Actor(ActorKind.USER, None, role.value, frozenset(MATRIX[role]))


def many(count: int, **options: Any) -> list[dict[str, Any]]:
    return [{"input": {"n": n}, **options} for n in range(count)]


def everything() -> Selection:
    return Selection(Execution.objects.all())


def done(verb: Verb, selection: Selection, **options: Any) -> list[Result]:
    batches = apply(verb=verb, selection=selection, actor=SYSTEM, **options)
    return [result for batch in batches for result in batch]


def test_many_starts_are_rows_transitions_one_audit_entry_and_one_bell(workflow, redis_client):
    begun = start_many(workflow=workflow, actor=SYSTEM, requests=many(50))
    assert [each.created for each in begun] == [True] * 50
    ids = [each.execution.pk for each in begun]
    rows = list(Execution.objects.order_by("pk"))
    assert [row.pk for row in rows] == ids
    assert [row.input for row in rows] == [{"n": n} for n in range(50)]
    assert {(row.state, row.reason, row.transition_seq) for row in rows} == {
        ("initialized", "queued", 1)
    }
    # In the order in which they were asked for, down to the index of the claim.
    assert rows == sorted(rows, key=lambda row: row.runnable_at)
    notes = StateTransition.objects.order_by("execution_id")
    assert [(each.execution_id, each.target, each.actor) for each in notes] == [
        (pk, "initialized", "tests") for pk in ids
    ]
    entry = AuditEntry.objects.get(action="execution.many_started")
    assert (entry.target_id, entry.after) == (
        str(workflow.pk),
        {"versions": ["1.0.0"], "count": 50, "executions": ids},
    )
    bells = Queue("default", connection=redis_client, serializer=JSONSerializer)
    assert [job.args for job in bells.jobs] == [["default"]]
    assert drain() == 50
    assert set(Execution.objects.values_list("state", flat=True)) == {"completed"}


def test_each_request_may_say_what_a_single_start_may(workflow):
    later = clock.now() + timedelta(days=1)
    requests = [
        {"input": {"n": 1}, "priority": 3, "labels": {"team": "a"}, "correlation_id": "c"},
        {"input": {"n": 2}, "start_at": later, "version": "1.0.0"},
    ]
    first, second = (
        each.execution for each in start_many(workflow=workflow, actor=SYSTEM, requests=requests)
    )
    assert (first.priority, first.labels, first.correlation_id) == (3, {"team": "a"}, "c")
    assert (second.reason, second.runnable_at) == ("scheduled", later)


def test_one_wrong_request_stops_all_and_every_problem_has_its_place(workflow, redis_client):
    requests: list[dict[str, Any]] = many(6)
    requests[1]["input"] = {"n": "one"}
    requests[2]["input"] = {}
    requests[3]["queue"] = "nowhere"
    requests[4]["version"] = "7.0.0"
    requests[5] |= {"labels": {"a": 1}, "priority": 9}
    with pytest.raises(StartInvalid, match=r"6 problems.*Nothing was started") as caught:
        start_many(workflow=workflow, actor=SYSTEM, requests=requests)
    assert sorted((each.path, each.code) for each in caught.value.details) == [
        ("$.requests[1].input.n", "validation.schema"),
        ("$.requests[2].input.n", "validation.schema"),
        ("$.requests[3].queue", "invalid"),
        ("$.requests[4].version", "version.unknown"),
        ("$.requests[5].labels", "invalid"),
        ("$.requests[5].priority", "invalid"),
    ]
    assert Execution.objects.count() == StateTransition.objects.count() == 0
    assert not AuditEntry.objects.filter(action="execution.many_started").exists()
    assert redis_client.llen("rq:queue:default") == 0


def test_problems_have_an_end(workflow):
    with pytest.raises(StartInvalid, match="200 problems; see details, the first 100") as caught:
        start_many(workflow=workflow, actor=SYSTEM, requests=[{"input": {}}] * 200)
    assert len(caught.value.details) == bulk_start.MAX_PROBLEMS


@pytest.mark.parametrize("count", [0, 1001])
def test_a_call_has_its_size(workflow, count: int):
    with pytest.raises(StartInvalid, match="1 to 1,000 executions"):
        start_many(workflow=workflow, actor=SYSTEM, requests=many(1) * count)


def test_what_is_not_published_is_one_problem_and_not_one_each():
    draft = create_workflow(actor=SYSTEM, document={"name": "D", "steps": [{"name": "a", **NOOP}]})
    with pytest.raises(Conflict, match="no published version") as caught:
        start_many(workflow=draft.workflow, actor=SYSTEM, requests=[{}, {}])
    assert [each.path for each in caught.value.details] == ["$.workflow"]


def test_used_keys_answer_the_first_execution_and_the_rest_starts(workflow):
    first = start_execution(
        workflow=workflow, actor=SYSTEM, input={"n": 1}, idempotency_key="k-1"
    ).execution
    requests = [{"input": {"n": n}, "idempotency_key": f"k-{n}"} for n in (0, 1, 2)]
    answers = start_many(workflow=workflow, actor=SYSTEM, requests=requests)
    assert [each.created for each in answers] == [True, False, True]
    assert answers[1].execution.pk == first.pk
    assert Execution.objects.count() == 3
    again = start_many(workflow=workflow, actor=SYSTEM, requests=requests)
    assert [each.execution.pk for each in again] == [each.execution.pk for each in answers]
    assert not any(each.created for each in again)
    assert Execution.objects.count() == 3


def test_a_key_of_another_request_stops_all(workflow):
    first = start_execution(
        workflow=workflow, actor=SYSTEM, input={"n": 1}, idempotency_key="k"
    ).execution
    with pytest.raises(IdempotencyConflict) as caught:
        start_many(
            workflow=workflow,
            actor=SYSTEM,
            requests=[{"input": {"n": 0}}, {"input": {"n": 2}, "idempotency_key": "k"}],
        )
    (problem,) = caught.value.details
    assert problem.path == "$.requests[1].idempotency_key"
    assert f"execution {first.pk}" in problem.message
    assert Execution.objects.count() == 1


def test_a_key_twice_in_one_call_is_refused(workflow):
    with pytest.raises(StartInvalid) as caught:
        start_many(workflow=workflow, actor=SYSTEM, requests=many(2, idempotency_key="k"))
    (problem,) = caught.value.details
    assert (problem.path, problem.code) == (
        "$.requests[1].idempotency_key",
        "idempotency.repeated",
    )


def test_the_same_call_twice_at_once_starts_everything_once(workflow):
    requests = [{"input": {"n": n}, "idempotency_key": f"k-{n}"} for n in range(200)]
    answers: list[list[bool]] = []
    barrier = threading.Barrier(3)

    def call() -> None:
        barrier.wait()
        try:
            begun = start_many(workflow=workflow, actor=SYSTEM, requests=requests)
            answers.append([each.created for each in begun])
        finally:
            connection.close()

    threads = [threading.Thread(target=call) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(answers) == [[False] * 200, [False] * 200, [True] * 200]
    assert Execution.objects.count() == 200


def test_starting_many_needs_what_starting_one_needs(workflow):
    with pytest.raises(PermissionDenied):
        start_many(workflow=workflow, actor=with_role(Role.VIEWER), requests=many(1))
    assert Execution.objects.count() == 0


def test_many_starts_cost_the_same_statements_however_many_they_are(
    workflow, django_assert_num_queries
):
    start_many(workflow=workflow, actor=SYSTEM, requests=many(1))
    # Version; begin, executions, transitions, audit, commit; the bulk inserts' own savepoints.
    with django_assert_num_queries(9, exact=False):
        start_many(workflow=workflow, actor=SYSTEM, requests=many(2))
    with django_assert_num_queries(9, exact=False):
        start_many(workflow=workflow, actor=SYSTEM, requests=many(500))


def test_a_preview_says_what_would_be_touched_and_touches_nothing(workflow):
    a, b, c = (started(workflow, {"n": n}) for n in range(3))
    cancel_execution(execution=c, actor=SYSTEM)
    drain()
    d = started(workflow, {"n": 3})
    seen = preview(verb=Verb.PAUSE, selection=everything(), actor=SYSTEM)
    assert (seen.count, seen.is_capped, seen.missing) == (1, False, 0)
    assert {state: each.count for state, each in seen.by_state.items()} == {
        "initialized": 1,
        "completed": 2,
        "cancelled": 1,
    }
    assert [each.pk for each in seen.sample] == [d.pk]
    assert seen.sentence == (
        "1 execution would be paused; what else matches can't be paused: 2 completed, 1 cancelled."
    )
    assert reread(d).inbox_seq == 0
    named = preview(
        verb=Verb.CANCEL, selection=Selection.of_ids([a.pk, d.pk, 0], actor=SYSTEM), actor=SYSTEM
    )
    assert named.sentence == (
        "1 execution would be cancelled; what else matches can't be cancelled: 1 completed; "
        "1 id is unknown."
    )
    assert b.pk


def test_a_verb_by_filter_touches_what_it_can_and_audits_each(workflow, redis_client):
    waiting = [started(workflow, {"n": n}) for n in range(3)]
    redis_client.flushdb()
    results = done(Verb.PAUSE, everything(), reason="stock-taking")
    assert results == [Result(each.pk, "pending", "initialized") for each in waiting]
    messages = InboxMessage.objects.order_by("execution_id")
    assert [(each.execution_id, each.kind, each.payload) for each in messages] == [
        (each.pk, "pause", {"reason": "stock-taking"}) for each in waiting
    ]
    entries = AuditEntry.objects.filter(action="execution.pause_requested").order_by("id")
    assert [(each.target_id, each.after) for each in entries] == [
        (str(each.pk), {"state": "initialized", "reason": "stock-taking"}) for each in waiting
    ]
    assert redis_client.llen("rq:queue:default") == 1
    drain()
    assert set(Execution.objects.values_list("state", flat=True)) == {"paused"}
    results = done(Verb.RESUME, everything())
    assert results == [Result(each.pk, "done", "resumed") for each in waiting]
    rows = StateTransition.objects.filter(target="resumed").order_by("execution_id")
    assert [(each.execution_id, each.seq, each.actor) for each in rows] == [
        (each.pk, 3, "tests") for each in waiting
    ]
    drain()
    assert set(Execution.objects.values_list("state", flat=True)) == {"completed"}


def test_each_named_id_gets_its_result_and_none_stops_another(workflow):
    ended = started(workflow, {"n": 0})
    drain()
    paused = started(workflow, {"n": 1})
    pause_execution(execution=paused, actor=SYSTEM)
    drain()
    fresh = started(workflow, {"n": 2})
    named = Selection.of_ids([fresh.pk, 10**12, paused.pk, ended.pk, fresh.pk], actor=SYSTEM)
    assert done(Verb.PAUSE, named) == [
        Result(
            ended.pk,
            "refused",
            "",
            "execution.ended",
            "The execution has ended: it is completed.",
        ),
        Result(paused.pk, "refused", "", "execution.state", "The execution is paused already."),
        Result(fresh.pk, "pending", "initialized"),
        Result(
            10**12,
            "refused",
            "",
            "execution.not_found",
            "There is no such execution, or you may not see it.",
        ),
    ]
    assert AuditEntry.objects.filter(action="execution.pause_requested").count() == 2


def test_asking_again_changes_nothing(workflow):
    execution = started(workflow, {"n": 0})
    for _ in range(2):
        assert done(Verb.CANCEL, everything()) == [Result(execution.pk, "pending", "initialized")]
    assert InboxMessage.objects.count() == 1
    assert AuditEntry.objects.filter(action="execution.cancel_requested").count() == 1


def test_nothing_to_do_is_said(workflow):
    with pytest.raises(BulkNothing, match=r"No execution matches\. Nothing was done\."):
        done(Verb.CANCEL, everything())
    started(workflow, {"n": 0})
    drain()
    with pytest.raises(BulkNothing, match=r"0 executions would be cancelled; .* 1 completed"):
        done(Verb.CANCEL, everything())
    with pytest.raises(BulkNothing, match="No ids were given"):
        done(Verb.CANCEL, Selection.of_ids([], actor=SYSTEM))


def test_too_much_for_one_call_is_said_before_anything_is_done(workflow, monkeypatch):
    monkeypatch.setattr(bulk, "MAX_TOUCHED", 2)
    start_many(workflow=workflow, actor=SYSTEM, requests=many(3))
    with pytest.raises(BulkTooMany, match="at most 2 executions, and the filter matches more"):
        done(Verb.CANCEL, everything())
    with pytest.raises(BulkTooMany, match="3 ids were given"):
        Selection.of_ids([1, 2, 3], actor=SYSTEM)
    seen = preview(verb=Verb.CANCEL, selection=everything(), actor=SYSTEM)
    assert (seen.count, seen.is_capped) == (2, True)
    assert seen.sentence == "2+ executions would be cancelled."
    assert InboxMessage.objects.count() == 0


def test_batches_are_durable_one_by_one(workflow, monkeypatch):
    monkeypatch.setattr(bulk, "BATCH", 2)
    start_many(workflow=workflow, actor=SYSTEM, requests=many(5))
    sizes = []
    for batch in apply(verb=Verb.CANCEL, selection=everything(), actor=SYSTEM):
        sizes.append((len(batch), InboxMessage.objects.count()))
    assert sizes == [(2, 2), (2, 4), (1, 5)]


def test_asking_many_needs_what_asking_one_needs(workflow):
    started(workflow, {"n": 0})
    viewer = with_role(Role.VIEWER)
    with pytest.raises(PermissionDenied):
        preview(verb=Verb.CANCEL, selection=everything(), actor=viewer)
    with pytest.raises(PermissionDenied):
        apply(verb=Verb.CANCEL, selection=everything(), actor=viewer)
    assert InboxMessage.objects.count() == 0


def test_a_reason_that_cannot_be_kept_is_refused_before_anything(workflow):
    started(workflow, {"n": 0})
    with pytest.raises(StartInvalid, match="at most 200 characters"):
        apply(verb=Verb.CANCEL, selection=everything(), actor=SYSTEM, reason="x" * 201)
    assert InboxMessage.objects.count() == 0


def test_rings_go_to_the_queue_and_calls_to_owners(workflow, monkeypatch):
    rung: list[str] = []
    woken: list[list[int]] = []
    start_many(workflow=workflow, actor=SYSTEM, requests=many(3))
    monkeypatch.setattr(dispatch, "ring", rung.append)
    monkeypatch.setattr(dispatch, "wake", woken.append)
    done(Verb.CANCEL, everything())
    assert (rung, woken) == (["default"], [])


def test_the_states_a_verb_can_be_asked_in_come_from_the_table():
    alive = {State.INITIALIZED, State.RUNNING, State.WAITING, State.RESUMED}
    assert bulk.suitable(Verb.PAUSE) == alive
    assert bulk.suitable(Verb.RESUME) == {State.PAUSED}
    assert bulk.suitable(Verb.CANCEL) == alive | {State.PAUSED}
