"""Retry and skip, as the planner decides them: what they make of every place one can stand at."""

from __future__ import annotations

from copy import copy
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from executions.engine.commands import Block, Call, Finish, RecordStep, SetControl, Spawn
from executions.engine.errors import ErrorInfo
from executions.engine.events import (
    Asked,
    CallFailed,
    ChildrenEnded,
    ChildResult,
    Claimed,
    Verb,
)
from executions.engine.planner import Plan, abort
from executions.engine.snapshot import Phase, Snapshot
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
LATER = NOW + 1000 * SECOND
RETRY = Asked(Verb.RETRY, "ada", "fixed")


def refused(code: str = "http.503", **details: Any) -> CallFailed:
    return CallFailed(ErrorInfo(code, "No.", details=details, retryable=True))


def resumed(planned: Plan) -> Snapshot:
    """The execution as the service leaves it when a failed one is to be retried."""
    assert planned.after.state is State.FAILED, planned.commands
    snapshot = copy(planned.after)
    snapshot.state = State.RESUMED
    return snapshot


def retried(planned: Plan) -> Plan:
    first = drive(resumed(planned), RETRY, now=LATER)
    return drive(first.after, Claimed(), now=LATER)


def rows(planned: Plan) -> list[tuple[str, int, int, str]]:
    return [
        (each.step_id, each.seq, each.attempt, each.state.value)
        for each in planned.commands
        if isinstance(each, RecordStep)
    ]


def group(*body: dict[str, Any], last: list[dict[str, Any]] | None = None, **fields: Any):
    named = [{"name": each["id"], **each} for each in body]
    config = {"steps": named, **({"finally": last} if last else {})}
    return {"id": "g", "type": "group", "config": config, **fields}


def test_a_failed_call_is_made_again_as_the_next_attempt():
    failed = drive(snapshot_of([{"id": "a", **NOOP}]), Claimed(), refused())
    assert failed.after.position.phase is Phase.CALL
    again = retried(failed)
    call = only(again, Call)
    assert (call.position.seq, call.position.attempt) == (1, 2)
    assert call.position.started_at == LATER
    assert transitions(again) == [("resumed", "running", "running")]
    done = drive(again.after, succeeded(1), now=LATER)
    assert rows(done) == [("a", 1, 2, "completed")]
    assert done.after.state is State.COMPLETED


def test_the_steps_own_retries_are_granted_anew():
    retry = {"max_attempts": 2, "initial_interval": 10, "jitter": 0, "budget": 15}
    failed = drive(snapshot_of([{"id": "a", **NOOP, "retry": retry}]), Claimed(), refused())
    moment = NOW + 10 * SECOND
    failed = drive(failed.after, Claimed(), now=moment)
    failed = drive(failed.after, refused(), now=moment)
    again = retried(failed)
    assert only(again, Call).position.attempt == 3
    waiting = drive(again.after, refused(), now=LATER)
    assert waiting.after.state is State.WAITING
    assert only(waiting, Block).until == LATER + 10 * SECOND
    last = drive(waiting.after, Claimed(), now=LATER + 10 * SECOND)
    ended = drive(last.after, refused(), now=LATER + 10 * SECOND)
    assert (only(ended, Finish).error.attempt, ended.after.position.attempt) == (4, 4)


def test_a_timeout_begins_anew_in_the_middle_of_a_backoff():
    retry = {"max_attempts": 3, "initial_interval": 60, "jitter": 0}
    snapshot = snapshot_of([{"id": "a", **NOOP, "retry": retry}], timeout="30s")
    waiting = drive(snapshot, Claimed(), refused())
    late = drive(waiting.after, Claimed(), now=NOW + 30 * SECOND)
    assert only(late, Finish).error.code == "timeout.execution"
    assert late.after.position.phase is Phase.BACKOFF
    again = retried(late)
    # The second attempt had not begun; its number is still free.
    assert only(again, Call).position.attempt == 2
    assert again.after.deadline == LATER + 30 * SECOND
    assert again.after.position.spent == 1


def test_a_wait_that_timed_out_waits_anew():
    steps = [{"id": "nap", "type": "wait", "timeout": 10, "config": {"duration": 60}}]
    waiting = drive(snapshot_of(steps), Claimed())
    late = drive(waiting.after, Claimed(), now=NOW + 10 * SECOND)
    assert only(late, Finish).error.code == "timeout.step"
    again = retried(late)
    assert only(again, Block).until == LATER + 10 * SECOND
    assert again.after.position.attempt == 2


