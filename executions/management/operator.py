"""Who acts when a command does, and what the commands read alike."""

from __future__ import annotations

import getpass
from collections.abc import Iterable

from autopilot.accounts.actors import Actor


def operator() -> Actor:
    """Whoever owns the machine; audit entries name the user that the system knows."""
    try:
        name = getpass.getuser()
    except (OSError, KeyError):
        name = "somebody"
    return Actor.system(f"{name}, by manage.py")


def labels_of(pairs: Iterable[str]) -> dict[str, str]:
    """`key=value` texts as labels. Raises ValueError with a sentence."""
    labels = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals or not key:
            raise ValueError(f"The label {pair!r:.100} has to be written KEY=VALUE.")
        labels[key] = value
    return labels
