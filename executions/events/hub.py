"""One reader per process for everybody in it who listens.

A thread with one database connection reads what has happened, once, and hands it to all
subscriptions. It looks often while somebody listens; when nobody does, there is neither a thread
nor a connection.

A subscription that goes on from an earlier place, or that takes too slowly for its queue, is read
to by the same thread in pages, as far as it has room, until it has come to where everybody is. As
one thread does both, nothing can happen between the two: there is neither a gap nor a double.
"""

from __future__ import annotations

import threading
import time
from collections import defaultdict
from collections.abc import Iterable

import structlog
from django.db import Error, connections

from autopilot.common.errors import TooManyRequests
from executions.events import records
from executions.events.position import Position
from executions.events.records import Reader, Record
from executions.events.subscription import End, Subscription

log = structlog.get_logger(__name__)

POLL_SECONDS = 0.1
# After the last listener has gone, in case the next is on its way (a page that is loaded anew).
LINGER_SECONDS = 2.0
RETRY_SECONDS = 1.0
# Of what happens now, and of what one listener has missed.
LIVE_PAGE = 2_000
MISSED_PAGE = 500
# Listeners that are read to in one round: what happens now is not to wait for them long.
MISSED_READS = 6
# How long somebody who was up to date may be behind: whoever needs longer is too slow.
BEHIND_SECONDS = 60.0
# Whether somebody may still see what they get is asked this often, a few of them at a time.
CHECK_SECONDS = 20.0
CHECKS = 10
MAX_LISTENERS = 2_000


class TooManyListeners(TooManyRequests):
    """Too many streams are open on this server; try again in a moment."""

    code = "stream.too_many"


