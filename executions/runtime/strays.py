"""Executions that this worker owns and nobody in it knows of."""

from __future__ import annotations

import time
from collections.abc import Sequence

import structlog

from executions.runtime import statements
from executions.runtime.rows import cursor

log = structlog.get_logger(__name__)

# A server that hears late of a broken connection may still carry out what was sent there.
LATER_SECONDS = 30.0


class Strays:
    """Whether there may be any: after a claim whose answer was lost, or could not be read."""

    def __init__(self, worker_id: int) -> None:
        self._worker_id = worker_id
        self._due_at = float("inf")
        self._looks = 0

    def suspect(self) -> None:
        """There may be some, now and a while from now."""
        self._due_at, self._looks = float("-inf"), 2

    @property
    def are_due(self) -> bool:
        """Whether somebody should look."""
        return time.monotonic() >= self._due_at

    def release(self, held: Sequence[int]) -> None:
        """Free all but those that are known. On the ledger's thread."""
        with cursor() as opened:
            opened.execute(
                statements.RELEASE_STRAYS, {"worker": self._worker_id, "held": list(held)}
            )
            found = opened.fetchall()
        self._looks -= 1
        self._due_at = time.monotonic() + LATER_SECONDS if self._looks else float("inf")
        if found:
            log.info("ledger.strays_released", count=len(found))
