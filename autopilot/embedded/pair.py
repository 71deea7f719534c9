"""A pair of servers as its users see it: ask for it, get the addresses, forget about it."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from autopilot.embedded.errors import EmbeddedError, last_line, not_writable
from autopilot.embedded.home import PROJECT, Addresses, Home, Order

READY_SECONDS = 120.0
ORDER_SECONDS = 120.0


class Pair:
    """One PostgreSQL and one Valkey in `directory`, shared by everybody who names that folder.

    They run as long as some process between `start()` and `stop()` lives, and stop by themselves
    two seconds after the last one, even if all were killed.
    `durable=False` turns fsync off: for data that a test can make again.
    `ephemeral=True` deletes the data with the servers and starts without any.
    """

    def __init__(
        self,
        directory: Path,
        *,
        durable: bool = True,
        ephemeral: bool = False,
        max_connections: int = 100,
        redis_databases: int = 16,
    ) -> None:
        self.home = Home(directory.resolve())
        self.order = Order(
            directory=str(self.home.directory),
            durable=durable,
            ephemeral=ephemeral,
            max_connections=max_connections,
            redis_databases=redis_databases,
        )
        self._user: socket.socket | None = None
        self._lock = threading.Lock()

    @property
    def addresses(self) -> Addresses:
        """The same before, while and after the servers run."""
        return self.home.addresses

    @property
    def database_url(self) -> str:
        return self.addresses.database_url

    @property
    def redis_url(self) -> str:
        return self.addresses.redis_url

    def start(self) -> Addresses:
        """Become a user: joins running servers or starts them. Raises EmbeddedError."""
        with self._lock:
            if self._user is None or _is_closed(self._user):
                self._user = None
                try:
                    self._user = self._join()
                except OSError as error:
                    raise not_writable(error) from error
        return self.addresses

    def stop(self) -> None:
        """Stop being a user; the servers stop when nobody is left."""
        with self._lock:
            if self._user is not None:
                self._user.close()
                self._user = None

    def end(self) -> None:
        """Stop the servers now, whoever uses them; returns when they are gone."""
        self.stop()
        with contextlib.suppress(EmbeddedError):
            self._ask("end")
        with self.home.keeper_lock.open("a") as file:
            fcntl.flock(file, fcntl.LOCK_EX)

    def state(self) -> dict[str, Any]:
        """Process numbers of `keeper`, `postgres` and `valkey` (None while down), and `users`."""
        return self._ask("state")

    def restart_postgres(self) -> None:
        """Stop PostgreSQL properly, start it again; returns when it takes connections."""
        self._ask("restart_postgres")

    def stop_postgres(self) -> None:
        self._ask("stop_postgres")

    def start_postgres(self) -> None:
        self._ask("start_postgres")

    def stop_valkey(self) -> None:
        self._ask("stop_valkey")

    def start_valkey(self) -> None:
        self._ask("start_valkey")

    def kill_postgres(self) -> None:
        """`kill -9` of PostgreSQL's main process; returns when it has recovered."""
        self._kill("postgres")

    def kill_valkey(self) -> None:
        """`kill -9` of Valkey; returns when a new, empty one answers."""
        self._kill("valkey")

    def flush(self) -> None:
        """Empty Valkey: what a FLUSHALL by mistake does."""
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(10.0)
            client.connect(str(self.home.valkey_socket))
            client.sendall(b"FLUSHALL\r\n")
            if not client.recv(64).startswith(b"+OK"):
                raise EmbeddedError("Valkey refused to be flushed.")

    def _kill(self, name: str) -> None:
        before = self.state()[name]
        if before is None:
            raise EmbeddedError(f"{name} isn't running.")
        os.kill(before, signal.SIGKILL)
        deadline = time.monotonic() + READY_SECONDS
        # The keeper answers only between two events, so a new number means that it is ready.
        while self.state()[name] in {None, before}:
            if time.monotonic() > deadline:
                raise EmbeddedError(f"{name} did not come back after it was killed.")
            time.sleep(0.02)

    def _join(self) -> socket.socket:
        self.home.directory.mkdir(parents=True, exist_ok=True)
        with _exclusive(self.home.start_lock):
            user = self._connect()
            if user is None:
                self._spawn()
                user = self._connect()
            if user is None:
                raise EmbeddedError(
                    f"The embedded servers ended right after their start; see {self._log}."
                )
        return user

    def _connect(self) -> socket.socket | None:
        """A greeted connection, or None if no keeper lets anybody in."""
        user = socket.socket(socket.AF_UNIX)
        user.settimeout(READY_SECONDS)
        try:
            user.connect(str(self.home.control))
            greeting = _read_line(user)
        except OSError:
            greeting = b""
        if not greeting:
            user.close()
            return None
        return user

    def _spawn(self) -> None:
        self.home.logs.mkdir(parents=True, exist_ok=True)
        with self._log.open("ab") as log:
            keeper = subprocess.Popen(
                [sys.executable, "-m", "autopilot.embedded.keeper", self.order.dump()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
                cwd=PROJECT,
                start_new_session=True,
            )
        assert keeper.stdout is not None
        with keeper.stdout:
            report = json.loads(keeper.stdout.readline() or b"{}")
        if report.get("ready"):
            # It usually outlives this process; where it doesn't, somebody has to reap it.
            threading.Thread(target=keeper.wait, name="keeper-reaper", daemon=True).start()
            return
        keeper.wait()
        raise EmbeddedError(
            report.get("error")
            or f"The embedded servers' keeper ended: {last_line(self._log)!r}; see {self._log}."
        )

    @property
    def _log(self) -> Path:
        return self.home.logs / "keeper.log"

    def _ask(self, order: str) -> dict[str, Any]:
        """Have the keeper do something, over a connection of its own; waits until it is done."""
        user = self._connect()
        if user is None:
            raise EmbeddedError(f"The embedded servers in {self.home.directory} aren't running.")
        with user:
            user.settimeout(ORDER_SECONDS)
            user.sendall(json.dumps({"do": order}).encode() + b"\n")
            answer: dict[str, Any] = json.loads(_read_line(user) or b'{"error": "it ended"}')
        if answer.get("error"):
            raise EmbeddedError(answer["error"])
        return answer


@contextlib.contextmanager
def _exclusive(path: Path) -> Iterator[None]:
    with path.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _read_line(user: socket.socket) -> bytes:
    """One line without its end; what was received of it when the other side closed."""
    received = b""
    while not received.endswith(b"\n"):
        part = user.recv(4096)
        if not part:
            break
        received += part
    return received.strip()


def _is_closed(user: socket.socket) -> bool:
    """Whether the keeper is gone; after the greeting it never writes to a mere user."""
    readable, _, _ = select.select([user], [], [], 0)
    return bool(readable)
