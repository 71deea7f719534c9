"""What an action returns whose result comes later, from somebody else."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

QUEUE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Pending:
    """The call goes on elsewhere: the step waits until `context.callback_token()` is used.

    queue, payload: also put a task with these data (plain JSON) on a queue, from which a worker in
    any language takes it; the queue's name has 1 to 64 letters, digits, `_`, `.` and `-`.
    """

    queue: str = ""
    payload: Any = None

    def __post_init__(self) -> None:
        if self.queue and not QUEUE.fullmatch(self.queue):
            raise ValueError(f"{self.queue!r:.80} is no name of a queue of tasks")
