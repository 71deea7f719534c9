"""What the API and the console are told about an execution, from runs of the real engine."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from autopilot.common import clock
from executions import reads
from executions.models import Execution
from executions.services import cancel_execution, pause_execution, resume_execution
from tests.engine import SYSTEM, drain, published, reread, run, started
from workflows.definition.compiled import DefinitionError

pytestmark = pytest.mark.django_db(transaction=True)

NOOP = {"type": "action", "config": {"action": "noop", "with": {"n": 1}}}
WAIT = {"type": "wait", "config": {"duration": "1h"}}


def shown(execution: Execution) -> list[tuple[int, int, str, str, str]]:
    return [
        (view.seq, view.attempt, view.step_id, view.type, view.state)
        for view in reads.steps_of(execution)
    ]


def test_the_steps_of_one_that_has_ended_are_what_was_recorded():
    execution = run(published([{"id": "a", **NOOP}, {"id": "b", **NOOP}]))
    assert shown(execution) == [
        (1, 1, "a", "action", "completed"),
        (2, 1, "b", "action", "completed"),
    ]
    first = reads.steps_of(execution)[0]
    assert (first.params, first.output, first.error) == ({"n": 1}, {"n": 1}, None)
    assert first.is_recorded
    assert first.duration_seconds is not None
    assert [view.step_id for view in reads.steps_of(execution, last=1)] == ["b"]


def test_one_that_has_not_begun_has_no_steps():
    assert shown(started(published([{"id": "a", **NOOP}]))) == []


def test_the_step_that_waits_comes_last_with_its_moment():
    before = clock.now()
    execution = run(published([{"id": "a", **NOOP}, {"id": "nap", "name": "Nap", **WAIT}]))
    assert execution.state == "waiting"
    assert shown(execution) == [
        (1, 1, "a", "action", "completed"),
        (2, 1, "nap", "wait", "waiting"),
    ]
    view = reads.steps_of(execution)[-1]
    assert view.name == "Nap"
    assert view.wait_until is not None
    assert timedelta(seconds=3600) <= view.wait_until - before < timedelta(seconds=3660)
    assert (view.is_recorded, view.duration_seconds, view.output) == (False, None, None)
    assert view.started_at is not None


def test_a_step_that_was_recorded_since_the_execution_was_read_is_not_shown_twice():
    stale = run(published([{"id": "nap", **WAIT}]))
    cancel_execution(execution=stale, actor=SYSTEM)
    drain()
    assert reread(stale).state == "cancelled"
    assert [row[2:] for row in shown(stale)] == [("nap", "wait", "cancelled")]


def test_a_definition_that_cannot_be_read_any_more_still_shows_where_it_stands(monkeypatch):
    def refuse(version_id: int) -> None:
        raise DefinitionError

    execution = run(published([{"id": "nap", **WAIT}]))
    monkeypatch.setattr(reads, "compiled_version", refuse)
    view = reads.steps_of(execution)[-1]
    assert (view.step_id, view.name, view.type, view.state) == ("nap", "nap", "", "waiting")


def test_the_context_is_what_expressions_see_and_what_came_of_it():
    execution = run(
        published(
            [
                {"id": "b", **NOOP, "assign": {"seen": "{{ steps.b.output.n }}"}},
                {"id": "a", "type": "transform", "config": {"output": "{{ vars.seen + 1 }}"}},
            ],
            output={"total": "{{ steps.a.output }}"},
        ),
        {"customer": "Ada"},
    )
    context = reads.context_of(execution)
    assert context == {
        "input": {"customer": "Ada"},
        "variables": {"seen": 1},
        "steps": {
            "b": {"state": "completed", "output": {"n": 1}, "error": None, "attempts": 1},
            "a": {"state": "completed", "output": 2, "error": None, "attempts": 1},
        },
        "output": {"total": 2},
        "error": None,
    }
    assert list(context["steps"]) == ["b", "a"]


def test_the_context_of_a_loop_has_the_latest_round():
    steps: list[dict[str, Any]] = [
        {"id": "first", **NOOP, "assign": {"n": 0}},
        {
            "id": "count",
            "type": "transform",
            "config": {"output": "{{ vars.n + 1 }}"},
            "assign": {"n": "{{ steps.count.output }}"},
        },
        {
            "id": "again",
            "type": "choice",
            "config": {"choices": [{"when": "vars.n < 3", "next": "count"}], "default": "done"},
        },
        {"id": "done", "type": "succeed"},
    ]
    execution = run(published(steps))
    assert execution.state == "completed"
    assert reads.context_of(execution)["steps"]["count"]["output"] == 3


def test_transitions_come_in_order():
    execution = run(published([{"id": "a", **NOOP}]))
    assert [(row.source, row.target) for row in reads.transitions_of(execution)] == [
        ("", "initialized"),
        ("initialized", "running"),
        ("running", "completed"),
    ]


def test_what_was_asked_of_many_is_read_in_one_query(django_assert_num_queries):
    workflow = published([{"id": "a", **NOOP}])
    asked, idle, twice = (started(workflow) for _ in range(3))
    pause_execution(execution=asked, actor=SYSTEM)
    pause_execution(execution=twice, actor=SYSTEM)
    resume_execution(execution=twice, actor=SYSTEM)
    rows = list(Execution.objects.order_by("id"))
    with django_assert_num_queries(1):
        pending = reads.pending_of(rows)
    assert pending == {asked.pk: ["pause"], twice.pk: ["pause", "resume"]}
    with django_assert_num_queries(0):
        assert reads.pending_of([row for row in rows if row.pk == idle.pk]) == {}


def test_states_are_counted_in_one_query_and_up_to_a_cap(django_assert_num_queries):
    workflow = published([{"id": "a", **NOOP}])
    run(workflow)
    for _ in range(4):
        started(workflow)
    with django_assert_num_queries(1):
        counts = reads.state_counts(Execution.objects.filter(workflow=workflow), cap=3)
    assert {state: str(count) for state, count in counts.items()} == {
        "initialized": "3+",
        "running": "0",
        "waiting": "0",
        "paused": "0",
        "resumed": "0",
        "completed": "1",
        "failed": "0",
        "cancelled": "0",
    }
    assert str(reads.state_counts(Execution.objects.all())["initialized"]) == "4"
    nothing = reads.state_counts(Execution.objects.none())
    assert {count.count for count in nothing.values()} == {0}
    newest = reads.newest_counts(Execution.objects.filter(workflow=workflow), cap=3)
    # More may follow, of every state: nobody has looked further.
    assert {state: str(count) for state, count in newest.items()} == {
        **dict.fromkeys(newest, "0+"),
        "initialized": "3+",
    }
    assert all(newest.values())
    assert str(reads.newest_counts(Execution.objects.all())["completed"]) == "1"
    assert not any(reads.newest_counts(Execution.objects.none()).values())
