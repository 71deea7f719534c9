"""The processes that `quickstart` starts: watched, started again, and stopped with it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from autopilot.embedded.lifeline import die_with_parent

STOP_SECONDS = 20.0
"""Longer than a worker's grace and gunicorn's graceful_timeout: nobody is cut off half way."""

# A child that ends by itself is started again after these; once they are used up within the
# minute, it is given up.
RESTART_PAUSES = (0.5, 1.0, 2.0, 5.0)
RESTART_WINDOW_SECONDS = 60.0
LOG_LINES = 8
LOG_BYTES = 16 * 2**20


class ChildLostError(Exception):
    """A child ended by itself and starting it again doesn't help; the message says it all."""


@dataclass
class Child:
    """One process with its log file."""

    title: str
    command: list[str]
    log: Path
    environment: dict[str, str] = field(default_factory=dict)
    process: subprocess.Popen[bytes] | None = None
    ends: deque[float] = field(default_factory=deque)
    start_at: float | None = None

    def start(self) -> None:
        self.start_at = None
        self.log.parent.mkdir(parents=True, exist_ok=True)
        if self.log.exists() and self.log.stat().st_size > LOG_BYTES:
            self.log.replace(self.log.with_suffix(".log.1"))
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                self.command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**os.environ, **self.environment},
                # Ctrl-C reaches this process only, which then stops its children in order.
                start_new_session=True,
                preexec_fn=die_with_parent(signal.SIGTERM),
            )

    @property
    def is_running(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def last_words(self) -> str:
        """The end of its log, indented, for the terminal."""
        try:
            lines = self.log.read_text(errors="replace").splitlines()[-LOG_LINES:]
        except OSError:
            lines = []
        return "\n".join(f"    {line}" for line in lines) or "    (its log is empty)"

    def check(self) -> None:
        """Raise ChildLostError if it has ended: for the time before it ever worked."""
        if not self.is_running:
            raise ChildLostError(self._farewell() + f"\n{self.last_words()}")

    def _farewell(self) -> str:
        code = self.process.returncode if self.process else None
        how = f"was killed by signal {-code}" if code and code < 0 else f"ended with code {code}"
        return f"The {self.title} {how}; its log is {self.log}."

    def revive(self, now: float, say: Callable[[str], None]) -> None:
        """Start it again if it ended and its pause is over."""
        if self.start_at is not None:
            if now >= self.start_at:
                self.start()
            return
        if self.is_running:
            return
        while self.ends and now - self.ends[0] > RESTART_WINDOW_SECONDS:
            self.ends.popleft()
        if len(self.ends) >= len(RESTART_PAUSES):
            raise ChildLostError(
                f"{self._farewell()} It was started again {len(self.ends)} times within a minute; "
                f"its last words:\n{self.last_words()}"
            )
        pause = RESTART_PAUSES[len(self.ends)]
        self.ends.append(now)
        self.start_at = now + pause
        say(f"{self._farewell()} Starting it again in {pause:g} s. Its last words:")
        say(self.last_words())


class Children:
    """All of them together."""

    def __init__(self) -> None:
        self._children: list[Child] = []

    def add(self, child: Child) -> Child:
        self._children.append(child)
        child.start()
        return child

    def check(self) -> None:
        for child in self._children:
            child.check()

    def revive(self, say: Callable[[str], None]) -> None:
        for child in self._children:
            child.revive(time.monotonic(), say)

    def stop(self, seconds: float = STOP_SECONDS) -> list[str]:
        """SIGTERM to all, one bounded wait for all, SIGKILL for the rest, whose titles come back.

        Each leads a session and process group of its own, so that what it started itself goes too.
        """
        running = [child for child in self._children if child.is_running]
        for child in running:
            _signal(child, signal.SIGTERM)
        deadline = time.monotonic() + seconds
        killed = []
        for child in running:
            assert child.process is not None
            try:
                child.process.wait(max(0.0, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                os.killpg(child.process.pid, signal.SIGKILL)
                child.process.wait()
                killed.append(child.title)
        self._children.clear()
        return killed


def _signal(child: Child, number: signal.Signals) -> None:
    assert child.process is not None
    child.process.send_signal(number)


def python(*arguments: str) -> list[str]:
    """A command line of this very Python."""
    return [sys.executable, *arguments]
