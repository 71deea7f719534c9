"""`noop`: does nothing, at once."""

from __future__ import annotations

from typing import Any

from workflows.actions import Context, action


@action("noop", idempotent=True)
async def noop(params: dict[str, Any], context: Context) -> dict[str, Any]:
    """Return the parameters as the output; `{}` when there are none."""
    return params
