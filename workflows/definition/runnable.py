"""What the language describes but this release cannot use yet: names, by what they are for.

A row is deleted when its name works; docs/language.md has the same list.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

CODE = "not_supported_yet"

NAMES_NOT_USABLE: Mapping[str, str] = MappingProxyType({"secrets": "reading secrets"})


def name_not_usable(name: str) -> str | None:
    """The sentence about a name that expressions cannot use yet; None if they can."""
    meaning = NAMES_NOT_USABLE.get(name)
    return None if meaning is None else f'The name "{name}" ({meaning}) cannot be used yet.'
