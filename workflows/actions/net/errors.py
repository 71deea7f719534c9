"""The failures of HTTP calls, each with its code of the language and a sentence."""

from __future__ import annotations

from typing import Any, Final

from workflows.actions.base import BuiltinError

ALLOW_SETTING: Final = "AUTOPILOT_HTTP_ALLOW"

# Answers that say "not now": asking again can help.
RETRYABLE_STATUSES: Final = frozenset({408, 425, 429})


def invalid_url(reason: str) -> BuiltinError:
    """The URL itself is never quoted: what is wrong about it may be a secret."""
    return BuiltinError("http.invalid_url", f"The URL can't be called: {reason}.", retryable=False)


def address_refused(kind: str, host: str | None = None) -> BuiltinError:
    """kind: as `addresses.refusal` has it. host: as the URL names it; None = the URL says it."""
    who = f"The host {host} can't be called: its" if host else "The URL can't be called: its"
    return BuiltinError(
        "http.address_refused",
        f"{who} address is {kind}. Workflows reach public addresses only; what else they may "
        f"reach is listed by an operator in {ALLOW_SETTING}.",
        retryable=False,
        details={"kind": kind} | ({"host": host} if host else {}),
    )


def no_connection(
    what: str, reason: str, *, retryable: bool = True, **details: Any
) -> BuiltinError:
    return BuiltinError(
        "http.connect",
        f"{what} failed: {reason}.",
        retryable=retryable,
        details=details or None,
    )


def timed_out(what: str, seconds: float) -> BuiltinError:
    return BuiltinError(
        "http.timeout",
        f"{what} was not answered completely within {seconds:g} seconds.",
        details={"timeout_seconds": seconds},
    )


def too_large(what: str, limit: int) -> BuiltinError:
    return BuiltinError(
        "http.too_large",
        f"{what} was answered with more than {limit} bytes, the most that this step takes.",
        retryable=False,
        details={"max_response_bytes": limit},
    )


def broken(what: str, reason: str) -> BuiltinError:
    """The other side does not keep to the protocol, or hung up in the middle."""
    return BuiltinError("http.protocol", f"{what} failed: {reason}.")


def bad_redirect(what: str, reason: str) -> BuiltinError:
    return BuiltinError("http.redirect", f"{what} was redirected: {reason}.", retryable=False)


def not_text(what: str, charset: str) -> BuiltinError:
    return BuiltinError(
        "http.not_text",
        f"{what} was answered with bytes that are no {charset} text, so they can't be kept; "
        "`discard_body` does without them.",
        retryable=False,
        details={"charset": charset},
    )


def unexpected_status(what: str, status: int, details: dict[str, Any]) -> BuiltinError:
    return BuiltinError(
        f"http.{status}",
        f"{what} was answered with status {status}, which this step does not expect.",
        retryable=status >= 500 or status in RETRYABLE_STATUSES,
        details={"status": status, **details},
    )
