"""The two servers as child processes of the keeper: made, started, watched and stopped."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import signal
import socket
import subprocess
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

from autopilot.embedded.errors import no_room, wont_start
from autopilot.embedded.home import DATABASE, POSTGRES_SOCKET, USER, Home
from autopilot.embedded.lifeline import die_with_parent
from autopilot.embedded.programs import Programs, clean_environment

START_SECONDS = 60.0
"""Recovery after a crash replays at most `max_wal_size` of log; that fits on slow disks too."""

STOP_SECONDS = 20.0
FIRST_START_BYTES = 300 * 2**20
LATER_START_BYTES = 64 * 2**20
LOG_BYTES = 16 * 2**20

LEVELS: dict[str, str] = {
    "listen_addresses": "",
    "port": "5432",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "shared_buffers": "128MB",
    "max_wal_size": "1GB",
    "min_wal_size": "80MB",
    # A flash disk is behind this more often than not.
    "random_page_cost": "1.1",
    # Compiling plans costs more than the engine's short statements take.
    "jit": "off",
    # Nothing replicates from here: one process less.
    "max_logical_replication_workers": "0",
    "log_line_prefix": "%m [%p] ",
    "log_lock_waits": "on",
    "log_checkpoints": "off",
}
DURABLE = {"fsync": "on", "synchronous_commit": "on", "full_page_writes": "on"}
# For the shared servers of the tests, whose data live no longer than the run.
FLEETING = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}


def check_room(home: Home, usage: Callable[[Path], tuple[int, int, int]] | None = None) -> None:
    """Refuse to start where the disk is too full to get anywhere. Sizes in bytes."""
    needed = LATER_START_BYTES if home.data.exists() else FIRST_START_BYTES
    _, _, free = (usage or shutil.disk_usage)(home.directory)
    if free < needed:
        raise no_room(home.directory, needed, free)


class Server(ABC):
    """What both have in common. Start and stop are called by the keeper's only thread."""

    title = ""
    stop_signal = signal.SIGTERM

    def __init__(self, home: Home, account: pwd.struct_passwd | None) -> None:
        self.home = home
        self.account = account
        self.process: subprocess.Popen[bytes] | None = None
        self.wanted = False
        # Where in the log this start begins: what earlier ones said is not about it.
        self.log_from = 0

    @property
    def log(self) -> Path:
        return self.home.logs / f"{self.title.lower()}.log"

    @property
    def pid(self) -> int | None:
        return self.process.pid if self.process and self.process.poll() is None else None

    @abstractmethod
    def command(self) -> list[str]:
        """What to run."""

    @abstractmethod
    def is_ready(self) -> bool:
        """Whether it answers."""

    @abstractmethod
    def folder(self) -> Path:
        """The working directory, by which leftovers are recognised."""

    def launch(self) -> None:
        """Start the process without waiting for it to be ready."""
        self.wanted = True
        with _open_log(self.log) as log:
            self.log_from = log.tell()
            self.process = subprocess.Popen(
                self.command(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=self.folder(),
                env=clean_environment(),
                # Ctrl-C in the terminal is the caller's business, not the servers'.
                start_new_session=True,
                preexec_fn=die_with_parent(self.stop_signal),
                **_identity(self.account),
            )

    def wait_ready(self, seconds: float = START_SECONDS) -> None:
        """Raises EmbeddedError if the server ends, or isn't ready in time."""
        assert self.process is not None
        deadline = time.monotonic() + seconds
        while not self.is_ready():
            if self.process.poll() is not None or time.monotonic() > deadline:
                self.wanted = False
                raise wont_start(self.title, self.log, self.log_from)
            time.sleep(0.01)

    def start(self) -> None:
        if self.pid is None:
            self.launch()
        self.wait_ready()

    def stop(self, first: signal.Signals | None = None) -> None:
        """Ask politely, then less so; returns when the process is gone."""
        self.wanted = False
        if self.process is None:
            return
        for number, seconds in ((first or self.stop_signal, STOP_SECONDS), (signal.SIGKILL, 5.0)):
            if self.process.poll() is not None:
                break
            self.process.send_signal(number)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(seconds)
        self.process = None

    def end_leftovers(self, seconds: float = STOP_SECONDS) -> None:
        """Wait for processes that outlived an earlier keeper or their postmaster, then kill them.

        They are known by their name and working directory: a process number from a file may be
        somebody else's by now.
        """
        deadline = time.monotonic() + seconds
        while left := _processes(self.title, self.folder()):
            late = time.monotonic() > deadline
            for pid in left:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL if late else self.stop_signal)
            time.sleep(0.05)


