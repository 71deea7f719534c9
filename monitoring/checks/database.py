"""PostgreSQL: does it answer, is it what we need, is there room, does anything stand in the way?"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

from django.db import Error, connection
from django.db.migrations.executor import MigrationExecutor

from autopilot.common.words import duration_words, plural
from monitoring.checks.base import Check, bounded, ok, problem, warning

OLDEST_VERSION = 14
SLOW_SECONDS = 0.5
# Shares of what there is.
CONNECTIONS_WARNING, CONNECTIONS_PROBLEM = 0.8, 0.95
# Seconds that a transaction is open. It holds back event streams and the cleaning of tables.
TRANSACTION_WARNING, TRANSACTION_PROBLEM = 300, 3_600
# PostgreSQL refuses to write at about 2.1 thousand million.
IDS_WARNING, IDS_PROBLEM = 1_000_000_000, 1_600_000_000
DURABLE = ("fsync", "full_page_writes", "synchronous_commit")

_SETTINGS = "SELECT name, setting FROM pg_settings WHERE name = ANY(%s)"
_CONNECTIONS = """
SELECT count(*), current_setting('max_connections')::int
                 - current_setting('superuser_reserved_connections')::int
  FROM pg_stat_activity WHERE backend_type = 'client backend'
"""
_OLDEST = """
SELECT pid, coalesce(application_name, ''), coalesce(state, ''),
       extract(epoch FROM now() - xact_start)
  FROM pg_stat_activity
 WHERE xact_start IS NOT NULL AND pid <> pg_backend_pid() AND backend_type = 'client backend'
   AND datname = current_database() AND (backend_xid IS NOT NULL OR backend_xmin IS NOT NULL)
 ORDER BY xact_start LIMIT 1
"""
_PREPARED = "SELECT count(*), extract(epoch FROM now() - min(prepared)) FROM pg_prepared_xacts"
_IDS = "SELECT max(age(datfrozenxid)) FROM pg_database"


def answers() -> Check:
    """Whether it answers at all, and how fast: everything else is asked of it only then."""
    name, began = "postgres.answers", time.monotonic()
    try:
        with bounded() as cursor:
            cursor.execute("SELECT current_setting('server_version'), pg_is_in_recovery()")
            version, is_replica = cursor.fetchone()
    except Error as error:
        connection.close()
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        return problem(
            name,
            f"PostgreSQL does not answer: {reason}",
            "Start it, or check DATABASE_URL and the way to it. Nothing is lost: workers wait, and "
            "the API answers 503 until it is back.",
        )
    seconds = round(time.monotonic() - began, 3)
    facts = {"version": version, "seconds": seconds}
    major = int(version.split(".")[0].split()[0])
    if is_replica:
        return problem(
            name,
            f"PostgreSQL {version} answers, and takes no writes: it is a replica.",
            "Promote it, or let DATABASE_URL name the primary.",
            **facts,
        )
    if major < OLDEST_VERSION:
        return problem(
            name,
            f"PostgreSQL {version} is too old.",
            f"Upgrade it to {OLDEST_VERSION} or later.",
            **facts,
        )
    if seconds > SLOW_SECONDS:
        return warning(
            name,
            f"PostgreSQL {version} took {duration_words(seconds)} to answer.",
            "Look at its load, and at the network between.",
            **facts,
        )
    return ok(name, f"PostgreSQL {version} answers in {duration_words(seconds)}.", **facts)


def migrations(cursor: Any) -> Iterator[Check]:
    executor = MigrationExecutor(connection)
    waiting = executor.migration_plan(executor.loader.graph.leaf_nodes())
    names = [f"{each.app_label}.{each.name}" for each, _ in waiting]
    if names:
        yield problem(
            "postgres.migrations",
            f"{plural(len(names), 'migration')} not applied, the first is {names[0]}.",
            "Run scripts/migrate.sh, or manage.py migrate.",
            waiting=names,
        )
    else:
        yield ok("postgres.migrations", "All migrations are applied.")


def durability(cursor: Any) -> Iterator[Check]:
    cursor.execute(_SETTINGS, [list(DURABLE)])
    found = dict(cursor.fetchall())
    said = ", ".join(f"{name} = {found[name]}" for name in DURABLE)
    off = [name for name in DURABLE if found[name] == "off"]
    if off:
        yield problem(
            "postgres.durability",
            f"A crash of PostgreSQL or of its machine would lose what was accepted: {said}.",
            f"Set {' and '.join(off)} to on in postgresql.conf (or undo ALTER ROLE or ALTER "
            "DATABASE ... SET) and restart PostgreSQL.",
            **found,
        )
    else:
        yield ok("postgres.durability", f"Every commit is flushed: {said}.", **found)


def connections(cursor: Any) -> Iterator[Check]:
    cursor.execute(_CONNECTIONS)
    used, most = cursor.fetchone()
    name, message = "postgres.connections", f"{used} of {most} connections are used."
    facts, share = {"used": used, "max": most}, used / most
    advice = (
        "Raise max_connections, or have fewer web threads (WEB_WORKERS x WEB_THREADS) and workers "
        "(about four connections each); SELECT * FROM pg_stat_activity says whose they are."
    )
    if share >= CONNECTIONS_PROBLEM:
        yield problem(name, message, advice, **facts)
    elif share >= CONNECTIONS_WARNING:
        yield warning(name, message, advice, **facts)
    else:
        yield ok(name, message, **facts)


def transactions(cursor: Any) -> Iterator[Check]:
    cursor.execute(_OLDEST)
    pid, program, state, seconds = cursor.fetchone() or (None, "", "", 0)
    seconds = float(seconds or 0)
    name, facts = "postgres.transactions", {"seconds": round(seconds, 1), "pid": pid}
    message = f"The oldest transaction has been open for {duration_words(seconds)}"
    message += f" (process {pid}{f', {program}' if program else ''}, {state})."
    advice = (
        "It holds back event streams and the cleaning of tables. If nobody needs it: "
        f"SELECT pg_terminate_backend({pid});"
    )
    if seconds >= TRANSACTION_PROBLEM:
        yield problem(name, message, advice, **facts)
    elif seconds >= TRANSACTION_WARNING:
        yield warning(name, message, advice, **facts)
    else:
        yield ok(name, "No transaction is open for long.", **facts)
    cursor.execute(_PREPARED)
    count, seconds = cursor.fetchone()
    if count and seconds > TRANSACTION_WARNING:
        yield warning(
            "postgres.prepared_transactions",
            f"{plural(count, 'prepared transaction')} left open, the oldest for "
            f"{duration_words(float(seconds))}.",
            "They are not ours. End them with COMMIT PREPARED or ROLLBACK PREPARED.",
            count=count,
            seconds=round(float(seconds), 1),
        )


def transaction_ids(cursor: Any) -> Iterator[Check]:
    cursor.execute(_IDS)
    (age,) = cursor.fetchone()
    name = "postgres.transaction_ids"
    message = f"The oldest row is {age:,} transactions old; PostgreSQL stops at 2,100,000,000."
    advice = "Run VACUUM (FREEZE) on the oldest tables, and see why autovacuum does not keep up."
    if age >= IDS_PROBLEM:
        yield problem(name, message, advice, age=age)
    elif age >= IDS_WARNING:
        yield warning(name, message, advice, age=age)
    else:
        yield ok(name, message, age=age)


LOOKS = (migrations, durability, connections, transactions, transaction_ids)
