"""Durations as designers write them: ISO 8601, a short form, or a number of seconds."""

from __future__ import annotations

import math
import re
from datetime import datetime, timedelta

MAX_DURATION = timedelta(days=3650)
MIN_DURATION = timedelta(milliseconds=1)

_EXPECTED = (
    'expected ISO 8601 such as "PT5M", a short form such as "30s", "5m", "2h", "1d", '
    "or a number of seconds"
)
_MAX_TEXT = 40
_NUMBER = r"([0-9]{1,12}(?:\.[0-9]{1,6})?)"
_ISO = re.compile(
    rf"P(?:{_NUMBER}W)?(?:{_NUMBER}D)?(?:T(?:{_NUMBER}H)?(?:{_NUMBER}M)?(?:{_NUMBER}S)?)?\Z"
)
_ISO_CALENDAR = re.compile(r"P(?:[0-9.]+[YMWD])*[0-9.]+[YM]")
_SHORT = re.compile(
    rf"(?:{_NUMBER}w)?(?:{_NUMBER}d)?(?:{_NUMBER}h)?(?:{_NUMBER}m)?(?:{_NUMBER}s)?\Z"
)
_SECONDS = (7 * 86400, 86400, 3600, 60, 1)


class DurationError(ValueError):
    """The value is no duration, or one outside the bounds; the text says which and what helps."""


def parse_duration(value: object) -> timedelta:
    """Read one duration: `PT5M`, `30s`, `1h30m` or a number of seconds.

    Raises DurationError when the value has another form, is not above zero, is shorter than a
    millisecond or longer than ten years (3,650 days). Years and months are refused: their length
    depends on the calendar.
    """
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise DurationError(f"This is no duration: {_EXPECTED}.")
    return _bounded(_seconds_of_text(value) if isinstance(value, str) else value)


def _seconds_of_text(text: str) -> float:
    text = text.strip()
    if len(text) > _MAX_TEXT:
        raise DurationError(f"This text is too long for a duration: {_EXPECTED}.")
    if _ISO_CALENDAR.match(text):
        raise DurationError(
            f'"{text}" counts years or months, whose length varies: give weeks, days or less.'
        )
    pattern = _ISO if text.startswith("P") else _SHORT
    match = pattern.match(text)
    if match is None or not any(match.groups()) or text.endswith("T"):
        raise DurationError(f'"{text}" is no duration: {_EXPECTED}.')
    parts = zip(match.groups(), _SECONDS, strict=True)
    return sum(float(number) * seconds for number, seconds in parts if number)


def _bounded(seconds: float) -> timedelta:
    if isinstance(seconds, float) and not math.isfinite(seconds):
        raise DurationError("A duration must be a finite number of seconds.")
    if seconds <= 0:
        raise DurationError("A duration must be above zero.")
    if seconds > MAX_DURATION.total_seconds():
        raise DurationError("A duration can be ten years (3,650 days) at most.")
    duration = timedelta(seconds=seconds)
    if duration < MIN_DURATION:
        raise DurationError("A duration must be at least a millisecond.")
    return duration


def timestamp_problem(value: object) -> str | None:
    """None when `value` is an ISO 8601 timestamp with an offset, else what is wrong with it."""
    expected = 'expected ISO 8601 with an offset, such as "2030-01-31T09:00:00Z"'
    if not isinstance(value, str):
        return f"This is no point in time: {expected}."
    try:
        moment = datetime.fromisoformat(value)
    except ValueError:
        return f"This is no point in time: {expected}."
    if moment.tzinfo is None:
        return f"This point in time has no offset from UTC: {expected}."
    return None
