"""The one shape in which an error leaves the product, whoever found it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from autopilot.common.errors import DomainError
from autopilot.common.problems import Problem


def envelope(
    *, code: str, message: str, details: Iterable[Problem] = (), request_id: str = ""
) -> dict[str, Any]:
    """`{"error": {"code", "message", "details": [{path, code, message}], "request_id"}}`."""
    return {
        "error": {
            "code": code,
            "message": printable(message),
            "details": [
                {
                    key: printable(value) if isinstance(value, str) else value
                    for key, value in problem.as_dict().items()
                }
                for problem in details
            ],
            "request_id": request_id,
        }
    }


def headers_for(error: DomainError) -> dict[str, str]:
    """The HTTP headers that belong to the answer `error` becomes."""
    headers: dict[str, str] = {}
    retry_after = getattr(error, "retry_after_seconds", None)
    if retry_after is not None:
        headers["Retry-After"] = str(max(1, int(retry_after)))
    if error.status == 401:
        headers["WWW-Authenticate"] = challenge(error.code, error.message)
    return headers


def challenge(code: str, message: str) -> str:
    """The WWW-Authenticate header of RFC 6750; tokens that were sent and refused are named."""
    if not code.startswith("token."):
        return 'Bearer realm="api"'
    text = message.encode("ascii", "replace").decode().replace("\\", "").replace('"', "'")
    return f'Bearer realm="api", error="invalid_token", error_description="{text}"'


def printable(text: str) -> str:
    """`text` as UTF-8 can carry it: lone surrogates that a request smuggled in are escaped."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")
