"""Rerun with the real engine: a new execution from the start, or from a step that ran."""

from __future__ import annotations

import pytest

from autopilot.accounts.actors import Actor
from autopilot.accounts.models import AuditEntry
from autopilot.common.errors import Conflict, Invalid, PermissionDenied
from executions.bulk import Selection, apply
from executions.bulk_once import Once
from executions.engine.events import Verb
from executions.errors import (
    IdempotencyConflict,
    InputInvalid,
    RerunInvalid,
    StartInvalid,
    TransitionRefused,
)
from executions.models import BulkCall, Execution, StepExecution
from executions.rerunning import RerunOptions
from executions.services import rerun_execution, retry_execution, start_execution
from tests.engine import SYSTEM, drain, published, reread, run, started
from tests.factories import actor_with

pytestmark = pytest.mark.django_db(transaction=True)


def counted(id_, tmp_path, **fields):
    """Gives how often it was called with its id."""
    params = {"file": str(tmp_path), "key": id_, "fail": False}
    config = {"action": "probe.fail_first", "with": params}
    return {"id": id_, "name": id_, "type": "action", "config": config, **fields}


def pure(id_, output, **fields):
    return {"id": id_, "name": id_, "type": "transform", "config": {"output": output}, **fields}


def rows_of(execution):
    rows = StepExecution.objects.filter(execution=execution).order_by("seq", "attempt")
    return list(rows.values_list("step_id", "seq", "taken_over", "output"))


@pytest.fixture
def workflow(tmp_path):
    return published(
        [
            counted("a", tmp_path, assign={"n": "{{ steps.a.output + input.plus }}"}),
            counted("b", tmp_path),
            pure("c", ["{{ steps.a.output }}", "{{ steps.b.output }}", "{{ vars.n }}"]),
        ],
        input_schema={"type": "object", "properties": {"plus": {"type": "integer"}}},
    )


def rerun(**options):
    return rerun_execution(**options).execution


def problem(refused):
    return [(each.path, each.code) for each in refused.value.details]


def test_from_the_start_everything_runs_again(workflow):
    execution = run(workflow, {"plus": 10}, labels={"team": "x"}, correlation_id="c")
    again = rerun(execution=execution, actor=SYSTEM, reason="to be sure")
    assert (again.rerun_of_id, again.labels, again.correlation_id) == (
        execution.pk,
        {"team": "x"},
        "c",
    )
    drain()
    assert reread(again).output == [2, 2, 12]
    assert reread(execution).output == [1, 1, 11]
    entry = AuditEntry.objects.get(action="execution.rerun")
    assert entry.after == {
        "rerun_of": execution.pk,
        "version": "1.0.0",
        "from_step": None,
        "edited": [],
        "reason": "to be sure",
    }


def test_from_a_step_what_came_before_is_taken_over(workflow):
    execution = run(workflow, {"plus": 10})
    again = rerun(execution=execution, actor=SYSTEM, from_step="b")
    drain()
    done = reread(again)
    assert (done.state, done.output, done.variables) == ("completed", [1, 2, 11], {"n": 11})
    assert rows_of(again) == [
        ("a", 1, True, 1),
        ("b", 2, False, 2),
        ("c", 3, False, [1, 2, 11]),
    ]
    assert rows_of(execution)[1] == ("b", 2, False, 1)


def test_an_edited_input_and_output_are_felt_by_what_was_assigned(workflow):
    execution = run(workflow, {"plus": 10})
    again = rerun(
        execution=execution, actor=SYSTEM, from_step="c", input={"plus": 5}, outputs={"a": 100}
    )
    drain()
    assert reread(again).output == [100, 1, 105]


def test_a_rerun_that_is_paused_before_it_began_goes_on_at_its_step(workflow):
    from executions.services import pause_execution, resume_execution

    execution = run(workflow, {"plus": 10})
    again = rerun(execution=execution, actor=SYSTEM, from_step="c")
    pause_execution(execution=again, actor=SYSTEM)
    drain()
    assert (reread(again).state, reread(again).current_step) == ("paused", "c")
    resume_execution(execution=reread(again), actor=SYSTEM)
    drain()
    assert reread(again).output == [1, 1, 11]


