"""Steps that wait for news from outside: opened once, closed once, whatever way leads out."""

from __future__ import annotations

from copy import copy
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from executions.engine.commands import (
    Block,
    Close,
    Finish,
    Move,
    Open,
    RecordStep,
    Reject,
    WriteLog,
    Yield,
)
from executions.engine.errors import ErrorInfo
from executions.engine.events import Asked, Claimed, Delivered, Verb
from executions.engine.planner import Plan, abort
from executions.engine.snapshot import Phase, Snapshot
from executions.engine.states import State
from executions.runtime.checkpoint import Checkpoint, Counters, build
from tests.unit.engine.test_planner import (
    NOOP,
    NOW,
    drive,
    only,
    recorded,
    snapshot_of,
    transitions,
)

SECOND = timedelta(seconds=1)
LATER = NOW + 60 * SECOND


def signal(**fields: Any) -> dict[str, Any]:
    config = {"signal": "paid", "correlation": "{{ input.order }}", **fields.pop("config", {})}
    return {"id": "pay", "type": "signal", "config": config, **fields}


def waiting(*steps: dict[str, Any], order: Any = "A-17", **document: Any) -> Plan:
    snapshot = snapshot_of([*steps] or [signal()], {"order": order}, **document)
    return drive(snapshot, Claimed())


def paid(value: Any = 7, *, seq: int = 1, attempt: int = 1, kind: str = "signal") -> Delivered:
    return Delivered(kind, seq, attempt, {"signal": 5, "payload": value}, "bank")


def closed(planned: Plan) -> tuple[Any, ...]:
    found = only(planned, Close)
    return found.kind, found.step_id, found.seq, found.attempt, found.outcome


def test_it_waits_until_its_timeout_and_is_opened_with_what_others_look_for():
    planned = waiting(signal(timeout=60))
    assert only(planned, Open) == Open(
        "signal", "pay", 1, 1, {"name": "paid", "correlation": "A-17"}
    )
    position = planned.after.position
    assert (position.phase, position.wait_until) == (Phase.OUTSIDE, LATER)
    assert only(planned, Block).until == LATER
    assert transitions(planned)[-1] == ("running", "waiting", "signal")


def test_without_a_timeout_it_waits_for_ever():
    planned = waiting()
    assert only(planned, Block).until is None
    assert drive(planned.after, Claimed(), now=LATER).commands == (Block(None),)


@pytest.mark.parametrize(("given", "text"), [(17, "17"), (17.0, "17"), (1.5, "1.5"), ("ä", "ä")])
def test_a_correlation_is_a_text_or_a_number_written_out(given: Any, text: str):
    assert only(waiting(order=given), Open).data["correlation"] == text


@pytest.mark.parametrize("given", ["", None, True, [], {"a": 1}, "x" * 201, "a\x00b"])
def test_anything_else_is_no_correlation(given: Any):
    planned = waiting(order=given)
    assert only(planned, Finish).error.code == "signal.correlation"
    assert not [each for each in planned.commands if isinstance(each, (Open, Close))]


def test_what_is_delivered_is_the_output():
    steps = [signal(assign={"sum": "{{ steps.pay.output.sum }}"}), {"id": "b", **NOOP}]
    planned = drive(waiting(*steps).after, paid({"sum": 9}))
    assert closed(planned) == ("signal", "pay", 1, 1, "delivered")
    assert recorded(planned) == [("pay", "completed")]
    assert (planned.after.vars, planned.after.last_output) == ({"sum": 9}, {"sum": 9})
    assert transitions(planned) == [("waiting", "running", "running")]
    assert planned.after.position.step_id == "b"


@pytest.mark.parametrize(
    "news", [paid(seq=2), paid(attempt=2), paid(kind="decision")], ids=["seq", "attempt", "kind"]
)
def test_news_for_something_else_change_nothing(news: Delivered):
    before = waiting(signal(timeout=60)).after
    planned = drive(before, news)
    assert planned.commands == (Block(LATER),)
    assert planned.after.position == before.position


