"""The rows that say what has happened to an execution, for those who change its state."""

from __future__ import annotations

from datetime import datetime

from autopilot.accounts.actors import Actor
from executions.models import Execution, StateTransition


def transition_of(
    execution: Execution, *, source: str, actor: Actor, now: datetime, reason: str = ""
) -> StateTransition:
    """The row that says how `execution` came from `source` into its present state; not saved.

    reason: if another one than the execution shows.
    """
    return StateTransition(
        execution=execution,
        seq=execution.transition_seq,
        source=source,
        target=execution.state,
        reason=reason or execution.reason,
        actor=actor.name[:200],
        at=now,
    )