class Postgres(Server):
    title = "PostgreSQL"
    # "Fast" shutdown: sessions are ended, a checkpoint is written.
    stop_signal = signal.SIGINT

    def __init__(
        self,
        home: Home,
        account: pwd.struct_passwd | None,
        programs: Programs,
        *,
        durable: bool,
        max_connections: int,
    ) -> None:
        super().__init__(home, account)
        self.programs = programs
        self.durable = durable
        self.max_connections = max_connections

    def folder(self) -> Path:
        return self.home.data

    def command(self) -> list[str]:
        levels = {
            **LEVELS,
            **(DURABLE if self.durable else FLEETING),
            "max_connections": str(self.max_connections),
            # A list: quoted, so that spaces and commas in the path are part of it.
            "unix_socket_directories": '"' + str(self.home.sockets).replace('"', '""') + '"',
        }
        options = [part for name, value in levels.items() for part in ("-c", f"{name}={value}")]
        return [str(self.programs.postgres), "-D", str(self.home.data), *options]

    def is_ready(self) -> bool:
        # The last line is "starting", "ready   "...; the file of an earlier life was removed.
        try:
            lines = (self.home.data / "postmaster.pid").read_text().splitlines()
        except OSError:
            return False
        return len(lines) >= 8 and lines[7].strip() == "ready"

    def launch(self) -> None:
        self.end_leftovers()
        # Nobody of ours is alive: whatever these files say is stale. PostgreSQL itself would
        # refuse to start where the number in them belongs to a new, unrelated process.
        for path in (
            self.home.data / "postmaster.pid",
            self.home.sockets / POSTGRES_SOCKET,
            self.home.sockets / f"{POSTGRES_SOCKET}.lock",
        ):
            path.unlink(missing_ok=True)
        super().launch()

    def create(self) -> None:
        """Make the cluster with its one database, unless it is there.

        It is made under another name and renamed when whole: a start that is cut short leaves
        nothing that looks like data.
        """
        if self.home.data.exists():
            return
        draft = self.home.draft
        shutil.rmtree(draft, ignore_errors=True)
        draft.mkdir(mode=0o700)
        if self.account is not None:
            os.chown(draft, self.account.pw_uid, self.account.pw_gid)
        arguments = ["-D", str(draft), "-U", USER, "--auth=trust", "--encoding=UTF8"]
        arguments += ["--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--locale=C"]
        # One flush of everything at the end of the next step does for both.
        self._run([str(self.programs.initdb), *arguments, "--no-sync"])
        # Sockets only; who may use them is decided by the mode of their folder.
        (draft / "pg_hba.conf").write_text("local all all trust\n")
        self._run(
            [str(self.programs.postgres), "--single", "-D", str(draft), "template1"],
            f'CREATE DATABASE "{DATABASE}"\n',
        )
        if self.durable:
            self._run([str(self.programs.initdb), "--sync-only", "-D", str(draft)])
        draft.rename(self.home.data)

    def _run(self, command: list[str], words: str = "") -> None:
        with _open_log(self.log) as log:
            self.log_from = log.tell()
            result = subprocess.run(
                command,
                check=False,
                input=words.encode(),
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=self.home.draft,
                env=clean_environment(),
                preexec_fn=die_with_parent(signal.SIGKILL),
                **_identity(self.account),
            )
        if result.returncode != 0:
            raise wont_start(self.title, self.log, self.log_from)


class Valkey(Server):
    title = "Valkey"

    def __init__(
        self,
        home: Home,
        account: pwd.struct_passwd | None,
        programs: Programs,
        *,
        databases: int,
    ) -> None:
        super().__init__(home, account)
        self.programs = programs
        self.databases = databases

    def folder(self) -> Path:
        return self.home.sockets

    def command(self) -> list[str]:
        levels = {
            "port": "0",
            "unixsocket": str(self.home.valkey_socket),
            # Who comes near it is decided by the mode of its folder.
            "unixsocketperm": "777",
            "databases": str(self.databases),
            # What is in here may vanish; nothing is written to the disk.
            "save": "",
            "appendonly": "no",
            "dir": str(self.home.sockets),
            "daemonize": "no",
        }
        options = [part for name, value in levels.items() for part in (f"--{name}", value)]
        return [str(self.programs.valkey), *options]

    def launch(self) -> None:
        self.end_leftovers()
        self.home.valkey_socket.unlink(missing_ok=True)
        super().launch()

    def is_ready(self) -> bool:
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(1.0)
            try:
                client.connect(str(self.home.valkey_socket))
                client.sendall(b"PING\r\n")
                return client.recv(16).startswith(b"+PONG")
            except OSError:
                return False


def _identity(account: pwd.struct_passwd | None) -> dict[str, Any]:
    if account is None:
        return {}
    return {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []}


def _open_log(path: Path) -> BinaryIO:
    """For appending; a log that has grown large makes room for a new one."""
    with contextlib.suppress(FileNotFoundError):
        if path.stat().st_size > LOG_BYTES:
            path.replace(path.with_suffix(".log.1"))
    return path.open("ab")


def _processes(title: str, folder: Path) -> list[int]:
    """The numbers of this server's processes that work in `folder`."""
    # Imported here: the reading of all processes is for the rare start after a crash.
    import psutil

    name = {"PostgreSQL": "postgres", "Valkey": "valkey-server"}[title]
    found = []
    for process in psutil.process_iter(["name"]):
        if process.info["name"] != name or process.pid == os.getpid():
            continue
        with contextlib.suppress(psutil.Error, OSError):
            running = process.status() != psutil.STATUS_ZOMBIE
            if running and Path(process.cwd()) == folder:
                found.append(process.pid)
    return found
