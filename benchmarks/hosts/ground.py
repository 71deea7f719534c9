"""What the trial happens on: a host with the servers, hosts with workers, and how to reach them."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable

import psycopg2
from psycopg2.extensions import connection as Connection

from autopilot.embedded.home import DATABASE, PROJECT, USER, Home, home
from benchmarks.hosts.network import SERVERS, Network
from benchmarks.own import Own, environment_of
from benchmarks.stand import READY_SECONDS, NotReady

# A dead worker is to be noticed soon; the relations of these times are those of the defaults.
RHYTHM = {
    "AUTOPILOT_LEASE_SECONDS": "4",
    "AUTOPILOT_HEARTBEAT_SECONDS": "0.5",
    "AUTOPILOT_CLOCK_SECONDS": "0.1",
    "AUTOPILOT_SLOTS": "40",
}
# So that a host whose servers are gone finds out: see docs/scaling.md.
KEEPALIVE = "keepalives_idle=2&keepalives_interval=1&keepalives_count=3"


class Ground(Own):
    """Servers and worker hosts, all processes of which end with it.

    This process itself uses the servers' Unix sockets: files know of no network.
    """

    def __init__(self, hosts: tuple[str, ...]) -> None:
        super().__init__()
        self.folder = home("benchmarks").directory / f"hosts-{os.getpid()}"
        self.network = Network(hosts)
        self.workers: dict[str, subprocess.Popen[bytes]] = {}
        self.service_url = ""
        found = Home(self.folder)
        self.environment = environment_of(
            found.addresses.database_url,
            found.addresses.redis_url,
            AUTOPILOT_HTTP_ALLOW=SERVERS,
            **RHYTHM,
        )

    def _start(self) -> None:
        self._exit.callback(shutil.rmtree, self.folder, ignore_errors=True)
        (self.folder / "log").mkdir(parents=True)
        self._exit.enter_context(self.network)
        servers = self.spawn("servers", "-m", "benchmarks.hosts.servers", str(self.folder), SERVERS)
        if _line_of(servers) != "ready":
            raise NotReady(f"The servers did not start:\n{self.log('servers')[-2000:]}")
        os.environ.update(self.environment)
        subprocess.run(
            [sys.executable, "manage.py", "migrate", "--verbosity", "0", "--no-input"],
            check=True,
            cwd=PROJECT,
            env=self.environment,
            timeout=READY_SECONDS * 2,
        )
        service = self.spawn("servers", "-m", "benchmarks.slow_server", SERVERS)
        self.service_url = f"http://{SERVERS}:{_line_of(service)}/"

    def start_workers(self) -> None:
        """One on each host; they know nothing but the servers' address."""
        for name in self.network.addresses:
            self.workers[name] = self.spawn(
                name,
                *("manage.py", "worker"),
                DATABASE_URL=f"postgresql://{USER}@{SERVERS}/{DATABASE}?{KEEPALIVE}",
                REDIS_URL=f"redis://{SERVERS}:6379/0",
            )

    def spawn(self, host: str, *arguments: str, **environment: str) -> subprocess.Popen[bytes]:
        """A Python process on a host. Its output is piped for the servers', logged for others."""
        pipes = host == "servers"
        process = self._run(
            [*self.network.within(host), sys.executable, *arguments],
            self.folder / "log" / f"{host}.log",
            {**self.environment, **environment},
            pipes=pipes,
        )
        if process.stdin is not None:
            # Its end is what they go by.
            self._exit.callback(process.stdin.close)
        return process

    def log(self, host: str) -> str:
        return (self.folder / "log" / f"{host}.log").read_text(errors="replace")

    def connect(self) -> Connection:
        """A connection of one's own, in autocommit."""
        connection = psycopg2.connect(self.environment["DATABASE_URL"])
        connection.autocommit = True
        return connection

    def wait_until(self, condition: Callable[[], bool], seconds: float, what: str) -> float:
        """Seconds until it held. Raises NotReady after `seconds`, or if a worker ended."""
        began = time.monotonic()
        while not condition():
            for name, process in self.workers.items():
                if process.poll() is not None:
                    raise NotReady(f"The worker of {name} ended:\n{self.log(name)[-2000:]}")
            if time.monotonic() - began > seconds:
                raise NotReady(f"Not within {seconds:g} seconds: {what}.")
            time.sleep(0.02)
        return time.monotonic() - began


def _line_of(process: subprocess.Popen[bytes]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().decode().strip()
