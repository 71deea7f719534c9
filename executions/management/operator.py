"""Who acts when a command does, and what the commands read alike."""

from __future__ import annotations

import getpass
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from django.db import Error

from autopilot.accounts.actors import Actor
from autopilot.common.api.parsers import parse_json


def operator() -> Actor:
    """Whoever owns the machine; audit entries name the user that the system knows."""
    try:
        name = getpass.getuser()
    except (OSError, KeyError):
        name = "somebody"
    return Actor.system(f"{name}, by manage.py")


def not_ready(error: Error) -> str:
    """What to do when PostgreSQL doesn't answer, or its tables aren't these."""
    reason = str(error).strip().splitlines()[0]
    return (
        f"PostgreSQL is not ready ({reason}): check DATABASE_URL, or run scripts/migrate.sh if "
        "its tables are missing or old."
    )


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