def test_a_wait_whose_execution_timed_out_waits_anew():
    steps = [{"id": "nap", "type": "wait", "config": {"duration": 60}}]
    waiting = drive(snapshot_of(steps, timeout=10), Claimed())
    late = drive(waiting.after, Claimed(), now=NOW + 10 * SECOND)
    assert rows(late) == [("nap", 1, 1, "cancelled")]
    again = retried(late)
    assert (again.after.position.phase, again.after.position.attempt) == (Phase.TIMER, 2)
    assert only(again, Block).until == LATER + 10 * SECOND


def test_a_group_is_gone_on_with_at_the_step_that_failed():
    steps = [group({"id": "a", **NOOP}, {"id": "b", **NOOP}, timeout=60), {"id": "c", **NOOP}]
    inside = drive(snapshot_of(steps), Claimed(), succeeded(1))
    failed = drive(inside.after, refused())
    assert rows(failed) == [("b", 3, 1, "failed"), ("g", 1, 1, "failed")]
    assert failed.after.position.step_id == "b"
    assert [frame.position.step_id for frame in failed.after.frames] == ["g"]
    again = retried(failed)
    assert (only(again, Call).position.step_id, only(again, Call).position.attempt) == ("b", 2)
    assert again.after.frames[0].deadline == LATER + 60 * SECOND
    assert again.after.frames[0].position.attempt == 2
    out = drive(again.after, succeeded(2), now=LATER)
    assert rows(out) == [("b", 3, 2, "completed"), ("g", 1, 2, "completed")]
    assert only(out, Call).position.step_id == "c"


def test_where_it_stands_in_groups_is_written_down():
    steps = [group({"id": "a", **NOOP})]
    failed = drive(snapshot_of(steps), Claimed(), refused())
    # The row keeps the frames it had when the step began: nothing to say again.
    assert not [each for each in failed.commands if isinstance(each, SetControl)]
    again = drive(resumed(failed), RETRY, now=LATER)
    control = only(again, SetControl)
    assert (control.spent, control.frames[0].position.attempt) == (1, 2)


def test_a_group_that_timed_out_is_gone_on_with_and_has_its_time_anew():
    steps = [group({"id": "nap", "type": "wait", "config": {"duration": 600}}, timeout=10)]
    waiting = drive(snapshot_of(steps), Claimed())
    late = drive(waiting.after, Claimed(), now=NOW + 10 * SECOND)
    assert rows(late) == [("nap", 2, 1, "cancelled"), ("g", 1, 1, "failed")]
    again = retried(late)
    assert (again.after.position.step_id, again.after.position.attempt) == ("nap", 2)
    assert only(again, Block).until == LATER + 10 * SECOND


CLEAN = {"id": "clean", "name": "clean", **NOOP}


def test_a_group_whose_finally_has_run_begins_anew():
    steps = [group({"id": "a", **NOOP}, last=[CLEAN])]
    cleaning = drive(snapshot_of(steps), Claimed(), refused())
    assert only(cleaning, Call).position.step_id == "clean"
    failed = drive(cleaning.after, succeeded(0))
    assert failed.after.position.step_id == "g"
    assert failed.after.frames == ()
    again = retried(failed)
    call = only(again, Call)
    assert (call.position.step_id, call.position.seq, call.position.attempt) == ("a", 4, 1)
    assert again.after.frames[0].position.attempt == 2


def test_a_finally_that_failed_after_a_good_body_is_gone_on_with():
    steps = [group({"id": "a", **NOOP}, last=[CLEAN])]
    cleaning = drive(snapshot_of(steps), Claimed(), succeeded("made"))
    failed = drive(cleaning.after, refused())
    again = retried(failed)
    assert (only(again, Call).position.step_id, only(again, Call).position.attempt) == ("clean", 2)
    done = drive(again.after, succeeded(0), now=LATER)
    assert only(done, Finish).output.value == "made"


def test_a_finally_that_failed_after_an_error_brings_the_whole_group_back():
    steps = [group({"id": "a", **NOOP}, last=[CLEAN])]
    failed = drive(snapshot_of(steps), Claimed(), refused("a.broke"), refused("clean.broke"))
    assert failed.after.position.step_id == "clean"
    again = retried(failed)
    assert only(again, Call).position.step_id == "a"


