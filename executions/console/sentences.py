"""Where an execution is, and why it isn't moving: one sentence, the same wherever it is shown."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.template.defaultfilters import truncatechars
from django.utils.html import format_html
from django.utils.safestring import SafeString, mark_safe

from autopilot.common.templatetags.console import ago, since
from autopilot.common.words import duration_words, plural
from executions.engine.states import Reason, State
from executions.models import Execution, StateTransition

# Ready for longer than this without an owner, an execution is late.
LATE_AFTER = timedelta(seconds=60)
MAX_MESSAGE = 300


@dataclass(frozen=True, slots=True)
class Facts:
    """What the sentence is made from.

    last: the transition into the present state. pending: verbs asked for and not done yet.
    workers: how many workers serve its queue right now; None = not asked.
    step_name: what the definition calls the current step.
    """

    execution: Execution
    now: datetime
    last: StateTransition | None = None
    pending: Sequence[str] = ()
    workers: int | None = None
    step_name: str = ""

    @property
    def step(self) -> SafeString:
        name = self.step_name or self.execution.current_step
        return format_html("<strong>{}</strong>", name)

    @property
    def ready_since(self) -> datetime | None:
        """When it became ready, if it is ready and nobody has taken it."""
        moment = self.execution.runnable_at
        if self.execution.owner_id is None and moment is not None and moment <= self.now:
            return moment
        return None


def sentence_of(facts: Facts) -> SafeString:
    """The sentence, as HTML whose times go on counting in the page."""
    main = _SENTENCES[State(facts.execution.state)](facts)
    wishes = [_WISHES[verb] for verb in facts.pending if verb in _WISHES]
    if not wishes or facts.execution.has_ended:
        return main
    return format_html("{} {}", main, wishes[-1])


_WISHES = {
    "pause": "It is asked to pause and will stop before its next step.",
    "resume": "It is asked to go on.",
    "cancel": "It is being cancelled.",
}


def _initialized(facts: Facts) -> SafeString:
    execution = facts.execution
    if execution.reason == Reason.SCHEDULED and not facts.ready_since:
        return format_html("Starts {}, as asked.", ago(execution.runnable_at))
    return _waits_for_worker(facts, "Accepted")


def _running(facts: Facts) -> SafeString:
    execution = facts.execution
    if execution.owner_id is None:
        return _waits_for_worker(facts, format_html("Ready for step {}", facts.step))
    if not execution.current_step:
        return mark_safe("A worker has just taken it.")
    attempt = (
        format_html(", attempt {}", execution.current_attempt)
        if execution.current_attempt > 1
        else ""
    )
    return format_html(
        "Running step {}{} for {}.", facts.step, attempt, since(execution.current_since)
    )


def _waiting(facts: Facts) -> SafeString:
    execution = facts.execution
    if facts.ready_since and not facts.pending:
        return _waits_for_worker(facts, format_html("The wait at step {} is over", facts.step))
    if execution.wait_until is not None:
        return format_html(
            "Waits at step {} for a timer that is due {}.", facts.step, ago(execution.wait_until)
        )
    return format_html("Waits at step {}: {}.", facts.step, execution.reason or "nothing is due")


def _paused(facts: Facts) -> SafeString:
    where = (
        format_html(" It goes on with step {}.", facts.step) if facts.execution.current_step else ""
    )
    return format_html("Paused{}{}.{}", _by_whom(facts), _because(facts), where)


def _resumed(facts: Facts) -> SafeString:
    return _waits_for_worker(facts, format_html("Resumed{}", _by_whom(facts)))


def _completed(facts: Facts) -> SafeString:
    execution = facts.execution
    return format_html(
        "Completed {} in {}, after {}.",
        ago(execution.ended_at),
        duration_words(execution.duration_seconds) or "no time",
        plural(execution.steps_entered, "step"),
    )


def _failed(facts: Facts) -> SafeString:
    error: dict[str, Any] = facts.execution.error or {}
    message = truncatechars(str(error.get("message") or facts.execution.error_code), MAX_MESSAGE)
    where = facts.step_name or error.get("step")
    at = format_html(" at step <strong>{}</strong>", where) if where else ""
    return format_html("Failed{} {}: {}", at, ago(facts.execution.ended_at), message)


def _cancelled(facts: Facts) -> SafeString:
    return format_html("Cancelled{}{}.", _by_whom(facts), _because(facts))


_SENTENCES: dict[State, Callable[[Facts], SafeString]] = {
    State.INITIALIZED: _initialized,
    State.RUNNING: _running,
    State.WAITING: _waiting,
    State.PAUSED: _paused,
    State.RESUMED: _resumed,
    State.COMPLETED: _completed,
    State.FAILED: _failed,
    State.CANCELLED: _cancelled,
}


def _waits_for_worker(facts: Facts, start: str) -> SafeString:
    """`start`, and that a worker has yet to take it; for how long, and what to do about it."""
    moment = facts.ready_since
    if moment is None:
        return format_html("{}.", start)
    if facts.workers == 0:
        return format_html(
            "{}, but no worker serves the queue “{}”: start one with <code>manage.py worker</code>."
            " Waiting for {}.",
            start,
            facts.execution.queue,
            since(moment),
        )
    late = " That is unusually long." if facts.now - moment > LATE_AFTER else ""
    return format_html("{}; waits for a free worker for {}.{}", start, since(moment), late)


def _by_whom(facts: Facts) -> SafeString:
    if facts.last is None:
        return mark_safe("")
    return format_html(" by {} {}", facts.last.actor, ago(facts.last.at))


def _because(facts: Facts) -> SafeString:
    reason = facts.execution.reason
    if not reason or reason in set(Reason):
        return mark_safe("")
    return format_html(": {}", reason.rstrip("."))
