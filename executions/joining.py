"""How far the children of a step are, in words; pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from executions.phrases import Phrase, Strong, say


@dataclass(frozen=True, slots=True)
class Joining:
    """The children of the step an execution stands at, as its row counts them.

    total: of all that the step is about; tolerated: how many may fail; needed: how many have to
    succeed, 0 for the items of a map.
    """

    total: int = 0
    open: int = 0
    failed: int = 0
    tolerated: int = 0
    needed: int = 0

    @property
    def ended(self) -> int:
        return self.total - self.open

    @property
    def noun(self) -> str:
        return "branches" if self.needed else "items"

    def as_dict(self) -> dict[str, Any]:
        if not self.total:
            return {}
        counts = {"total": self.total, "ended": self.ended, "failed": self.failed}
        return {"children": {**counts, **({"needed": self.needed} if self.needed else {})}}


NOTHING = Joining()


def waiting_words(joining: Joining, place: Strong) -> Phrase:
    """What a step waits for whose children are under way."""
    if joining.total <= 1:
        started = "executions that it started" if not joining.total else "execution that it started"
        return say("Waits at step {step} for the {started}.", step=place, started=started)
    return say(
        "Waits at step {step}: {ended} of {total} {noun} have ended{failed}{needs}.",
        step=place,
        ended=f"{joining.ended:,}",
        total=f"{joining.total:,}",
        noun=joining.noun,
        failed=f", {joining.failed:,} of them without success" if joining.failed else "",
        needs=f"; it needs {joining.needed}" if 0 < joining.needed < joining.total else "",
    )


def stopping_words(joining: Joining, place: Strong) -> Phrase:
    """What a step waits for that has its outcome, and children that have not ended."""
    if joining.needed and joining.ended - joining.failed >= joining.needed:
        return say(
            "Enough branches of step {step} have succeeded; it waits for the others to be "
            "cancelled.",
            step=place,
        )
    return say(
        "Too many {noun} of step {step} failed; it waits for the others to be cancelled.",
        noun=joining.noun,
        step=place,
    )
