"""One listener: what it wants, and what waits for it to be sent."""

from __future__ import annotations

import json
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import StrEnum

from autopilot.common import streams
from executions.events.position import RANKS, Position
from executions.events.records import Record

# Events that wait for one listener at most; whoever is further behind is read to in pages.
MAX_WAITING = 1_000
# A summary comes no more often than this, however much happens.
SUMMARY_SECONDS = 0.5


class End(StrEnum):
    """Why a stream was ended by the server."""

    FORBIDDEN = "forbidden"
    SLOW = "slow"
    STOPPED = "stopped"


_SENTENCES = {
    End.FORBIDDEN: "You are signed out, or may not see executions any more.",
    End.SLOW: "Events came faster than they were taken: come back with the last id.",
    End.STOPPED: "The server stops or starts again: come back with the last id.",
}


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which records a listener gets.

    execution: only this one and all below it; None: everybody's.
    workflow: only of this slug. states: only transitions into one of these.
    kinds: of `position.RANKS`. only_roots: without branches, items and children.
    """

    execution: int | None = None
    workflow: str = ""
    states: frozenset[str] = frozenset()
    kinds: frozenset[str] = frozenset(RANKS)
    only_roots: bool = False

    def takes(self, record: Record) -> bool:
        """Whether a record is wanted, as far as it doesn't depend on whose it is."""
        if record.kind not in self.kinds:
            return False
        if self.only_roots and record.facts.parent is not None:
            return False
        if self.workflow and record.facts.workflow != self.workflow:
            return False
        return not self.states or record.fields.get("target") in self.states


class Subscription:
    """The queue between the hub, which fills it, and the server, which sends what is in it.

    after: where it goes on; None: from now on. may_go_on: asked now and then, on the hub's thread.
    is_summary: instead of each event tell, at intervals, how many of which kind there were.
    """

    def __init__(
        self,
        wanted: Wanted,
        *,
        after: Position | None,
        may_go_on: Callable[[], bool],
        is_summary: bool = False,
    ) -> None:
        self.wanted = wanted
        self.may_go_on = may_go_on
        # The hub's own: where this listener is, whether it gets what comes as it comes, and since
        # when it has not been up to date.
        self.position = after
        self.is_live = False
        self.was_live = False
        self.behind_since = time.monotonic()
        self.checked_at = time.monotonic()
        self.is_summary = is_summary
        self._lock = threading.Lock()
        self._waiting: deque[bytes] = deque()
        self._counts: Counter[str] = Counter()
        self._told_at = 0.0
        self._reached = ""
        self._end: End | None = None
        self._is_closed = False
        self._wake: Callable[[], None] = lambda: None

    # What the hub does.

    def begin(self, position: Position) -> None:
        """Say where the stream goes on from: whoever loses it at once comes back to there."""
        ready = streams.event("{}", name="ready", event_id=str(position))
        with self._lock:
            self._waiting.append(f"retry: {streams.RETRY_MILLISECONDS}\n".encode() + ready)
            self._reached = str(position)
        self._wake()

    def offer(self, records: Iterable[Record], reached: Position) -> bool:
        """Queue records; everything up to `reached` is in them. False if there is no room."""
        records = list(records)
        with self._lock:
            if not self.is_summary:
                if len(self._waiting) + len(records) > MAX_WAITING:
                    return False
                self._waiting.extend(record.text for record in records)
            else:
                self._counts.update(record.kind for record in records)
            self._reached = str(reached)
        if records:
            self._wake()
        return True

    @property
    def room(self) -> int:
        """How many more records can be queued."""
        return MAX_WAITING - len(self._waiting)

    def end(self, why: End) -> None:
        """End it; what is queued is still sent, unless it is too slow to take it."""
        with self._lock:
            self._end = self._end or why
        self._wake()

    @property
    def has_ended(self) -> bool:
        return self._is_closed or self._end is not None

    @property
    def has_begun(self) -> bool:
        return bool(self._reached)

    # What the server does.

    def attach(self, wake: Callable[[], None]) -> None:
        self._wake = wake
        wake()

    def take(self) -> bytes | None:
        with self._lock:
            if self._is_closed:
                return None
            parts = list(self._waiting)
            self._waiting.clear()
            is_time = time.monotonic() - self._told_at >= SUMMARY_SECONDS
            if self._counts and (is_time or self._end is not None):
                parts.append(self._summary())
            if self._end is not None:
                data = json.dumps({"reason": self._end.value, "message": _SENTENCES[self._end]})
                parts.append(streams.event(data, name="end"))
                self._is_closed = True
            return b"".join(parts)

    def _summary(self) -> bytes:
        data = json.dumps({kind: self._counts[kind] for kind in RANKS if kind in self._counts})
        self._counts.clear()
        self._told_at = time.monotonic()
        return streams.event(data, name="changed", event_id=self._reached)

    def heartbeat(self) -> bytes:
        """A comment, with the place reached, so that nobody resumes from an old event in vain.

        In a summary it is an event: a page can't see comments, and has to notice silence.
        """
        with self._lock:
            is_up_to_date = not self._waiting and not self._counts
            reached = self._reached if is_up_to_date else ""
        if self.is_summary:
            return streams.event("{}", name="beat", event_id=reached)
        return (f"id: {reached}\n" if reached else "").encode() + b": still here\n\n"

    @property
    def is_dropped(self) -> bool:
        return self._end is End.SLOW

    def patience(self) -> float:
        if self.is_summary and self._counts:
            return max(0.01, SUMMARY_SECONDS - (time.monotonic() - self._told_at))
        return streams.HEARTBEAT_SECONDS

    def stop(self) -> None:
        self.end(End.STOPPED)

    def close(self) -> None:
        """Nobody listens any more; the hub forgets it at its next look."""
        self._is_closed = True
        self._wake()
