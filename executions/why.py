"""Why isn't it moving? One answer for every execution: a code, a sentence and the details.

Pure: everything comes in as plain facts, and the same facts give the same answer. Who gathers
them is `situations.py`; what a position waits for has a function of its own in `WAITS`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from autopilot.common.words import duration_words, plural
from executions.engine.events import Verb
from executions.engine.states import ENDED, Reason, State
from executions.held_up import MAX_AHEAD, HeldUp
from executions.joining import NOTHING, Joining, stopping_words, waiting_words
from executions.phrases import Ago, Phrase, Since, Strong, Typed, say

# Ready for longer than this without an owner, an execution is late.
LATE_AFTER = timedelta(seconds=60)
# Before this nobody calls it waiting.
NOTICED_AFTER = timedelta(seconds=5)
MAX_MESSAGE_CHARS = 300


@dataclass(frozen=True, slots=True)
class Owner:
    """The worker that an execution belongs to, and until when it may be taken for alive."""

    name: str
    lease_until: datetime


@dataclass(frozen=True, slots=True)
class Wish:
    """Something that was asked of an execution and has not been done yet."""

    verb: str
    actor: str = ""
    at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Change:
    """The transition into the present state: by whom, and when."""

    actor: str
    at: datetime


@dataclass(frozen=True, slots=True)
class UndoFacts:
    """How far undoing has come: how many are done, could not be, and are still to be called."""

    done: int = 0
    left: int = 0
    pending: int = 0

    @property
    def total(self) -> int:
        return self.done + self.left + self.pending


@dataclass(frozen=True, slots=True)
class Facts:
    """What the answer is made from.

    pending: wishes, oldest first. workers: how many live workers serve its queue; None = unknown.
    all_workers: how many live workers there are at all. ahead: how many ready ones are before it,
    at most MAX_AHEAD + 1; None = unknown. outside: of a wait for news from outside, what its reader
    in `situations.OUTSIDE` has found. joining: the children of its step. not_heard: why its error
    workflow was not started. suspect_after, lost_after: claims without progress after which it is
    run alone, and after which it is given up.
    """

    state: State
    now: datetime
    reason: str = ""
    queue: str = "default"
    step: str = ""
    step_name: str = ""
    phase: str = ""
    attempt: int = 1
    current_since: datetime | None = None
    wait_until: datetime | None = None
    runnable_at: datetime | None = None
    ended_at: datetime | None = None
    duration_seconds: float | None = None
    steps_entered: int = 0
    claims: int = 0
    error_code: str = ""
    error_message: str = ""
    error_step: str = ""
    owner: Owner | None = None
    pending: tuple[Wish, ...] = ()
    last: Change | None = None
    undo: UndoFacts | None = None
    not_heard: str = ""
    workers: int | None = None
    all_workers: int | None = None
    ahead: int | None = None
    outside: Mapping[str, Any] = field(default_factory=dict)
    joining: Joining = NOTHING
    suspect_after: int = 3
    lost_after: int = 6
    held_up: HeldUp | None = None

    @property
    def is_ready(self) -> bool:
        """A worker may take it now, and none has."""
        moment = self.runnable_at
        return self.owner is None and moment is not None and moment <= self.now

    @property
    def place(self) -> Strong:
        return Strong(self.step_name or self.step)


@dataclass(frozen=True, slots=True)
class Why:
    """The answer. `code` is dotted and stable, `details` is plain JSON, moments in ISO 8601."""

    code: str
    phrase: Phrase
    details: dict[str, Any] = field(default_factory=dict)
    sentence: str = ""

    def as_dict(self) -> dict[str, Any]:
        return {"code": self.code, "sentence": self.sentence, "details": self.details}


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
        when=_when(facts.ended_at),
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
        when=_when(facts.ended_at),
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
        when=_when(wish.at),
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


def _limited(facts: Facts) -> Why:
    """Its line or its turn is gone: it asks again in a moment."""
    phrase = say("Asks again whether the call of step {step} may begin.", step=facts.place)
    return Why("limit", phrase, at_step(facts))


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
    phrase = say(
        "Step {step} failed; it is tried again{when}.", step=facts.place, when=_when(until)
    )
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


def something(facts: Facts) -> Why:
    """Nothing better is known than the reason of its state."""
    phrase = say(
        "Waits{where}: {what}.",
        where=say(" at step {step}", step=facts.place) if facts.step else "",
        what=facts.reason.rstrip(".") or "nothing is due",
    )
    return Why("waiting", phrase, {**at_step(facts), "reason": facts.reason})


# What a step waits for that waits for news from outside, by the reason of its state.
# Filled by `why_outside.py`.
OUTSIDE: dict[str, Callable[[Facts], Why]] = {}

# What undoing says, by the reason of the state. Filled by `why_undo.py`.
UNDO: dict[str, Callable[[Facts], Why]] = {}


def _undo(facts: Facts) -> Why:
    return UNDO.get(Reason.COMPENSATING.value, something)(facts)


# What a position that is at rest waits for, by the phase of the current step. A step that can wait
# for something new brings its line.
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


# Small parts -----------------------------------------------------------------------------------


def iso(moment: datetime | None) -> str | None:
    """As the API writes moments: `2030-01-31T12:00:00Z`."""
    if moment is None:
        return None
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")


def at_step(facts: Facts) -> dict[str, Any]:
    """For the details: where it stands."""
    return {"step": facts.step} if facts.step else {}


def _since(facts: Facts) -> dict[str, Any]:
    return {**at_step(facts), "since": iso(facts.current_since)}


def _claims(facts: Facts) -> dict[str, Any]:
    return {"claims": facts.claims, "given_up_after": facts.lost_after}


def _asked(facts: Facts) -> dict[str, Any]:
    """Who did it, when, and what they said."""
    by, since = (facts.last.actor, iso(facts.last.at)) if facts.last else ("", None)
    return {"by": by, "since": since, "reason": _said(facts)}


def _by_whom(facts: Facts) -> Phrase | str:
    if facts.last is None:
        return ""
    return say(" by {actor}{when}", actor=facts.last.actor, when=_when(facts.last.at))


def _said(facts: Facts) -> str:
    """What was said with the change, unless it is only one of the fixed words."""
    return "" if facts.reason in set(Reason) else facts.reason


def _because(facts: Facts) -> Phrase | str:
    said = _said(facts)
    return say(": {said}", said=said.rstrip(".")) if said else ""


def _when(moment: datetime | None) -> Phrase | str:
    return "" if moment is None else say(" {ago}", ago=Ago(moment))


def lasting(moment: datetime | None) -> Phrase | str:
    """` for 3 s`, or nothing."""
    return "" if moment is None else say(" for {since}", since=Since(moment))


def cut(text: str) -> str:
    """A message that is no longer than a sentence may be."""
    return text if len(text) <= MAX_MESSAGE_CHARS else text[: MAX_MESSAGE_CHARS - 1] + "…"


__all__ = [
    "LATE_AFTER",
    "MAX_AHEAD",
    "MAX_MESSAGE_CHARS",
    "OUTSIDE",
    "WAITS",
    "Change",
    "Facts",
    "Owner",
    "UndoFacts",
    "Why",
    "Wish",
    "at_step",
    "cut",
    "iso",
    "lasting",
    "something",
    "why_of",
]
