"""Real worker processes on servers of their own."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.concurrency.nursery import Nurseries, Process
from tests.conftest import OwnServers
from workflows import compiled

# Short enough that a lost worker is noticed within a test.
RHYTHM = {
    "AUTOPILOT_LEASE_SECONDS": "3",
    "AUTOPILOT_HEARTBEAT_SECONDS": "0.5",
    "AUTOPILOT_CLOCK_SECONDS": "0.1",
    "AUTOPILOT_LINGER_SECONDS": "0.5",
    "AUTOPILOT_GRACE_SECONDS": "2",
}


class Workers:
    """Starts `manage.py worker` processes and ends them with the test."""

    def __init__(self, servers: OwnServers, folder: Path, nurseries: Nurseries) -> None:
        self.servers = servers
        self.folder = folder
        self.trace = folder / "trace"
        self.processes: list[Process] = []
        self._nurseries = nurseries

    def start(self, command: str = "worker", *arguments: str) -> Process:
        return self.run("manage", command, *arguments, name=f"worker-{len(self.processes)}.log")

    def run(self, module: str, *arguments: str, name: str) -> Process:
        """Start `python -m module arguments`; name: of the file that gets what it says."""
        process = self._nurseries.start(
            module,
            *arguments,
            log=self.folder / name,
            environment={**self.servers.environment, **RHYTHM, "PROBE_FILE": str(self.trace)},
        )
        self.processes.append(process)
        return process

    def kill(self, process: Process) -> None:
        os.kill(process.pid, signal.SIGKILL)
        process.wait(timeout=10)

    def stop(self, process: Process, *, seconds: float = 15) -> int:
        process.terminate()
        return process.wait(timeout=seconds)

    def calls(self) -> list[str]:
        """The idempotency keys of the calls that actions made, in order."""
        if not self.trace.exists():
            return []
        return [line.split()[0] for line in self.trace.read_text().splitlines()]

    def logs(self) -> str:
        return "\n".join(
            path.read_text(errors="replace") for path in sorted(self.folder.glob("worker-*.log"))
        )

    def end(self) -> None:
        for process in self.processes:
            if process.poll() is None:
                process.kill()
                process.wait(timeout=10)


@pytest.fixture(scope="session")
def nurseries() -> Iterator[Nurseries]:
    made = Nurseries()
    yield made
    made.close()


@pytest.fixture
def workers(own_servers: OwnServers, nurseries: Nurseries, tmp_path: Path) -> Iterator[Workers]:
    compiled.cache.clear()  # version ids of another database
    made = Workers(own_servers, tmp_path, nurseries)
    yield made
    made.end()
