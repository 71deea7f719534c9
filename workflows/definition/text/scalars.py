"""What a YAML word without quotes means: the core schema of YAML 1.2, and nothing of 1.1."""

from __future__ import annotations

import math
import re

MAX_DIGITS = 4_000

_NULL = frozenset({"", "~", "null", "Null", "NULL"})
_BOOLEANS = {
    "true": True,
    "True": True,
    "TRUE": True,
    "false": False,
    "False": False,
    "FALSE": False,
}
_MAY_BE_NUMBER = frozenset("0123456789+-.")
_INTEGER = re.compile(r"[-+]?[0-9]+\Z")
_OCTAL = re.compile(r"0o[0-7]+\Z")
_HEX = re.compile(r"0x[0-9a-fA-F]+\Z")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?\Z")
_NOT_FINITE = re.compile(r"[-+]?\.(inf|Inf|INF)\Z|\.(nan|NaN|NAN)\Z")
_LEADING_ZERO = re.compile(r"[-+]?0[0-9]+\Z")

# What a reader of YAML 1.1 takes for something else than a text, and, to be on the safe side,
# whatever looks like a number, a time or a date.
_WORD_1_1 = re.compile(r"(y|yes|n|no|true|false|on|off|null|~|=|<<|)\Z", re.IGNORECASE)
_LIKE_NUMBER = re.compile(r"[-+]?\.?[0-9][0-9a-fxob_.:+\-tz \t]*\Z", re.IGNORECASE)
_LIKE_CONSTANT = re.compile(r"[-+]?\.(inf|nan)\Z", re.IGNORECASE)


class ScalarError(ValueError):
    """A word that stands for something which JSON lacks."""


def value_of(word: str) -> object:
    """The JSON value of a plain word. Raises ScalarError with a sentence."""
    if word in _NULL:
        return None
    if word in _BOOLEANS:
        return _BOOLEANS[word]
    if word[0] not in _MAY_BE_NUMBER:
        return word
    if _INTEGER.match(word):
        return _integer(word)
    if _OCTAL.match(word):
        return int(_bounded(word)[2:], 8)
    if _HEX.match(word):
        return int(_bounded(word)[2:], 16)
    if _FLOAT.match(word):
        return finite(float(word))
    if _NOT_FINITE.match(word):
        raise ScalarError(f"{word} is not a value that JSON has.")
    return word


def finite(number: float) -> float:
    """`number`, unless it is beyond a double."""
    if math.isinf(number):
        raise ScalarError("The number is beyond what can be stored.")
    return number


def _integer(word: str) -> int:
    if _LEADING_ZERO.match(word):
        raise ScalarError(
            f"{_bounded(word)[:40]} is octal to some readers of YAML and decimal to others: put it "
            "in quotes if it is a text, and write it without the leading zero (or as 0o17) if it "
            "is a number."
        )
    return int(_bounded(word))


def _bounded(word: str) -> str:
    if len(word.lstrip("+-")) > MAX_DIGITS:
        raise ScalarError(f"A whole number may have at most {MAX_DIGITS:,} digits.")
    return word


def is_taken_for_text(text: str) -> bool:
    """Whether every reader of YAML takes these characters, without quotes, for a text."""
    return not (_WORD_1_1.match(text) or _LIKE_NUMBER.match(text) or _LIKE_CONSTANT.match(text))
