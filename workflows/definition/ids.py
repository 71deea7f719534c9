"""Step ids: what one looks like, and how a step without one gets one from its name."""

from __future__ import annotations

import keyword
import re
import unicodedata
from collections.abc import Iterable

MAX_ID = 63
END = "end"

_ID = re.compile(r"[a-z][a-z0-9_]{0,62}\Z")
# `steps.<id>` is written in expressions, where these words mean something else.
RESERVED = frozenset({END, "null", "true", "false"}) | {
    word for word in keyword.kwlist if word.islower()
}


def is_identifier(text: str) -> bool:
    """Lower-case letters, digits and underscores, a letter first, at most 63 in all."""
    return _ID.match(text) is not None


class IdAllocator:
    """Gives the steps of one document that have no id one of their own, derived from the name.

    "Step 1" becomes `step_1`, "Überweisung" `uberweisung`; a name without a Latin letter or digit
    becomes `step_<ordinal>`. A word that expressions reserve, or a leading digit, gets `step_` in
    front; an id that is taken gets `_2`, `_3` and so on behind. The same document always gives
    the same ids; ids written in the document are never touched.
    """

    def __init__(self, taken: Iterable[str]) -> None:
        self._taken = set(taken)
        self._next_number: dict[str, int] = {}

    def derive(self, name: str | None, ordinal: int) -> str:
        """A free id for the step called `name`, the `ordinal`-th of its document (from 1)."""
        base = _slug(name or "") or f"step_{ordinal}"
        if not base[0].isalpha() or base in RESERVED:
            base = f"step_{base}"
        base = base[:MAX_ID].rstrip("_")
        candidate, number = base, self._next_number.get(base, 2)
        while candidate in self._taken:
            suffix = f"_{number}"
            candidate = base[: MAX_ID - len(suffix)] + suffix
            number += 1
        self._next_number[base] = number
        self._taken.add(candidate)
        return candidate


def _slug(name: str) -> str:
    plain = unicodedata.normalize("NFKD", name[:200]).encode("ascii", "ignore").decode("ascii")
    return re.sub(r"[^a-z0-9]+", "_", plain.lower()).strip("_")
