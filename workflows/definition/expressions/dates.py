"""Dates and durations: how they are read, written and formatted.

A date is a moment with an offset (a text without one is UTC), a duration a length of time. Both
leave an expression as ISO 8601: `2026-03-01T09:30:00Z`, `PT1H30M`.
"""

from __future__ import annotations

import datetime as dt
import re
import zoneinfo
from collections.abc import Callable

from workflows.definition.expressions.errors import Refusal, kind

_MAX_DATE_TEXT = 64
_MAX_FORMAT_TEXT = 200
_ISO_DURATION = re.compile(
    r"(?P<sign>[+-])?P(?=[\dT])(?:(?P<weeks>\d{1,9})W)?(?:(?P<days>\d{1,9})D)?"
    r"(?:T(?=\d)(?:(?P<hours>\d{1,9})H)?(?:(?P<minutes>\d{1,9})M)?"
    r"(?:(?P<seconds>\d{1,12}(?:\.\d{1,6})?)S)?)?",
    re.ASCII,
)
_SHORT_DURATION = re.compile(r"(?:\d{1,12}(?:\.\d{1,6})?(?:ms|[smhdw])\s*)+", re.ASCII)
_SHORT_PART = re.compile(r"(\d{1,12}(?:\.\d{1,6})?)(ms|[smhdw])", re.ASCII)
_SHORT_SECONDS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
_DIRECTIVE = re.compile(r"%(.)", re.DOTALL)
_DIRECTIVES = frozenset("aAbBdeHIjmMpSfyYzZuVGFT%")
_ZONE = re.compile(r"[A-Za-z][A-Za-z0-9_+-]*(?:/[A-Za-z0-9_+-]+){0,2}", re.ASCII)
_MAX_ZONE = 64

DATE_FIELDS = frozenset({"year", "month", "day", "hour", "minute", "second"})
"""What can be read of a date with a dot, in the date's own offset."""
DATE_METHODS: dict[str, Callable[[dt.datetime], int]] = {"isoweekday": dt.datetime.isoweekday}
"""`isoweekday()`: Monday is 1, Sunday 7."""
DURATION_METHODS: dict[str, Callable[[dt.timedelta], float]] = {
    "total_seconds": dt.timedelta.total_seconds
}


def parse_date(value: object) -> dt.datetime:
    """A date from ISO 8601 text; without a time it is midnight, without an offset UTC."""
    if isinstance(value, dt.datetime):
        return value
    if not isinstance(value, str):
        raise Refusal(f"needs a date or an ISO 8601 text, not {kind(value)}")
    try:
        parsed = dt.datetime.fromisoformat(value) if len(value) <= _MAX_DATE_TEXT else None
    except ValueError:
        parsed = None
    if parsed is None:
        raise Refusal("got a text that is not an ISO 8601 date such as 2026-03-01T09:30:00Z")
    return parsed if parsed.tzinfo else parsed.replace(tzinfo=dt.UTC)


def parse_duration(value: object) -> dt.timedelta:
    """A duration from seconds, from ISO 8601 (`PT1H30M`) or from a short form (`1h 30m`, `250ms`).

    Years and months are not accepted: they have no fixed length.
    """
    if isinstance(value, dt.timedelta):
        return value
    if isinstance(value, int | float) and not isinstance(value, bool):
        return dt.timedelta(seconds=value)
    if not isinstance(value, str):
        raise Refusal(f"needs seconds or a text such as PT1H30M or 1h 30m, not {kind(value)}")
    text = value.strip() if len(value) <= _MAX_DATE_TEXT else ""
    iso = _ISO_DURATION.fullmatch(text)
    if iso:
        length = dt.timedelta(
            **{
                unit: float(amount)
                for unit, amount in iso.groupdict().items()
                if amount and unit != "sign"
            }
        )
        return -length if iso["sign"] == "-" else length
    if _SHORT_DURATION.fullmatch(text):
        parts = _SHORT_PART.findall(text)
        return dt.timedelta(seconds=sum(float(n) * _SHORT_SECONDS[unit] for n, unit in parts))
    raise Refusal("got a text that is not a duration such as PT1H30M or 1h 30m")


def format_moment(value: dt.datetime) -> str:
    """ISO 8601 with the date's own offset; UTC is written `Z`."""
    text = value.isoformat()
    return text[:-6] + "Z" if text.endswith("+00:00") else text


def format_duration(value: dt.timedelta) -> str:
    """ISO 8601 in days, hours, minutes and seconds, such as `P1DT2H` or `PT0.25S`."""
    sign = "-" if value < dt.timedelta(0) else ""
    value = abs(value)
    minutes, seconds = divmod(value.seconds, 60)
    hours, minutes = divmod(minutes, 60)
    fraction = f".{value.microseconds:06d}".rstrip("0") if value.microseconds else ""
    date = f"{value.days}D" if value.days else ""
    time = "".join(
        (
            f"{hours}H" if hours else "",
            f"{minutes}M" if minutes else "",
            f"{seconds}{fraction}S" if seconds or fraction else "",
        )
    )
    if not date and not time:
        return "PT0S"
    return f"{sign}P{date}{'T' if time else ''}{time}"


def format_date(value: object, pattern: object = "%Y-%m-%d", zone: object = "UTC") -> str:
    """A date written by `pattern` (strftime's letters, no widths or flags) in a time zone."""
    moment = parse_date(value)
    if not isinstance(pattern, str) or not isinstance(zone, str):
        raise Refusal('needs texts for format and time zone, such as "%d.%m.%Y", "Europe/Berlin"')
    if len(pattern) > _MAX_FORMAT_TEXT:
        raise Refusal(f"got a date format of more than {_MAX_FORMAT_TEXT} characters")
    letters = _DIRECTIVE.findall(pattern)
    plain = _DIRECTIVE.sub("", pattern)
    if "%" in plain or not _DIRECTIVES.issuperset(letters):
        known = " ".join(f"%{letter}" for letter in sorted(_DIRECTIVES))
        raise Refusal(f"got a date format with an unknown letter after %; known are {known}")
    return moment.astimezone(_zone(zone)).strftime(pattern)


def _zone(name: str) -> dt.tzinfo:
    if name == "UTC":
        return dt.UTC
    if len(name) <= _MAX_ZONE and _ZONE.fullmatch(name):
        try:
            return zoneinfo.ZoneInfo(name)
        except (KeyError, ValueError, OSError):
            pass
    raise Refusal("got an unknown time zone; expected a name such as Europe/Berlin")
