"""The keeper: a small process that holds a pair of servers for as long as somebody uses them.

Every user process keeps one connection to the keeper's socket open. The kernel closes it however
the process ends, so the keeper always knows whether anybody is left; when nobody is, it stops the
servers and ends. The servers are its children and are told by the kernel when it dies itself.
A server that ends unasked is started again.

A user that sends a line of JSON, `{"do": "stop_valkey"}`, gets a line back when it is done.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import selectors
import shutil
import signal
import socket
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TextIO

from autopilot.embedded.errors import EmbeddedError, not_writable
from autopilot.embedded.home import Home, Order, server_account
from autopilot.embedded.programs import locate, reachable
from autopilot.embedded.servers import Postgres, Server, Valkey, check_room

LINGER_SECONDS = 2.0
"""Between the last user and the end: commands that follow one another share a pair."""

FIRST_USER_SECONDS = 15.0
PREDECESSOR_SECONDS = 60.0
# A server that ends again and again is left alone for longer and longer.
RESTART_PAUSE_SECONDS = (0.0, 0.2, 1.0, 5.0)
STEADY_SECONDS = 30.0


class Keeper:
    """One thread, one selector; starting and stopping a server block it for that long."""

    def __init__(self, order: Order) -> None:
        self.order = order
        self.home = Home(Path(order.directory))
        self.selector = selectors.DefaultSelector()
        self.users: set[socket.socket] = set()
        self.idle_since = time.monotonic() + FIRST_USER_SECONDS
        self.ending = False
        # When servers ended by themselves lately, and when those that did are to start again.
        self.ends: dict[str, list[float]] = {}
        self.due: dict[str, float] = {}

    def start(self) -> None:
        """Everything up to the point where users can be let in. Raises EmbeddedError, OSError."""
        account = server_account(self.home)
        self.home.prepare(account)
        self.lock = _lock(self.home.keeper_lock)
        programs = reachable(locate(), self.home, account)
        if self.order.ephemeral:
            shutil.rmtree(self.home.data, ignore_errors=True)
        check_room(self.home)
        self.postgres = Postgres(
            self.home,
            account,
            programs,
            durable=self.order.durable,
            max_connections=self.order.max_connections,
        )
        self.valkey = Valkey(self.home, account, programs, databases=self.order.redis_databases)
        self.servers: dict[str, Server] = {"postgres": self.postgres, "valkey": self.valkey}
        try:
            self.valkey.launch()
            self.postgres.create()
            self.postgres.start()
            self.valkey.wait_ready()
            self._listen()
        except BaseException:
            self._stop_servers()
            raise

    def _listen(self) -> None:
        self.home.control.unlink(missing_ok=True)
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(str(self.home.control))
        self.listener.listen(128)
        self.listener.setblocking(False)
        self.selector.register(self.listener, selectors.EVENT_READ)
        # Signals, the end of a child among them, wake the selector.
        reader, writer = socket.socketpair()
        for end in (reader, writer):
            end.setblocking(False)
        signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)
        self.wakeups = (reader, writer)
        self.selector.register(reader, selectors.EVENT_READ)

    def run(self) -> None:
        """Serve until nobody is left, or SIGTERM."""
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.signal(signal.SIGTERM, self._on_terminate)
        while not self.ending and not self._is_idle():
            for key, _ in self.selector.select(self._pause()):
                if key.fileobj is self.listener:
                    self._welcome()
                elif key.fileobj is self.wakeups[0]:
                    with contextlib.suppress(BlockingIOError):
                        self.wakeups[0].recv(4096)
                else:
                    self._hear(key.fileobj)  # type: ignore[arg-type]
            self._revive()
        self.close()

    def close(self) -> None:
        """Refuse new users first: they then wait for the lock and start a keeper of their own."""
        self.home.control.unlink(missing_ok=True)
        self.listener.close()
        self._stop_servers()
        if self.order.ephemeral:
            shutil.rmtree(self.home.data, ignore_errors=True)

    def _on_terminate(self, *_: object) -> None:
        self.ending = True

    def _is_idle(self) -> bool:
        return not self.users and time.monotonic() >= self.idle_since

    def _pause(self) -> float | None:
        """Seconds until something is to be done without being asked; None = nothing."""
        moments = [self.idle_since] if not self.users else []
        moments += [
            self.due.get(name, 0.0)
            for name, server in self.servers.items()
            if server.wanted and server.pid is None
        ]
        return max(0.0, min(moments) - time.monotonic()) if moments else None

    def _welcome(self) -> None:
        with contextlib.suppress(BlockingIOError, ConnectionError):
            user, _ = self.listener.accept()
            user.settimeout(5.0)
            self.users.add(user)
            self.selector.register(user, selectors.EVENT_READ)
            self._answer(user, self._state())

    def _hear(self, user: socket.socket) -> None:
        try:
            heard = user.recv(4096)
        except OSError:
            heard = b""
        if not heard:
            self._part(user)
            return
        for line in heard.splitlines():
            self._answer(user, self._obey(line))

    def _part(self, user: socket.socket) -> None:
        self.selector.unregister(user)
        self.users.discard(user)
        user.close()
        if not self.users:
            self.idle_since = time.monotonic() + LINGER_SECONDS

    def _answer(self, user: socket.socket, answer: dict[str, Any]) -> None:
        try:
            user.sendall(json.dumps(answer).encode() + b"\n")
        except OSError:
            if user in self.users:
                self._part(user)

    def _state(self, error: str = "") -> dict[str, Any]:
        return {
            "keeper": os.getpid(),
            "postgres": self.postgres.pid,
            "valkey": self.valkey.pid,
            "users": len(self.users),
            "error": error,
        }

    def _obey(self, line: bytes) -> dict[str, Any]:
        verb, _, name = json.loads(line)["do"].partition("_")
        if verb == "state":
            return self._state()
        if verb == "end":
            self.ending = True
            return self._state()
        server = self.servers[name]
        try:
            if verb in {"stop", "restart"}:
                server.stop()
            if verb in {"start", "restart"}:
                self.due.pop(name, None)
                server.start()
        except (EmbeddedError, OSError) as error:
            return self._state(str(error))
        return self._state()

    def _revive(self) -> None:
        """Start again what ended by itself, with growing pauses when that doesn't help."""
        now = time.monotonic()
        for name, server in self.servers.items():
            if not server.wanted or server.pid is not None:
                continue
            if name not in self.due:
                recent = [at for at in self.ends.get(name, []) if now - at < STEADY_SECONDS]
                pause = RESTART_PAUSE_SECONDS[min(len(recent), len(RESTART_PAUSE_SECONDS) - 1)]
                self.ends[name] = [*recent, now]
                self.due[name] = now + pause
            if now < self.due[name]:
                continue
            del self.due[name]
            self._say(f"{server.title} ended by itself; starting it again")
            try:
                server.start()
            except (EmbeddedError, OSError) as error:
                server.wanted = True
                self._say(str(error))

    def _stop_servers(self) -> None:
        for server in (self.valkey, self.postgres):
            server.stop()

    @staticmethod
    def _say(sentence: str) -> None:
        sys.stderr.write(f"{datetime.now(UTC).isoformat(timespec='milliseconds')} {sentence}\n")
        sys.stderr.flush()


