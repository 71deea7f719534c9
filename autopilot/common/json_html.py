"""JSON as people read it: indented, coloured, in bounds."""

from __future__ import annotations

import json
import re
from typing import Any

from django.utils.html import escape
from django.utils.safestring import SafeString, mark_safe

MAX_SHOWN_CHARS = 20_000

_TOKEN = re.compile(
    r'(?P<text>"(?:\\.|[^"\\])*")(?P<colon>\s*:)?'
    r"|(?P<word>\b(?:true|false|null)\b)"
    r"|(?P<number>-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?)"
)


def pretty(value: Any) -> str:
    """`value` as indented JSON, with every character as itself."""
    return json.dumps(value, indent=2, ensure_ascii=False)


def beginning(value: Any, chars: int = MAX_SHOWN_CHARS) -> tuple[str, bool]:
    """The first of its characters as `pretty` has them, and whether there are more.

    Costs as much as what is shown, however large the value is.
    """
    pieces: list[str] = []
    length = 0
    for piece in json.JSONEncoder(indent=2, ensure_ascii=False).iterencode(value):
        pieces.append(piece)
        length += len(piece)
        if length > chars:
            return "".join(pieces)[:chars], True
    return "".join(pieces), False


def highlighted(text: str) -> SafeString:
    """Indented JSON as HTML: keys, texts, numbers and words in spans of their own."""
    pieces: list[str] = []
    end = 0
    for match in _TOKEN.finditer(text):
        pieces.append(escape(text[end : match.start()]))
        pieces.append(_span(match))
        end = match.end()
    pieces.append(escape(text[end:]))
    return mark_safe("".join(pieces))  # noqa: S308 - every piece is escaped


def _span(match: re.Match[str]) -> str:
    if match["text"] is not None:
        kind = "key" if match["colon"] else "text"
        return f'<span class="cx-j-{kind}">{escape(match["text"])}</span>{match["colon"] or ""}'
    kind = "word" if match["word"] is not None else "number"
    return f'<span class="cx-j-{kind}">{escape(match[0])}</span>'
