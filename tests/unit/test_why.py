"""Why an execution isn't moving: for every situation its code, its sentence, its details."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from executions import why_outside  # noqa: F401 - brings its sentences
from executions.console.sentences import html_of
from executions.engine.events import Verb
from executions.engine.snapshot import Phase
from executions.engine.states import ACTIVE, ENDED, State
from executions.joining import Joining
from executions.runtime import drain, runner
from executions.why import WAITS, Change, Facts, Owner, Wish, iso, why_of

NOW = datetime(2030, 1, 31, 12, 0, tzinfo=UTC)
ALIVE = Owner("host-7", NOW + timedelta(seconds=20))
GONE = Owner("host-7", NOW - timedelta(seconds=12))
OLGA = Change("olga", NOW - timedelta(minutes=5))


def ago(**parts: float) -> datetime:
    return NOW - timedelta(**parts)


def later(**parts: float) -> datetime:
    return NOW + timedelta(**parts)


def facts(state: State, **known: Any) -> Facts:
    return Facts(**{"state": state, "now": NOW, "workers": 1, "all_workers": 1, **known})


AT_STEP = {"step": "charge", "step_name": "Charge the card"}
RUNNING = {**AT_STEP, "phase": "call", "owner": ALIVE, "current_since": ago(seconds=3)}

CASES: dict[str, tuple[Facts, str, str, dict[str, Any]]] = {
    "signal": (
        facts(
            State.WAITING,
            **AT_STEP,
            phase="outside",
            reason="signal",
            current_since=ago(minutes=5),
            wait_until=later(hours=2),
            outside={"name": "payment.received", "correlation": "A-17"},
        ),
        "signal",
        "Waits at step “Charge the card” for the signal “payment.received” with correlation “A-17” "
        "for 5 min, and gives up in 2 h.",
        {
            "step": "charge",
            "signal": "payment.received",
            "correlation": "A-17",
            "since": "2030-01-31T11:55:00Z",
            "until": "2030-01-31T14:00:00Z",
        },
    ),
    "signal to the execution itself": (
        facts(
            State.WAITING,
            **AT_STEP,
            phase="outside",
            reason="signal",
            outside={"name": "paid", "correlation": ""},
        ),
        "signal",
        "Waits at step “Charge the card” for the signal “paid” sent to this execution.",
        {"step": "charge", "signal": "paid", "correlation": "", "since": None, "until": None},
    ),
    "completed": (
        facts(State.COMPLETED, ended_at=ago(minutes=3), duration_seconds=2.0, steps_entered=3),
        "ended.completed",
        "Completed 3 min ago in 2.0 s, after 3 steps.",
        {"at": "2030-01-31T11:57:00Z"},
    ),
    "failed": (
        facts(
            State.FAILED,
            ended_at=ago(minutes=3),
            error_code="http.500",
            error_message="The bank said no.",
            error_step="charge",
            step_name="Charge the card",
        ),
        "ended.failed",
        "Failed at step “Charge the card” 3 min ago: The bank said no.",
        {"at": "2030-01-31T11:57:00Z", "error_code": "http.500", "step": "charge"},
    ),
    "cancelled": (
        facts(State.CANCELLED, ended_at=ago(minutes=5), last=OLGA, reason="not wanted."),
        "ended.cancelled",
        "Cancelled by olga 5 min ago: not wanted.",
        {
            "at": "2030-01-31T11:55:00Z",
            "by": "olga",
            "since": "2030-01-31T11:55:00Z",
            "reason": "not wanted.",
        },
    ),
    "running": (
        facts(State.RUNNING, **RUNNING),
        "moving",
        "Running step “Charge the card” for 3 s.",
        {"step": "charge", "worker": "host-7", "since": "2030-01-31T11:59:57Z"},
    ),
    "running again": (
        facts(State.RUNNING, **RUNNING, attempt=2),
        "moving",
        "Running step “Charge the card” (attempt 2) for 3 s.",
        {"step": "charge", "worker": "host-7", "since": "2030-01-31T11:59:57Z"},
    ),
    "just claimed": (
        facts(State.INITIALIZED, owner=ALIVE),
        "moving",
        "A worker has just taken it.",
        {"worker": "host-7", "since": None},
    ),
    "run alone": (
        facts(State.RUNNING, **RUNNING, claims=4),
        "suspect",
        "Running step “Charge the card” for 3 s. It is run alone: 3 workers have had it, and none "
        "got it any further.",
        {
            "step": "charge",
            "worker": "host-7",
            "since": "2030-01-31T11:59:57Z",
            "claims": 4,
            "given_up_after": 6,
        },
    ),
    "its worker is lost": (
        facts(State.RUNNING, **{**RUNNING, "owner": GONE}),
        "worker_lost",
        "The worker host-7 has not been heard of since its lease was over 12 s ago; another one "
        "frees this execution within seconds.",
        {"step": "charge", "worker": "host-7", "lease_until": "2030-01-31T11:59:48Z"},
    ),
    "all workers are lost": (
        facts(State.RUNNING, **{**RUNNING, "owner": GONE}, workers=0, all_workers=0),
        "worker_lost",
        "The worker host-7 has not been heard of since its lease was over 12 s ago; none is left "
        "to free this execution: start one with manage.py worker.",
        {"step": "charge", "worker": "host-7", "lease_until": "2030-01-31T11:59:48Z"},
    ),
    "asked to pause": (
        facts(State.RUNNING, **RUNNING, pending=(Wish("pause", "olga", ago(minutes=1)),)),
        "pending.pause",
        "It is asked to pause by olga 1 min ago; step “Charge the card”, which is running, ends "
        "first.",
        {
            "step": "charge",
            "by": "olga",
            "at": "2030-01-31T11:59:00Z",
            "worker": "host-7",
            "pending": ["pause"],
        },
    ),
    "asked for two things": (
        facts(
            State.RUNNING,
            **RUNNING,
            pending=(Wish("pause", "olga", ago(minutes=1)), Wish("cancel", "omar", NOW)),
        ),
        "pending.cancel",
        "It is asked to cancel by omar just now; step “Charge the card”, which is running, is "
        "being interrupted.",
        {
            "step": "charge",
            "by": "omar",
            "at": "2030-01-31T12:00:00Z",
            "worker": "host-7",
            "pending": ["pause", "cancel"],
        },
    ),
    "asked, and free": (
        facts(State.WAITING, **AT_STEP, runnable_at=NOW, pending=(Wish("pause", "olga", NOW),)),
        "pending.pause",
        "It is asked to pause by olga just now; a worker sees to it next.",
        {"step": "charge", "by": "olga", "at": "2030-01-31T12:00:00Z", "pending": ["pause"]},
    ),
    "asked, and nobody there": (
        facts(State.WAITING, runnable_at=NOW, pending=(Wish("pause", "olga", NOW),), workers=0),
        "queued.no_worker",
        "It is asked to pause by olga just now, but no worker serves the queue “default”: start "
        "one with manage.py worker.",
        {"by": "olga", "at": "2030-01-31T12:00:00Z", "queue": "default", "pending": ["pause"]},
    ),
    "nobody serves the queue": (
        facts(State.INITIALIZED, runnable_at=ago(minutes=2), queue="mail", workers=0),
        "queued.no_worker",
        "Accepted, but no worker serves the queue “mail”: start one with manage.py worker. "
        "Waiting for 2 min.",
        {"queue": "mail", "ready_since": "2030-01-31T11:58:00Z"},
    ),
    "next": (
        facts(State.INITIALIZED, runnable_at=NOW, ahead=0),
        "queued.next",
        "Accepted; waits for a free worker.",
        {
            "queue": "default",
            "ready_since": "2030-01-31T12:00:00Z",
            "ahead": 0,
            "ahead_is_capped": False,
        },
    ),
    "seven are before it": (
        facts(State.RESUMED, runnable_at=ago(seconds=30), ahead=7, last=OLGA),
        "queued.busy",
        "Resumed by olga 5 min ago; waits for a free worker, and 7 were ready before it, for 30 s "
        "now.",
        {
            "queue": "default",
            "ready_since": "2030-01-31T11:59:30Z",
            "ahead": 7,
            "ahead_is_capped": False,
        },
    ),
    "very many are before it": (
        facts(State.WAITING, **AT_STEP, runnable_at=ago(minutes=2), ahead=101),
        "queued.busy",
        "The wait at step “Charge the card” is over; waits for a free worker, and more than 100 "
        "were ready before it, for 2 min now. That is unusually long.",
        {
            "step": "charge",
            "queue": "default",
            "ready_since": "2030-01-31T11:58:00Z",
            "ahead": 100,
            "ahead_is_capped": True,
        },
    ),
    "kills its workers": (
        facts(State.RUNNING, **AT_STEP, runnable_at=NOW, claims=3, ahead=0),
        "suspect",
        "Ready for step “Charge the card”; 3 workers have had it without getting any further, so "
        "it waits to be run alone and is given up after 6.",
        {
            "step": "charge",
            "queue": "default",
            "ready_since": "2030-01-31T12:00:00Z",
            "claims": 3,
            "given_up_after": 6,
        },
    ),
    "scheduled": (
        facts(State.INITIALIZED, reason="scheduled", runnable_at=later(minutes=20)),
        "scheduled",
        "Starts in 20 min, as asked.",
        {"at": "2030-01-31T12:20:00Z"},
    ),
    "timer": (
        facts(
            State.WAITING,
            **AT_STEP,
            phase="timer",
            wait_until=later(minutes=20),
            runnable_at=later(minutes=20),
        ),
        "timer",
        "Waits at step “Charge the card” for a timer that is due in 20 min.",
        {"step": "charge", "until": "2030-01-31T12:20:00Z"},
    ),
    "backoff": (
        facts(
            State.WAITING,
            **AT_STEP,
            phase="backoff",
            attempt=2,
            wait_until=later(minutes=20),
            runnable_at=later(minutes=20),
        ),
        "backoff",
        "Step “Charge the card” failed; it is tried again in 20 min.",
        {"step": "charge", "attempt": 2, "until": "2030-01-31T12:20:00Z"},
    ),
    "children": (
        facts(State.WAITING, **AT_STEP, phase="children", current_since=ago(minutes=1)),
        "children",
        "Waits at step “Charge the card” for the executions that it started.",
        {"step": "charge", "since": "2030-01-31T11:59:00Z"},
    ),
    "branches": (
        facts(
            State.WAITING,
            **AT_STEP,
            phase="children",
            current_since=ago(minutes=1),
            joining=Joining(total=5, open=2, failed=1, tolerated=1, needed=4),
        ),
        "children",
        "Waits at step “Charge the card”: 3 of 5 branches have ended, 1 of them without success; "
        "it needs 4.",
        {
            "step": "charge",
            "since": "2030-01-31T11:59:00Z",
            "children": {"total": 5, "ended": 3, "failed": 1, "needed": 4},
        },
    ),
    "items": (
        facts(
            State.WAITING,
            **AT_STEP,
            phase="children",
            current_since=ago(minutes=1),
            joining=Joining(total=2_000, open=1_990),
        ),
        "children",
        "Waits at step “Charge the card”: 10 of 2,000 items have ended.",
        {
            "step": "charge",
            "since": "2030-01-31T11:59:00Z",
            "children": {"total": 2000, "ended": 10, "failed": 0},
        },
    ),
    "enough branches": (
        facts(
            State.WAITING,
            **AT_STEP,
            phase="stopping",
            current_since=ago(minutes=1),
            joining=Joining(total=5, open=3, failed=0, tolerated=3, needed=2),
        ),
        "children.stopping",
        "Enough branches of step “Charge the card” have succeeded; it waits for the others to be "
        "cancelled.",
        {
            "step": "charge",
            "since": "2030-01-31T11:59:00Z",
            "children": {"total": 5, "ended": 2, "failed": 0, "needed": 2},
        },
    ),
    "something this release has no words for": (
        facts(State.WAITING, **AT_STEP, phase="moon", reason="full moon"),
        "waiting",
        "Waits at step “Charge the card”: full moon.",
        {"step": "charge", "reason": "full moon"},
    ),
    "paused": (
        facts(State.PAUSED, **AT_STEP, phase="enter", last=OLGA, reason="the price is wrong"),
        "paused",
        "Paused by olga 5 min ago: the price is wrong. It goes on with step “Charge the card”.",
        {
            "step": "charge",
            "by": "olga",
            "since": "2030-01-31T11:55:00Z",
            "reason": "the price is wrong",
        },
    ),
    "paused, and nothing was said": (
        facts(State.PAUSED, last=OLGA, reason="operator"),
        "paused",
        "Paused by olga 5 min ago.",
        {"by": "olga", "since": "2030-01-31T11:55:00Z", "reason": ""},
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_every_situation_has_a_code_a_sentence_and_its_details(name: str) -> None:
    known, code, sentence, details = CASES[name]
    assert why_of(known).as_dict() == {"code": code, "sentence": sentence, "details": details}


def test_the_console_says_the_same_in_html() -> None:
    html = html_of(why_of(CASES["running"][0]).phrase)
    assert html.startswith("Running step <strong>Charge the card</strong> for <time datetime=")
    nobody = html_of(why_of(CASES["nobody serves the queue"][0]).phrase)
    assert "start one with <code>manage.py worker</code>." in nobody


def test_what_people_wrote_is_no_template_and_no_html() -> None:
    known = replace(CASES["paused"][0], reason="{step} <b>", step_name="<i>{queue}</i>")
    why = why_of(known)
    assert why.sentence == (
        "Paused by olga 5 min ago: {step} <b>. It goes on with step “<i>{queue}</i>”."
    )
    html = html_of(why.phrase)
    assert "{step} &lt;b&gt;" in html
    assert "<strong>&lt;i&gt;{queue}&lt;/i&gt;</strong>" in html


def test_a_long_message_is_cut() -> None:
    why = why_of(facts(State.FAILED, error_message="x" * 1000, error_code="crash"))
    assert why.sentence == "Failed: " + "x" * 299 + "…"


def test_the_bounds_are_those_of_the_runtime() -> None:
    known = facts(State.RUNNING)
    assert known.suspect_after == drain.SUSPECT_AFTER_CLAIMS
    assert known.lost_after == runner.LOST_AFTER_CLAIMS


def test_moments_are_written_as_the_api_writes_them() -> None:
    assert iso(NOW) == "2030-01-31T12:00:00Z"
    assert iso(None) is None


def test_every_phase_that_waits_for_a_moment_or_somebody_has_words() -> None:
    at_work = {Phase.ENTER, Phase.CALL, "inside", Phase.SKIPPED, Phase.RESULT}
    assert {phase.value for phase in Phase} - at_work <= set(WAITS)


_YEARS = (datetime(2029, 1, 1, tzinfo=UTC), datetime(2031, 1, 1, tzinfo=UTC))
moments = st.none() | st.sampled_from(
    [*_YEARS, NOW, NOW - timedelta(seconds=3), NOW + timedelta(hours=2)]
)
anything = st.builds(
    Facts,
    state=st.sampled_from(State),
    now=st.just(NOW),
    reason=st.sampled_from(["", "queued", "timer", "operator", "children"]),
    step=st.sampled_from(["", "charge"]),
    phase=st.sampled_from(["", *WAITS, "enter", "call", "unheard of"]),
    attempt=st.integers(1, 3),
    current_since=moments,
    wait_until=moments,
    runnable_at=moments,
    ended_at=moments,
    duration_seconds=st.none() | st.floats(0, 1e6),
    claims=st.integers(0, 7),
    owner=st.none() | st.builds(Owner, st.just("host"), moments.filter(bool)),
    pending=st.lists(st.builds(Wish, st.sampled_from([*Verb, "retry"]), at=moments)).map(tuple),
    last=st.none() | st.builds(Change, st.just("olga"), moments.filter(bool)),
    workers=st.none() | st.integers(0, 2),
    all_workers=st.none() | st.integers(0, 2),
    ahead=st.none() | st.integers(0, 101),
)


@given(anything)
def test_there_is_one_answer_whatever_the_facts(known: Facts) -> None:
    why = why_of(known)
    assert why.code
    assert why.sentence
    assert "{" not in why.sentence
    assert "None" not in why.sentence
    assert why.code.startswith("ended.") == (known.state in ENDED)
    assert (why.code == "paused") <= (known.state is State.PAUSED and known.state in ACTIVE)
    assert html_of(why.phrase)
