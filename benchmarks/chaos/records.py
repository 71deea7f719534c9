"""What the books are checked against, read once when all is over: plain rows, no framework."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from psycopg2.extensions import connection as Connection

from benchmarks.chaos.ground import Kill


@dataclass(slots=True)
class Run:
    """One execution. shape: its workflow's; n: the number it was started with."""

    id: int
    shape: str
    n: int
    kind: str
    state: str
    reason: str
    code: str
    output: Any
    parent: int | None
    place: str
    owner: int | None
    held: bool
    transitions: int
    open_children: int
    continued_from: int | None
    started_by: int | None
    mourned: int | None


@dataclass(slots=True)
class Step:
    """One recorded attempt."""

    run: int
    seq: int
    attempt: int
    step: str
    type: str
    state: str


@dataclass(slots=True)
class Change:
    """One change of state."""

    run: int
    seq: int
    source: str
    target: str


@dataclass(slots=True)
class Undoing:
    """One compensation; done_by, done_seq: the recorded call."""

    id: int
    run: int
    step: str
    seq: int
    state: str
    done_by: int | None
    done_seq: int | None
    settled: float | None


@dataclass(slots=True)
class Call:
    """One call that the service has counted; attempt and pid are 0 where the caller says none."""

    key: str
    attempt: int
    pid: int
    at: float


@dataclass(slots=True)
class Records:
    """Everything there is. leftovers: what must be 0, by what it is.

    outages: when PostgreSQL was away; lease_seconds: how long after that a worker that lives may
    still find that it has lost its lease.
    """

    runs: dict[int, Run] = field(default_factory=dict)
    steps: list[Step] = field(default_factory=list)
    changes: list[Change] = field(default_factory=list)
    undoings: list[Undoing] = field(default_factory=list)
    calls: list[Call] = field(default_factory=list)
    kills: list[Kill] = field(default_factory=list)
    outages: list[tuple[float, float]] = field(default_factory=list)
    lease_seconds: float = 0.0
    leftovers: dict[str, int] = field(default_factory=dict)


RUNS = """
SELECT e.id, substr(w.slug, 7),
       coalesce((CASE WHEN e.kind = 'root' THEN e.input->>'n' END)::int, -1),
       e.kind, e.state, e.reason, e.error_code, e.output, e.parent_id,
       e.parent_step || '/' || e.generation || '/' || coalesce(e.item_index, 0),
       e.owner_id, e.slot_held, e.transition_seq, e.children_open,
       e.continued_from_id, e.started_by_execution_id, s.execution_id
  FROM executions_execution e JOIN workflows_workflow w ON w.id = e.workflow_id
  LEFT JOIN executions_errorstart s ON s.started_id = e.id
 WHERE w.slug LIKE 'chaos-%%'
"""
STEPS = """
SELECT execution_id, seq, attempt, step_id, type, state FROM executions_stepexecution
 ORDER BY execution_id, seq, attempt
"""
CHANGES = """
SELECT execution_id, seq, source, target FROM executions_statetransition ORDER BY execution_id, seq
"""
UNDOINGS = """
SELECT id, execution_id, step_id, seq, state, done_by, done_seq,
       extract(epoch FROM settled_at)::float FROM executions_compensation ORDER BY id
"""
ENDED = "('completed', 'failed', 'cancelled')"
LEFTOVERS = {
    "workers": "SELECT count(*) FROM executions_worker",
    "owned": "SELECT count(*) FROM executions_execution WHERE owner_id IS NOT NULL",
    "owned by nobody who is there": (
        "SELECT count(*) FROM executions_execution e WHERE owner_id IS NOT NULL"
        " AND NOT EXISTS (SELECT 1 FROM executions_worker w WHERE w.id = e.owner_id)"
    ),
    "children under way of parents that have ended": (
        "SELECT count(*) FROM executions_execution c JOIN executions_execution p"
        f" ON p.id = c.parent_id WHERE p.state IN {ENDED} AND c.state NOT IN {ENDED}"
    ),
    "slots held": "SELECT count(*) FROM executions_execution WHERE slot_held",
    "places in limits": "SELECT count(*) FROM executions_limituse",
    "open approvals": "SELECT count(*) FROM executions_approval WHERE state = 'open'",
    "waits for signals": "SELECT count(*) FROM executions_signalwait",
    "open calls elsewhere": ("SELECT count(*) FROM executions_callback WHERE closed_at IS NULL"),
    "signals that were not consumed": (
        "SELECT count(*) FROM executions_signal WHERE consumed_at IS NULL"
    ),
    "error workflows owed or refused": (
        "SELECT count(*) FROM executions_errorstart WHERE status <> 'started'"
    ),
    "decisions beyond one an approval": (
        "SELECT count(*) - count(DISTINCT approval_id) FROM executions_approvaldecision"
    ),
    "starts beyond one a key": (
        "SELECT count(*) - count(DISTINCT (workflow_id, idempotency_key))"
        " FROM executions_execution WHERE idempotency_key <> '' AND kind = 'root'"
    ),
}


def read(
    connection: Connection,
    calls: Path,
    kills: Iterable[Kill],
    outages: Iterable[tuple[float, float]],
    lease_seconds: float,
) -> Records:
    """Everything there is in the database, in the service's file, and of what was done."""
    found = Records(kills=list(kills), outages=list(outages), lease_seconds=lease_seconds)
    with connection.cursor() as cursor:
        cursor.execute(RUNS, ())
        found.runs = {row[0]: Run(*row) for row in cursor.fetchall()}
        cursor.execute(STEPS)
        found.steps = [Step(*row) for row in cursor.fetchall()]
        cursor.execute(CHANGES)
        found.changes = [Change(*row) for row in cursor.fetchall()]
        cursor.execute(UNDOINGS)
        found.undoings = [Undoing(*row) for row in cursor.fetchall()]
        for what, statement in LEFTOVERS.items():
            cursor.execute(statement)
            row = cursor.fetchone()
            found.leftovers[what] = row[0] if row else 0
    found.calls = [Call(**json.loads(line)) for line in calls.read_text().splitlines()]
    return found