def test_a_caught_error_is_seen_again_after_it():
    stop = {
        "id": "stop",
        "type": "fail",
        "config": {"error": "my.error", "message": "No."},
        "catch": [{"errors": ["my.*"], "next": "rescue", "as": "why"}],
    }
    steps = [
        {**stop, "when": "not input"},
        {**pure("end_it", 1), "next": "end"},
        pure("rescue", "{{ error.code }}"),
        pure("last", "{{ why.message }}"),
    ]
    execution = run(published(steps))
    assert (execution.state, execution.output) == ("completed", "No."), execution.error
    again = rerun(execution=execution, actor=SYSTEM, from_step="rescue")
    drain()
    assert (reread(again).state, reread(again).output) == ("completed", "No.")


def test_from_a_map_and_from_a_group(tmp_path):
    config = {"items": "input.items", "as": "item", "steps": [pure("one", "{{ item }}")]}
    steps = [
        {"id": "g", "type": "group", "config": {"steps": [counted("inner", tmp_path)]}},
        {"id": "each", "type": "map", "config": config},
    ]
    execution = run(published(steps), {"items": [1, 2]})
    mapped = rerun(execution=execution, actor=SYSTEM, from_step="each", input={"items": [3]})
    grouped = rerun(execution=execution, actor=SYSTEM, from_step="g")
    drain()
    assert (reread(mapped).output, reread(grouped).output) == ([3], [1, 2])
    assert [row[:3] for row in rows_of(mapped)] == [
        ("g", 1, True),
        ("inner", 2, True),
        ("each", 3, False),
    ]
    with pytest.raises(RerunInvalid) as refused:
        rerun(execution=execution, actor=SYSTEM, from_step="inner")
    assert problem(refused) == [("$.from_step", "rerun.inside")]
    child = Execution.objects.filter(parent=execution).first()
    with pytest.raises(RerunInvalid) as refused:
        rerun(execution=child, actor=SYSTEM)
    assert problem(refused) == [("$", "rerun.part")]


def test_what_cannot_be_rerun_is_refused_and_nothing_is_made(workflow, tmp_path):
    stop = {"id": "stop", "type": "fail", "config": {"error": "my.error", "message": "No."}}
    steps = [{**stop, "when": "not input"}, pure("after", 1)]
    failed = run(published(steps, name="Stops"))
    with pytest.raises(RerunInvalid) as refused:
        rerun(execution=failed, actor=SYSTEM, from_step="after")
    assert problem(refused) == [("$.from_step", "rerun.never_ran")]
    assert refused.value.message == (
        f"Execution {failed.pk} never ran the step after, so nothing can be rerun from it."
    )
    done = run(workflow, {"plus": 1})
    cases = [
        ({"from_step": "nowhere"}, RerunInvalid, [("$.from_step", "rerun.unknown_step")]),
        ({"outputs": {"a": 1}}, RerunInvalid, [("$.outputs", "rerun.nothing_taken_over")]),
        (
            {"from_step": "b", "outputs": {"c": 1}},
            RerunInvalid,
            [("$.outputs.c", "rerun.not_taken_over")],
        ),
        (
            {"from_step": "b", "outputs": {"a": "x" * 300_000}},
            RerunInvalid,
            [("$.outputs.a", "limit.output")],
        ),
        ({"from_step": "b", "outputs": {"a": "text"}}, RerunInvalid, [("$.outputs", "expression")]),
        ({"version": "9.9.9"}, Invalid, [("$.version", "version.unknown")]),
        ({"input": {"plus": "text"}}, InputInvalid, [("$.input.plus", "validation.schema")]),
    ]
    before = Execution.objects.count()
    for options, kind, problems in cases:
        with pytest.raises(kind) as refused:
            rerun(execution=done, actor=SYSTEM, **options)
        assert problem(refused) == problems, options
    fresh = started(workflow, {"plus": 1})
    with pytest.raises(TransitionRefused) as early:
        rerun(execution=fresh, actor=SYSTEM)
    assert early.value.message == (
        "The execution is initialized; only one that has ended can be rerun."
    )
    assert isinstance(early.value, Conflict)
    with pytest.raises(PermissionDenied):
        rerun(execution=done, actor=actor_with())
    assert Execution.objects.count() == before + 1


