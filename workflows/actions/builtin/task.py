"""`task.queue`: has work done by a worker of any language, which takes it from a queue."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, JsonValue

from workflows.actions import Context, Pending, action
from workflows.actions.pending import QUEUE


class TaskParams(BaseModel):
    """queue: where workers look; payload: what they are given."""

    model_config = ConfigDict(extra="forbid")

    queue: Annotated[str, Field(pattern=f"^{QUEUE.pattern}$")]
    payload: JsonValue = None


@action("task.queue", schema=TaskParams, idempotent=True)
async def queue(params: TaskParams, context: Context) -> Pending:
    """Put a task on a queue and wait until the worker that takes it has completed it."""
    return Pending(queue=params.queue, payload=params.payload)