class Hub:
    """What listens to the database for all subscriptions of this process."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._bell = threading.Event()
        self._thread: threading.Thread | None = None
        self._subscriptions: list[Subscription] = []
        self._is_closing = False

    def add(self, subscription: Subscription) -> None:
        """Begin to fill a subscription. Raises TooManyListeners."""
        with self._lock:
            if len(self._subscriptions) >= MAX_LISTENERS:
                raise TooManyListeners(retry_after_seconds=30)
            self._subscriptions.append(subscription)
            if self._thread is None:
                self._is_closing = False
                self._thread = threading.Thread(target=self._run, name="events", daemon=True)
                self._thread.start()
        self._bell.set()

    def close(self) -> None:
        """End every stream and the thread; returns when its connection is closed."""
        with self._lock:
            thread = self._thread
            self._is_closing = True
        self._bell.set()
        if thread is not None:
            thread.join(timeout=10)

    @property
    def listeners(self) -> int:
        return len(self._subscriptions)

    @property
    def is_running(self) -> bool:
        return self._thread is not None

    def _run(self) -> None:
        try:
            round_ = _Round()
            idle_since = time.monotonic()
            while True:
                subscriptions = self._present()
                if subscriptions:
                    idle_since = time.monotonic()
                elif self._may_end(time.monotonic() - idle_since):
                    return
                pause = self._look(round_, subscriptions)
                self._bell.wait(pause)
                self._bell.clear()
        finally:
            connections.close_all()

    def _look(self, round_: _Round, subscriptions: list[Subscription]) -> float:
        """One round; answers how many seconds until the next."""
        if not subscriptions:
            return POLL_SECONDS
        try:
            return 0.0 if round_.run(subscriptions) else POLL_SECONDS
        except Error as error:
            log.warning("events.database_unavailable", error=str(error).strip())
            connections.close_all()
            return RETRY_SECONDS
        except Exception:
            # Nobody may lose their stream for good because of a defect in one of them.
            log.exception("events.defect")
            return RETRY_SECONDS

    def _present(self) -> list[Subscription]:
        with self._lock:
            if self._is_closing:
                for each in self._subscriptions:
                    each.stop()
            self._subscriptions = [each for each in self._subscriptions if not each.has_ended]
            return list(self._subscriptions)

    def _may_end(self, idle_seconds: float) -> bool:
        """Under the lock, so that whoever comes next finds a thread or makes one."""
        with self._lock:
            if self._subscriptions or not (self._is_closing or idle_seconds >= LINGER_SECONDS):
                return False
            self._thread = None
            return True


class _Round:
    """What the thread remembers from one look to the next."""

    def __init__(self) -> None:
        self._reader = Reader()
        self._reached: Position | None = None
        self._turn = 0

    def run(self, subscriptions: list[Subscription]) -> bool:
        """Read and hand out once; whether there is more to be had at once."""
        horizon = records.read_horizon()
        has_more = self._go_on([each for each in subscriptions if each.is_live], horizon)
        assert self._reached is not None
        for each in subscriptions:
            if each.position is None:
                each.begin(self._reached)
                each.position, each.is_live = self._reached, True
            elif not each.is_live and not each.has_begun:
                each.begin(each.position)
        for each in self._next_to_read_to(subscriptions):
            has_more |= self._catch_up(each)
        _check(subscriptions)
        return has_more

    def _next_to_read_to(self, subscriptions: list[Subscription]) -> list[Subscription]:
        """Some of those who miss something and have room for it, in turn."""
        behind = [each for each in subscriptions if not each.is_live and each.room >= MISSED_PAGE]
        self._turn = self._turn % len(behind) if behind else 0
        chosen = (behind[self._turn :] + behind[: self._turn])[:MISSED_READS]
        self._turn += MISSED_READS
        return chosen

    def _go_on(self, live: list[Subscription], horizon: int) -> bool:
        """What has happened since the last look, to those who are up to date."""
        if self._reached is None or not live:
            self._reached = Position.before(horizon)
            return False
        if self._reached >= Position.before(horizon):
            return False
        kinds = {kind for each in live for kind in each.wanted.kinds}
        page = self._reader.page(self._reached, horizon, LIVE_PAGE, kinds=kinds)
        shares = self._shares(live, page.records)
        for each in live:
            if each.offer(shares.get(id(each), ()), page.reached):
                each.position = max(page.reached, each.position or page.reached)
            else:
                each.is_live, each.was_live = False, True
                each.behind_since = time.monotonic()
        self._reached = page.reached
        return not page.is_last

    def _shares(
        self, live: Iterable[Subscription], found: Iterable[Record]
    ) -> dict[int, list[Record]]:
        """Which records are whose, in order, by the identity of the subscription."""
        everywhere: list[Subscription] = []
        by_execution: dict[int, list[Subscription]] = defaultdict(list)
        for each in live:
            execution = each.wanted.execution
            (everywhere if execution is None else by_execution[execution]).append(each)
        shares: dict[int, list[Record]] = defaultdict(list)
        for record in found:
            takers = list(everywhere)
            if by_execution:
                for execution in self._reader.line(record.execution):
                    takers += by_execution.get(execution, ())
            for each in takers:
                # Whoever comes from another process may have got there what comes here now.
                is_new = each.position is None or record.position > each.position
                if is_new and each.wanted.takes(record):
                    shares[id(each)].append(record)
        return shares

    def _catch_up(self, subscription: Subscription) -> bool:
        """One page of what somebody has missed; whether there is more to be had at once."""
        assert self._reached is not None
        assert subscription.position is not None
        wanted = subscription.wanted
        page = self._reader.page(
            subscription.position,
            # Up to where everybody is; what is beyond comes with the next look.
            self._reached.xid,
            MISSED_PAGE,
            kinds=wanted.kinds,
            executions=None if wanted.execution is None else records.read_tree(wanted.execution),
        )
        reached = max(page.reached, subscription.position)
        subscription.offer([each for each in page.records if wanted.takes(each)], reached)
        subscription.position = reached
        if subscription.is_summary and not page.is_last:
            # That much has changed is all there is to be said, however much it was.
            reached = self._reached
            subscription.offer([], reached)
            subscription.position = reached
        # Within a transaction that was read in pages nobody joins the others.
        if (page.is_last or subscription.is_summary) and self._reached <= reached:
            subscription.is_live = True
        return not subscription.is_live


def _check(subscriptions: list[Subscription]) -> None:
    """End the streams of those who are too slow, or may not see it any more."""
    now = time.monotonic()
    for each in subscriptions:
        if each.was_live and not each.is_live and now - each.behind_since > BEHIND_SECONDS:
            each.end(End.SLOW)
    due = [each for each in subscriptions if now - each.checked_at >= CHECK_SECONDS]
    for each in sorted(due, key=lambda each: each.checked_at)[:CHECKS]:
        each.checked_at = now
        if not each.may_go_on():
            each.end(End.FORBIDDEN)


# The one of this process; its thread is made with the first listener.
HUB = Hub()
