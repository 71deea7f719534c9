"""Numbers and moments as people say them; `static/console/console.js` says them the same way."""

from __future__ import annotations

from datetime import datetime, timedelta

_MINUTE = 60
_HOUR = 60 * _MINUTE
_DAY = 24 * _HOUR


def duration_words(value: float | timedelta | None) -> str:
    """A length of time, in seconds or as a timedelta: `340 ms`, `3.2 s`, `4 min 5 s`, `2 d 3 h`."""
    if value is None:
        return ""
    seconds = value.total_seconds() if isinstance(value, timedelta) else float(value)
    seconds = max(seconds, 0.0)
    if seconds < 0.0005:
        return "< 1 ms"
    if seconds < 0.9995:
        return f"{round(seconds * 1000)} ms"
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    return _whole_words(round(seconds))


def passed_words(seconds: float) -> str:
    """A length of time that is still growing, in whole seconds: `3 s`, `4 min 5 s`."""
    return _whole_words(int(max(seconds, 0)))


def _whole_words(seconds: int) -> str:
    if seconds < _MINUTE:
        return f"{seconds} s"
    if seconds < _HOUR:
        return _two(seconds, _MINUTE, "min", 1, "s")
    if seconds < _DAY:
        return _two(seconds, _HOUR, "h", _MINUTE, "min")
    return _two(seconds, _DAY, "d", _HOUR, "h")


def _two(seconds: int, large: int, large_word: str, small: int, small_word: str) -> str:
    whole, rest = divmod(seconds, large)
    rest //= small
    return f"{whole} {large_word} {rest} {small_word}" if rest else f"{whole} {large_word}"


def ago_words(moment: datetime, now: datetime) -> str:
    """How long ago, roughly, or in how long: `just now`, `5 min ago`, `in 19 d 23 h`."""
    seconds = (now - moment).total_seconds()
    if abs(seconds) < 5:
        return "just now" if seconds >= 0 else "in a moment"
    return f"{_coarse_words(seconds)} ago" if seconds > 0 else f"in {passed_words(-seconds)}"


def _coarse_words(seconds: float) -> str:
    for size, word in ((_DAY, "d"), (_HOUR, "h"), (_MINUTE, "min")):
        if seconds >= size:
            return f"{int(seconds // size)} {word}"
    return f"{int(seconds)} s"


def count_words(count: int, cap: int) -> str:
    """A count that was not taken beyond `cap`: `7`, `1,000+`."""
    return f"{cap:,}+" if count > cap else f"{count:,}"


def plural(count: int, one: str, many: str = "") -> str:
    """`1 execution`, `3 executions`."""
    return f"{count:,} {one if count == 1 else many or one + 's'}"
