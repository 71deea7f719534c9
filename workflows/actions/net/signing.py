"""Signatures of webhooks: who sent it, that nobody changed it, and that it is fresh. Pure.

`t=<unix seconds>,v1=<hex>`, where v1 is HMAC-SHA-256 with the shared secret over the bytes
`<unix seconds>.<body>`.
"""

from __future__ import annotations

import hmac
import re
from typing import Final

SIGNATURE_HEADER: Final = "X-Autopilot-Signature"
TOLERANCE_SECONDS: Final = 300

_TIME = re.compile(r"[0-9]{1,12}")


def _digest(secret: str, body: bytes, moment: int) -> str:
    return hmac.new(secret.encode(), b"%d." % moment + body, "sha256").hexdigest()


def sign(secret: str, body: bytes, *, at: int) -> str:
    """The header's value. at: unix seconds."""
    return f"t={at},v1={_digest(secret, body, at)}"


def verify(
    header: str, body: bytes, secret: str, *, now: int, tolerance: int = TOLERANCE_SECONDS
) -> bool:
    """Whether `header` is a signature of exactly these bytes, made at most `tolerance` seconds ago.

    A header may hold several `v1`, as while a secret is being exchanged; one that fits is enough.
    """
    pairs = [part.strip().partition("=") for part in header.split(",", 10)]
    times = [value for name, _, value in pairs if name == "t"]
    if len(times) != 1 or not _TIME.fullmatch(times[0]) or abs(now - int(times[0])) > tolerance:
        return False
    expected = _digest(secret, body, int(times[0])).encode()
    given = [value.encode() for name, _, value in pairs if name == "v1"]
    return any(hmac.compare_digest(expected, each) for each in given)
