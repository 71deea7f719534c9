"""`webhook.send`: tells another system that something happened, signed."""

from __future__ import annotations

import json
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, JsonValue

from autopilot.common import clock
from workflows.actions import Context, action
from workflows.actions.net.exchange import Call, exchange
from workflows.actions.net.params import Timeout, Url, timeout_of
from workflows.actions.net.signing import SIGNATURE_HEADER, sign
from workflows.actions.net.urls import parse


class WebhookParams(BaseModel):
    """Whom to tell what. secret: shared with the receiver, who checks the signature with it."""

    model_config = ConfigDict(extra="forbid")

    url: Url
    event: str = Field(min_length=1, max_length=100, pattern=r"^[A-Za-z0-9_.:\-]+$")
    payload: JsonValue = None
    secret: str = Field(min_length=16, max_length=500)
    timeout: Annotated[float, Field(gt=0, le=3_600)] | Timeout = Field(default_factory=Timeout)


# The receiver knows a repeated delivery by its key, so sending twice does no harm.
@action("webhook.send", schema=WebhookParams, idempotent=True)
async def webhook_send(params: WebhookParams, context: Context) -> dict[str, Any]:
    """Send a signed event to another system; any 2xx is a receipt."""
    key = context.idempotency_key
    message = {"event": params.event, "delivery": key, "payload": params.payload}
    body = json.dumps(message, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()
    timeout = timeout_of(params.timeout)
    answer = await exchange(
        Call(
            method="POST",
            target=parse(params.url),
            headers=(
                ("content-type", "application/json"),
                ("idempotency-key", key),
                ("x-autopilot-event", params.event),
                (
                    SIGNATURE_HEADER.lower(),
                    sign(params.secret, body, at=int(clock.now().timestamp())),
                ),
            ),
            body=body,
            connect_seconds=timeout.connect,
            total_seconds=timeout.total,
            # What the receiver says beyond its status is not kept. Redirects aren't followed: the
            # signature was meant for whom the URL names.
            discard_body=True,
        )
    )
    return {"status": answer.status, "delivery": key, "elapsed_ms": answer.elapsed_ms}
