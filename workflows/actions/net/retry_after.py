"""The header Retry-After: how long the other side asks to be left alone."""

from __future__ import annotations

from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

MAX_SECONDS = 30 * 24 * 3_600.0


def retry_after_seconds(value: str | None, now: datetime) -> float | None:
    """Seconds from `now`, from 0 to 30 days; None if the header is absent or means nothing.

    value: seconds or an HTTP date, as RFC 9110, section 10.2.3 has it.
    """
    text = (value or "").strip()
    if text.isascii() and text.isdigit():
        # Compared by length first: converting millions of digits takes quadratic time.
        return MAX_SECONDS if len(text) > 12 else min(float(text), MAX_SECONDS)
    if not text or len(text) > 64:
        return None
    try:
        moment = parsedate_to_datetime(text)
        moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
        seconds = (moment - now).total_seconds()
    except (ValueError, TypeError, OverflowError, IndexError):
        return None
    return min(max(seconds, 0.0), MAX_SECONDS)
