"""Sentences with living parts: plain text for programs and terminals, HTML for the console.

One wording, two renderings: a moment is said in words here, and goes on counting in a page.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from autopilot.common.words import ago_words, passed_words


@dataclass(frozen=True, slots=True)
class Strong:
    """Something that has a name, such as a step."""

    text: str


@dataclass(frozen=True, slots=True)
class Typed:
    """Something to be typed, such as a command."""

    text: str


@dataclass(frozen=True, slots=True)
class Since:
    """How long it has lasted: `3 s`, `4 min 5 s`."""

    moment: datetime


@dataclass(frozen=True, slots=True)
class Ago:
    """How long ago, or in how long: `5 min ago`, `in 2 h`."""

    moment: datetime


@dataclass(frozen=True, slots=True)
class Phrase:
    """A text with `{names}`, and what stands for each of them; phrases may hold phrases.

    The text is ours and is trusted; the values may be anybody's and are escaped by whoever
    renders them.
    """

    text: str = ""
    values: Mapping[str, Value] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.text)

    def plain(self, now: datetime) -> str:
        """The sentence as it is read at the moment `now`."""
        return self.text.format_map(
            {name: _plain(value, now) for name, value in self.values.items()}
        )


Living = Strong | Typed | Since | Ago
Value = str | int | Living | Phrase


def say(text: str, **values: Value) -> Phrase:
    """The phrase `text` with these values."""
    return Phrase(text, values)


def _plain(value: Value, now: datetime) -> str:
    for kind, words in _WORDS.items():
        if isinstance(value, kind):
            return words(value, now)
    return str(value)


_WORDS: dict[type, Callable[..., str]] = {
    Phrase: Phrase.plain,
    Strong: lambda value, now: f"“{value.text}”",
    Typed: lambda value, now: value.text,
    Since: lambda value, now: passed_words((now - value.moment).total_seconds()),
    Ago: lambda value, now: ago_words(value.moment, now),
}
