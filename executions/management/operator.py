"""What the commands read alike."""

from __future__ import annotations

import sys
from argparse import ArgumentTypeError
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from autopilot.accounts.operators import not_ready, operator
from autopilot.common.api.parsers import parse_json

__all__ = ["execution_id", "labels_of", "not_ready", "operator", "read_json"]


def execution_id(text: str) -> int:
    """The id of an execution, as an argument. Raises ArgumentTypeError with a sentence."""
    if not (text.isascii() and text.isdigit() and len(text) < 19):
        raise ArgumentTypeError(f"the id of an execution is a whole number, not {text!r:.50}")
    return int(text)


def labels_of(pairs: Iterable[str]) -> dict[str, str]:
    """`key=value` texts as labels. Raises ValueError with a sentence."""
    labels = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals or not key:
            raise ValueError(f"The label {pair!r:.100} has to be written KEY=VALUE.")
        labels[key] = value
    return labels


def read_json(text: str) -> Any:
    """The value of an option: JSON, @FILE to read it from a file, @- from standard input.

    Raises Invalid for what is no JSON, OSError in words for a file that can't be read.
    """
    if text == "@-":
        return parse_json(sys.stdin.buffer.read())
    if not text.startswith("@"):
        return parse_json(text.encode("utf-8", "surrogatepass"))
    path = Path(text[1:])
    try:
        return parse_json(path.read_bytes())
    except OSError as error:
        raise OSError(f"The input's file {path} can't be read: {error.strerror}.") from None