def _lock(path: Path) -> TextIO:
    """Wait for a keeper that is just ending. The lock goes with the process."""
    file = path.open("a")
    deadline = time.monotonic() + PREDECESSOR_SECONDS
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline:
                raise EmbeddedError(
                    f"The embedded servers in {path.parent} are neither running nor ending; "
                    f"look for the process that holds {path} and end it."
                ) from None
            time.sleep(0.02)
        else:
            return file


def main() -> None:
    """Keep what the first argument asks for; report on standard output once, then detach."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    keeper = Keeper(Order(**json.loads(sys.argv[1])))
    try:
        keeper.start()
    except EmbeddedError as error:
        _report({"error": str(error)})
        sys.exit(1)
    except OSError as error:
        _report({"error": str(_explain(error, keeper.home))})
        sys.exit(1)
    _report({"ready": True})
    keeper.run()


def _explain(error: OSError, home: Home) -> EmbeddedError:
    if error.errno in {errno.ENOSPC, errno.EDQUOT}:
        return EmbeddedError(
            f"No room on the disk under {home.directory}; make room, or set AUTOPILOT_DATA to a "
            "folder on another disk."
        )
    return not_writable(error)


def _report(message: dict[str, Any]) -> None:
    """The one line that the starter waits for; its pipe is closed with it."""
    os.write(1, json.dumps(message).encode() + b"\n")
    os.dup2(2, 1)


if __name__ == "__main__":
    main()
