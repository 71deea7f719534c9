"""The approval step: what it asks, and what it makes of the answer."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from executions.engine.commands import Close, Finish, Open, RecordStep
from executions.engine.events import Asked, Claimed, Delivered, Verb
from executions.engine.planner import Plan
from executions.engine.snapshot import Phase
from executions.engine.states import State
from tests.unit.engine.test_planner import (
    NOOP,
    NOW,
    drive,
    only,
    recorded,
    snapshot_of,
    transitions,
)

LATER = NOW + timedelta(hours=1)
BY_ANNA = {"by": "anna", "at": "2030-01-01T00:00:00+00:00", "approved": True}
YES = {**BY_ANNA, "comment": "fine", "answer": {"sum": 7}}
NO = {**YES, "approved": False, "comment": "too much"}


def ask(config: dict[str, Any] | None = None, **fields: Any) -> dict[str, Any]:
    return {"id": "ask", "type": "approval", "config": {"title": "Pay?", **(config or {})}} | fields


def waiting(*steps: dict[str, Any], data: Any = None, **document: Any) -> Plan:
    return drive(snapshot_of([*steps] or [ask()], data or {}, **document), Claimed())


def said(decision: dict[str, Any], **data: Any) -> Delivered:
    answer = {name: decision[name] for name in ("approved", "answer", "comment")}
    return Delivered("decision", 1, 1, {**answer, "decisions": [decision], **data}, "anna")


def test_the_question_is_rendered_when_it_is_asked() -> None:
    config = {
        "title": "Pay {{ input.sum }}?",
        "description": "{{ input.who }} wants it.",
        "context": {"order": "{{ input.order }}"},
        "assignees": {"users": ["{{ input.boss }}", "{{ input.others }}"], "groups": ["Finance"]},
        "escalate_to": {"users": [], "groups": ["Board"]},
        "quorum": 2,
        "form": {"type": "object"},
        "allow_requester": True,
        "remind_after": "30m",
    }
    data = {"sum": 7, "who": "Bo", "order": [1], "boss": "anna", "others": ["bo", "anna"]}
    planned = waiting(ask(config, timeout="1h", name="Ask them"), data=data)
    assert only(planned, Open) == Open(
        "decision",
        "ask",
        1,
        1,
        {
            "name": "Ask them",
            "title": "Pay 7?",
            "description": "Bo wants it.",
            "context": {"order": [1]},
            "users": ["anna", "bo"],
            "groups": ["Finance"],
            "later_users": [],
            "later_groups": ["Board"],
            "is_open": False,
            "form": {"type": "object"},
            "quorum": 2,
            "allow_requester": True,
            "remind_seconds": 1800.0,
            "expires_at": LATER.isoformat(),
        },
    )
    position = planned.after.position
    assert position is not None
    assert (position.phase, position.wait_until) == (Phase.OUTSIDE, LATER)


def test_without_assignees_everybody_with_the_permission_is_asked() -> None:
    data = only(waiting(), Open).data
    assert (data["is_open"], data["users"], data["expires_at"]) == (True, [], None)
    # An empty list of people is nobody.
    assert only(waiting(ask({"assignees": {"users": []}})), Open).data["is_open"] is False


def test_a_long_title_is_cut_and_one_that_is_no_text_is_written_out() -> None:
    assert only(waiting(ask({"title": "{{ 'x' * 400 }}"})), Open).data["title"] == "x" * 299 + "…"
    assert only(waiting(ask({"title": "{{ [1] }}"})), Open).data["title"] == "[1]"


@pytest.mark.parametrize("name", [None, 7, "", "x" * 151, {"a": 1}])
def test_an_assignee_is_a_name(name: Any) -> None:
    step = ask({"assignees": {"users": ["anna", "{{ input.name }}"]}})
    planned = waiting(step, data={"name": name})
    error = only(planned, Finish).error
    assert (error.code, error.step) == ("approval.assignees", "ask")
    assert error.message.startswith("`assignees.users[1]` came to ")
    assert not [each for each in planned.commands if isinstance(each, Open)]


def test_what_cannot_be_stored_is_no_question() -> None:
    planned = waiting(ask({"context": "{{ input.x }}"}), data={"x": "a\x00b"})
    assert only(planned, Finish).error.code == "validation.output"


def test_agreement_is_the_output_and_leads_on() -> None:
    step = ask(assign={"sum": "{{ steps.ask.output.answer.sum }}"})
    planned = drive(waiting(step, NOOP).after, said(YES))
    output = {"approved": True, "decisions": [YES], "answer": {"sum": 7}, "comment": "fine"}
    assert only(planned, RecordStep).output.value == output
    assert planned.after.vars == {"sum": 7}
    assert only(planned, Close).outcome == "delivered"


def test_it_is_the_result_of_an_execution_that_ends_with_it() -> None:
    planned = drive(waiting().after, said(YES))
    assert only(planned, Finish).output.value["approved"] is True


def test_rejection_is_an_error_that_is_not_tried_again() -> None:
    step = ask(retry={"max_attempts": 3, "errors": ["*"]})
    error = only(drive(waiting(step).after, said(NO)), Finish).error
    assert (error.code, error.retryable) == ("approval.rejected", False)
    assert error.message == "anna rejected it: too much"
    assert error.details["by"] == "anna"
    assert error.details["comment"] == "too much"
    assert error.details["decisions"] == [NO]


def test_rejection_can_be_caught() -> None:
    catch = [{"errors": ["approval.*"], "next": "no", "as": "why"}]
    no = {
        "id": "no",
        "type": "succeed",
        "config": {"output": "{{ why.code }} {{ why.details.by }}"},
    }
    planned = drive(waiting(ask(catch=catch, next="end"), no).after, said(NO))
    assert only(planned, Finish).output.value == "approval.rejected anna"


def test_expiry_is_an_error_of_its_own() -> None:
    planned = drive(waiting(ask(timeout="1h")).after, Claimed(), now=LATER)
    error = only(planned, Finish).error
    assert error.code == "approval.expired"
    assert error.message == "It was not decided within 1:00:00."
    assert only(planned, Close).outcome == "expired"


@pytest.mark.parametrize(
    ("able", "quorum", "missing", "message"),
    [
        (
            0,
            1,
            ["bo"],
            "It needs 1 person to decide, and nobody could. Not found, or not active: “bo”.",
        ),
        (1, 2, [], "It needs 2 people to decide, and only one person could."),
    ],
)
def test_too_few_people_are_an_error(
    able: int, quorum: int, missing: list[str], message: str
) -> None:
    data = {"able": able, "quorum": quorum, "missing": missing}
    planned = drive(waiting().after, Delivered("decision", 1, 1, data, "engine"))
    error = only(planned, Finish).error
    assert (error.code, error.message) == ("approval.no_assignee", message)
    assert error.details == data


def test_assignees_that_were_not_found_are_logged() -> None:
    planned = drive(waiting().after, said(YES, missing=["bo"]))
    (line,) = only(planned, RecordStep).log
    assert (line.level, line.event) == ("warning", "approval.assignee_missing")
    assert line.fields == {"missing": ["bo"]}


def test_an_answer_to_another_attempt_changes_nothing() -> None:
    late = Delivered("decision", 1, 2, {"approved": True}, "anna")
    after = drive(waiting().after, late).after
    assert (after.state, after.position) == (State.WAITING, waiting().after.position)


def test_a_cancelled_execution_withdraws_the_question() -> None:
    planned = drive(waiting().after, Asked(Verb.CANCEL, "op"))
    assert only(planned, Close).outcome == "cancelled"


def test_what_is_decided_while_paused_counts_when_it_goes_on() -> None:
    paused = drive(waiting(ask(), NOOP).after, Asked(Verb.PAUSE, "op")).after
    planned = drive(paused, said(YES))
    assert planned.after.state is State.PAUSED
    assert only(planned, RecordStep).state == "completed"
    assert only(planned, Close).outcome == "delivered"


def test_a_rejection_in_a_pause_that_leads_to_the_end_ends_it_once_somebody_goes_on() -> None:
    """A paused execution can't be completed."""
    catch = [{"errors": ["approval.rejected"], "next": "end"}]
    before = {"id": "a", "type": "transform", "config": {"output": 1}}
    asked = drive(snapshot_of([before, ask(catch=catch)]), Claimed())
    no = Delivered("decision", 2, 1, said(NO).data, "anna")
    paused = drive(asked.after, Asked(Verb.PAUSE, "ada"), no)
    assert (paused.after.state, recorded(paused)) == (State.PAUSED, [("ask", "failed")])
    assert only(paused, Close).outcome == "delivered"
    resumed = drive(paused.after, Asked(Verb.RESUME, "ada"))
    assert only(resumed, Finish).output.value == 1
    assert transitions(resumed)[-1] == ("running", "completed", "done")


def test_a_retry_does_not_close_once_more_what_the_failure_has_closed() -> None:
    failed = drive(waiting().after, said(NO))
    assert (failed.after.state, only(failed, Close).outcome) == (State.FAILED, "delivered")
    taken_up = replace(failed.after, state=State.RESUMED)
    again = drive(taken_up, Asked(Verb.RETRY, "ada"))
    assert not [each for each in again.commands if isinstance(each, Close)]
    assert only(drive(again.after, Claimed()), Open).attempt == 2
