"""The books of `benchmarks.chaos` notice what they are there for: each fault is planted once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from benchmarks.chaos.books import Books, Verdict
from benchmarks.chaos.ground import Kill
from benchmarks.chaos.records import Call, Change, Records, Run, Step, Undoing

LEARNT = {
    ("wait", 0): "wait:completed:done(before.1+ rest.1+ after.1+)",
    ("left", 0): (
        "left:failed:compensation_failed"
        "(first.1+ second.1+ stop.1- second.1- first.1+)first=done second=failed"
    ),
}
EXPECTED = {"wait": range(2), "once": range(1), "left": range(1)}


def run(pk: int, shape: str, n: int, state: str = "completed", **more: object) -> Run:
    values: dict[str, object] = {
        "reason": "done", "code": "", "output": 7, "parent": None, "place": "", "owner": None,
        "held": False, "transitions": 3, "open_children": 0, "continued_from": None,
        "started_by": None, "mourned": None,
    } | more  # fmt: skip
    return Run(pk, shape, n, "root", state, **values)  # type: ignore[arg-type]


def steps(pk: int, *names: str, kind: str = "action") -> list[Step]:
    made = []
    for seq, name in enumerate(names, 1):
        state = {"+": "completed", "-": "failed"}[name[-1]]
        made.append(Step(pk, seq, 1, name[:-1], kind, state))
    return made


def changes(pk: int, end: str) -> list[Change]:
    path = ["", "initialized", "running", end]
    return [Change(pk, seq, path[seq - 1], path[seq]) for seq in (1, 2, 3)]


def records() -> Records:
    """Two waits, of which one lost its worker in a call; a call that is made once; an undoing."""
    left = {"reason": "compensation_failed", "code": "chaos.sold_out", "output": None}
    runs = [run(1, "wait", 0), run(2, "wait", 1), run(3, "once", 0, output=8)]
    runs.append(run(4, "left", 0, "failed", **left))
    found = Records(runs={each.id: each for each in runs})
    for pk in (1, 2):
        found.steps += steps(pk, "before+", "rest+", "after+")
    found.steps += steps(3, "ask+") + steps(4, "first+", "second+", "stop-", "second-", "first+")
    for step in found.steps[-2:]:
        step.type = "compensation"
    for each in runs:
        found.changes += changes(each.id, each.state)
    keys = ["1-before-1", "1-after-3", "2-before-1", "2-after-3", "3-ask-1"]
    keys += ["4-first-1", "4-second-2", "4-second-2-undo", "4-first-1-undo"]
    found.calls = [Call(key, 1, 100, float(at)) for at, key in enumerate(keys)]
    # Its worker died, and another one called again.
    found.calls.append(Call("2-after-3", 1, 101, 20.0))
    found.kills = [Kill(100, 15.0, led=True)]
    found.undoings = [
        Undoing(1, 4, "first", 1, "done", 4, 5, 31.0),
        Undoing(2, 4, "second", 2, "failed", 4, 4, 30.0),
    ]
    found.leftovers = {"slots held": 0, "owned": 0}
    return found


def verdict(found: Records) -> Verdict:
    return Books(found).check(EXPECTED, LEARNT)


def test_right_books_have_no_findings_and_count_what_a_kill_explains():
    said = verdict(records())

    assert said.findings == []
    assert (said.repeated.by_kill, said.repeated.by_outage) == (1, 0)
    assert said.counts["calls of the service"] == 10


def lose_a_step(found: Records) -> None:
    del found.steps[1]


def record_an_attempt_twice(found: Records) -> None:
    found.steps.insert(1, replace(found.steps[0]))


def try_again_what_had_succeeded(found: Records) -> None:
    found.steps.insert(1, replace(found.steps[0], attempt=2))


def lose_an_execution(found: Records) -> None:
    del found.runs[2]
    found.steps = [each for each in found.steps if each.run != 2]
    found.changes = [each for each in found.changes if each.run != 2]
    found.calls = [each for each in found.calls if not each.key.startswith("2-")]


def start_one_twice(found: Records) -> None:
    found.runs[9] = run(9, "wait", 1)
    found.steps += steps(9, "before+", "rest+", "after+")
    found.changes += changes(9, "completed")
    found.calls += [Call("9-before-1", 1, 1, 0.0), Call("9-after-3", 1, 1, 0.0)]


def end_with_the_wrong_result(found: Records) -> None:
    found.runs[1].output = 8


def leave_one_running(found: Records) -> None:
    found.runs[1].state = "running"


def skip_a_transition(found: Records) -> None:
    del found.changes[1]


def go_where_no_way_leads(found: Records) -> None:
    found.changes[1].target = found.changes[2].source = "paused"
    found.changes[2].target, found.changes[2].source = "completed", "paused"


def call_again_without_a_kill(found: Records) -> None:
    found.kills = []


def call_again_before_the_kill(found: Records) -> None:
    found.kills = [Kill(100, 21.0, led=False)]


def call_again_after_another_workers_kill(found: Records) -> None:
    found.kills = [Kill(99, 15.0, led=False)]


def call_twice_what_must_be_called_once(found: Records) -> None:
    found.calls.append(Call("3-ask-1", 1, 101, 20.0))


def forget_a_call(found: Records) -> None:
    found.calls = [each for each in found.calls if each.key != "1-before-1"]


def call_what_nobody_recorded(found: Records) -> None:
    found.calls.append(Call("1-before-1", 2, 101, 20.0))


def hold_a_slot(found: Records) -> None:
    found.runs[1].held = True


def keep_an_owner(found: Records) -> None:
    found.runs[1].owner = 5


def leave_an_orphan(found: Records) -> None:
    found.leftovers["owned"] = 1


def leave_something_to_be_undone(found: Records) -> None:
    found.undoings[0].state = "pending"


def undo_by_one_call_twice(found: Records) -> None:
    found.undoings[0].done_seq = 4


def undo_the_first_first(found: Records) -> None:
    found.undoings[0].settled = 29.0


def claim_an_undoing(found: Records) -> None:
    found.calls = [each for each in found.calls if each.key != "4-first-1-undo"]


@pytest.mark.parametrize(
    ("plant", "words"),
    [
        (lose_a_step, "has the steps [1, 3]"),
        (record_an_attempt_twice, "has the attempts [1, 1]"),
        (try_again_what_had_succeeded, "was tried again after it had not failed"),
        (lose_an_execution, "wait: 1 executions instead of 2; without [1]"),
        (start_one_twice, "wait: 3 executions instead of 2"),
        (end_with_the_wrong_result, "came to: completed done  8"),
        (leave_one_running, "has not ended: running"),
        (skip_a_transition, "has the transitions [1, 3]"),
        (go_where_no_way_leads, "went from paused to completed"),
        (call_again_without_a_kill, "was made again without a kill in between"),
        (call_again_before_the_kill, "was made again without a kill in between"),
        (call_again_after_another_workers_kill, "was made again without a kill in between"),
        (call_twice_what_must_be_called_once, "was made again and must not be"),
        (forget_a_call, "the service has not counted the call 1-before-1"),
        (call_what_nobody_recorded, "in an attempt 2 that nothing recorded"),
        (hold_a_slot, "still has an owner or a slot"),
        (keep_an_owner, "still has an owner or a slot"),
        (leave_an_orphan, "1 left of: owned"),
        (leave_something_to_be_undone, "is pending though 4 has been undone"),
        (undo_by_one_call_twice, "has no call of its own on record"),
        (undo_the_first_first, "was not undone from the last to the first"),
        (claim_an_undoing, "is done and the service knows nothing of it"),
    ],
)
def test_a_planted_fault_is_found(plant: Callable[[Records], None], words: str):
    found = records()
    plant(found)

    assert any(words in each for each in verdict(found).findings), verdict(found).findings


def test_a_lease_that_was_lost_to_an_outage_explains_a_call_and_is_counted_apart():
    found = records()
    found.kills, found.outages, found.lease_seconds = [], [(8.0, 16.0)], 4.0

    said = verdict(found)

    assert said.findings == []
    assert (said.repeated.by_kill, said.repeated.by_outage) == (0, 1)
