"""Actions that call the counting service and tell it who calls, so that every call is accounted."""

from __future__ import annotations

import asyncio
import json
import os
from typing import Any

from pydantic import BaseModel

from workflows.actions import ActionError, Context, Pending, action

SERVICE = "CHAOS_SERVICE"


class Ask(BaseModel):
    """fail: so many attempts of this step are answered with 503. seconds: until the answer.

    give: what the call is to come to.
    """

    fail: int = 0
    seconds: float = 0.0
    give: Any = None


async def _post(path: str, context: Context, body: dict[str, Any]) -> int:
    """The status of the service's answer. Raises OSError, also if it hangs up."""
    host, port = os.environ[SERVICE].split(":")
    content = json.dumps(body).encode()
    head = (
        f"POST {path} HTTP/1.1\r\nhost: {host}\r\nidempotency-key: {context.idempotency_key}\r\n"
        f"x-attempt: {context.attempt}\r\nx-pid: {os.getpid()}\r\n"
        f"content-length: {len(content)}\r\nconnection: close\r\n\r\n"
    )
    reader, writer = await asyncio.open_connection(host, int(port))
    try:
        writer.write(head.encode() + content)
        await writer.drain()
        status = (await reader.readline()).split()
    finally:
        writer.close()
    if len(status) < 2:
        raise ConnectionResetError("the service hung up")
    return int(status[1])


async def _call(params: Ask, context: Context) -> Any:
    try:
        status = await _post("/call", context, {"fail": params.fail, "seconds": params.seconds})
    except OSError as error:
        raise ActionError("Unreachable", str(error)) from None
    if status != 200:
        raise ActionError("Down", f"The service answered {status}.")
    return params.give


@action("chaos.call", schema=Ask, idempotent=True)
async def call(params: Ask, context: Context) -> Any:
    """A call that may be repeated: the service knows it by its key."""
    return await _call(params, context)


@action("chaos.once", schema=Ask, idempotent=False)
async def once(params: Ask, context: Context) -> Any:
    """A call that must never be repeated."""
    return await _call(params, context)


@action("chaos.defer", schema=Ask, idempotent=True)
async def defer(params: Ask, context: Context) -> Pending:
    """A call that ends elsewhere: the service passes the token on, perhaps before this returns."""
    await _post("/token", context, {"token": context.callback_token(), "give": params.give})
    return Pending()
