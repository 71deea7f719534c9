"""Where it happens: servers of its own, the counting service, and workers that may die."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.chaos.actions import SERVICE
from benchmarks.stand import READY_SECONDS, NotReady, Stand

# A worker's death has to be noticed soon, or most of a run is waiting for that.
RHYTHM = {
    "AUTOPILOT_LEASE_SECONDS": "4",
    "AUTOPILOT_HEARTBEAT_SECONDS": "0.5",
    "AUTOPILOT_CLOCK_SECONDS": "0.1",
    "AUTOPILOT_LINGER_SECONDS": "0.5",
    "AUTOPILOT_GRACE_SECONDS": "5",
    # Few enough that a worker dies in the middle of some and not of all.
    "AUTOPILOT_SLOTS": "50",
}
LEADS, AT_WORK = "clock.leads", "Working on"


@dataclass(frozen=True, slots=True)
class Kill:
    """A worker that was killed; at: when it was certainly dead, seconds of the system's clock."""

    pid: int
    at: float
    led: bool


@dataclass(slots=True)
class Worker:
    """One process of the herd."""

    pid: int
    log: Path
    since: float = field(default_factory=time.monotonic)
    is_known_at_work: bool = False

    @property
    def is_alive(self) -> bool:
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return False
        return True

    @property
    def leads(self) -> bool:
        """Whether it says that it leads the clock."""
        return LEADS in self.log.read_text(errors="replace")

    @property
    def is_at_work(self) -> bool:
        """Whether it has come so far as to say so."""
        if not self.is_known_at_work:
            self.is_known_at_work = AT_WORK in self.log.read_text(errors="replace")
        return self.is_known_at_work


class Ground(Stand):
    """The stand of the benchmarks with workers that may die, and the outside service."""

    def __init__(self, *, web: bool = False) -> None:
        super().__init__(workers=0, web=web)
        self.calls = self.folder / "calls"
        self.herd: list[Worker] = []
        self.kills: list[Kill] = []
        self.service_port = 0
        self._nursery: subprocess.Popen[bytes] | None = None
        self.environment |= {"AUTOPILOT_APPS": "benchmarks.chaos", **RHYTHM}

    def _start(self) -> None:
        super()._start()
        service = self.spawn(
            "service", "-m", "benchmarks.chaos.service", str(self.calls), pipes=True
        )
        assert service.stdout is not None
        self.service_port = int(service.stdout.readline())
        self.environment[SERVICE] = f"127.0.0.1:{self.service_port}"
        self._nursery = self.spawn("nursery", "-m", "benchmarks.chaos.nursery", pipes=True)
        self._order("")

    @property
    def service_url(self) -> str:
        return f"http://127.0.0.1:{self.service_port}"

    def tokens(self) -> list[dict[str, Any]]:
        """The tokens that the service was given since the last time: `token`, `give`."""
        with urllib.request.urlopen(f"{self.service_url}/tokens", timeout=10) as answer:
            found: list[dict[str, Any]] = json.load(answer)
        return found

    def keep(self, count: int) -> None:
        """Start workers until there are so many; those that ended are replaced."""
        self.herd = [each for each in self.herd if each.is_alive]
        while len(self.herd) < count:
            self._spawned += 1
            log = self.log_folder / f"worker-{self._spawned}.log"
            log.touch()
            self.herd.append(Worker(int(self._order(str(log))), log))

    def _order(self, line: str) -> str:
        assert self._nursery is not None
        assert self._nursery.stdin is not None
        assert self._nursery.stdout is not None
        if line:
            self._nursery.stdin.write(f"{line}\n".encode())
            self._nursery.stdin.flush()
        answer = self._nursery.stdout.readline().decode().strip()
        if not answer:
            raise NotReady("The process that makes the workers has ended.")
        return answer

    def kill(self, worker: Worker) -> None:
        """`kill -9`, and wait until it is dead."""
        led = worker.leads
        os.kill(worker.pid, signal.SIGKILL)
        self.wait_for_end(worker)
        self.kills.append(Kill(worker.pid, time.time(), led))
        self.herd.remove(worker)

    def release(self) -> None:
        """Tell all workers to stop, as an operator does. Raises NotReady if one does not."""
        for worker in self.herd:
            if worker.is_alive:
                os.kill(worker.pid, signal.SIGTERM)
        for worker in self.herd:
            self.wait_for_end(worker)
        self.herd = []

    def wait_for_end(self, worker: Worker) -> None:
        """Raises NotReady if it does not."""
        what = f"{worker.log.stem} has ended"
        self.wait_until(lambda: not worker.is_alive, READY_SECONDS, what)
