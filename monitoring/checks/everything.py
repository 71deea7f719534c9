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
    """Look at every dependency and for every sign of trouble; never raises.

    Without PostgreSQL, or with migrations waiting, that and Redis are all there is to say.
    """
    found = [database.answers()]
    if found[0].level is Level.PROBLEM:
        found += broker.redis()
        return Report(clock.now(), tuple(found))
    found += [each for look in database.LOOKS for each in _look(look)]
    found += broker.redis()
    if any(each.name == "postgres.migrations" and each.level is Level.PROBLEM for each in found):
        # What there is to be looked at may have no table yet.
        return Report(clock.now(), tuple(found))
    others = (*processes.LOOKS, *work.LOOKS, *storage.LOOKS)
    found += [each for look in others for each in _look(look)]
    return Report(clock.now(), tuple(found))


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


def _failed(name: str, error: Exception) -> Check:
    reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    log.warning("health.check_failed", check=name, error=reason)
    return warning(name, f"{name} could not be found out: {reason}", "See the check of PostgreSQL.")
