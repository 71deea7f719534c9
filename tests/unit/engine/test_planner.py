"""What the planner decides, step type by step type, and that it always decides something."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from executions.engine.commands import Block, Call, Command, Finish, RecordStep, Transit, Yield
from executions.engine.errors import ErrorInfo
from executions.engine.events import (
    Asked,
    CallFailed,
    CallSucceeded,
    Claimed,
    Continued,
    Event,
    Verb,
)
from executions.engine.payload import encode
from executions.engine.planner import Plan, abort, plan
from executions.engine.snapshot import Phase, Snapshot
from executions.engine.states import State, StepState
from workflows.definition.compiled import compile_definition

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
NOOP = {"type": "action", "config": {"action": "noop"}}


def snapshot_of(steps: list[dict[str, Any]], data: Any = None, **document: Any) -> Snapshot:
    named = [{"name": each.get("id", "step"), **each} for each in steps]
    definition = compile_definition({"name": "Test", "steps": named, **document})
    return Snapshot(1, definition, "test", "1.0.0", State.INITIALIZED, data or {})


def succeeded(value: Any) -> CallSucceeded:
    return CallSucceeded(encode(value, limit=1000, what="It"))


def drive(snapshot: Snapshot, *events: Event, now: datetime = NOW) -> Plan:
    """The last plan after these events, each planned on what the one before left."""
    planned = Plan((), snapshot)
    for event in events:
        planned = plan(planned.after, event, now)
    return planned


def only(planned: Plan, kind: type[Command]) -> Any:
    found = [each for each in planned.commands if isinstance(each, kind)]
    assert len(found) == 1, planned.commands
    return found[0]


def recorded(planned: Plan) -> list[tuple[str, str]]:
    return [
        (each.step_id, each.state.value)
        for each in planned.commands
        if isinstance(each, RecordStep)
    ]


def transitions(planned: Plan) -> list[tuple[str, str, str]]:
    return [
        (each.source.value, each.target.value, each.reason)
        for each in planned.commands
        if isinstance(each, Transit)
    ]


def test_a_claim_starts_the_first_step() -> None:
    planned = drive(snapshot_of([{"id": "a", **NOOP}]), Claimed())
    assert transitions(planned) == [("initialized", "running", "running")]
    call = only(planned, Call)
    assert (call.position.step_id, call.position.seq, call.position.attempt) == ("a", 1, 1)
    assert planned.after.started_at == NOW


def test_one_plan_finishes_a_step_and_starts_the_next() -> None:
    snapshot = snapshot_of([{"id": "a", **NOOP}, {"id": "b", **NOOP}])
    planned = drive(snapshot, Claimed(), succeeded({"n": 1}))
    assert recorded(planned) == [("a", "completed")]
    assert only(planned, Call).position.step_id == "b"
    assert planned.after.steps["a"].output == {"n": 1}


def test_the_snapshot_given_stays_as_it_was() -> None:
    snapshot = snapshot_of([{"id": "a", **NOOP}])
    drive(snapshot, Claimed(), succeeded(1))
    assert snapshot.state is State.INITIALIZED
    assert snapshot.steps == {}
    assert snapshot.position is None


def test_pure_steps_ride_in_one_plan_and_the_last_output_is_the_result() -> None:
    snapshot = snapshot_of(
        [
            {"id": "a", "type": "transform", "config": {"output": {"sum": "{{ input.n + 1 }}"}}},
            {"id": "b", "type": "transform", "config": {"output": "{{ steps.a.output.sum * 2 }}"}},
        ],
        {"n": 4},
    )
    planned = drive(snapshot, Claimed())
    assert recorded(planned) == [("a", "completed"), ("b", "completed")]
    assert only(planned, Finish).output.value == 10
    assert transitions(planned)[-1] == ("running", "completed", "done")


def test_when_false_skips_and_assigns_nothing() -> None:
    snapshot = snapshot_of(
        [
            {
                "id": "a",
                "type": "transform",
                "when": "input.n > 5",
                "config": {"output": 1},
                "assign": {"x": 1},
            },
            {"id": "b", "type": "transform", "config": {"output": "{{ steps.a.output }}"}},
        ],
        {"n": 4},
    )
    planned = drive(snapshot, Claimed())
    assert recorded(planned) == [("a", "skipped"), ("b", "completed")]
    assert planned.after.vars == {}
    assert only(planned, Finish).output.value is None


def test_assign_sees_the_step_and_sets_all_at_once() -> None:
    snapshot = snapshot_of(
        [
            {
                "id": "a",
                "type": "transform",
                "config": {"output": 7},
                "assign": {"x": "{{ steps.a.output }}"},
            },
            {
                "id": "b",
                "type": "transform",
                "config": {"output": 1},
                "assign": {"x": "{{ vars.x + 1 }}", "y": "{{ vars.x }}"},
            },
        ]
    )
    assert drive(snapshot, Claimed()).after.vars == {"x": 8, "y": 7}


@pytest.mark.parametrize(
    ("amount", "path"),
    [(10, ["big", "end"]), (5, ["mid", "end"]), (1, ["small", "end"])],
)
def test_choice_takes_the_first_match_or_the_default(amount: int, path: list[str]) -> None:
    steps = [
        {
            "id": "pick",
            "type": "choice",
            "config": {
                "choices": [
                    {"when": "input.amount > 8", "next": "big"},
                    {"when": "input.amount > 3", "next": "mid"},
                ],
                "default": "small",
            },
        },
        *(
            {"id": name, "type": "transform", "config": {"output": name}, "next": "end"}
            for name in ("big", "mid", "small")
        ),
    ]
    planned = drive(snapshot_of(steps, {"amount": amount}), Claimed())
    assert recorded(planned) == [("pick", "completed"), (path[0], "completed")]
    assert only(planned, Finish).output.value == path[0]


def test_a_choice_without_match_and_default_fails() -> None:
    steps = [
        {
            "id": "pick",
            "type": "choice",
            "config": {"choices": [{"when": "false", "next": "a"}]},
        },
        {"id": "a", **NOOP},
    ]
    planned = drive(snapshot_of(steps), Claimed())
    error = only(planned, Finish).error
    assert (error.code, error.step) == ("choice.no_match", "pick")
    assert transitions(planned)[-1] == ("running", "failed", "choice.no_match")


def test_a_wait_blocks_until_its_moment_and_goes_on_after_it() -> None:
    steps = [
        {"id": "nap", "type": "wait", "config": {"duration": "90s"}},
        {"id": "after", "type": "transform", "config": {"output": "done"}},
    ]
    waiting = drive(snapshot_of(steps), Claimed())
    assert transitions(waiting)[-1] == ("running", "waiting", "timer")
    assert only(waiting, Block).until == NOW + timedelta(seconds=90)
    early = drive(waiting.after, Claimed(), now=NOW + timedelta(seconds=89))
    assert early.commands == (Block(NOW + timedelta(seconds=90)),)
    woken = drive(waiting.after, Claimed(), now=NOW + timedelta(seconds=90))
    assert recorded(woken) == [("nap", "completed"), ("after", "completed")]
    assert woken.after.state is State.COMPLETED


def test_a_wait_that_is_over_already_does_not_block() -> None:
    steps = [{"id": "nap", "type": "wait", "config": {"until": "2020-01-01T00:00:00Z"}}]
    planned = drive(snapshot_of(steps), Claimed())
    assert planned.after.state is State.COMPLETED
    assert all(target != "waiting" for _, target, _ in transitions(planned))


def test_a_wait_longer_than_its_timeout_fails_at_the_timeout() -> None:
    steps = [{"id": "nap", "type": "wait", "timeout": "10s", "config": {"duration": "90s"}}]
    waiting = drive(snapshot_of(steps), Claimed())
    assert only(waiting, Block).until == NOW + timedelta(seconds=10)
    woken = drive(waiting.after, Claimed(), now=NOW + timedelta(seconds=10))
    assert only(woken, Finish).error.code == "timeout.step"


def test_a_bad_duration_says_so() -> None:
    steps = [{"id": "nap", "type": "wait", "config": {"duration": "{{ input.pause }}"}}]
    error = only(drive(snapshot_of(steps, {"pause": "soon"}), Claimed()), Finish).error
    assert (error.code, error.step) == ("wait.invalid", "nap")


def test_succeed_ends_with_its_output_past_the_output_template() -> None:
    steps = [
        {"id": "stop", "type": "succeed", "config": {"output": {"ok": True}}, "when": "input.stop"},
        {"id": "rest", "type": "transform", "config": {"output": 1}},
    ]
    planned = drive(snapshot_of(steps, {"stop": True}, output={"never": 1}), Claimed())
    assert only(planned, Finish).output.value == {"ok": True}


def test_fail_ends_with_its_error() -> None:
    config = {"error": "refund.too_late", "message": "{{ input.days }} days are too many."}
    steps = [{"id": "stop", "type": "fail", "config": config}]
    planned = drive(snapshot_of(steps, {"days": 40}), Claimed())
    error = only(planned, Finish).error
    assert (error.code, error.message, error.step) == (
        "refund.too_late",
        "40 days are too many.",
        "stop",
    )
    assert recorded(planned) == [("stop", "failed")]


def test_an_expression_that_names_what_is_missing_fails_its_step() -> None:
    steps = [{"id": "a", "type": "transform", "config": {"output": {"x": "{{ input.gone }}"}}}]
    error = only(drive(snapshot_of(steps), Claimed()), Finish).error
    assert error.code == "expression"
    assert "gone" in error.message
    assert error.details["path"] == ".x"


def test_a_failed_call_without_catch_fails_the_execution() -> None:
    failure = CallFailed(ErrorInfo("action.Refused", "No."))
    planned = drive(snapshot_of([{"id": "a", **NOOP}]), Claimed(), failure)
    assert recorded(planned) == [("a", "failed")]
    assert only(planned, Finish).error == ErrorInfo("action.Refused", "No.", step="a", attempt=1)


def test_the_output_is_held_to_the_output_schema() -> None:
    steps = [{"id": "a", "type": "transform", "config": {"output": {"n": "text"}}}]
    schema = {"type": "object", "properties": {"n": {"type": "integer"}}}
    planned = drive(snapshot_of(steps, output_schema=schema), Claimed())
    error = only(planned, Finish).error
    assert error.code == "validation.output"
    assert error.details["problems"][0]["path"] == "$.n"


def test_a_loop_stops_at_the_limit_of_steps() -> None:
    steps = [
        {"id": "a", "type": "transform", "config": {"output": 1}},
        {"id": "b", "type": "choice", "config": {"choices": [{"when": "true", "next": "a"}]}},
    ]
    snapshot = snapshot_of(steps)
    snapshot.max_steps = 250
    planned = drive(snapshot, Claimed())
    plans = 1
    while isinstance(planned.commands[-1], Yield):
        planned = drive(planned.after, Continued())
        plans += 1
    assert only(planned, Finish).error.code == "limit.steps"
    assert (plans, planned.after.entered) == (3, 250)


def test_where_a_plan_is_cut_changes_nothing() -> None:
    steps = [
        {"id": f"s{n}", "type": "transform", "config": {"output": n}, "assign": {f"v{n}": n}}
        for n in range(20)
    ]
    whole = drive(snapshot_of(steps), Claimed())
    cut = plan(snapshot_of(steps), Claimed(), NOW, spent=lambda: True)
    commands = list(cut.commands)
    while isinstance(commands[-1], Yield):
        commands.pop()
        cut = plan(cut.after, Continued(), NOW, spent=lambda: True)
        commands.extend(cut.commands)
    assert [each for each in commands if isinstance(each, RecordStep)] == [
        each for each in whole.commands if isinstance(each, RecordStep)
    ]
    assert cut.after.vars == whole.after.vars
    assert cut.after.state is State.COMPLETED


def test_pause_between_steps_keeps_the_place_and_resume_goes_on_there() -> None:
    running = drive(snapshot_of([{"id": "a", **NOOP}, {"id": "b", **NOOP}]), Claimed())
    paused = drive(running.after, succeeded(1), Asked(Verb.PAUSE, "admin", "lunch"))
    assert transitions(paused) == [("running", "paused", "lunch")]
    assert only(paused, Block).until is None
    resumed = drive(paused.after, Asked(Verb.RESUME, "admin"))
    assert transitions(resumed) == [
        ("paused", "resumed", "operator"),
        ("resumed", "running", "running"),
    ]
    assert only(resumed, Call).position.step_id == "b"


def test_pause_of_a_wait_lets_its_time_run_on() -> None:
    steps = [{"id": "nap", "type": "wait", "config": {"duration": "60s"}}]
    paused = drive(snapshot_of(steps), Claimed(), Asked(Verb.PAUSE, "admin"))
    assert paused.after.state is State.PAUSED
    paused.after.state = State.RESUMED
    early = drive(paused.after, Claimed(), now=NOW + timedelta(seconds=30))
    assert only(early, Block).until == NOW + timedelta(seconds=60)
    assert early.after.state is State.WAITING
    late = drive(paused.after, Claimed(), now=NOW + timedelta(seconds=61))
    assert late.after.state is State.COMPLETED


def test_cancel_ends_at_once_and_closes_the_step_under_way() -> None:
    cancelled = drive(snapshot_of([{"id": "a", **NOOP}]), Claimed(), Asked(Verb.CANCEL, "admin"))
    assert recorded(cancelled) == [("a", "cancelled")]
    assert transitions(cancelled) == [("running", "cancelled", "")]
    assert cancelled.after.position is None


def test_cancel_before_the_start_records_no_step() -> None:
    cancelled = drive(snapshot_of([{"id": "a", **NOOP}]), Asked(Verb.CANCEL, "admin"), Claimed())
    assert cancelled.after.state is State.CANCELLED
    assert cancelled.after.entered == 0


def test_a_wish_that_changes_nothing_repeats_what_was_to_be_done() -> None:
    running = drive(snapshot_of([{"id": "a", **NOOP}]), Claimed())
    again = drive(running.after, Asked(Verb.RESUME, "admin"))
    assert again.commands == (Call(running.after.position),)


def test_a_lost_call_fails_the_step_when_it_is_not_safe_to_repeat() -> None:
    running = drive(snapshot_of([{"id": "a", **NOOP}]), Claimed())
    lost = drive(running.after, Claimed(lost_call=True))
    assert recorded(lost) == [("a", "failed")]
    assert only(lost, Finish).error.code == "worker.lost"


def test_a_claim_of_a_running_execution_calls_again_under_the_same_number() -> None:
    running = drive(snapshot_of([{"id": "a", **NOOP}]), Claimed())
    again = drive(running.after, Claimed(), now=NOW + timedelta(minutes=1))
    assert again.commands == (Call(running.after.position),)


def test_events_after_the_end_change_nothing() -> None:
    done = drive(snapshot_of([{"id": "a", **NOOP}]), Claimed(), succeeded(1))
    for event in (Claimed(), Asked(Verb.CANCEL, "x"), Asked(Verb.PAUSE, "x"), succeeded(2)):
        assert drive(done.after, event).commands == ()


def test_abort_records_the_step_under_way_as_failed() -> None:
    running = drive(snapshot_of([{"id": "a", **NOOP}]), Claimed())
    aborted = abort(running.after, ErrorInfo("worker.lost", "Gone."), NOW)
    assert recorded(aborted) == [("a", "failed")]
    assert aborted.after.state is State.FAILED
    assert aborted.after.position is not None
    assert aborted.after.position.phase is Phase.CALL


def test_an_output_too_large_fails_the_step() -> None:
    snapshot = snapshot_of(
        [{"id": "a", "type": "transform", "config": {"output": "{{ input.text + input.text }}"}}],
        {"text": "x" * 600},
    )
    snapshot.max_output_bytes = 1000
    error = only(drive(snapshot, Claimed()), Finish).error
    assert (error.code, error.details) == ("limit.output", {"bytes": 1202})


def test_step_records_carry_when_the_step_was_entered() -> None:
    running = drive(snapshot_of([{"id": "a", **NOOP}]), Claimed())
    done = drive(running.after, succeeded(1), now=NOW + timedelta(seconds=2))
    step = only(done, RecordStep)
    assert (step.started_at, step.ended_at) == (NOW, NOW + timedelta(seconds=2))
    assert step.state is StepState.COMPLETED
