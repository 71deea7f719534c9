"""Where in the order of everything that has happened a reader is."""

from __future__ import annotations

import re
from typing import NamedTuple

from autopilot.common.errors import Invalid
from autopilot.common.problems import Problem
from workflows.definition.paths import quote

_WRITTEN = re.compile(r"(\d{1,19})-(\d)-(\d{1,19})", re.ASCII)
_MAX = 2**63 - 1
# In this order the rows of one transaction are told: what a step logged, the step, what followed.
RANKS = ("log", "step", "transition")


class PositionInvalid(Invalid):
    """The id of the last event is not one that a stream has given out."""

    code = "stream.position"


class Position(NamedTuple):
    """Everything up to here has been told: the transaction, the table's rank, the row.

    One transaction writes to several tables. Below the oldest transaction that is still running
    this order is complete and never changes, so one position stands for a place in each table.
    """

    xid: int
    rank: int
    row_id: int

    def __str__(self) -> str:
        return f"{self.xid}-{self.rank}-{self.row_id}"

    def row_after(self, rank: int) -> int:
        """Of this position's transaction, in the table `rank`, rows above this id come later."""
        if rank == self.rank:
            return self.row_id
        return 0 if rank > self.rank else _MAX

    @classmethod
    def before(cls, xid: int) -> Position:
        """Where all of the transactions below `xid` have been told."""
        return cls(xid, 0, 0)

    @classmethod
    def read(cls, text: str) -> Position:
        """The position that an event's id names; `0` is the beginning. Raises PositionInvalid."""
        if text == "0":
            return cls(0, 0, 0)
        match = _WRITTEN.fullmatch(text)
        if match is not None:
            found = cls(*map(int, match.groups()))
            if found.rank < len(RANKS) and max(found) <= _MAX:
                return found
        raise PositionInvalid(
            f'"{quote(text)}" is not the id of an event: send one as a stream has given it out, '
            "or 0 for everything from the beginning.",
            details=[Problem("$.last_event_id", "stream.position", "No id of an event.")],
        )
