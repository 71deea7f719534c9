"""The concurrency keys of a workflow: who has slots of which key, and who waits for one."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import urlencode

from django.db import connection
from django.urls import reverse

from autopilot.common.words import count_words
from executions.engine.slots import shown_key
from executions.runtime.slots_sql import WAITS
from workflows.models import Workflow

SHOWN = 10
# So many rows that wait, and so many that have a slot, are looked at.
LOOKED_AT = 10_000

# Both parts go by partial indexes that hold nothing but such rows.
_KEYS = f"""
SELECT slot_key, sum(held), sum(waiting), max(slot_limit), count(*) OVER ()
  FROM ((SELECT slot_key, 1 AS held, 0 AS waiting, slot_limit FROM executions_execution
          WHERE workflow_id = %(workflow)s AND slot_held LIMIT %(limit)s)
        UNION ALL
        (SELECT slot_key, 0, 1, slot_limit FROM executions_execution
          WHERE workflow_id = %(workflow)s AND {WAITS} LIMIT %(limit)s)) AS used
 GROUP BY slot_key
 ORDER BY sum(waiting) DESC, sum(held) DESC, slot_key
 LIMIT %(shown)s
"""  # noqa: S608 - constant


@dataclass(frozen=True, slots=True)
class Key:
    """One key in use. url: the list of those that have a slot of it or wait for one."""

    name: str
    held: int
    limit: int
    waiting: int
    url: str

    @property
    def is_full(self) -> bool:
        return self.held >= self.limit

    @property
    def waiting_words(self) -> str:
        return count_words(self.waiting, LOOKED_AT - 1)


@dataclass(frozen=True, slots=True)
class Keys:
    """The keys with the most that wait; total: how many are in use, as far as was looked."""

    shown: list[Key]
    total: int

    @property
    def more(self) -> int:
        return self.total - len(self.shown)


def keys_of(workflow: Workflow) -> Keys:
    """A look at a bounded number of rows, for workflows only of which a version has a rule."""
    if not workflow.versions.filter(definition__concurrency__key__isnull=False).exists():
        return Keys([], 0)
    with connection.cursor() as cursor:
        cursor.execute(_KEYS, {"workflow": workflow.pk, "limit": LOOKED_AT, "shown": SHOWN})
        rows = cursor.fetchall()
    base = reverse("admin:executions_execution_changelist")
    shown = [
        Key(
            name=shown_key(key),
            held=held,
            limit=limit,
            waiting=waiting,
            url=f"{base}?{urlencode({'workflow': workflow.slug, 'slot': shown_key(key)})}",
        )
        for key, held, waiting, limit, _ in rows
    ]
    return Keys(shown, rows[0][-1] if rows else 0)
