"""Brackets and quoted texts of a source, without parsing it."""

from __future__ import annotations

import re

_OPEN = {"(": ")", "[": "]", "{": "}"}
# A text that is never closed runs to the end of its line (or, in triple quotes, of the source):
# giving up on it and trying again at the next quote would cost the square of the length.
_TOKEN = re.compile(
    r"""
    (?P<text>
        \"{3} (?: [^\"\\] | \\. | \"(?!\"\") )*+ (?: \"{3} | \\? \Z )
      | '{3} (?: [^'\\] | \\. | '(?!'') )*+ (?: '{3} | \\? \Z )
      | \" (?: [^\"\\\n] | \\. )*+ (?: \" | \\? \Z | (?=\n) )
      | ' (?: [^'\\\n] | \\. )*+ (?: ' | \\? \Z | (?=\n) )
    )
    | (?P<bracket> [()\[\]{}] )
    """,
    re.DOTALL | re.VERBOSE,
)


def end_of_expression(text: str, start: int) -> int:
    """Where the `}}` stands that closes the expression beginning at `start`, or -1.

    A `}}` inside a quoted text or that closes brackets opened in the expression does not count.
    """
    depth = 0
    position = start
    while found := _TOKEN.search(text, position):
        bracket = found["bracket"]
        position = found.end()
        if bracket is None:
            continue
        if bracket in _OPEN:
            depth += 1
        elif bracket == "}" and depth == 0:
            if text.startswith("}}", found.start()):
                return found.start()
            return -1
        else:
            depth -= 1 if depth else 0
    return -1


def is_balanced(source: str) -> bool:
    """Whether every bracket outside quoted texts is closed by its own kind, in order."""
    waiting: list[str] = []
    for found in _TOKEN.finditer(source):
        bracket = found["bracket"]
        if bracket is None:
            continue
        if bracket in _OPEN:
            waiting.append(_OPEN[bracket])
        elif not waiting or waiting.pop() != bracket:
            return False
    return not waiting
