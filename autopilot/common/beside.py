"""A thread beside others that looks for something to do whenever it is asked to."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod

from django.db import connection


class Beside(ABC):
    """Takes a turn when somebody asks, who never waits for it; the thread begins with the first.

    name: the thread's.
    """

    name: str

    def __init__(self) -> None:
        self._stop = threading.Event()
        self._asked = threading.Event()
        self._thread: threading.Thread | None = None

    @property
    def is_stopping(self) -> bool:
        return self._stop.is_set()

    @abstractmethod
    def turn(self) -> float:
        """What there is to do; answers the seconds until the next one. Raises nothing."""

    def look(self) -> None:
        """Have a look soon; never waits."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name=self.name, daemon=True)
            self._thread.start()
        self._asked.set()

    def close(self) -> None:
        """End the thread after the turn that it is at, which is waited for a little."""
        self._stop.set()
        self._asked.set()
        if self._thread is not None:
            self._thread.join(timeout=5)

    def _work(self) -> None:
        try:
            while True:
                self._asked.wait()
                self._asked.clear()
                if self._stop.is_set():
                    return
                self._stop.wait(self.turn())
        finally:
            connection.close()
