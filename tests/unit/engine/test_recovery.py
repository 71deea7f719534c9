"""Retries, catches, groups and deadlines, as the planner decides them."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from executions.engine.commands import Block, Call, Finish, RecordStep, Rest, TellChildren
from executions.engine.errors import ErrorInfo
from executions.engine.events import Asked, CallFailed, Claimed, Continued, Verb
from executions.engine.planner import abort
from executions.engine.snapshot import Phase
from executions.engine.states import State
from tests.unit.engine.test_planner import (
    NOOP,
    NOW,
    drive,
    only,
    recorded,
    snapshot_of,
    succeeded,
    transitions,
)

SECOND = timedelta(seconds=1)


def refused(code: str = "http.503", **details: Any) -> CallFailed:
    return CallFailed(ErrorInfo(code, "No.", details=details, retryable=True))


def retrying(**retry: Any) -> dict[str, Any]:
    policy = {"max_attempts": 3, "initial_interval": 1, "backoff": 2, "jitter": 0, **retry}
    return {"id": "a", **NOOP, "retry": policy}


def test_a_short_backoff_is_waited_out_by_the_worker():
    planned = drive(snapshot_of([retrying()]), Claimed(), refused())
    assert recorded(planned) == [("a", "failed")]
    assert only(planned, Rest).until == NOW + SECOND
    assert planned.after.state is State.RUNNING
    assert (planned.after.position.phase, planned.after.position.attempt) == (Phase.BACKOFF, 2)
    again = drive(planned.after, Continued(), now=NOW + SECOND)
    call = only(again, Call)
    assert (call.position.attempt, call.position.seq) == (2, 1)
    assert call.position.started_at == NOW + SECOND


def test_a_long_backoff_gives_the_execution_up():
    planned = drive(snapshot_of([retrying(initial_interval=60)]), Claimed(), refused())
    assert transitions(planned) == [("running", "waiting", "backoff")]
    assert only(planned, Block).until == NOW + 60 * SECOND
    woken = drive(planned.after, Claimed(), now=NOW + 60 * SECOND)
    assert only(woken, Call).position.attempt == 2


def test_intervals_grow_up_to_their_bound():
    snapshot = snapshot_of(
        [retrying(max_attempts=5, initial_interval=10, backoff=3, max_interval=50)]
    )
    delays = []
    planned, now = drive(snapshot, Claimed()), NOW
    for _ in range(4):
        planned = drive(planned.after, refused(), now=now)
        until = only(planned, Block).until
        delays.append((until - now).total_seconds())
        now = until
        planned = drive(planned.after, Claimed(), now=now)
    assert delays == [10, 30, 50, 50]
    ended = drive(planned.after, refused(), now=now)
    assert only(ended, Finish).error.attempt == 5


def test_jitter_shortens_and_is_the_same_however_often_it_is_planned():
    snapshot = snapshot_of([retrying(initial_interval=100, jitter=0.5)])
    first = only(drive(snapshot, Claimed(), refused()), Block).until
    assert first == only(drive(snapshot, Claimed(), refused()), Block).until
    assert NOW + 50 * SECOND <= first < NOW + 100 * SECOND


def test_retry_after_is_honoured():
    planned = drive(snapshot_of([retrying()]), Claimed(), refused(retry_after_seconds=30))
    assert only(planned, Block).until == NOW + 30 * SECOND


def test_the_budget_bounds_all_attempts_together():
    planned = drive(
        snapshot_of([retrying(initial_interval=10, budget=15, max_attempts=9)]),
        Claimed(),
        refused(),
    )
    planned = drive(planned.after, Claimed(), now=NOW + 10 * SECOND)
    ended = drive(planned.after, refused(), now=NOW + 10 * SECOND)
    assert only(ended, Finish).error.attempt == 2


@pytest.mark.parametrize(
    ("retry", "failure"),
    [
        ({"errors": ["http.5xx"]}, refused("http.404")),
        ({"except": ["http.503"]}, refused()),
        ({}, CallFailed(ErrorInfo("action.Closed", "No.", retryable=False))),
        ({"max_attempts": 1}, refused()),
    ],
)
def test_what_is_not_to_be_tried_again_fails_at_once(retry: dict[str, Any], failure: CallFailed):
    planned = drive(snapshot_of([retrying(**retry)]), Claimed(), failure)
    assert only(planned, Finish).error.code == failure.error.code


CATCHING = [
    {
        "id": "a",
        **NOOP,
        "catch": [
            {"errors": ["http.4xx"], "next": "gone"},
            {"errors": ["http.*"], "next": "rescue", "as": "problem"},
        ],
    },
    {"id": "b", "type": "succeed", "config": {"output": "fine"}},
    {"id": "gone", "type": "succeed", "config": {"output": "gone"}},
    {
        "id": "rescue",
        "type": "succeed",
        "config": {"output": "{{ problem.code }} {{ error.message }} {{ steps.a.state }}"},
    },
]


@pytest.mark.parametrize(
    ("code", "output"), [("http.404", "gone"), ("http.503", "http.503 No. failed")]
)
def test_the_first_catch_that_matches_decides(code: str, output: str):
    planned = drive(snapshot_of(CATCHING), Claimed(), refused(code))
    assert only(planned, Finish).output.value == output


def test_an_error_that_nothing_catches_fails_the_execution():
    planned = drive(snapshot_of(CATCHING), Claimed(), refused("action.Refused"))
    assert only(planned, Finish).error.code == "action.Refused"


def test_retries_come_before_catches():
    steps = [{**CATCHING[0], "retry": {"max_attempts": 2, "initial_interval": 60}}, *CATCHING[1:]]
    planned = drive(snapshot_of(steps), Claimed(), refused())
    assert planned.after.state is State.WAITING
    planned = drive(planned.after, Claimed(), now=NOW + 60 * SECOND)
    caught = drive(planned.after, refused(), now=NOW + 60 * SECOND)
    assert only(caught, Finish).output.value == "http.503 No. failed"


def grouped(**group: Any) -> list[dict[str, Any]]:
    inner = [{"id": "x", "name": "x", **NOOP}, {"id": "y", "name": "y", **NOOP}]
    last = group.pop("finally", None)
    config = {"steps": inner, **({"finally": last} if last else {})}
    return [
        {"id": "g", "type": "group", "config": config, **group},
        {"id": "after", "type": "transform", "config": {"output": "{{ steps.g.output }}"}},
    ]


LAST = [
    {
        "id": "tidy",
        "name": "tidy",
        "type": "transform",
        "config": {"output": "{{ error.code if error else 'none' }}"},
    }
]


def test_a_group_runs_its_steps_and_its_output_is_their_last():
    planned = drive(snapshot_of(grouped()), Claimed(), succeeded(1), succeeded({"n": 2}))
    assert recorded(planned) == [("y", "completed"), ("g", "completed"), ("after", "completed")]
    assert only(planned, Finish).output.value == {"n": 2}


def test_an_empty_handed_group_has_no_output_of_its_own():
    steps = [
        {"id": "before", "type": "transform", "config": {"output": 1}},
        {
            "id": "g",
            "type": "group",
            "config": {
                "steps": [
                    {
                        "id": "w",
                        "name": "w",
                        "type": "wait",
                        "config": {"until": "2020-01-01T00:00:00Z"},
                    }
                ]
            },
        },
        {"id": "after", "type": "transform", "config": {"output": ["{{ steps.g.output }}"]}},
    ]
    assert only(drive(snapshot_of(steps), Claimed()), Finish).output.value == [None]


def test_finally_runs_after_success_and_sees_no_error():
    planned = drive(
        snapshot_of(grouped(**{"finally": LAST})), Claimed(), succeeded(1), succeeded(2)
    )
    assert planned.after.steps["tidy"].output == "none"
    assert only(planned, Finish).output.value == 2


def test_finally_runs_after_a_failure_and_the_failure_goes_on():
    planned = drive(snapshot_of(grouped(**{"finally": LAST})), Claimed(), refused())
    assert recorded(planned) == [("x", "failed"), ("tidy", "completed"), ("g", "failed")]
    assert planned.after.steps["tidy"].output == "http.503"
    assert only(planned, Finish).error.code == "http.503"


def test_a_groups_catch_takes_the_errors_of_its_steps():
    steps = [
        *grouped(catch=[{"errors": ["*"], "next": "rescue"}]),
        {"id": "rescue", "type": "succeed", "config": {"output": "{{ error.step }}"}},
    ]
    steps[1]["next"] = "end"
    planned = drive(snapshot_of(steps), Claimed(), succeeded(1), refused())
    assert only(planned, Finish).output.value == "g"


def test_a_groups_retry_begins_its_steps_anew():
    steps = grouped(retry={"max_attempts": 2, "initial_interval": 60})
    planned = drive(snapshot_of(steps), Claimed(), succeeded(1), refused())
    assert transitions(planned)[-1] == ("running", "waiting", "backoff")
    assert planned.after.frames == ()
    again = drive(planned.after, Claimed(), now=NOW + 60 * SECOND)
    call = only(again, Call)
    assert (call.position.step_id, call.position.seq) == ("x", 4)
    done = drive(again.after, succeeded(1), succeeded(5), now=NOW + 61 * SECOND)
    assert [
        (each.step_id, each.attempt)
        for each in done.commands
        if isinstance(each, RecordStep) and each.step_id == "g"
    ] == [("g", 2)]
    assert only(done, Finish).output.value == 5


def test_a_group_that_takes_too_long_fails_and_closes_what_is_under_way():
    steps = grouped(timeout="10s", **{"finally": LAST})
    running = drive(snapshot_of(steps), Claimed())
    late = drive(running.after, refused("timeout.step"), now=NOW + 10 * SECOND)
    assert recorded(late) == [("x", "cancelled"), ("tidy", "completed"), ("g", "failed")]
    assert only(late, Finish).error.code == "timeout.step"


def test_a_wait_inside_a_group_ends_with_the_groups_timeout():
    inner = [{"id": "nap", "name": "nap", "type": "wait", "config": {"duration": "1h"}}]
    steps = [{"id": "g", "type": "group", "timeout": "10s", "config": {"steps": inner}}]
    waiting = drive(snapshot_of(steps), Claimed())
    assert only(waiting, Block).until == NOW + 10 * SECOND
    late = drive(waiting.after, Claimed(), now=NOW + 10 * SECOND)
    assert recorded(late) == [("nap", "cancelled"), ("g", "failed")]


def test_succeed_and_fail_end_the_group_they_are_in():
    inner = [
        {
            "id": "s",
            "name": "s",
            "type": "succeed",
            "config": {"output": "early"},
            "when": "input.ok",
        },
        {"id": "f", "name": "f", "type": "fail", "config": {"error": "my.error", "message": "No."}},
    ]
    steps = [
        {
            "id": "g",
            "type": "group",
            "config": {"steps": inner},
            "catch": [{"errors": ["my.*"], "next": "end"}],
        },
        {"id": "after", "type": "transform", "config": {"output": ["{{ steps.g.output }}"]}},
    ]
    planned = drive(snapshot_of(steps, {"ok": True}), Claimed())
    assert only(planned, Finish).output.value == ["early"]
    planned = drive(snapshot_of(steps, {"ok": False}), Claimed())
    assert planned.after.state is State.COMPLETED
    assert recorded(planned) == [("s", "skipped"), ("f", "failed"), ("g", "failed")]


def test_groups_within_groups_unwind_one_by_one():
    core = [{"id": "x", "name": "x", **NOOP}]
    inner = {
        "id": "inner",
        "name": "inner",
        "type": "group",
        "config": {"steps": core, "finally": [{**LAST[0], "id": "tidy_in"}]},
    }
    outer = {
        "id": "outer",
        "type": "group",
        "config": {"steps": [inner], "finally": [{**LAST[0], "id": "tidy_out"}]},
    }
    planned = drive(snapshot_of([outer]), Claimed(), refused())
    assert recorded(planned) == [
        ("x", "failed"),
        ("tidy_in", "completed"),
        ("inner", "failed"),
        ("tidy_out", "completed"),
        ("outer", "failed"),
    ]


def test_the_execution_fails_at_its_own_timeout():
    steps = [{"id": "nap", "type": "wait", "config": {"duration": "1h"}}]
    waiting = drive(snapshot_of(steps, timeout="1m"), Claimed())
    assert only(waiting, Block).until == NOW + 60 * SECOND
    late = drive(waiting.after, Claimed(), now=NOW + 60 * SECOND)
    assert only(late, Finish).error.code == "timeout.execution"
    assert recorded(late) == [("nap", "cancelled")]


def test_the_deadline_stands_still_while_paused():
    steps = [{"id": "nap", "type": "wait", "config": {"duration": "1h"}}]
    waiting = drive(snapshot_of(steps, timeout="1m"), Claimed())
    paused = drive(waiting.after, Asked(Verb.PAUSE, "admin"), now=NOW + 30 * SECOND)
    resumed = drive(paused.after, Asked(Verb.RESUME, "admin"), now=NOW + 300 * SECOND)
    assert only(resumed, Block).until == NOW + 330 * SECOND


def test_defaults_apply_to_steps_that_do_not_say():
    defaults = {"retry": {"max_attempts": 2, "initial_interval": 60}}
    planned = drive(snapshot_of([{"id": "a", **NOOP}], defaults=defaults), Claimed(), refused())
    assert planned.after.state is State.WAITING


def test_what_ends_for_a_reason_outside_has_its_items_cancelled():
    body = [{"id": "x", "name": "x", **NOOP}]
    step = {"id": "m", "type": "map", "config": {"items": "[1, 2]", "as": "item", "steps": body}}
    waiting = drive(snapshot_of([step]), Claimed())
    aborted = abort(waiting.after, ErrorInfo("worker.lost", "Gone."), NOW)
    tell = only(aborted, TellChildren)
    assert (tell.step_id, tell.generation, tell.verb) == ("m", 1, Verb.CANCEL)