def test_a_catch_that_failed_itself_is_what_is_taken_again():
    steps = [
        {"id": "a", **NOOP, "catch": [{"errors": ["*"], "next": "rescue", "as": "why"}]},
        {"id": "rescue", **NOOP},
    ]
    failed = drive(snapshot_of(steps), Claimed(), refused("a.broke"), refused("rescue.broke"))
    again = retried(failed)
    assert only(again, Call).position.step_id == "rescue"
    assert again.after.names["why"]["code"] == "a.broke"
    assert again.after.caught["code"] == "a.broke"


EACH = {
    "id": "each",
    "type": "map",
    "config": {
        "items": "[10, 20, 30]",
        "as": "item",
        "steps": [{"name": "one", "id": "one", **NOOP}],
    },
}


def ended(*worked: bool) -> ChildrenEnded:
    return ChildrenEnded(
        tuple(
            ChildResult(index, each, index if each else None, None if each else {"message": "x"})
            for index, each in enumerate(worked)
        )
    )


@pytest.mark.parametrize("phase", [Phase.CHILDREN, Phase.STOPPING])
def test_a_failed_map_makes_a_new_generation_on_the_same_base(phase: Phase):
    waiting = drive(snapshot_of([EACH]), Claimed())
    snapshot = copy(waiting.after)
    snapshot.position = replace(snapshot.position, phase=phase)
    failed = drive(snapshot, ended(True, False, True))
    again = retried(failed)
    spawn = only(again, Spawn)
    assert (spawn.generation, spawn.base, len(spawn.items)) == (2, 1, 3)
    # What is heard late of the first generation says nothing of the second.
    late = drive(again.after, ended(True, False, True), now=LATER)
    assert (late.after.state, recorded(late)) == (State.WAITING, [])
    news = replace(ended(True, True, True), generation=2)
    done = drive(again.after, news, now=LATER)
    assert rows(done) == [("each", 1, 2, "completed")]


def test_a_result_that_breaks_its_schema_is_worked_out_again_without_its_steps():
    steps = [{"id": "a", **NOOP, "assign": {"n": "{{ steps.a.output }}"}}]
    failed = drive(
        snapshot_of(steps, output="{{ vars.n }}", output_schema={"type": "string"}),
        Claimed(),
        succeeded(1),
    )
    assert failed.after.position.phase is Phase.RESULT
    again = retried(failed)
    assert (recorded(again), only(again, Finish).error.code) == ([], "validation.output")


def test_a_succeed_step_works_its_output_out_again():
    steps = [{"id": "end_it", "type": "succeed", "config": {"output": 1}}]
    failed = drive(snapshot_of(steps, output_schema={"type": "string"}), Claimed())
    again = retried(failed)
    assert rows(again) == [("end_it", 1, 2, "completed")]
    assert only(again, Finish).error.code == "validation.output"


def test_the_limit_of_steps_is_looked_at_again():
    snapshot = snapshot_of([{"id": "a", **NOOP}, {"id": "b", **NOOP}])
    snapshot.max_steps = 1
    failed = drive(snapshot, Claimed(), succeeded(1))
    assert (only(failed, Finish).error.code, failed.after.position.seq) == ("limit.steps", 2)
    assert drive(resumed(failed), RETRY, now=LATER).after.state is State.FAILED
    roomy = resumed(failed)
    roomy.max_steps = 2
    again = drive(drive(roomy, RETRY, now=LATER).after, Claimed(), now=LATER)
    call = only(again, Call)
    assert (call.position.step_id, call.position.seq, call.position.attempt) == ("b", 2, 1)


def test_one_that_never_began_begins():
    broken = abort(snapshot_of([{"id": "a", **NOOP}]), ErrorInfo("version.unreadable", "No."), NOW)
    again = retried(broken)
    assert only(again, Call).position.attempt == 1
    assert again.after.started_at == LATER


def test_a_lost_worker_is_made_good_by_a_retry():
    running = drive(snapshot_of([{"id": "a", **NOOP}]), Claimed())
    lost = abort(running.after, ErrorInfo("worker.lost", "No."), NOW)
    assert only(retried(lost), Call).position.attempt == 2


def test_a_pause_after_a_retry_keeps_the_new_attempt():
    failed = drive(snapshot_of([{"id": "a", **NOOP}]), Claimed(), refused())
    paused = drive(resumed(failed), RETRY, Asked(Verb.PAUSE, "ada"), Claimed(), now=LATER)
    assert paused.after.state is State.PAUSED
    gone_on = drive(paused.after, Asked(Verb.RESUME, "ada"), now=LATER)
    assert only(gone_on, Call).position.attempt == 2


def test_a_retry_of_what_has_not_failed_changes_nothing():
    running = drive(snapshot_of([{"id": "a", **NOOP}]), Claimed())
    again = drive(running.after, RETRY)
    assert only(again, Call).position == running.after.position


