"""Executions that undo what they did: order, bounds, leftovers, by whom and how often."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.db import connection

from executions import services
from executions.errors import ExecutionEnded, NothingToUndo, RerunInvalid, TransitionRefused
from executions.limiting import LimitTerms, create_limit
from executions.models import (
    Compensation,
    Execution,
    LimitUse,
    StateTransition,
    StepExecution,
)
from tests.engine import SYSTEM, drain, published, reread, run, started

pytestmark = pytest.mark.django_db(transaction=True)
FAIL = {"id": "stop", "type": "fail", "config": {"error": "trip.sold_out", "message": "No."}}
WAIT = {"id": "wait", "type": "wait", "config": {"duration": "1h"}}


@pytest.fixture
def book(tmp_path: Path) -> Path:
    """Where the outside world writes down what was asked of it."""
    return tmp_path / "book"


def said(book: Path) -> list[str]:
    return book.read_text().splitlines() if book.exists() else []


def step(id_: str, book: Path, *, undo: dict[str, Any] | None = None, **fields: Any) -> Any:
    """A step that writes its id down, and is undone by writing `-id`."""
    given = {"action": "probe.write", "with": {"file": str(book), "what": id_}}
    undone = {"file": str(book), "what": "-{{ steps." + id_ + ".output.id }}", **(undo or {})}
    compensate = {"action": "probe.write", "with": undone}
    return {"id": id_, "type": "action", "config": given, "compensate": compensate, **fields}


def changes(execution: Execution) -> list[tuple[str, str]]:
    rows = StateTransition.objects.filter(execution=execution)
    return list(rows.values_list("target", "reason"))


def states(execution: Execution) -> dict[str, str]:
    return dict(Compensation.objects.filter(execution=execution).values_list("step_id", "state"))


def test_a_failure_undoes_what_completed_the_last_one_first(book: Path):
    steps = [step("flight", book), step("hotel", book), FAIL]
    execution = run(published(steps, on_failure="compensate"))
    assert said(book) == ["flight", "hotel", "-hotel", "-flight"]
    assert (execution.state, execution.reason) == ("failed", "compensated")
    assert (execution.error_code, execution.error["details"]) == ("trip.sold_out", {})
    assert states(execution) == {"flight": "done", "hotel": "done"}
    assert changes(execution)[1:] == [("running", "running"), ("failed", "compensated")]
    rows = StepExecution.objects.filter(execution=execution, type="compensation")
    assert list(rows.values_list("seq", "step_id", "name", "state")) == [
        (4, "hotel", "Undo hotel", "completed"),
        (5, "flight", "Undo flight", "completed"),
    ]
    assert rows[0].params == {"file": str(book), "what": "-hotel"}


def test_without_asking_for_it_nothing_is_undone_until_somebody_does_by_hand(book: Path):
    execution = run(published([step("flight", book), FAIL]))
    assert said(book) == ["flight"]
    assert states(execution) == {"flight": "pending"}
    services.compensate_execution(execution=execution, actor=SYSTEM, reason="customer rang")
    assert reread(execution).state == "running"
    drain()
    execution = reread(execution)
    assert said(book) == ["flight", "-flight"]
    assert (execution.state, execution.reason) == ("failed", "compensated")
    assert execution.error_code == "trip.sold_out"
    assert changes(execution)[2:] == [
        ("failed", "trip.sold_out"),
        ("running", "customer rang"),
        ("failed", "compensated"),
    ]
    with pytest.raises(NothingToUndo, match="has been undone already"):
        services.compensate_execution(execution=execution, actor=SYSTEM)


def test_what_was_undone_can_be_rerun_but_not_gone_on_from(book: Path):
    execution = run(published([step("flight", book), FAIL], on_failure="compensate"))
    for ask in (services.retry_execution, services.skip_step):
        with pytest.raises(TransitionRefused, match="has been undone"):
            ask(execution=execution, actor=SYSTEM)
    with pytest.raises(RerunInvalid, match="has been undone"):
        services.rerun_execution(execution=execution, actor=SYSTEM, from_step="stop")
    assert reread(execution).revision == execution.revision
    again = services.rerun_execution(execution=execution, actor=SYSTEM).execution
    drain()
    assert reread(again).reason == "compensated"
    assert said(book) == ["flight", "-flight"] * 2


def test_cancel_with_compensate_undoes_a_waiting_one_and_says_by_whom(book: Path):
    execution = run(published([step("flight", book), WAIT]))
    services.cancel_execution(execution=execution, actor=SYSTEM, reason="storno", compensate=True)
    drain()
    execution = reread(execution)
    assert said(book) == ["flight", "-flight"]
    assert (execution.state, execution.reason) == ("cancelled", "compensated")
    assert execution.error is None
    assert changes(execution)[3:] == [("running", "compensating"), ("cancelled", "compensated")]


def test_cancel_without_it_leaves_everything_as_it_is(book: Path):
    execution = run(published([step("flight", book), WAIT], on_failure="compensate"))
    services.cancel_execution(execution=execution, actor=SYSTEM)
    drain()
    assert said(book) == ["flight"]
    assert (reread(execution).state, states(execution)) == ("cancelled", {"flight": "pending"})
    with pytest.raises(ExecutionEnded):
        services.compensate_execution(execution=execution, actor=SYSTEM)


def test_a_compensation_that_fails_stops_no_other_and_is_named(book: Path):
    bad = step("hotel", book, undo={"fail": -1, "terminal": True})
    steps = [step("flight", book), bad, step("car", book), FAIL]
    execution = run(published(steps, on_failure="compensate"))
    assert said(book)[3:] == ["-car", "-hotel", "-flight"]
    assert (execution.state, execution.reason) == ("failed", "compensation_failed")
    assert execution.error_code == "trip.sold_out"
    (left,) = execution.error["details"]["left"]
    assert {**left, "compensation": 0, "execution": 0} == {
        "compensation": 0,
        "execution": 0,
        "seq": 2,
        "step": "hotel",
        "name": "hotel",
        "action": "probe.write",
        "params": {"file": str(book), "what": "-hotel", "fail": -1, "terminal": True},
        "state": "failed",
        "code": "action.Refused",
        "why": "-hotel is refused.",
    }
    services.compensate_execution(execution=execution, actor=SYSTEM)
    drain()
    assert said(book)[6:] == ["-hotel"]
    assert reread(execution).reason == "compensation_failed"


def test_each_has_retries_of_its_own(book: Path):
    flight = step("flight", book, undo={"fail": 2})
    flight["compensate"]["retry"] = {"initial_interval": 0.01, "max_attempts": 3}
    execution = run(published([flight, FAIL], on_failure="compensate"))
    assert said(book) == ["flight", "-flight", "-flight", "-flight"]
    assert execution.reason == "compensated"
    rows = StepExecution.objects.filter(execution=execution, type="compensation")
    assert list(rows.values_list("seq", "attempt", "state")) == [
        (3, 1, "failed"),
        (3, 2, "failed"),
        (3, 3, "completed"),
    ]
    assert Compensation.objects.get().attempts == 3


def test_a_long_pause_between_two_attempts_is_waited_out_and_can_be_stopped(book: Path):
    flight = step("flight", book, undo={"fail": 9})
    flight["compensate"]["retry"] = {"initial_interval": "1h", "max_interval": "1h"}
    execution = run(published([step("hotel", book), flight, FAIL], on_failure="compensate"))
    assert (execution.state, execution.reason) == ("waiting", "compensating")
    assert execution.wait_until - execution.current_since == timedelta(hours=1)
    with pytest.raises(TransitionRefused, match="pause it and cancel it"):
        services.cancel_execution(execution=execution, actor=SYSTEM)
    services.pause_execution(execution=execution, actor=SYSTEM)
    drain()
    assert reread(execution).state == "paused"
    services.cancel_execution(execution=reread(execution), actor=SYSTEM, reason="enough")
    drain()
    execution = reread(execution)
    assert (execution.state, execution.reason) == ("failed", "compensation_failed")
    assert [each["step"] for each in execution.error["details"]["left"]] == ["flight", "hotel"]
    assert said(book) == ["hotel", "flight", "-flight"]


def test_pausing_and_going_on_loses_nothing(book: Path):
    flight = step("flight", book, undo={"fail": 1})
    flight["compensate"]["retry"] = {"initial_interval": "1h", "max_interval": "1h"}
    execution = run(published([step("hotel", book), flight, FAIL], on_failure="compensate"))
    services.pause_execution(execution=execution, actor=SYSTEM)
    drain()
    services.resume_execution(execution=reread(execution), actor=SYSTEM)
    drain()
    assert (reread(execution).state, reread(execution).reason) == ("waiting", "compensating")
    Execution.objects.filter(pk=execution.pk).update(
        runnable_at=execution.created_at, wait_until=execution.created_at
    )
    drain()
    assert said(book) == ["hotel", "flight", "-flight", "-flight", "-hotel"]
    assert reread(execution).reason == "compensated"


def test_items_groups_and_loops_are_undone_pass_by_pass(book: Path):
    def named(id_: str, what: str) -> Any:
        made = step(id_, book)
        made["config"]["with"]["what"] = what
        return made

    looped = named("turn", "turn-{{ default(vars.n, 0) }}")
    looped["assign"] = {"n": "{{ default(vars.n, 0) + 1 }}"}
    again = {"when": "vars.n < 2", "next": "turn"}
    items = {"items": "[1, 2]", "max_concurrency": 1, "steps": [named("seat", "seat-{{ item }}")]}
    steps = [
        looped,
        {"id": "more", "type": "choice", "config": {"choices": [again], "default": "seats"}},
        {"id": "seats", "type": "map", "config": items},
        {"id": "pack", "type": "group", "config": {"steps": [step("bag", book)]}},
        FAIL,
    ]
    execution = run(published(steps, on_failure="compensate"))
    done = ["turn-0", "turn-1", "seat-1", "seat-2", "bag"]
    assert said(book) == [*done, *(f"-{each}" for each in reversed(done))]
    assert execution.reason == "compensated"
    assert set(Compensation.objects.values_list("done_by", flat=True)) == {execution.pk}


def test_a_child_workflow_is_undone_with_its_parent_or_by_itself_if_it_failed(book: Path):
    def calling(slug: str) -> Any:
        return {"id": "call", "type": "workflow", "config": {"workflow": slug}}

    published([step("seat", book)], slug="child")
    steps = [step("flight", book), calling("child"), step("car", book), FAIL]
    execution = run(published(steps, on_failure="compensate"))
    assert said(book) == ["flight", "seat", "car", "-car", "-seat", "-flight"]
    assert execution.reason == "compensated"
    book.unlink()
    published([step("seat", book), FAIL], slug="undoes", on_failure="compensate")
    parent = published([step("flight", book), calling("undoes")])
    execution = run(parent)
    first = Execution.objects.get(parent=execution)
    assert (first.reason, execution.error_code) == ("compensated", "child.failed")
    # What has been undone isn't gone on with: a retry of the parent makes another child.
    services.retry_execution(execution=execution, actor=SYSTEM)
    drain()
    assert Execution.objects.filter(parent=execution).count() == 2
    services.compensate_execution(execution=reread(execution), actor=SYSTEM)
    drain()
    assert said(book) == ["flight", *["seat", "-seat"] * 2, "-flight"]
    assert reread(execution).reason == "compensated"


def test_an_item_that_is_under_way_ends_before_anything_is_undone(book: Path):
    items = {"items": "[1]", "steps": [step("seat", book), WAIT]}
    execution = run(published([{"id": "seats", "type": "map", "config": items}]))
    (item,) = Execution.objects.filter(parent=execution)
    with pytest.raises(TransitionRefused, match=f"part of execution {execution.pk}"):
        services.cancel_execution(execution=item, actor=SYSTEM, compensate=True)
    services.cancel_execution(execution=execution, actor=SYSTEM, compensate=True)
    drain()
    assert (reread(item).state, said(book)) == ("cancelled", ["seat", "-seat"])
    assert (reread(execution).state, reread(execution).reason) == ("cancelled", "compensated")


def test_what_cannot_be_worked_out_is_left_and_the_step_stands(book: Path):
    flight = step("flight", book)
    flight["compensate"]["with"]["what"] = "{{ steps.flight.output.nothing }}"
    execution = run(published([flight, FAIL], on_failure="compensate"))
    assert (execution.reason, said(book)) == ("compensation_failed", ["flight"])
    (left,) = execution.error["details"]["left"]
    assert (left["state"], left["code"], left["params"]) == ("left", "expression", None)
    assert execution.log_lines.get().event == "step.cannot_be_undone"
    with pytest.raises(NothingToUndo, match="could not be worked out"):
        services.compensate_execution(execution=execution, actor=SYSTEM)
    assert reread(execution).revision == execution.revision


def test_with_nothing_to_undo_it_fails_as_ever_and_can_be_retried():
    execution = run(published([{**FAIL}], on_failure="compensate"))
    assert (execution.state, execution.reason) == ("failed", "trip.sold_out")
    assert execution.current_step == "stop"
    services.retry_execution(execution=execution, actor=SYSTEM)
    drain()
    assert changes(execution)[-2:] == [("running", "running"), ("failed", "trip.sold_out")]


def test_neither_a_timeout_nor_the_limit_of_steps_stops_an_undo(book: Path, settings: Any):
    settings.AUTOPILOT = {**settings.AUTOPILOT, "MAX_STEPS": 2}
    steps = [step("flight", book), step("hotel", book), step("car", book)]
    execution = started(published(steps, on_failure="compensate", timeout="1h"))
    drain()
    execution = reread(execution)
    assert (execution.error_code, execution.reason) == ("limit.steps", "compensated")
    assert said(book) == ["flight", "hotel", "-hotel", "-flight"]


def test_what_is_hidden_stays_hidden_and_is_still_passed_on(book: Path):
    bad = step("flight", book, undo={"fail": -1, "terminal": True})
    bad["compensate"]["with"]["what"] = "-{{ input.card }}"
    execution = run(
        published([bad, FAIL], on_failure="compensate", redact=["/input/card"]),
        {"card": "4000-1234-5678"},
    )
    assert said(book) == ["flight", "-4000-1234-5678"]
    (left,) = execution.error["details"]["left"]
    assert (left["params"]["what"], left["why"]) == ("-•••", "-••• is refused.")
    assert Compensation.objects.get().params["what"] == "-•••"
    services.compensate_execution(execution=execution, actor=SYSTEM)
    drain()
    assert said(book) == ["flight", "-4000-1234-5678", "-4000-1234-5678"]
    with connection.cursor() as cursor:
        cursor.execute("SELECT string_agg(c::text, '') FROM executions_compensation c")
        stored = cursor.fetchone()[0]
        cursor.execute("SELECT string_agg(c::text, '') FROM executions_execution c")
        stored += cursor.fetchone()[0]
    assert "4000-1234" not in stored


def test_one_that_waits_for_a_limit_is_undone_without_waiting_for_it(book: Path):
    terms = LimitTerms("action", "probe.write", rate=1, period_seconds=3600)
    create_limit(actor=SYSTEM, terms=terms)
    execution = run(published([step("flight", book), step("hotel", book)]))
    assert (said(book), execution.current_phase) == (["flight"], "limited")
    services.cancel_execution(execution=execution, actor=SYSTEM, compensate=True)
    drain()
    assert said(book) == ["flight", "-flight"]
    assert reread(execution).reason == "compensated"
    assert not LimitUse.objects.filter(execution=execution).exists()
