"""Where a new execution gets into its queue: a flood of one workflow must not hold up another's.

Claims go by `runnable_at`. While a queue has a backlog, a new execution gets in as if it had come
when the one at the head of the queue had, a moment behind it, unless others of its own workflow
wait already: then behind the last of those. So workflows take turns, each in its own order, and
the claim stays one scan of an index.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from django.db import connection

from executions.engine.states import Reason
from executions.models import Execution

# Between two of a workflow; so many more a second than any installation can begin.
APART = timedelta(microseconds=100)

# The head of the line is this old before anybody is put into it anywhere but at its end.
_BACKLOG = """
SELECT head.runnable_at, (
           SELECT own.runnable_at FROM executions_execution own
            WHERE own.owner_id IS NULL AND own.runnable_at IS NOT NULL
              AND own.workflow_id = %(workflow)s AND own.queue = %(queue)s
              AND own.priority = %(priority)s AND own.runnable_at <= now()
            ORDER BY own.runnable_at DESC LIMIT 1)
  FROM (SELECT runnable_at FROM executions_execution
         WHERE owner_id IS NULL AND runnable_at IS NOT NULL AND queue = %(queue)s
           AND priority = %(priority)s
         ORDER BY runnable_at LIMIT 1) AS head
 WHERE head.runnable_at < now() - interval '1 second'
"""


def get_in_line(rows: Sequence[Execution]) -> None:
    """Set `runnable_at` of those of these, of one workflow and not saved, that may run at once."""
    lines: dict[tuple[int, str, int], list[Execution]] = {}
    for row in rows:
        if row.reason == Reason.QUEUED and row.runnable_at is not None:
            lines.setdefault((row.workflow_id, row.queue, row.priority), []).append(row)
    for (workflow, queue, priority), line in lines.items():
        with connection.cursor() as cursor:
            known: dict[str, int | str] = {
                "workflow": workflow,
                "queue": queue,
                "priority": priority,
            }
            cursor.execute(_BACKLOG, known)
            backlog = cursor.fetchone()
        latest = max(row.runnable_at for row in line if row.runnable_at)
        first = latest - APART * (len(line) - 1)
        if backlog is not None:
            first = min(first, max(each for each in backlog if each is not None) + APART)
        for place, row in enumerate(line):
            row.runnable_at = first + APART * place
