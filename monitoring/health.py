"""Whether this process and what it needs are well."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import structlog
from django.db import DatabaseError, connection
from django.db.migrations.executor import MigrationExecutor
from django_redis import get_redis_connection
from redis.exceptions import RedisError

log = structlog.get_logger(__name__)


class State(StrEnum):
    OK = "ok"
    DEGRADED = "degraded"
    DOWN = "down"


@dataclass(frozen=True, slots=True)
class Dependency:
    """One thing the product needs: its state, and a sentence that names no address or version."""

    state: State
    message: str


@dataclass(frozen=True, slots=True)
class Health:
    """`state` is the worst that matters: without Redis the product is slower, not down."""

    state: State
    postgres: Dependency
    redis: Dependency


class _Migrations:
    """Remembers that nothing is left to apply; a process never sees its migrations undone."""

    applied = False


def check() -> Health:
    """Ask every dependency, each within its own short timeout."""
    postgres, redis = _postgres(), _redis()
    worst = max((postgres.state, redis.state), key=list(State).index)
    return Health(state=worst, postgres=postgres, redis=redis)


def _postgres() -> Dependency:
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
            cursor.fetchone()
        if not _migrated():
            return Dependency(State.DOWN, "Migrations are waiting; run manage.py migrate.")
    except DatabaseError:
        log.warning("health.postgres_down", exc_info=True)
        # A broken connection of this thread must not answer for the server the next time.
        connection.close_if_unusable_or_obsolete()
        return Dependency(State.DOWN, "The database does not answer.")
    return Dependency(State.OK, "The database answers and is up to date.")


def _migrated() -> bool:
    if not _Migrations.applied:
        executor = MigrationExecutor(connection)
        plan = executor.migration_plan(executor.loader.graph.leaf_nodes())
        _Migrations.applied = not plan
    return _Migrations.applied


def _redis() -> Dependency:
    try:
        get_redis_connection("default").ping()
    except (RedisError, OSError):
        log.warning("health.redis_down", exc_info=True)
        return Dependency(
            State.DEGRADED, "Redis does not answer; work goes on from the database, more slowly."
        )
    return Dependency(State.OK, "Redis answers.")