def test_news_for_an_ended_execution_change_nothing():
    ended = drive(waiting().after, Asked(Verb.CANCEL, "olga"))
    assert drive(ended.after, paid()).commands == ()


def test_time_is_up():
    planned = drive(waiting(signal(timeout=60)).after, Claimed(), now=LATER)
    assert closed(planned) == ("signal", "pay", 1, 1, "expired")
    error = only(planned, Finish).error
    assert (error.code, error.retryable) == ("signal.timeout", True)
    assert error.message == "The signal paid did not come within 0:01:00."


def test_a_timeout_is_retried_as_a_new_wait():
    retry = {"max_attempts": 2, "initial_interval": 5, "jitter": 0, "errors": ["signal.timeout"]}
    late = drive(waiting(signal(timeout=60, retry=retry)).after, Claimed(), now=LATER)
    assert late.after.position.phase is Phase.BACKOFF
    again = drive(late.after, Claimed(), now=LATER + 5 * SECOND)
    assert only(again, Open).attempt == 2
    assert drive(again.after, paid()).commands == (Block(LATER + 65 * SECOND),)
    assert closed(drive(again.after, paid(attempt=2)))[3:] == (2, "delivered")


def test_a_timeout_is_caught():
    catch = [{"errors": ["signal.*"], "next": "b"}]
    late = drive(
        waiting(signal(timeout=60, catch=catch, next="end"), {"id": "b", **NOOP}).after,
        Claimed(),
        now=LATER,
    )
    assert late.after.position.step_id == "b"
    assert closed(late)[-1] == "expired"


def _cancel(before: Snapshot) -> Plan:
    return drive(before, Asked(Verb.CANCEL, "olga"))


def _skip(before: Snapshot) -> Plan:
    return drive(before, Asked(Verb.SKIP, "olga", seq=before.position.seq))


def _deadline(before: Snapshot) -> Plan:
    return drive(before, Claimed(), now=NOW + 3600 * SECOND)


def _abort(before: Snapshot) -> Plan:
    return abort(before, ErrorInfo("worker.lost", "Gone."), NOW)


@pytest.mark.parametrize(
    ("leave", "outcome"),
    [(_cancel, "cancelled"), (_skip, "skipped"), (_deadline, "expired"), (_abort, "abandoned")],
)
def test_whatever_leads_away_closes_it(leave: Any, outcome: str):
    planned = leave(waiting(timeout=3600).after)
    assert closed(planned) == ("signal", "pay", 1, 1, outcome)


def test_a_group_that_times_out_closes_what_waits_in_it():
    inner = {"steps": [{"name": "pay", **signal()}]}
    group = {"id": "g", "type": "group", "timeout": 60, "config": inner}
    late = drive(waiting(group).after, Claimed(), now=LATER)
    assert closed(late) == ("signal", "pay", 2, 1, "expired")
    assert recorded(late) == [("pay", "cancelled"), ("g", "failed")]


def test_a_failed_execution_that_stands_there_is_not_closed_twice_and_waits_anew_on_a_retry():
    late = drive(waiting(signal(timeout=60)).after, Claimed(), now=LATER)
    assert late.after.position.phase is Phase.OUTSIDE
    resumed = copy(late.after)
    resumed.state = State.RESUMED
    planned = drive(resumed, Asked(Verb.RETRY, "olga"), now=LATER)
    again = drive(planned.after, Claimed(), now=LATER)
    assert only(again, Open).attempt == 2
    assert again.after.position.wait_until == LATER + 60 * SECOND


def test_a_pause_keeps_the_wait_and_what_comes_meanwhile_counts_on_resume():
    paused = drive(waiting(signal(), {"id": "b", **NOOP}).after, Asked(Verb.PAUSE, "olga"))
    assert not [each for each in paused.commands if isinstance(each, Close)]
    heard = drive(paused.after, paid())
    assert (closed(heard)[-1], recorded(heard)) == ("delivered", [("pay", "completed")])
    assert (heard.after.state, only(heard, Block).until) == (State.PAUSED, None)
    resumed = drive(heard.after, Asked(Verb.RESUME, "olga"))
    assert resumed.after.position.step_id == "b"
    assert recorded(resumed) == []


