"""News from outside on their way to the step that waits for them."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from autopilot.common.committed import after_commit
from executions.models import Execution, InboxMessage
from executions.runtime import dispatch
from executions.tokens import Place


def post(
    execution: Execution,
    place: Place,
    data: Mapping[str, Any],
    *,
    kind: str,
    actor: str,
    now: datetime,
) -> None:
    """One message for an attempt at a step; ready at once if nobody owns the execution.

    kind: one of `engine.events.DELIVERIES`. Whoever calls holds the lock of the row, and has read
    it under that; workers hear of it after the commit.
    """
    execution.inbox_seq += 1
    changes: dict[str, Any] = {"inbox_seq": execution.inbox_seq}
    if execution.owner_id is None:
        changes["runnable_at"] = now
        after_commit(dispatch.ring, execution.queue, execution.pk)
    else:
        after_commit(dispatch.wake, [execution.pk])
    Execution.objects.filter(pk=execution.pk).update(**changes)
    InboxMessage.objects.create(
        execution=execution,
        seq=execution.inbox_seq,
        kind=kind,
        payload={"seq": place.seq, "attempt": place.attempt, "data": data},
        actor=actor,
        created_at=now,
    )
