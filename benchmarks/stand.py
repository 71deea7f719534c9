"""What is measured: servers of its own, worker processes, the web server. All end with it."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType

import psutil
import psycopg2
from psycopg2.extensions import connection as Connection

from autopilot.embedded import Pair, home
from autopilot.embedded.home import PROJECT
from benchmarks.own import Own, end, environment_of

READY_SECONDS = 60.0
# What makes a commit durable; read back from the server before anything is measured.
DURABLE = ("fsync", "synchronous_commit", "full_page_writes")


EMPTY: Mapping[str, str] = MappingProxyType({})


class NotReady(Exception):
    """Something did not happen in the time it was given."""


class Stand(Own):
    """One embedded PostgreSQL and Valkey with everything that runs on them.

    `environment` is what processes find them by; this process's own is set to it too, so Django
    must be set up after the stand is made.
    """

    def __init__(self, *, workers: int, web: bool) -> None:
        super().__init__()
        self.folder = home("benchmarks").directory / str(os.getpid())
        self.pair = Pair(self.folder, ephemeral=True)
        self.worker_count = workers
        self.has_web = web
        self.workers: list[subprocess.Popen[bytes]] = []
        self.web: subprocess.Popen[bytes] | None = None
        self.port = 0
        self._spawned = 0
        # A loop of 10,000 passes; an outside service that is on this machine.
        self.environment = environment_of(
            self.pair.database_url,
            self.pair.redis_url,
            AUTOPILOT_MAX_STEPS="100000",
            AUTOPILOT_HTTP_ALLOW="127.0.0.1",
        )

    def _start(self) -> None:
        self._exit.callback(shutil.rmtree, self.folder, ignore_errors=True)
        self.pair.start()
        self._exit.callback(self.pair.end)
        os.environ.update(self.environment)
        self.manage("migrate", "--verbosity", "0", "--no-input")
        if self.has_web:
            self.web = self._start_web()
        self.have_workers(self.worker_count)

    def have_workers(self, count: int) -> None:
        """Start or end worker processes until there are so many, registered."""
        while len(self.workers) > count:
            end(self.workers.pop())
        while len(self.workers) < count:
            self._spawned += 1
            self.workers.append(self.spawn(f"worker-{self._spawned}", "manage.py", "worker"))
        with self.connect() as connection, connection.cursor() as cursor:

            def registered() -> bool:
                cursor.execute("SELECT count(*) FROM executions_worker")
                row = cursor.fetchone()
                return row is not None and row[0] == count

            self.wait_until(registered, READY_SECONDS, f"{count} workers registered")
        connection.close()

    def manage(self, *arguments: str) -> None:
        subprocess.run(
            [sys.executable, "manage.py", *arguments],
            check=True,
            cwd=PROJECT,
            env=self.environment,
            timeout=READY_SECONDS * 2,
        )

    def spawn(
        self,
        name: str,
        *arguments: str,
        pipes: bool = False,
        environment: Mapping[str, str] = EMPTY,
    ) -> subprocess.Popen[bytes]:
        """A Python process that ends with the stand, and with this process."""
        log = self.log_folder / f"{name}.log"
        command = [sys.executable, *arguments]
        return self._run(command, log, {**self.environment, **environment}, pipes=pipes)

    def _start_web(self) -> subprocess.Popen[bytes]:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        process = self.spawn(
            "web",
            *("-m", "gunicorn", "-c", "scripts/gunicorn.conf.py", "autopilot.asgi:application"),
            environment={"HOST": "127.0.0.1", "PORT": str(self.port)},
        )
        self.wait_until(
            lambda: self.get("/api/v1/monitoring/health/live/") == 200,
            READY_SECONDS,
            "the web server answered",
        )
        return process

    def get(self, path: str) -> int:
        """The status of a page; 0 if nobody listens."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=10) as page:
                page.read()
                return int(page.status)
        except urllib.error.HTTPError as error:
            return error.code
        except OSError:
            return 0

    def connect(self) -> Connection:
        """A connection of one's own, in autocommit."""
        connection = psycopg2.connect(self.pair.database_url)
        connection.autocommit = True
        return connection

    def wait_until(self, condition: Callable[[], bool], seconds: float, what: str) -> None:
        """Poll every few milliseconds; raises NotReady after `seconds`, or if a process ended."""
        deadline = time.monotonic() + seconds
        while not condition():
            self.check_alive()
            if time.monotonic() > deadline:
                raise NotReady(f"Not within {seconds:g} seconds: {what}.")
            time.sleep(0.005)

    def check_alive(self) -> None:
        processes = [*self.workers, *([self.web] if self.web else [])]
        for process in processes:
            if process.poll() is not None:
                name = "web" if process is self.web else f"worker-{processes.index(process) + 1}"
                lines = (self.folder / "log" / f"{name}.log").read_text(errors="replace")
                raise NotReady(f"A process ended ({name}); its last words:\n{lines[-2000:]}")

    def processes(self) -> dict[str, list[psutil.Process]]:
        """The running processes by role: worker, web, postgres, valkey."""
        state = self.pair.state()
        return {
            "worker": [psutil.Process(each.pid) for each in self.workers],
            "web": _family(self.web.pid) if self.web else [],
            "postgres": _family(state["postgres"]),
            "valkey": [psutil.Process(state["valkey"])],
        }

    def durability(self) -> dict[str, str]:
        """What the server says of itself. Raises NotReady unless every commit is flushed."""
        found: dict[str, str] = {}
        connection = self.connect()
        with connection.cursor() as cursor:
            for name in (*DURABLE, "wal_sync_method", "server_version"):
                cursor.execute(f"SHOW {name}")
                row = cursor.fetchone()
                found[name] = row[0] if row else ""
        connection.close()
        off = [name for name in DURABLE if found[name] != "on"]
        if off:
            raise NotReady(f"{off[0]} is {found[off[0]]}; only durable commits are measured.")
        return found

    @property
    def log_folder(self) -> Path:
        return self.folder / "log"


def _family(pid: int) -> list[psutil.Process]:
    parent = psutil.Process(pid)
    return [parent, *parent.children(recursive=True)]
