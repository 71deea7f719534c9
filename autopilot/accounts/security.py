"""Security events, kept even when the work they belong to is rolled back.

During a request the events are collected and written after the view's transactions are over,
in a transaction of their own (`SecurityEventMiddleware`). Commands that act for a person wrap
their work in `collecting()` for the same promise.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import timedelta

import structlog
from django.db import DatabaseError, connection, transaction

from autopilot.accounts.kinds import SecurityEventKind
from autopilot.accounts.models import SecurityEvent
from autopilot.common import clock
from autopilot.common.storable import text

log = structlog.get_logger(__name__)

# Anybody can send forged tokens; one address may not fill the table with them.
FLOOD_LIMIT = 60
FLOOD_WINDOW = timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class Note:
    """A security event that has not been written yet; fields as in `SecurityEvent`."""

    kind: SecurityEventKind
    user_id: int | None = None
    name: str = ""
    message: str = ""
    address: str = ""
    method: str = ""
    path: str = ""
    request_id: str = ""


_pending: ContextVar[list[Note] | None] = ContextVar("security_notes", default=None)


def note(event: Note) -> None:
    """Keep `event`: when the current request ends, or at once where no request is running.

    Inside somebody's transaction and outside of `collecting()` a row would vanish with a
    rollback, so there the log line is the record.
    """
    log.warning(
        f"security.{event.kind}",
        user_id=event.user_id,
        user_name=event.name,
        address=event.address,
        detail=event.message,
    )
    pending = _pending.get()
    if pending is not None:
        pending.append(event)
    elif not connection.in_atomic_block:
        write([event])


def note_denied(
    *, user_id: int | None, name: str, permission: str, address: str, request_id: str
) -> None:
    note(
        Note(
            kind=SecurityEventKind.PERMISSION_DENIED,
            user_id=user_id,
            name=name,
            message=f"needs {permission}",
            address=address,
            request_id=request_id,
        )
    )


@contextmanager
def collecting() -> Iterator[list[Note]]:
    """Collect the events of a piece of work and write them when it is over, however it ended."""
    events: list[Note] = []
    token = _pending.set(events)
    try:
        yield events
    finally:
        _pending.reset(token)
        write(events)


def write(events: list[Note]) -> None:
    """Insert the events; a database that refuses or is away is only logged.

    Called by itself this is a transaction of its own. Inside somebody's transaction it goes with
    it, which suits events about a change that succeeded.
    """
    if not events:
        return
    try:
        with transaction.atomic():
            SecurityEvent.objects.bulk_create(_row(event) for event in _within_limits(events))
    except DatabaseError:
        # The answer to the caller matters more than the note about it, which the log has too.
        log.exception("security.not_written", events=len(events))


def _within_limits(events: list[Note]) -> Iterator[Note]:
    since = clock.now() - FLOOD_WINDOW
    taken: Counter[tuple[str, str]] = Counter()
    for event in events:
        key = (event.address, event.kind)
        if key not in taken:
            taken[key] = SecurityEvent.objects.filter(
                address=event.address, kind=event.kind, at__gte=since
            ).count()
        taken[key] += 1
        if not event.address or taken[key] <= FLOOD_LIMIT:
            yield event


def _row(event: Note) -> SecurityEvent:
    return SecurityEvent(
        kind=event.kind,
        user_id=event.user_id,
        name=text(event.name)[:200],
        message=text(event.message)[:500],
        address=text(event.address)[:64],
        method=event.method[:10],
        path=text(event.path)[:300],
        request_id=event.request_id[:64],
    )