def test_many_are_rerun_each_with_its_own_result(workflow):
    made = [run(workflow, {"plus": n}) for n in range(2)]
    fresh = started(workflow, {"plus": 9})
    selection = Selection.of_ids([*(each.pk for each in made), fresh.pk, 0], actor=SYSTEM)
    options = RerunOptions(from_step="c")
    results = [
        each
        for batch in apply(verb=Verb.RERUN, selection=selection, actor=SYSTEM, rerun=options)
        for each in batch
    ]
    assert [(each.id, each.outcome, each.code) for each in results] == [
        (0, "refused", "execution.not_found"),
        (made[0].pk, "done", ""),
        (made[1].pk, "done", ""),
        (fresh.pk, "refused", "execution.state"),
    ]
    drain()
    created = [Execution.objects.get(pk=each.created) for each in results[1:3]]
    assert [each.output for each in created] == [made[0].output, made[1].output]
    assert [each.rerun_of_id for each in created] == [each.pk for each in made]


def test_a_rerun_with_a_key_is_made_once(workflow):
    execution = run(workflow, {"plus": 10})
    how = {"execution": execution, "actor": SYSTEM, "idempotency_key": "k", "from_step": "b"}
    first = rerun_execution(**how)
    again = rerun_execution(**how)
    assert (first.created, again.created, again.execution.pk) == (True, False, first.execution.pk)
    assert rows_of(first.execution) == [("a", 1, True, 1)]
    for change in ({"from_step": "c"}, {"input": None}, {"outputs": {"a": 1}}, {"reason": "x"}):
        with pytest.raises(IdempotencyConflict) as refused:
            rerun_execution(**how | change)
        assert problem(refused) == [("$.idempotency_key", "idempotency.conflict")]
    # A start may not have it either; somebody else's key is another one.
    with pytest.raises(IdempotencyConflict):
        start_execution(workflow=workflow, actor=SYSTEM, input={"plus": 10}, idempotency_key="k")
    assert AuditEntry.objects.filter(action="execution.rerun").count() == 1
    assert Execution.objects.count() == 2
    assert rerun_execution(**how | {"actor": Actor.system("others")}).created


def test_a_rerun_that_is_asked_again_is_answered_whatever_became_of_the_first():
    stop = {"id": "stop", "type": "fail", "config": {"error": "my.error", "message": "No."}}
    failed = run(published([stop]))
    first = rerun_execution(execution=failed, actor=SYSTEM, idempotency_key="k")
    retry_execution(execution=failed, actor=SYSTEM)
    again = rerun_execution(execution=reread(failed), actor=SYSTEM, idempotency_key="k")
    assert (again.created, again.execution.pk) == (False, first.execution.pk)


def test_many_are_rerun_once_with_edited_data_for_all(workflow):
    made = [run(workflow, {"plus": n}) for n in range(2)]
    selection = Selection(Execution.objects.filter(workflow=workflow, state="completed"))

    def asked(request="r", key="k", **options):
        how = RerunOptions(
            **{"from_step": "c", "outputs": {"a": 50}, "input": {"plus": 5}, **options}
        )
        batches = apply(
            verb=Verb.RERUN,
            selection=selection,
            actor=SYSTEM,
            rerun=how,
            once=Once(key, request),
        )
        return [(each.id, each.outcome, each.created) for batch in batches for each in batch]

    first = asked()
    assert [each[:2] for each in first] == [(each.pk, "done") for each in made]
    drain()
    assert [reread_pk(created).output for _, _, created in first] == [[50, 1, 55], [50, 2, 55]]
    # Those that it has made match the filter, too; the same call is still about the first ones.
    assert asked() == first
    assert (Execution.objects.count(), BulkCall.objects.get().executions) == (
        4,
        [each.pk for each in made],
    )
    with pytest.raises(IdempotencyConflict):
        asked(request="another")
    with pytest.raises(StartInvalid):
        asked(key="k" * 201)
    assert Execution.objects.count() == 4


def reread_pk(pk):
    return Execution.objects.get(pk=pk)
