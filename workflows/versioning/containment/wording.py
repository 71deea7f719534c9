"""Texts in which a regular expression is likely to be found, to try: a guess, never relied on.

Only simple expressions are read. Whoever uses a text asks the real engine first.
"""

from __future__ import annotations

from collections.abc import Iterator

_CLASSES = {"d": "0", "w": "a", "s": " ", "D": "a", "S": "a", "W": "-", "n": "\n", "t": "\t"}
_TRIED = "a0A_- .z9Zb1k@/:"
_MAX = 200


class _NotRead(Exception):
    pass


def guesses(pattern: str) -> list[str]:
    """A few texts, the shortest first; none for an expression that is not understood."""
    found: list[str] = []
    for extra in (0, 1):
        try:
            text = _Guess(pattern, extra).text()
        except (_NotRead, IndexError, ValueError, RecursionError):
            continue
        found += [text, f"a{text}", f"{text}a"]
    return list(dict.fromkeys(each for each in found if len(each) <= _MAX))


def plain_names(pattern: str) -> frozenset[str] | None:
    """The only texts that an expression such as `^a$` or `^(a|b)$` matches; None for others."""
    if len(pattern) < 2 or pattern[0] != "^" or pattern[-1] != "$":
        return None
    body = pattern[1:-1]
    if body.startswith("(") and body.endswith(")"):
        parts = body[1:-1].removeprefix("?:").split("|")
    else:
        parts = [body]
    return frozenset(parts) if all(map(_is_plain, parts)) else None


def _is_plain(text: str) -> bool:
    return all(character.isalnum() or character in "_- " for character in text)


class _Guess:
    def __init__(self, pattern: str, extra: int) -> None:
        self._rest = pattern
        self._at = 0
        self._extra = extra

    def text(self) -> str:
        found = self._choice()
        if self._at != len(self._rest):
            raise _NotRead
        return found

    def _peek(self) -> str:
        return self._rest[self._at] if self._at < len(self._rest) else ""

    def _next(self) -> str:
        self._at += 1
        return self._rest[self._at - 1]

    def _choice(self) -> str:
        first = "".join(self._pieces())
        while self._peek() == "|":
            self._next()
            for _ in self._pieces():
                pass
        return first

    def _pieces(self) -> Iterator[str]:
        while self._peek() not in ("", "|", ")"):
            piece = self._piece()
            yield piece * self._times()

    def _piece(self) -> str:
        character = self._next()
        if character in "^$":
            return ""
        if character == ".":
            return "a"
        if character == "\\":
            return self._escaped()
        if character == "[":
            return self._class()
        if character == "(":
            return self._group()
        if character in "*+?{":
            raise _NotRead
        return character

    def _group(self) -> str:
        if self._peek() == "?":
            self._next()
            if self._next() != ":":
                raise _NotRead
        inner = self._choice()
        if self._next() != ")":
            raise _NotRead
        return inner

    def _escaped(self) -> str:
        character = self._next()
        if character in _CLASSES:
            return _CLASSES[character]
        if character.isalnum():
            raise _NotRead
        return character

    def _class(self) -> str:
        negated = self._peek() == "^"
        if negated:
            self._next()
        members: list[str] = []
        while self._peek() != "]" or not members:
            character = self._next()
            members.append(self._escaped() if character == "\\" else character)
        self._next()
        if not negated:
            return members[0]
        spans = "".join(members)
        return next(each for each in _TRIED if not _in_class(each, spans))

    def _times(self) -> int:
        if self._peek() == "":
            return 1
        sign = self._peek()
        if sign in "*?":
            self._next()
            return self._extra
        if sign == "+":
            self._next()
            return 1 + self._extra
        if sign != "{":
            return 1
        end = self._rest.index("}", self._at)
        low, comma, high = self._rest[self._at + 1 : end].partition(",")
        self._at = end + 1
        most = int(high) if high else int(low) + (1 if comma else 0)
        return min(int(low or 0) + self._extra, most, _MAX)


def _in_class(character: str, members: str) -> bool:
    if character in members:
        return True
    spans = zip(members, members[1:], members[2:], strict=False)
    return any(low <= character <= high for low, middle, high in spans if middle == "-")
