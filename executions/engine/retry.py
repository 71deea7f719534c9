"""When something that failed is tried again."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from datetime import datetime, timedelta

from executions.engine.errors import ErrorInfo
from executions.engine.snapshot import Phase, Position
from workflows.definition.compiled import RetryPolicy

# A backoff no longer than this is waited out by the worker that has the execution.
REST_SECONDS = 3.0
MAX_ASKED_SECONDS = 86_400.0


def next_attempt(
    policy: RetryPolicy | None,
    execution_id: int,
    position: Position,
    error: ErrorInfo,
    now: datetime,
    phase: Phase = Phase.BACKOFF,
) -> Position | None:
    """The position, in `phase` until its next attempt is due; None if there is to be none."""
    if policy is None or not error.retryable or not policy.applies_to(error.code):
        return None
    if position.attempt - position.spent >= policy.max_attempts:
        return None
    delay = _delay(policy, execution_id, position, error)
    if policy.budget is not None and now + delay > position.first_at + policy.budget:
        return None
    return replace(
        position,
        phase=phase,
        attempt=position.attempt + 1,
        started_at=now,
        entered_at=position.first_at,
        wait_until=now + delay,
    )


def _delay(
    policy: RetryPolicy, execution_id: int, position: Position, error: ErrorInfo
) -> timedelta:
    """Exponential, capped, less a share that is the same however often this is planned."""
    seconds = policy.initial_interval.total_seconds() * policy.backoff ** (
        position.attempt - position.spent - 1
    )
    seconds = min(seconds, policy.max_interval.total_seconds())
    seed = f"{execution_id}-{position.seq}-{position.attempt}".encode()
    share = int.from_bytes(hashlib.sha256(seed).digest()[:8]) / 2**64
    seconds -= seconds * policy.jitter * share
    asked = error.details.get("retry_after_seconds")
    if isinstance(asked, (int, float)) and asked > seconds:
        seconds = min(float(asked), MAX_ASKED_SECONDS)
    return timedelta(seconds=seconds)
