"""`log`: writes one line into the execution's log."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field, JsonValue

from workflows.actions import Context, action
from workflows.actions.context import LogLevel


class LogParams(BaseModel):
    """message: the text; level: how serious it is; fields: plain JSON kept beside the text."""

    model_config = ConfigDict(extra="forbid")

    message: str = Field(min_length=1, max_length=2_000)
    level: LogLevel = LogLevel.INFO
    fields: dict[str, JsonValue] = Field(default_factory=dict)


@action("log", schema=LogParams, idempotent=True)
async def log(params: LogParams, context: Context) -> str:
    """Write one line into the execution's log and return its message."""
    context.log.write(params.level, params.message, params.fields)
    return params.message
