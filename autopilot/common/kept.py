"""Statements that a connection parses and plans once, for paths that are hot enough to care.

PostgreSQL spends more on parsing and planning a small statement than on carrying it out, and
psycopg2 has nothing for that: so PREPARE and EXECUTE are spelled out. They belong to a session,
which is why each connection is asked whether it knows a statement.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any
from weakref import WeakKeyDictionary, WeakSet

from django.db import connection
from django.db.utils import NotSupportedError, OperationalError
from psycopg2 import errors as pg

_NAMED = re.compile(r"%\((\w+)\)s")
_GONE = (pg.InvalidSqlStatementName, pg.FeatureNotSupported)

# Names of the statements that a session has, by its connection.
_known: WeakKeyDictionary[Any, set[str]] = WeakKeyDictionary()
# Connections of which nobody knows what they still have.
_unsure: WeakSet[Any] = WeakSet()


class Kept:
    """One statement, `sql` with `%s` or `%(name)s` in it, under a `name` of its own.

    types: of its parameters, as PostgreSQL writes them: in order, or by name. Its plan is made
    without looking at the parameters, so it must be the right one for all of them.
    """

    def __init__(self, name: str, sql: str, types: Sequence[str] | Mapping[str, str]) -> None:
        self.name = name
        self._order = list(types) if isinstance(types, Mapping) else None
        kinds = list(types.values()) if isinstance(types, Mapping) else list(types)
        if self._order is None:
            places = iter(range(1, len(kinds) + 1))
            body = re.sub("%s", lambda _: f"${next(places)}", sql)
        else:
            order = self._order
            body = _NAMED.sub(lambda found: f"${order.index(found[1]) + 1}", sql)
        self.definition = f"PREPARE {name}({', '.join(kinds)}) AS {body}"
        given = ", ".join(["%s"] * len(kinds))
        self.call = f"EXECUTE {name}({given})" if kinds else f"EXECUTE {name}"

    def execute(self, cursor: Any, values: Sequence[Any] | Mapping[str, Any]) -> None:
        """Carry it out on a cursor of Django's default connection; rows are read from that."""
        self._prepare(cursor)
        ordered = self._ordered(values)
        try:
            cursor.execute(self.call, ordered)
        except (OperationalError, NotSupportedError) as error:
            if not isinstance(error.__cause__, _GONE):
                raise
            # Somebody has discarded the session's statements, or changed a table behind them.
            _known.pop(connection.connection, None)
            _unsure.add(connection.connection)
            if connection.in_atomic_block:
                # That transaction is over; the next one prepares them anew.
                raise
            self._prepare(cursor)
            cursor.execute(self.call, ordered)

    def _ordered(self, values: Sequence[Any] | Mapping[str, Any]) -> Sequence[Any]:
        if self._order is None:
            return values  # type: ignore[return-value]
        return [values[name] for name in self._order]  # type: ignore[call-overload]

    def _prepare(self, cursor: Any) -> None:
        if connection.connection in _unsure:
            cursor.execute("DEALLOCATE ALL")
            _unsure.discard(connection.connection)
        known = _known.setdefault(connection.connection, set())
        if self.name not in known:
            # Otherwise the first calls are planned for their parameters, and often all of them.
            cursor.execute("SET plan_cache_mode = force_generic_plan")
            cursor.execute(self.definition)
            known.add(self.name)
