"""Where an execution is with undoing what it did, and what came of that, in words."""

from __future__ import annotations

from typing import Any

from autopilot.common.words import plural
from executions.engine.states import Reason, State
from executions.phrases import Ago, Phrase, say
from executions.why_facts import Facts, UndoFacts, Why, at_step, cut, iso
from executions.why_waits import UNDO


def _counts(facts: Facts) -> UndoFacts:
    return facts.undo or UndoFacts()


def _details(facts: Facts) -> dict[str, Any]:
    counts = _counts(facts)
    return {"done": counts.done, "left": counts.left, "pending": counts.pending}


def _so_far(facts: Facts) -> str:
    counts = _counts(facts)
    failed = f", {counts.left} could not be" if counts.left else ""
    return f"{counts.done} of {plural(counts.total, 'step')} undone{failed}"


def _undoing(facts: Facts) -> Why:
    details = {**at_step(facts), **_details(facts), "until": iso(facts.wait_until)}
    if facts.phase == "undo_backoff":
        phrase = say(
            "What undoes step {step} failed; it is called again{when} (attempt {attempt}). "
            "{so_far}.",
            step=facts.place,
            when=say(" {ago}", ago=Ago(facts.wait_until)) if facts.wait_until else "",
            attempt=facts.attempt,
            so_far=_so_far(facts),
        )
        return Why("undoing.backoff", phrase, {**details, "attempt": facts.attempt})
    if facts.phase in ("undo", "undo_call"):
        phrase = say("Undoing step {step}: {so_far}.", step=facts.place, so_far=_so_far(facts))
        return Why("undoing", phrase, details)
    if facts.state is State.WAITING:
        phrase = say("Undoes what it did once everything that it had started has ended.")
        return Why("undoing.children", phrase, details)
    return Why("undoing", say("Undoing what it did: {so_far}.", so_far=_so_far(facts)), details)


def _undone(facts: Facts) -> Why:
    """The end: what it would have been without, and what was undone."""
    counts = _counts(facts)
    if counts.left or counts.pending:
        what = f"{counts.done} of {plural(counts.total, 'step')} undone; the rest is left to people"
    else:
        what = f"What it did was undone ({plural(counts.total, 'step')})"
    is_failed = facts.state is State.FAILED
    phrase = say(
        "{ended}. {what}.", ended=_failed(facts) if is_failed else _cancelled(facts), what=what
    )
    code = "ended.failed" if is_failed else "ended.cancelled"
    details = {**_details(facts), "at": iso(facts.ended_at), "error_code": facts.error_code}
    return Why(code, phrase, {**details, "reason": facts.reason, "step": facts.error_step})


def _failed(facts: Facts) -> Phrase:
    message = cut(facts.error_message or facts.error_code or "no reason is known").rstrip(".")
    return say("Failed: {message}", message=message)


def _cancelled(facts: Facts) -> Phrase:
    by = say(" by {actor}", actor=facts.last.actor) if facts.last else ""
    return say("Cancelled{by}", by=by)


UNDO[Reason.COMPENSATING.value] = _undoing
UNDO[Reason.COMPENSATED.value] = _undone
UNDO[Reason.COMPENSATION_FAILED.value] = _undone
