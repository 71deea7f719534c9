"""What a claim brings back: the rows of an execution as the planner's snapshot."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from django.conf import settings
from django.db import connection

from autopilot.common.errors import DomainError
from executions.engine.errors import ErrorInfo
from executions.engine.events import Asked, Verb
from executions.engine.snapshot import Phase, Position, Snapshot, StepFact
from executions.engine.states import State, StepState
from executions.runtime import statements
from executions.runtime.checkpoint import Counters
from executions.runtime.definitions import UNRUNNABLE, runnable_version

DATA_STEPS = frozenset({"action", "transform"})


@dataclass(frozen=True, slots=True)
class Message:
    """One inbox message as the planner's event."""

    execution_id: int
    seq: int
    event: Asked


@dataclass(slots=True)
class Claim:
    """One execution this worker owns since `epoch`, as it was found.

    broken: why its definition can't be run by this release, if it can't; the snapshot's is empty.
    """

    snapshot_id: int
    epoch: int
    revision: int
    claims: int
    counters: Counters
    snapshot: Snapshot
    broken: ErrorInfo | None = None
    messages: list[Message] = field(default_factory=list)


def read_claims(rows: Sequence[tuple[Any, ...]]) -> list[Claim]:
    """Build claims from the rows that the claim returned, reading what else they need."""
    claims = [_claim(row) for row in rows]
    begun = [each for each in claims if each.snapshot.entered]
    if begun:
        _load_steps(begun)
    behind = {row[0]: row[17] for row in rows if row[16] > row[17]}
    if behind:
        by_id = {each.snapshot_id: each for each in claims}
        for message in read_messages(behind):
            by_id[message.execution_id].messages.append(message)
    return claims


def read_messages(seen: dict[int, int]) -> list[Message]:
    """Messages of these executions after the given sequence numbers, in order."""
    with _cursor() as cursor:
        cursor.execute(statements.LOAD_MESSAGES, {"ids": list(seen), "after": list(seen.values())})
        return [
            Message(row[0], row[1], Asked(Verb(row[2]), row[4], _json(row[3]).get("reason", "")))
            for row in cursor.fetchall()
        ]


def _claim(row: tuple[Any, ...]) -> Claim:
    (pk, epoch, revision, count, version_id, state, data, variables) = row[:8]
    (step, seq, phase, attempt, since, wait_until, entered, started_at) = row[8:16]
    broken = None
    try:
        runnable = runnable_version(version_id)
    except DomainError as error:
        broken = ErrorInfo(error.code, error.message)
        runnable = UNRUNNABLE
    position = None
    if step:
        position = Position(step, seq, Phase(phase), _utc(since), attempt, _utc(wait_until))
    snapshot = Snapshot(
        execution_id=pk,
        definition=runnable.definition,
        workflow=runnable.workflow,
        version=runnable.version,
        state=State(state),
        input=_json(data),
        vars=_json(variables),
        position=position,
        entered=entered,
        started_at=_utc(started_at),
        max_steps=settings.AUTOPILOT["MAX_STEPS"],
        max_output_bytes=settings.AUTOPILOT["MAX_OUTPUT_BYTES"],
    )
    counters = Counters(transition_seq=row[18], log_seq=row[19], seen_seq=row[17])
    return Claim(pk, epoch, revision, count, counters, snapshot, broken)


def _utc(moment: datetime | None) -> Any:
    return moment.astimezone(UTC) if moment else None


def _json(text: str | None) -> Any:
    """Django leaves jsonb as text on its connections; `json` keeps large integers exact."""
    return None if text is None else json.loads(text)


def _load_steps(claims: list[Claim]) -> None:
    """Fill in the latest result of each step, and the output that would be the result so far."""
    snapshots = {each.snapshot_id: each.snapshot for each in claims}
    facts: dict[int, dict[str, StepFact]] = {pk: {} for pk in snapshots}
    last: dict[int, int] = {}
    with _cursor() as cursor:
        cursor.execute(statements.LOAD_STEPS, {"ids": list(snapshots)})
        for pk, step_id, seq, kind, state, output, error, attempt in cursor.fetchall():
            facts[pk][step_id] = StepFact(StepState(state), _json(output), _json(error), attempt)
            if kind in DATA_STEPS and state == StepState.COMPLETED and seq > last.get(pk, 0):
                last[pk] = seq
                snapshots[pk].last_output = facts[pk][step_id].output
    for pk, snapshot in snapshots.items():
        snapshot.steps = facts[pk]


def _cursor() -> Any:
    connection.ensure_connection()
    assert connection.connection is not None
    return connection.connection.cursor()
