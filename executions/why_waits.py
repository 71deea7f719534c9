"""What a position that is at rest waits for, in words: a function for each phase.

A step that can wait for something new brings its line in `WAITS`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from executions.engine.states import Reason
from executions.joining import stopping_words, waiting_words
from executions.phrases import Ago, say
from executions.why_facts import Facts, Why, at_step, iso, when

# What a step waits for that waits for news from outside, by the reason of its state.
# Filled by `why_outside.py`.
OUTSIDE: dict[str, Callable[[Facts], Why]] = {}

# What undoing says, by the reason of the state. Filled by `why_undo.py`.
UNDO: dict[str, Callable[[Facts], Why]] = {}


def something(facts: Facts) -> Why:
    """Nothing better is known than the reason of its state."""
    phrase = say(
        "Waits{where}: {what}.",
        where=say(" at step {step}", step=facts.place) if facts.step else "",
        what=facts.reason.rstrip(".") or "nothing is due",
    )
    return Why("waiting", phrase, {**at_step(facts), "reason": facts.reason})


def _timer(facts: Facts) -> Why:
    if facts.wait_until is None:
        return something(facts)
    phrase = say(
        "Waits at step {step} for a timer that is due {when}.",
        step=facts.place,
        when=Ago(facts.wait_until),
    )
    return Why("timer", phrase, {**at_step(facts), "until": iso(facts.wait_until)})


def _backoff(facts: Facts) -> Why:
    until = facts.wait_until or facts.runnable_at
    phrase = say("Step {step} failed; it is tried again{when}.", step=facts.place, when=when(until))
    details = {**at_step(facts), "attempt": facts.attempt, "until": iso(until)}
    return Why("backoff", phrase, details)


def _children(facts: Facts) -> Why:
    phrase = waiting_words(facts.joining, facts.place)
    return Why("children", phrase, {**_since(facts), **facts.joining.as_dict()})


def _stopping(facts: Facts) -> Why:
    phrase = stopping_words(facts.joining, facts.place)
    return Why("children.stopping", phrase, {**_since(facts), **facts.joining.as_dict()})


def _outside(facts: Facts) -> Why:
    """News from outside; its kind is the reason of the state."""
    return OUTSIDE.get(facts.reason, something)(facts)


def _limited(facts: Facts) -> Why:
    """Its line or its turn is gone: it asks again in a moment."""
    phrase = say("Asks again whether the call of step {step} may begin.", step=facts.place)
    return Why("limit", phrase, at_step(facts))


def _undo(facts: Facts) -> Why:
    return UNDO.get(Reason.COMPENSATING.value, something)(facts)


def _since(facts: Facts) -> dict[str, Any]:
    return {**at_step(facts), "since": iso(facts.current_since)}


# By the phase of the current step.
WAITS: dict[str, Callable[[Facts], Why]] = {
    "timer": _timer,
    "expiry": _timer,
    "backoff": _backoff,
    "children": _children,
    "stopping": _stopping,
    "undo": _undo,
    "undo_call": _undo,
    "undo_backoff": _undo,
    "outside": _outside,
    "limited": _limited,
}
