"""Idempotency keys of requests: from the header or the body."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import OpenApiParameter
from rest_framework.request import Request

from autopilot.common.problems import Problem
from executions.api.bodies import refusal

IDEMPOTENCY_HEADER = "Idempotency-Key"
IDEMPOTENCY = OpenApiParameter(
    IDEMPOTENCY_HEADER,
    str,
    OpenApiParameter.HEADER,
    description="The same key with the same body answers the first again, with 200; "
    "with another body it is refused with 409. At most 200 characters.",
)


def idempotency_key(request: Request, given: dict[str, Any]) -> str:
    """From the header or the body; if it is in both, they have to agree."""
    in_body: str = given.get("idempotency_key", "")
    in_header: str | None = request.headers.get(IDEMPOTENCY_HEADER)
    if in_header is None:
        return in_body
    if not in_header.strip():
        message = f"The header {IDEMPOTENCY_HEADER} is empty."
    elif in_body and in_body != in_header:
        message = f"The header {IDEMPOTENCY_HEADER} and the body name two different keys."
    else:
        return in_header
    raise refusal([Problem("$.idempotency_key", "idempotency.key", message)])
