"""What the answer to "why isn't it moving?" is made from, and what it is; and small parts of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from executions.engine.states import State
from executions.held_up import HeldUp
from executions.joining import NOTHING, Joining
from executions.phrases import Ago, Phrase, Since, Strong, say

# Ready for longer than this without an owner, an execution is late.
LATE_AFTER = timedelta(seconds=60)
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


def iso(moment: datetime | None) -> str | None:
    """As the API writes moments: `2030-01-31T12:00:00Z`."""
    if moment is None:
        return None
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")


def at_step(facts: Facts) -> dict[str, Any]:
    """For the details: where it stands."""
    return {"step": facts.step} if facts.step else {}


def when(moment: datetime | None) -> Phrase | str:
    return "" if moment is None else say(" {ago}", ago=Ago(moment))


def lasting(moment: datetime | None) -> Phrase | str:
    """` for 3 s`, or nothing."""
    return "" if moment is None else say(" for {since}", since=Since(moment))


def cut(text: str) -> str:
    """A message that is no longer than a sentence may be."""
    return text if len(text) <= MAX_MESSAGE_CHARS else text[: MAX_MESSAGE_CHARS - 1] + "…"
