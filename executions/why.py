"""Why isn't it moving? One answer for every execution: a code, a sentence and the details.

Pure: everything comes in as plain facts (`why_facts.py`), and the same facts give the same answer.
Who gathers them is `situations.py`; what a position at rest waits for is said by `why_waits.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any

from autopilot.common.words import duration_words, plural
from executions.engine.events import Verb
from executions.engine.states import ENDED, Reason, State
from executions.held_up import MAX_AHEAD, HeldUp
from executions.phrases import Ago, Phrase, Since, Strong, Typed, say
from executions.why_facts import (
    LATE_AFTER,
    Change,
    Facts,
    Owner,
    Why,
    Wish,
    at_step,
    cut,
    iso,
    lasting,
    when,
)
from executions.why_waits import UNDO, WAITS, something

# Before this nobody calls it waiting.
NOTICED_AFTER = timedelta(seconds=5)


def why_of(facts: Facts) -> Why:
    """The one answer for an execution of which this is known."""
    why = _answer(facts)
    if facts.not_heard and facts.state is State.FAILED:
        why.details["error_workflow"] = facts.not_heard
        phrase = say(
            "{why} The workflow that was to hear of it was not started: {problem}",
            why=why.phrase,
            problem=facts.not_heard,
        )
        return Why(why.code, phrase, why.details, phrase.plain(facts.now))
    if facts.pending and facts.state not in ENDED:
        why.details["pending"] = [wish.verb for wish in facts.pending]
    return Why(why.code, why.phrase, why.details, why.phrase.plain(facts.now))


def _answer(facts: Facts) -> Why:
    if facts.state in ENDED:
        undone = UNDO.get(facts.reason) if facts.undo else None
        return (undone or _ENDS[facts.state])(facts)
    if facts.owner is not None and facts.owner.lease_until <= facts.now:
        return _worker_lost(facts, facts.owner)
    if facts.pending:
        return _pending(facts, facts.pending[-1])
    return _standing(facts)


def _standing(facts: Facts) -> Why:
    """Where it stands, whatever has been asked of it."""
    undoing = UNDO.get(facts.reason) if facts.undo else None
    if facts.owner is not None:
        return (undoing or _moving)(facts)
    if facts.held_up is not None and facts.held_up.outranks:
        return _held_up(facts, facts.held_up)
    if facts.is_ready:
        return _ready(facts)
    if facts.state is State.PAUSED:
        return _paused(facts)
    if undoing is not None:
        return undoing(facts)
    if facts.held_up is not None:
        return _held_up(facts, facts.held_up)
    if facts.state is State.INITIALIZED and facts.runnable_at is not None:
        return Why(
            "scheduled",
            say("Starts {when}, as asked.", when=Ago(facts.runnable_at)),
            {"at": iso(facts.runnable_at)},
        )
    return WAITS.get(facts.phase, something)(facts)


# Ended -----------------------------------------------------------------------------------------


def _completed(facts: Facts) -> Why:
    phrase = say(
        "Completed{when} in {took}, after {steps}.",
        when=when(facts.ended_at),
        took=duration_words(facts.duration_seconds) or "no time",
        steps=plural(facts.steps_entered, "step"),
    )
    return Why("ended.completed", phrase, _ended(facts))


def _failed(facts: Facts) -> Why:
    message = facts.error_message or facts.error_code or "no reason is known"
    step = facts.step_name or facts.error_step
    phrase = say(
        "Failed{where}{when}: {message}",
        where=say(" at step {step}", step=Strong(step)) if step else "",
        when=when(facts.ended_at),
        message=cut(message),
    )
    details = {"error_code": facts.error_code, "step": facts.error_step}
    return Why("ended.failed", phrase, {**_ended(facts), **details})


def _cancelled(facts: Facts) -> Why:
    phrase = say("Cancelled{by}{because}.", by=_by_whom(facts), because=_because(facts))
    return Why("ended.cancelled", phrase, {**_ended(facts), **_asked(facts)})


_ENDS: Mapping[State, Callable[[Facts], Why]] = {
    State.COMPLETED: _completed,
    State.FAILED: _failed,
    State.CANCELLED: _cancelled,
}


def _ended(facts: Facts) -> dict[str, Any]:
    return {"at": iso(facts.ended_at)}


# Owned by a worker -----------------------------------------------------------------------------


def _moving(facts: Facts) -> Why:
    owner = facts.owner.name if facts.owner else ""
    details = {**at_step(facts), "worker": owner, "since": iso(facts.current_since)}
    if facts.state is not State.RUNNING or not facts.step:
        return Why("moving", say("A worker has just taken it."), details)
    phrase = say(
        "Running step {step}{attempt}{lasted}.",
        step=facts.place,
        attempt=f" (attempt {facts.attempt})" if facts.attempt > 1 else "",
        lasted=lasting(facts.current_since),
    )
    if facts.claims > facts.suspect_after:
        alone = say(
            "{running} It is run alone: {times}, and none got it any further.",
            running=phrase,
            times=plural(facts.claims - 1, "worker has had it", "workers have had it"),
        )
        return Why("suspect", alone, {**details, **_claims(facts)})
    return Why("moving", phrase, details)


def _worker_lost(facts: Facts, owner: Owner) -> Why:
    details = {**at_step(facts), "worker": owner.name, "lease_until": iso(owner.lease_until)}
    phrase = say(
        "The worker {worker} has not been heard of{when}; {then}",
        worker=owner.name,
        when=say(" since its lease was over {ago}", ago=Ago(owner.lease_until)),
        then="another one frees this execution within seconds."
        if facts.all_workers
        else say("none is left to free this execution: start one with {command}.", command=WORKER),
    )
    return Why("worker_lost", phrase, details)


# Asked for something ---------------------------------------------------------------------------

_WISHES: Mapping[str, str] = {
    Verb.PAUSE.value: "to pause",
    Verb.RESUME.value: "to go on",
    Verb.CANCEL.value: "to cancel",
    Verb.RETRY.value: "to try again what failed",
    Verb.SKIP.value: "to skip the step it stands at",
    Verb.COMPENSATE.value: "to undo what it did",
}


def _pending(facts: Facts, wish: Wish) -> Why:
    asked = say(
        "It is asked {what}{by}{when}",
        what=_WISHES.get(wish.verb, f"to {wish.verb}"),
        by=f" by {wish.actor}" if wish.actor else "",
        when=when(wish.at),
    )
    details = {**at_step(facts), "by": wish.actor, "at": iso(wish.at)}
    code = f"pending.{wish.verb}"
    if facts.owner is not None:
        busy = facts.state is State.RUNNING and facts.step
        phrase = say(
            "{asked}; {then}.",
            asked=asked,
            then=say(_ENDS_FIRST.get(wish.verb, _ANY_FIRST), step=facts.place)
            if busy
            else "its worker sees to it now",
        )
        return Why(code, phrase, {**details, "worker": facts.owner.name})
    if facts.workers == 0:
        return Why(
            "queued.no_worker",
            say("{asked}, but {nobody}.", asked=asked, nobody=_nobody(facts)),
            {**details, "queue": facts.queue},
        )
    return Why(code, say("{asked}; a worker sees to it next.", asked=asked), details)


_ANY_FIRST = "its worker is at step {step}"
_ENDS_FIRST: Mapping[str, str] = {
    Verb.PAUSE.value: "step {step}, which is running, ends first",
    Verb.CANCEL.value: "step {step}, which is running, is being interrupted",
}


# Ready, and nobody has taken it ----------------------------------------------------------------


def _ready(facts: Facts) -> Why:
    start = _start(facts)
    moment = facts.runnable_at or facts.now
    waits = facts.now - moment
    is_noticed = waits >= NOTICED_AFTER
    details: dict[str, Any] = {**at_step(facts), "queue": facts.queue, "ready_since": iso(moment)}
    if facts.workers == 0:
        phrase = say(
            "{start}, but {nobody}.{lasting}",
            start=start,
            nobody=_nobody(facts),
            lasting=say(" Waiting for {since}.", since=Since(moment)) if is_noticed else "",
        )
        return Why("queued.no_worker", phrase, details)
    if facts.claims >= facts.suspect_after:
        phrase = say(
            "{start}; {times} without getting any further, so it waits to be run alone and is "
            "given up after {most}.",
            start=start,
            times=plural(facts.claims, "worker has had it", "workers have had it"),
            most=facts.lost_after,
        )
        return Why("suspect", phrase, {**details, **_claims(facts)})
    phrase = say(
        "{start}; {before}{waits}.{late}",
        start=start,
        before=_before(facts.ahead),
        waits=say(", for {since} now", since=Since(moment)) if is_noticed else "",
        late=" That is unusually long." if waits > LATE_AFTER else "",
    )
    if facts.ahead is not None:
        details["ahead"] = min(facts.ahead, MAX_AHEAD)
        details["ahead_is_capped"] = facts.ahead > MAX_AHEAD
    return Why("queued.busy" if facts.ahead else "queued.next", phrase, details)


def _start(facts: Facts) -> Phrase:
    match facts.state:
        case State.INITIALIZED:
            return say("Accepted")
        case State.RESUMED:
            return say("Resumed{by}", by=_by_whom(facts))
        case _ if facts.undo and facts.reason == Reason.COMPENSATING:
            return say("Ready to undo what it did")
        case State.WAITING:
            return say("The wait at step {step} is over", step=facts.place)
        case _:
            return say("Ready for step {step}", step=facts.place)


def _before(ahead: int | None) -> str:
    if not ahead:
        return "waits for a free worker"
    if ahead > MAX_AHEAD:
        return f"waits for a free worker, and more than {MAX_AHEAD} were ready before it"
    were = "was" if ahead == 1 else "were"
    return f"waits for a free worker, and {ahead} {were} ready before it"


WORKER = Typed("manage.py worker")


def _nobody(facts: Facts) -> Phrase:
    return say(
        "no worker serves the queue “{queue}”: start one with {command}",
        queue=facts.queue,
        command=WORKER,
    )


# At rest ---------------------------------------------------------------------------------------


def _paused(facts: Facts) -> Why:
    phrase = say(
        "Paused{by}{because}.{where}",
        by=_by_whom(facts),
        because=_because(facts),
        where=_goes_on(facts),
    )
    return Why("paused", phrase, {**at_step(facts), **_asked(facts)})


def _goes_on(facts: Facts) -> Phrase | str:
    if facts.undo is not None:
        return say(" It goes on with undoing what it did.")
    return say(" It goes on with step {step}.", step=facts.place) if facts.step else ""


def _held_up(facts: Facts, cause: HeldUp) -> Why:
    phrase = cause.phrase(_start(facts), facts.place)
    return Why(cause.code, phrase, {**at_step(facts), **cause.details()})


# Small parts -----------------------------------------------------------------------------------


def _claims(facts: Facts) -> dict[str, Any]:
    return {"claims": facts.claims, "given_up_after": facts.lost_after}


def _asked(facts: Facts) -> dict[str, Any]:
    """Who did it, when, and what they said."""
    by, since = (facts.last.actor, iso(facts.last.at)) if facts.last else ("", None)
    return {"by": by, "since": since, "reason": _said(facts)}


def _by_whom(facts: Facts) -> Phrase | str:
    if facts.last is None:
        return ""
    return say(" by {actor}{when}", actor=facts.last.actor, when=when(facts.last.at))


def _said(facts: Facts) -> str:
    """What was said with the change, unless it is only one of the fixed words."""
    return "" if facts.reason in set(Reason) else facts.reason


def _because(facts: Facts) -> Phrase | str:
    said = _said(facts)
    return say(": {said}", said=said.rstrip(".")) if said else ""


__all__ = ["WAITS", "Change", "Facts", "Owner", "Wish", "iso", "why_of"]
