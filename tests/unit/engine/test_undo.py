"""What the planner does from the moment an execution undoes what it did: no step, only its end."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from executions.engine.commands import (
    Block,
    CallUndo,
    Finish,
    Promise,
    RecordStep,
    Rest,
    Settle,
    Survey,
)
from executions.engine.errors import WORKER_LOST, ErrorInfo
from executions.engine.events import Asked, CallFailed, Claimed, Continued, Surveyed, Told, Verb
from executions.engine.planner import Plan, abort, plan
from executions.engine.snapshot import Phase, Snapshot, UndoItem
from executions.engine.states import State, UndoState
from tests.unit.engine.test_planner import (
    NOW,
    drive,
    only,
    recorded,
    snapshot_of,
    succeeded,
    transitions,
)
from workflows.definition.compiled import RetryPolicy

FAIL = {"id": "stop", "type": "fail", "config": {"error": "trip.sold_out", "message": "No."}}
OVER = Surveyed(left_total=0, done=2)


def action(id_: str, **fields: Any) -> dict[str, Any]:
    undo = {"action": "noop", "with": {"id": "{{ steps." + id_ + ".output.id }}"}}
    made = {"id": id_, "type": "action", "config": {"action": "noop"}, "compensate": undo}
    return {**made, **fields}


def item(number: int, step_id: str, *, attempts: int = 1, pause: float = 1.0) -> UndoItem:
    interval = timedelta(seconds=pause)
    retry = RetryPolicy(attempts, interval, 1.0, interval, 0.0, None, ("*",), ())
    return UndoItem(number, 1, number, step_id, step_id.title(), "noop", {"id": 7}, retry, None)


def failing(**document: Any) -> Snapshot:
    return snapshot_of([action("a"), action("b"), FAIL], on_failure="compensate", **document)


def undoing(*items: UndoItem, **document: Any) -> Plan:
    """The plan that has the first of these called."""
    events = [Claimed(), succeeded({"id": 1}), succeeded({"id": 2}), Surveyed(items)]
    return drive(failing(**document), *events)


def refused(*, retryable: bool = True) -> CallFailed:
    return CallFailed(ErrorInfo("action.Refused", "No.", retryable=retryable))


def test_a_step_that_completes_promises_what_undoes_it() -> None:
    planned = drive(failing(), Claimed(), succeeded({"id": 1}))
    promise = only(planned, Promise)
    assert (promise.seq, promise.step_id, promise.action) == (1, "a", "noop")
    assert (promise.params.value, promise.error) == ({"id": 1}, None)


def test_the_promise_sees_what_the_step_has_assigned() -> None:
    step = action("a", assign={"n": "{{ steps.a.output.id + 1 }}"})
    step["compensate"]["with"] = {"n": "{{ vars.n }}"}
    planned = drive(snapshot_of([step]), Claimed(), succeeded({"id": 1}))
    assert only(planned, Promise).params.value == {"n": 2}


def test_what_cannot_be_worked_out_is_said_and_the_step_stands() -> None:
    planned = drive(failing(), Claimed(), succeeded({}))
    promise = only(planned, Promise)
    assert promise.error is not None
    assert (promise.error.code, promise.params.value) == ("expression", None)
    assert recorded(planned) == [("a", "completed")]
    assert only(planned, RecordStep).log[-1].event == "step.cannot_be_undone"


def test_failing_asks_what_there_is_and_changes_no_state() -> None:
    planned = drive(failing(), Claimed(), succeeded({"id": 1}), succeeded({"id": 2}))
    assert transitions(planned) == []
    assert isinstance(planned.commands[-1], Survey)
    assert planned.after.state is State.RUNNING
    assert planned.after.undo is not None
    assert planned.after.undo.error is not None
    assert planned.after.undo.error["code"] == "trip.sold_out"


def test_one_call_after_the_other_each_settled_once() -> None:
    planned = undoing(item(2, "b"), item(1, "a"))
    call = only(planned, CallUndo)
    assert (call.item.step_id, call.position.seq, call.position.phase) == ("b", 4, Phase.UNDO_CALL)
    planned = drive(planned.after, succeeded(None))
    settled = only(planned, Settle)
    assert (settled.id, settled.state, settled.seq) == (2, UndoState.DONE, 4)
    row = only(planned, RecordStep)
    assert (row.seq, row.step_id, row.name, row.type) == (4, "b", "Undo B", "compensation")
    assert only(planned, CallUndo).item.step_id == "a"
    planned = drive(planned.after, succeeded(None))
    assert isinstance(planned.commands[-1], Survey)
    planned = drive(planned.after, OVER)
    assert transitions(planned) == [("running", "failed", "compensated")]
    assert only(planned, Finish).error.code == "trip.sold_out"
    assert planned.after.undo is None


def test_with_nothing_to_undo_it_ends_where_it_failed() -> None:
    planned = undoing()
    assert transitions(planned) == [("running", "failed", "trip.sold_out")]
    assert planned.after.position is not None
    assert planned.after.position.step_id == "stop"


def test_a_failed_call_is_tried_again_and_then_left_to_people() -> None:
    planned = undoing(item(2, "b", attempts=2), item(1, "a"))
    planned = drive(planned.after, refused())
    assert only(planned, Rest).until == NOW + timedelta(seconds=1)
    assert recorded(planned) == [("b", "failed")]
    planned = drive(planned.after, Continued(), now=NOW + timedelta(seconds=1))
    assert (only(planned, CallUndo).position.attempt, planned.after.entered) == (2, 4)
    planned = drive(planned.after, refused())
    assert only(planned, Settle).state is UndoState.FAILED
    assert only(planned, CallUndo).item.step_id == "a"
    left = ({"step": "b"},)
    planned = drive(planned.after, succeeded(None), Surveyed(left=left, left_total=1, done=1))
    assert transitions(planned)[-1] == ("running", "failed", "compensation_failed")
    assert only(planned, Finish).error.details == {"left": [{"step": "b"}], "left_total": 1}


def test_a_terminal_error_is_not_tried_again() -> None:
    planned = drive(undoing(item(2, "b", attempts=5)).after, refused(retryable=False))
    assert only(planned, Settle).state is UndoState.FAILED


def test_a_long_pause_is_waited_for_with_the_reason_kept() -> None:
    planned = drive(undoing(item(2, "b", attempts=2, pause=60)).after, refused())
    assert transitions(planned) == [("running", "waiting", "compensating")]
    assert only(planned, Block).until == NOW + timedelta(seconds=60)
    early = drive(planned.after, Claimed(), now=NOW + timedelta(seconds=5))
    assert only(early, Block).until == NOW + timedelta(seconds=60)
    later = drive(planned.after, Claimed(), now=NOW + timedelta(seconds=60))
    assert transitions(later) == [("waiting", "running", "compensating")]
    assert only(later, CallUndo).position.attempt == 2


def test_a_call_lost_with_its_worker_is_left_if_it_is_not_safe_to_repeat() -> None:
    before = undoing(item(2, "b"), item(1, "a")).after
    before.undo_items = ()
    planned = drive(before, Surveyed((item(2, "b"), item(1, "a")), lost=True))
    settled = only(planned, Settle)
    assert (settled.id, settled.state, settled.error.code) == (2, UndoState.LEFT, WORKER_LOST)
    assert only(planned, CallUndo).item.step_id == "a"
    again = drive(before, Surveyed((item(2, "b"), item(1, "a"))))
    call = only(again, CallUndo)
    assert (call.item.id, call.position.seq, call.position.attempt) == (2, 4, 1)


def test_one_that_kills_its_workers_is_left_and_the_others_go_on() -> None:
    planned = abort(undoing(item(2, "b"), item(1, "a")).after, ErrorInfo(WORKER_LOST, "6."), NOW)
    assert only(planned, Settle).state is UndoState.LEFT
    assert only(planned, CallUndo).item.step_id == "a"


def test_nothing_is_called_while_something_is_under_way() -> None:
    planned = drive(failing(), Claimed(), succeeded({"id": 1}), succeeded({"id": 2}))
    planned = drive(planned.after, Surveyed(busy=True))
    assert transitions(planned) == [("running", "waiting", "compensating")]
    assert only(planned, Block).until == NOW + timedelta(seconds=2)
    planned = drive(planned.after, Told())
    assert [type(each) for each in planned.commands] == [Survey]
    assert drive(planned.after, Surveyed(busy=True)).commands == (
        Block(NOW + timedelta(seconds=2)),
    )


def test_wishes_but_pause_change_nothing() -> None:
    before = undoing(item(2, "b")).after
    for verb in (Verb.CANCEL, Verb.RETRY, Verb.SKIP, Verb.RESUME, Verb.COMPENSATE):
        planned = plan(before, Asked(verb, "ada"), NOW)
        assert [type(each) for each in planned.commands] == [CallUndo]


def test_a_paused_undo_goes_on_or_is_stopped() -> None:
    paused = drive(undoing(item(2, "b")).after, Asked(Verb.PAUSE, "ada", "look first"))
    assert transitions(paused) == [("running", "paused", "look first")]
    resumed = drive(paused.after, Asked(Verb.RESUME, "ada"))
    assert only(resumed, CallUndo).item.id == 2
    stopped = drive(paused.after, Asked(Verb.CANCEL, "ada", "enough"))
    assert isinstance(stopped.commands[-1], Survey)
    left = Surveyed((item(2, "b"),), left=({"step": "b"},), left_total=1)
    ended = drive(stopped.after, left)
    assert transitions(ended) == [("running", "failed", "compensation_failed")]


def test_cancel_with_compensate_ends_cancelled_by_whoever_asked() -> None:
    waiting = [action("a"), {"id": "w", "type": "wait", "config": {"duration": "1h"}}]
    planned = drive(snapshot_of(waiting), Claimed(), succeeded({"id": 1}))
    planned = drive(planned.after, Asked(Verb.CANCEL, "ada", "storno", compensate=True))
    assert recorded(planned) == [("w", "cancelled")]
    assert transitions(planned) == [("waiting", "running", "compensating")]
    planned = drive(planned.after, Surveyed((item(1, "a"),)), succeeded(None), Surveyed(done=1))
    assert only(planned, Finish).error is None
    assert planned.commands[-2].actor == "ada"  # type: ignore[union-attr]
    assert transitions(planned) == [("running", "cancelled", "compensated")]
    nothing = drive(snapshot_of(waiting), Asked(Verb.CANCEL, "ada", "storno", compensate=True))
    assert transitions(nothing) == [("initialized", "cancelled", "storno")]


def test_a_timeout_begins_to_undo_and_does_not_end_it() -> None:
    late = NOW + timedelta(hours=2)
    steps = [action("a"), {"id": "w", "type": "wait", "config": {"duration": "1d"}}]
    before = snapshot_of(steps, on_failure="compensate", timeout="1h")
    planned = drive(drive(before, Claimed(), succeeded({"id": 1})).after, Claimed(), now=late)
    assert isinstance(planned.commands[-1], Survey)
    planned = drive(planned.after, Surveyed((item(1, "a"),)), now=late)
    planned = drive(planned.after, succeeded(None), Surveyed(done=1), now=late)
    assert only(planned, Finish).error.code == "timeout.execution"
    assert transitions(planned) == [("running", "failed", "compensated")]