# Skip --------------------------------------------------------------------------------------------


def skip(seq: int = 1, output: Any = None) -> Asked:
    return Asked(Verb.SKIP, "ada", "not today", seq=seq, output=output)


NAP = {"id": "nap", "type": "wait", "config": {"duration": "1h"}}


def test_a_waiting_step_is_skipped_and_the_next_one_follows():
    waiting = drive(snapshot_of([NAP, {"id": "b", **NOOP}]), Claimed())
    skipped = drive(waiting.after, skip())
    assert transitions(skipped) == [("waiting", "running", "not today")]
    assert rows(skipped) == [("nap", 1, 1, "skipped")]
    note = only(skipped, RecordStep).log[0]
    assert (note.event, note.fields) == ("step.skipped", {"actor": "ada", "reason": "not today"})
    assert only(drive(skipped.after, Claimed()), Call).position.step_id == "b"


def test_a_skipped_last_step_of_a_paused_execution_ends_it_on_resume():
    paused = drive(snapshot_of([NAP]), Claimed(), Asked(Verb.PAUSE, "ada"))
    skipped = drive(paused.after, skip())
    assert (skipped.after.state, skipped.after.position.phase) == (State.PAUSED, Phase.SKIPPED)
    assert only(skipped, Block).until is None
    done = drive(skipped.after, Asked(Verb.RESUME, "ada"))
    assert only(done, Finish).output.value is None


def test_a_given_output_is_seen_and_assigned():
    steps = [
        {**NAP, "assign": {"n": "{{ steps.nap.output.n }}"}},
        {"id": "end_it", "type": "succeed", "config": {"output": "{{ vars.n + 1 }}"}},
    ]
    waiting = drive(snapshot_of(steps), Claimed())
    done = drive(drive(waiting.after, skip(output={"n": 4})).after, Claimed())
    assert only(done, Finish).output.value == 5


def test_a_given_output_that_does_not_fit_what_is_assigned_fails_the_step():
    steps = [{**NAP, "assign": {"n": "{{ steps.nap.output.n }}"}}]
    waiting = drive(snapshot_of(steps), Claimed())
    failed = drive(waiting.after, skip(output={"m": 4}))
    assert (rows(failed), only(failed, Finish).error.code) == (
        [("nap", 1, 1, "failed")],
        "expression",
    )


def test_what_failed_is_skipped_under_a_further_attempt():
    failed = drive(snapshot_of([{"id": "a", **NOOP}, {"id": "b", **NOOP}]), Claimed(), refused())
    skipped = drive(resumed(failed), RETRY, skip(0), now=LATER)
    assert rows(skipped) == [("a", 1, 2, "skipped")]
    assert only(drive(skipped.after, Claimed(), now=LATER), Call).position.step_id == "b"


def test_a_step_inside_a_group_is_skipped_inside_it():
    steps = [group({"id": "a", **NOOP}, {"id": "b", **NOOP}), {"id": "c", **NOOP}]
    failed = drive(snapshot_of(steps), Claimed(), refused())
    skipped = drive(resumed(failed), RETRY, skip(0), Claimed(), now=LATER)
    assert only(skipped, Call).position.step_id == "b"
    assert len(skipped.after.frames) == 1


def test_the_items_of_a_skipped_map_are_cancelled():
    waiting = drive(snapshot_of([EACH]), Claimed())
    skipped = drive(waiting.after, skip())
    told = [each for each in skipped.commands if type(each).__name__ == "TellChildren"]
    assert [(each.verb, each.generation, each.actor) for each in told] == [("cancel", 1, "ada")]
    assert drive(skipped.after, Claimed()).after.state is State.COMPLETED


def test_a_backoff_is_skipped():
    retry = {"max_attempts": 3, "initial_interval": 60}
    waiting = drive(snapshot_of([{"id": "a", **NOOP, "retry": retry}]), Claimed(), refused())
    assert rows(drive(waiting.after, skip())) == [("a", 1, 2, "skipped")]


def test_a_skip_that_comes_too_late_changes_nothing():
    waiting = drive(snapshot_of([NAP, {"id": "b", **NOOP}]), Claimed())
    gone_on = drive(waiting.after, Claimed(), now=NOW + 3600 * SECOND)
    late = drive(gone_on.after, skip(seq=1))
    assert (recorded(late), only(late, Call).position.step_id) == ([], "b")
    twice = drive(waiting.after, skip(), skip())
    assert recorded(twice) == []
