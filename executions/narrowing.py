"""What lists ask first, so that the question that follows can go by an index.

PostgreSQL guesses badly how many rows have a label, are as old as that, or fit one of several
conditions, and reads a whole table where a few rows would do. Each function here answers that with
a question of its own, whose cost is bounded whatever the tables hold.
"""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from typing import Any

from django.db import connection

# A label that one in so many of the newest executions has is found by looking at the newest first.
PROBED, COMMON = 1_000, 20
# What is rarer is looked up; beyond this many it is not that rare.
MAX_FOUND = 5_000
# Error codes of one installation that begin alike.
MAX_CODES = 1_000
# Ids grow with the time of acceptance, but for open transactions and hosts whose clocks differ.
LEEWAY = timedelta(hours=1)

_PROBE = """
SELECT count(*) FROM (
    SELECT labels FROM executions_execution WHERE parent_id IS NULL
     ORDER BY id DESC LIMIT %(probed)s
) AS newest WHERE {condition}
"""
# Planned as if all were to be read, which is by the index of labels, and read no further than that.
_LABELLED = """
WITH found AS MATERIALIZED (
    SELECT id FROM executions_execution
     WHERE parent_id IS NULL AND NOT (labels = '{{}}') AND {condition})
SELECT id FROM found LIMIT %(limit)s
"""

# From code to code by the index of errors, however many executions have each.
_CODES = """
WITH RECURSIVE codes AS (
    SELECT min(error_code) AS code, 1 AS number FROM executions_execution
     WHERE parent_id IS NULL AND NOT (error_code = '')
    UNION ALL
    SELECT (SELECT min(e.error_code) FROM executions_execution e
             WHERE e.parent_id IS NULL AND NOT (e.error_code = '') AND e.error_code > codes.code),
           codes.number + 1
      FROM codes WHERE codes.code IS NOT NULL AND codes.number <= %(limit)s)
SELECT code FROM codes WHERE code IS NOT NULL
"""

# Halving by the index of roots: twenty looks for a million executions.
_FIRST_FROM = """
WITH RECURSIVE halved(low, high) AS (
    SELECT min(id), max(id) + 1 FROM executions_execution WHERE parent_id IS NULL
    UNION ALL
    SELECT CASE WHEN x.is_older THEN x.id + 1 ELSE low END,
           CASE WHEN x.is_older THEN high ELSE (low + high) / 2 END
      FROM halved LEFT JOIN LATERAL (
           SELECT id, created_at < %(moment)s AS is_older FROM executions_execution
            WHERE parent_id IS NULL AND id >= (low + high) / 2 ORDER BY id LIMIT 1) AS x ON true
     WHERE low < high)
SELECT min(high) FROM halved
"""


def first_accepted(moment: datetime) -> int:
    """The id from which on roots were accepted at `moment` or later; 0 if there are none at all."""
    with connection.cursor() as cursor:
        cursor.execute(_FIRST_FROM, {"moment": moment})
        return int(cursor.fetchone()[0] or 0)


def labelled(key: str, value: str | None) -> list[int] | None:
    """The ids of all roots with this label, of any value if none is given.

    None if so many have it that they are better found by looking at the newest first.
    """
    condition = "labels ? %(key)s" if value is None else "labels @> %(pair)s::jsonb"
    values: dict[str, Any] = {"key": key, "pair": json.dumps({key: value})}
    with connection.cursor() as cursor:
        cursor.execute(_PROBE.format(condition=condition), {**values, "probed": PROBED})
        if cursor.fetchone()[0] * COMMON >= PROBED:
            return None
        cursor.execute(_LABELLED.format(condition=condition), {**values, "limit": MAX_FOUND + 1})
        found = [row[0] for row in cursor.fetchall()]
    return None if len(found) > MAX_FOUND else found


def error_codes(text: str) -> list[str]:
    """The codes of failures that begin with this, whatever its case."""
    with connection.cursor() as cursor:
        cursor.execute(_CODES, {"limit": MAX_CODES})
        codes = [row[0] for row in cursor.fetchall()]
    return [code for code in codes if code.lower().startswith(text.lower())]
