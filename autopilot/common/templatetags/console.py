"""What the console's templates say things with: states, times, JSON."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from django import template
from django.utils.html import format_html
from django.utils.safestring import SafeString

from autopilot.common import clock, words
from autopilot.common.json_html import MAX_SHOWN_CHARS, beginning, highlighted

register = template.Library()


@register.simple_tag
def state(value: str, href: str = "") -> SafeString:
    """A state as its colour and its word; a link if there is somewhere to go."""
    inside = format_html('<span class="cx-dot" aria-hidden="true"></span>{}', value)
    if href:
        return format_html('<a class="cx-state cx-s-{}" href="{}">{}</a>', value, href, inside)
    return format_html('<span class="cx-state cx-s-{}">{}</span>', value, inside)


# An approval's states in the colors of executions, which are the same everywhere.
_APPROVALS = {
    "open": "waiting",
    "approved": "completed",
    "rejected": "failed",
    "expired": "cancelled",
    "withdrawn": "cancelled",
}


@register.simple_tag
def approval_state(value: str) -> SafeString:
    """The state of an approval as its colour and its word."""
    dot = format_html('<span class="cx-dot" aria-hidden="true"></span>{}', value)
    color = _APPROVALS.get(value, "initialized")
    return format_html('<span class="cx-state cx-s-{}">{}</span>', color, dot)


@register.filter
def duration(value: float | timedelta | None) -> str:
    """A length of time in words; nothing for None."""
    return words.duration_words(value)


@register.simple_tag
def since(moment: datetime | None) -> SafeString | str:
    """How long it has lasted since `moment`; the page keeps counting."""
    if moment is None:
        return ""
    passed = words.passed_words((clock.now() - moment).total_seconds())
    return _time(moment, passed, "since")


@register.simple_tag
def ago(moment: datetime | None) -> SafeString | str:
    """How long ago, or in how long; the exact moment on hover."""
    return "" if moment is None else _time(moment, words.ago_words(moment, clock.now()), "ago")


@register.simple_tag
def moment(value: datetime | None) -> SafeString | str:
    """Day and time to the second; the page turns it into the reader's time zone."""
    if value is None:
        return ""
    return _time(value, f"{value.astimezone(UTC):%Y-%m-%d %H:%M:%S}", "at")


def _time(moment: datetime, text: str, kind: str) -> SafeString:
    exact = moment.astimezone(UTC)
    return format_html(
        '<time datetime="{}" title="{} UTC" data-{}>{}</time>',
        exact.isoformat(timespec="milliseconds"),
        f"{exact:%Y-%m-%d %H:%M:%S}",
        kind,
        text,
    )


@register.inclusion_tag("console/json.html")
def json_block(value: Any, label: str, raw_url: str = "") -> dict[str, Any]:
    """`value` as indented, coloured JSON with a button that copies it.

    label: says what it is to those who can't see it. raw_url: where all of it is, when it is too
    long to be shown.
    """
    text, is_cut = beginning(value)
    return {
        "label": label,
        "html": highlighted(text),
        "is_cut": is_cut,
        "shown_chars": MAX_SHOWN_CHARS,
        "raw_url": raw_url,
    }


@register.filter
def thousands(count: int) -> str:
    """A number with its thousands set apart: `10,034`."""
    return f"{count:,}"


@register.simple_tag
def plural(count: int, one: str, many: str = "") -> str:
    """The count with its noun."""
    return words.plural(count, one, many)
