"""Django's `flush`, as tests need it: after each of a thousand of them, when little was written."""

from __future__ import annotations

from typing import Any

from django.core.management.commands import flush
from django.db import connections, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.utils import CursorWrapper

# Made by migrating; they stay unless a test has changed them.
KEPT = ("auth_permission", "django_content_type")
# Deleted rows take up room, which plans are made by. Emptying tables gives it back, all at once.
MAX_PAGES = 64


class Command(flush.Command):
    """Deletes the few rows of a test instead of emptying 46 tables and filling them again."""

    # What the kept tables held when they were new; no process has more than one test database.
    made: str | None = None

    def handle(self, **options: Any) -> None:
        connection = connections[options["database"]]
        is_whole = options.get("reset_sequences", True) or options.get("allow_cascade", False)
        if not is_whole and self.made is not None and self._delete(connection):
            return
        super().handle(**options)
        with connection.cursor() as cursor:
            type(self).made = _kept(cursor)

    def _delete(self, connection: BaseDatabaseWrapper) -> bool:
        """Whether that was possible."""
        names = connection.introspection.django_table_names(
            only_existing=False, include_views=False
        )
        tables = [each for each in names if each not in KEPT]
        with transaction.atomic(using=connection.alias), connection.cursor() as cursor:
            # Like TRUNCATE: what is being written by somebody's forgotten thread goes too.
            cursor.execute(f"LOCK TABLE {', '.join(tables)} IN EXCLUSIVE MODE")
            if _pages(cursor, tables) > MAX_PAGES or _kept(cursor) != self.made:
                return False
            # No guard of history, and no order of foreign keys.
            cursor.execute("SET LOCAL session_replication_role = replica")
            for table in _filled(cursor, tables):
                cursor.execute(f"DELETE FROM {table}")
        return True


def _pages(cursor: CursorWrapper, tables: list[str]) -> int:
    """The size of the largest."""
    cursor.execute(
        "SELECT max(pg_relation_size(name::regclass)) / 8192 FROM unnest(%s) AS name", [tables]
    )
    return int(cursor.fetchone()[0])


def _filled(cursor: CursorWrapper, tables: list[str]) -> list[str]:
    cursor.execute(
        " UNION ALL ".join(
            f"SELECT '{table}' WHERE EXISTS (SELECT FROM {table})" for table in tables
        )
    )
    return [row[0] for row in cursor.fetchall()]


def _kept(cursor: CursorWrapper) -> str:
    """A digest of the rows that stay."""
    digests = []
    for table in KEPT:
        cursor.execute(f"SELECT md5(string_agg(t::text, '|' ORDER BY t.id)) FROM {table} t")
        digests.append(str(cursor.fetchone()[0]))
    return " ".join(digests)
