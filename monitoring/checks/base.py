"""What a check finds: how bad it is, what it is, and what to do."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from django.db import connection, transaction

# A check that needs longer is given up, and says so.
SECONDS = 2.0


class Level(StrEnum):
    """How bad it is. problem: work stands still, or is about to; warning: it goes on, and somebody
    should look. The order is that of badness.
    """

    OK = "ok"
    WARNING = "warning"
    PROBLEM = "problem"

    @property
    def rank(self) -> int:
        return list(Level).index(self)


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was looked at.

    name: dotted and stable, for monitoring systems. message: a sentence. advice: what to do; empty
    if nothing has to be. facts: what the sentence is made from, as plain JSON.
    """

    name: str
    level: Level
    message: str
    advice: str = ""
    facts: dict[str, Any] = field(default_factory=dict)


def ok(name: str, message: str, **facts: Any) -> Check:
    return Check(name, Level.OK, message, "", facts)


def warning(name: str, message: str, advice: str, **facts: Any) -> Check:
    return Check(name, Level.WARNING, message, advice, facts)


def problem(name: str, message: str, advice: str, **facts: Any) -> Check:
    return Check(name, Level.PROBLEM, message, advice, facts)


@contextmanager
def bounded(seconds: float = SECONDS) -> Iterator[Any]:
    """A cursor whose statements PostgreSQL gives up after a while."""
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(
            "SELECT set_config('statement_timeout', %s, true)", [str(int(seconds * 1000))]
        )
        yield cursor
