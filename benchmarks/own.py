"""What a measurement makes for itself and takes away again: folders, servers, processes."""

from __future__ import annotations

import os
import secrets
import signal
import subprocess
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

from autopilot.embedded.home import PROJECT
from autopilot.embedded.lifeline import die_with_parent

STOP_SECONDS = 30.0


class Own(ABC):
    """Made step by step as a block begins, and gone at its end, also where a step fails."""

    def __init__(self) -> None:
        self._exit = ExitStack()

    def __enter__(self) -> Self:
        try:
            self._start()
        except BaseException:
            self._exit.close()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._exit.close()

    @abstractmethod
    def _start(self) -> None:
        """Begin what is ours; what has begun when it fails is ended."""

    def _run(
        self, command: Sequence[str], log: Path, environment: Mapping[str, str], *, pipes: bool
    ) -> subprocess.Popen[bytes]:
        """A process that ends with this, and with the process that it belongs to.

        pipes: its input and output are ours; otherwise what it says goes into its log.
        """
        with log.open("ab") as opened:
            process = subprocess.Popen(
                command,
                cwd=PROJECT,
                env=environment,
                stdin=subprocess.PIPE if pipes else subprocess.DEVNULL,
                stdout=subprocess.PIPE if pipes else opened,
                stderr=opened,
                preexec_fn=die_with_parent(signal.SIGTERM),
            )
        self._exit.callback(end, process)
        return process


def environment_of(database_url: str, redis_url: str, **more: str) -> dict[str, str]:
    """What processes find their servers by. What the developer has in .env decides nothing."""
    return {
        **os.environ,
        "AUTOPILOT_ENV_FILE": "",
        "DATABASE_URL": database_url,
        "REDIS_URL": redis_url,
        "SECRET_KEY": secrets.token_urlsafe(48),
        "DEBUG": "false",
        "HTTPS": "false",
        "DJANGO_SETTINGS_MODULE": "autopilot.settings",
        **more,
    }


def end(process: subprocess.Popen[bytes]) -> None:
    """Ask it to end, then make it."""
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
    process.wait(STOP_SECONDS)
