"""What holds an execution up on purpose, in words: slots, limits of calls, switches."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Protocol

from autopilot.common.words import plural
from executions.phrases import Ago, Phrase, Strong, say

# Nobody counts further than this how many are before one.
MAX_AHEAD = 100


class HeldUp(Protocol):
    """One of the classes below.

    code: dotted and stable. outranks: it counts also for what could be taken by a worker.
    """

    @property
    def code(self) -> str: ...

    @property
    def outranks(self) -> bool: ...

    def phrase(self, start: Phrase, place: Strong) -> Phrase: ...

    def details(self) -> dict[str, Any]: ...


@dataclass(frozen=True, slots=True)
class SlotWait:
    """It waits for a slot of its concurrency key.

    ahead: how many wait for one of the same key before it, at most MAX_AHEAD + 1.
    """

    key: str
    limit: int
    ahead: int = 0
    code: str = "slot"
    outranks: bool = False

    def phrase(self, start: Phrase, place: Strong) -> Phrase:
        return say(
            "{start}; waits for a slot: {limit} with the concurrency key “{key}” may run at once"
            "{line}.",
            start=start,
            limit=self.limit if self.limit > 1 else "only one",
            key=self.key,
            line=_in_line(self.ahead),
        )

    def details(self) -> dict[str, Any]:
        return {"key": self.key, "limit": self.limit, **_ahead(self.ahead)}


@dataclass(frozen=True, slots=True)
class TurnWait:
    """It is an item of a map that lets only so many run at once.

    step: of the map. around: id of the execution whose step that is, which is `paused` or goes on.
    limit: None if the definition can't be read.
    """

    step: str
    around: int
    limit: int | None
    is_paused: bool = False
    code: str = "queued.turn"
    outranks: bool = False

    def phrase(self, start: Phrase, place: Strong) -> Phrase:
        few = "one item" if self.limit == 1 else f"{self.limit:,} items" if self.limit else "a few"
        return say(
            "{start}; waits for its turn: {few} of step {step} may run at once{paused}.",
            start=start,
            few=few,
            step=Strong(self.step),
            paused=f", and execution {self.around} around it is paused" if self.is_paused else "",
        )

    def details(self) -> dict[str, Any]:
        return {"map": self.step, "parent": self.around, "max_concurrency": self.limit}


@dataclass(frozen=True, slots=True)
class LimitWait:
    """Its call waits for a place of a limit, or (`until`) for its turn in a rate.

    of: what is limited, `calls of http.request`. limit: so many at once, or in `period_seconds`.
    """

    of: str
    limit: int
    period_seconds: float = 0.0
    until: datetime | None = None
    ahead: int = 0
    outranks: bool = False

    @property
    def code(self) -> str:
        return "limit.rate" if self.until else "limit.place"

    def phrase(self, start: Phrase, place: Strong) -> Phrase:
        if self.until is not None:
            return say(
                "Waits at step {step} for its turn, which comes {when}: of {of} {limit} may begin "
                "in {period}.",
                step=place,
                when=Ago(self.until),
                of=self.of,
                limit=self.limit,
                period="a second" if self.period_seconds == 1 else f"{self.period_seconds:g} s",
            )
        return say(
            "Waits at step {step} to begin: of {of} {limit} may be under way at once{line}.",
            step=place,
            of=self.of,
            limit=self.limit if self.limit > 1 else "only one",
            line=_in_line(self.ahead),
        )

    def details(self) -> dict[str, Any]:
        rate = {"period_seconds": self.period_seconds} if self.until else _ahead(self.ahead)
        return {"of": self.of, "limit": self.limit, "until": _iso(self.until), **rate}


@dataclass(frozen=True, slots=True)
class SwitchedOff:
    """Its workflow or its queue is paused, with all that runs of it."""

    is_queue: bool
    name: str
    by: str
    reason: str = ""
    until: datetime | None = None
    outranks: bool = True

    @property
    def code(self) -> str:
        return "paused.queue" if self.is_queue else "paused.workflow"

    def phrase(self, start: Phrase, place: Strong) -> Phrase:
        return say(
            "{start}, but {what} is paused by {by}{until}{because}.",
            start=start,
            what=f"its queue “{self.name}”" if self.is_queue else f"the workflow {self.name}",
            by=self.by,
            until=say(" until {moment}", moment=_said(self.until)) if self.until else "",
            because=f": {self.reason.rstrip('.')}" if self.reason else "",
        )

    def details(self) -> dict[str, Any]:
        of = {"queue": self.name} if self.is_queue else {"workflow": self.name}
        return {**of, "by": self.by, "reason": self.reason, "until": _iso(self.until)}


def _said(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M} UTC"


def _in_line(ahead: int) -> str:
    if ahead > MAX_AHEAD:
        return f", and more than {MAX_AHEAD} wait before it"
    return f", and {plural(ahead, 'waits', 'wait')} before it" if ahead else ""


def _ahead(ahead: int) -> dict[str, Any]:
    return {"ahead": min(ahead, MAX_AHEAD), "ahead_is_capped": ahead > MAX_AHEAD}


def _iso(moment: datetime | None) -> str | None:
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z") if moment else None
