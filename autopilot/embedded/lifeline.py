"""Children that don't outlive their parent, however it ends."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from collections.abc import Callable

PR_SET_PDEATHSIG = 1


def die_with_parent(number: signal.Signals) -> Callable[[], None] | None:
    """For Popen's `preexec_fn`: have the kernel send `number` to the child when this process dies.

    Linux only; elsewhere None. The wish lasts over exec, but a change of account clears it (Popen
    makes that change before). It is tied to the thread that forks: call Popen in the main one.
    """
    if sys.platform != "linux":
        return None
    prctl = ctypes.CDLL(None, use_errno=True).prctl
    parent = os.getpid()

    def wish() -> None:
        prctl(PR_SET_PDEATHSIG, int(number), 0, 0, 0)
        if os.getppid() != parent:
            # It died between the fork and the wish.
            os.kill(os.getpid(), number)

    return wish
