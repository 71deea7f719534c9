"""Where a new execution gets into its queue: a flood of one workflow must not hold up another's.

Claims go by `runnable_at`. While a queue has a backlog, a new execution gets in as if it had come
when the one at the head of the queue had, a moment behind it, unless others of its own workflow
wait already: then behind the last of those. So workflows take turns, each in its own order, and
the claim stays one scan of an index.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db import connection

from executions.engine.states import Reason
from executions.models import Execution

# Between two of a workflow; so many more a second than any installation can begin.
APART = timedelta(microseconds=100)

# The head of the line is this old before anybody is put into it anywhere but at its end. Whether
# anything is switched off is asked along with it: each start wants to know both.
LOOK = """
SELECT EXISTS (SELECT FROM executions_hold) AS has_holds, (
    SELECT greatest(head.runnable_at, (
               SELECT own.runnable_at FROM executions_execution own
                WHERE own.owner_id IS NULL AND own.runnable_at IS NOT NULL
                  AND own.workflow_id = %(workflow)s AND own.queue = %(queue)s
                  AND own.priority = %(priority)s AND own.runnable_at <= now()
                ORDER BY own.runnable_at DESC LIMIT 1))
      FROM (SELECT runnable_at FROM executions_execution
             WHERE owner_id IS NULL AND runnable_at IS NOT NULL AND queue = %(queue)s
               AND priority = %(priority)s
             ORDER BY runnable_at LIMIT 1) AS head
     WHERE head.runnable_at < now() - interval '1 second') AS behind
"""

# Workflow, queue, priority.
Key = tuple[int, str, int]


@dataclass(frozen=True, slots=True)
class Line:
    """What a start has to know of the queue it goes to.

    behind: of the one it gets in behind; None = it goes to the end. has_holds: some workflow or
    queue is switched off, perhaps this one.
    """

    behind: datetime | None
    has_holds: bool


def look(row: Execution) -> Line:
    """The line that this one, which is not saved yet, would get into; one statement."""
    return _look(_key(row))


def get_in_line(rows: Sequence[Execution]) -> None:
    """Set `runnable_at` of those of these, of one workflow and not saved, that may run at once."""
    lines: dict[Key, list[Execution]] = {}
    for row in rows:
        if row.reason == Reason.QUEUED and row.runnable_at is not None:
            lines.setdefault(_key(row), []).append(row)
    for key, line in lines.items():
        _place(line, _look(key))


def get_in(row: Execution, line: Line) -> None:
    """The same for one of which the line has been looked at."""
    if row.reason == Reason.QUEUED and row.runnable_at is not None:
        _place([row], line)


def _key(row: Execution) -> Key:
    return row.workflow_id, row.queue, row.priority


def _look(key: Key) -> Line:
    workflow, queue, priority = key
    with connection.cursor() as cursor:
        known: dict[str, int | str]
        known = {"workflow": workflow, "queue": queue, "priority": priority}
        cursor.execute(LOOK, known)
        has_holds, behind = cursor.fetchone()
    return Line(behind, has_holds)


def _place(rows: Sequence[Execution], line: Line) -> None:
    latest = max(row.runnable_at for row in rows if row.runnable_at)
    first = latest - APART * (len(rows) - 1)
    if line.behind is not None:
        first = min(first, line.behind + APART)
    for place, row in enumerate(rows):
        row.runnable_at = first + APART * place
