"""How much work something is, whatever else the machine is doing."""

from __future__ import annotations

import time
from collections.abc import Callable

TRIES = 5


def takes_less_than(seconds: float, work: Callable[[], object]) -> bool:
    """Whether `work` needs less of this thread's processor time; the best of a few tries counts.

    A neighbour on the same core or a garbage collection may be in the way of one of them, and what
    is bounded is bounded every time.
    """
    for _ in range(TRIES):
        started = time.thread_time()
        work()
        if time.thread_time() - started < seconds:
            return True
    return False
