"""All checks, one after the other, each bounded in time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import structlog
from django.db import Error, OperationalError, connection
from psycopg2.errors import QueryCanceled

from autopilot.common import clock
from monitoring.checks import broker, database, processes, storage, work
from monitoring.checks.base import SECONDS, Check, Level, bounded, warning

log = structlog.get_logger(__name__)

Look = Callable[[Any], Iterator[Check]]


@dataclass(frozen=True, slots=True)
class Report:
    """Everything that was looked at, in the order in which one would ask."""

    at: datetime
    checks: tuple[Check, ...]

    @property
    def level(self) -> Level:
        """That of the worst."""
        return max((each.level for each in self.checks), key=lambda level: level.rank)

    def of(self, level: Level) -> list[Check]:
        return [each for each in self.checks if each.level is level]


def check_everything() -> Report:
    """Look at every dependency and for every sign of trouble; never raises."""
    return Report(clock.now(), tuple(look_at_everything()))


def look_at_everything() -> Iterator[Check]:
    """The same one by one, as they are found.

    Without PostgreSQL, or with migrations waiting, that and Redis are all there is to say.
    """
    first = database.answers()
    yield first
    if first.level is Level.PROBLEM:
        yield from broker.redis()
        return
    has_tables = True
    for each in (each for look in database.LOOKS for each in _look(look)):
        has_tables &= each.name != "postgres.migrations" or each.level is not Level.PROBLEM
        yield each
    yield from broker.redis()
    # What there is to be looked at may have no table yet.
    if has_tables:
        for look in (*processes.LOOKS, *work.LOOKS, *storage.LOOKS):
            yield from _look(look)


def _look(look: Look) -> list[Check]:
    name = f"{look.__module__.rpartition('.')[2]}.{look.__name__}"
    try:
        with bounded() as cursor:
            return list(look(cursor))
    except OperationalError as error:
        if isinstance(error.__cause__, QueryCanceled):
            message = f"{name} could not be found out within {SECONDS:g} seconds."
            return [warning(name, message, "PostgreSQL is busy, or its tables are large.")]
        connection.close_if_unusable_or_obsolete()
        return [_failed(name, error)]
    except Error as error:
        connection.close_if_unusable_or_obsolete()
        return [_failed(name, error)]
    except Exception as error:  # noqa: BLE001 - one that breaks must not hide what the others say
        return [_failed(name, error, "It is no matter of PostgreSQL: see what it says.")]


def _failed(name: str, error: Exception, advice: str = "See the check of PostgreSQL.") -> Check:
    reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    log.warning("health.check_failed", check=name, error=reason, exc_info=error)
    return warning(name, f"{name} could not be found out: {reason}", advice)
