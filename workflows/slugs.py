"""Slugs: the names of workflows in addresses."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection

MAX_LENGTH = 100

# Words that stand where a slug would in an address of the API, now or by design.
RESERVED = frozenset(
    {"actions", "definition-schema", "export", "import", "validate", "new", "search"}
)


def derive_slug(name: str) -> str:
    """A slug from a name: "Überweisung prüfen" gives `uberweisung-prufen`.

    A name without a Latin letter or digit gives `workflow`.
    """
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode("ascii")
    words = re.findall(r"[a-z0-9]+", plain.lower())
    return "-".join(words)[:MAX_LENGTH].rstrip("-") or "workflow"


def free_slug(base: str, taken: Collection[str]) -> str:
    """`base`, or `base-2`, `base-3`... whichever is neither taken nor reserved."""
    candidate, number = base, 2
    while candidate in taken or candidate in RESERVED:
        suffix = f"-{number}"
        candidate = base[: MAX_LENGTH - len(suffix)].rstrip("-") + suffix
        number += 1
    return candidate