def test_resumed_without_news_it_goes_on_waiting_without_being_opened_again():
    paused = drive(waiting().after, Asked(Verb.PAUSE, "olga"))
    resumed = drive(paused.after, Asked(Verb.RESUME, "olga"))
    assert resumed.after.state is State.WAITING
    assert not [each for each in resumed.commands if isinstance(each, (Open, Close))]


def test_what_breaks_the_schema_is_rejected_and_the_step_goes_on_waiting():
    schema = {"type": "object", "properties": {"sum": {"type": "integer"}}, "required": ["sum"]}
    before = waiting(signal(config={"schema": schema})).after
    planned = drive(before, paid({"sum": "nine"}))
    reject = only(planned, Reject)
    assert (reject.kind, reject.step_id, reject.data) == ("signal", "pay", {"signal": 5})
    assert reject.reason.startswith("It breaks the schema at $.payload.sum: ")
    (line,) = only(planned, WriteLog).log
    assert (line.event, line.fields["sender"]) == ("signal.refused", "bank")
    assert only(planned, Block).until is None
    assert planned.after.position == before.position
    assert closed(drive(planned.after, paid({"sum": 9})))[-1] == "delivered"


def test_an_output_that_is_too_large_fails_the_step():
    before = waiting().after
    before.max_output_bytes = 10
    planned = drive(before, paid("x" * 20))
    assert only(planned, Finish).error.code == "limit.output"
    assert closed(planned)[-1] == "delivered"


# What the ledger is told -------------------------------------------------------------------------


def written(*planned: Plan) -> Checkpoint:
    commands = [each for one in planned for each in one.commands]
    return build(
        commands=commands,
        after=planned[-1].after,
        epoch=1,
        revision=0,
        counters=Counters(0, 0, 0),
        now=NOW,
    )


PLACE = {"execution": 1, "step": "pay", "seq": 1, "attempt": 1}


def test_only_an_end_by_time_must_have_heard_everything():
    begun = waiting(signal(timeout=60))
    opened = written(begun)
    data = {"name": "paid", "correlation": "A-17"}
    assert opened.opens == {"signal": [{**PLACE, "data": data}]}
    assert (opened.closes, opened.heeds) == ({}, False)
    late = written(drive(begun.after, Claimed(), now=LATER))
    assert late.closes == {"signal": [{**PLACE, "outcome": "expired"}]}
    assert late.heeds
    heard = written(drive(begun.after, paid()))
    assert heard.closes == {"signal": [{**PLACE, "outcome": "delivered"}]}
    assert not heard.heeds


def test_what_begins_and_ends_in_one_checkpoint_is_not_written():
    begun = waiting()
    checkpoint = written(begun, drive(begun.after, Asked(Verb.CANCEL, "olga")))
    assert (checkpoint.opens, checkpoint.closes) == ({"signal": []}, {})


def test_the_end_of_one_wait_and_the_begin_of_the_next_are_both_written():
    first = {**signal(), "id": "one"}
    planned = drive(waiting(first, {**signal(), "id": "two"}).after, paid())
    checkpoint = written(planned)
    assert [each["step"] for each in checkpoint.closes["signal"]] == ["one"]
    assert [each["step"] for each in checkpoint.opens["signal"]] == ["two"]


def test_lines_of_a_step_that_goes_on_are_numbered_like_all_others():
    before = waiting(signal(config={"schema": False})).after
    checkpoint = written(drive(before, paid(), replace(paid(), actor="other")))
    assert [(each["seq"], each["event"]) for each in checkpoint.log] == [(1, "signal.refused")]
    assert checkpoint.row["log_seq"] == 1


def test_news_while_it_runs_are_taken_in_too():
    snapshot = copy(waiting(signal()).after)
    snapshot.state = State.RUNNING
    planned = drive(snapshot, paid())
    assert transitions(planned) == [("running", "completed", "done")]
    stale = drive(snapshot, paid(seq=9))
    assert stale.commands == (Yield(),)
    assert not [each for each in stale.commands if isinstance(each, (Move, RecordStep))]
