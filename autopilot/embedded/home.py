"""Where an embedded pair keeps its data, sockets, logs and (as root) a copy of the programs."""

from __future__ import annotations

import hashlib
import json
import os
import pwd
import stat
import subprocess
from dataclasses import asdict, dataclass
from pathlib import Path
from urllib.parse import quote

from autopilot.embedded.errors import OWN_SERVERS, EmbeddedError

PROJECT = Path(__file__).resolve().parent.parent.parent

ACCOUNT = "autopilotcx"
"""The system account that PostgreSQL runs as when this runs as root."""

# sun_path holds 104 bytes on macOS, 108 on Linux, with the closing zero.
SOCKET_PATH_BYTES = 103
POSTGRES_SOCKET = ".s.PGSQL.5432"
USER = DATABASE = "autopilot"


@dataclass(frozen=True)
class Addresses:
    """What clients need: both are addresses of Unix sockets; nothing listens on the network."""

    database_url: str
    redis_url: str


@dataclass(frozen=True)
class Order:
    """What a keeper is asked to keep; handed over as JSON."""

    directory: str
    durable: bool = True
    max_connections: int = 100
    redis_databases: int = 16
    # The data live no longer than the keeper.
    ephemeral: bool = False

    def dump(self) -> str:
        return json.dumps(asdict(self))


@dataclass(frozen=True)
class Home:
    """The folder of one pair of servers and the paths in it."""

    directory: Path

    @property
    def data(self) -> Path:
        return self.directory / "data"

    @property
    def draft(self) -> Path:
        """Where a cluster is made, until it is whole and takes the name `data`."""
        return self.directory / "data.new"

    @property
    def logs(self) -> Path:
        return self.directory / "log"

    @property
    def programs(self) -> Path:
        """Copies of the servers' programs, for an account that can't reach the originals."""
        return self.directory / "programs"

    @property
    def sockets(self) -> Path:
        """The folder of the sockets: its mode is what keeps other people out."""
        folder = self.directory / "run"
        short = len(os.fsencode(folder / POSTGRES_SOCKET)) <= SOCKET_PATH_BYTES
        # A comma would make it a list of hosts to PostgreSQL's clients.
        if short and "," not in str(folder):
            return folder
        digest = hashlib.sha256(os.fsencode(self.directory)).hexdigest()[:16]
        return Path("/tmp") / f"autopilotcx-{os.geteuid()}-{digest}"  # noqa: S108

    @property
    def control(self) -> Path:
        """The socket on which the keeper listens for users."""
        return self.sockets / "keeper.sock"

    @property
    def valkey_socket(self) -> Path:
        return self.sockets / "valkey.sock"

    @property
    def start_lock(self) -> Path:
        """Held while somebody looks for a keeper and starts one."""
        return self.directory / "start.lock"

    @property
    def keeper_lock(self) -> Path:
        """Held by the keeper as long as it lives."""
        return self.directory / "keeper.lock"

    @property
    def addresses(self) -> Addresses:
        """Known before anything runs."""
        folder = quote(str(self.sockets), safe="")
        return Addresses(
            database_url=f"postgresql://{USER}@/{DATABASE}?host={folder}",
            redis_url=f"unix://{quote(str(self.valkey_socket))}?db=0",
        )

    def prepare(self, account: pwd.struct_passwd | None) -> None:
        """Make the folders. Only what this makes gets an owner and a mode.

        Raises OSError where that is impossible, EmbeddedError where the sockets' folder is
        somebody else's.
        """
        for folder in (self.directory, self.logs):
            folder.mkdir(mode=0o755, parents=True, exist_ok=True)
        sockets = self.sockets
        sockets.mkdir(mode=0o700, exist_ok=True)
        found = sockets.lstat()
        owners = {os.geteuid()} | ({account.pw_uid} if account else set())
        if not stat.S_ISDIR(found.st_mode) or found.st_uid not in owners:
            raise EmbeddedError(
                f"The folder of the servers' sockets, {sockets}, belongs to another account; "
                f"remove it, set AUTOPILOT_DATA to a shorter path, {OWN_SERVERS}."
            )
        if account is None:
            sockets.chmod(0o700)
        else:
            # The account makes the sockets; root's group comes in to use them, nobody else.
            os.chown(sockets, account.pw_uid, 0)
            sockets.chmod(0o750)


def home(name: str = "servers") -> Home:
    """The home of this checkout's pair; `name` tells its several pairs (data, tests) apart.

    AUTOPILOT_DATA names the parent folder. Otherwise that is `var/`, or for root a folder of its
    own under /var/lib, because PostgreSQL refuses to run as root and the account it runs as
    instead need not be able to reach the checkout: opening the checkout's parents to it would
    expose what else is in them.
    """
    chosen = os.environ.get("AUTOPILOT_DATA", "").strip()
    if chosen:
        return Home(Path(chosen).expanduser().resolve() / name)
    if os.geteuid() != 0:
        return Home(PROJECT / "var" / name)
    digest = hashlib.sha256(os.fsencode(PROJECT)).hexdigest()[:12]
    return Home(Path("/var/lib/autopilotcx") / digest / name)


def server_account(home: Home) -> pwd.struct_passwd | None:
    """The account that the servers run as: None (the own one), or for root an unprivileged one.

    Existing data keep their owner. Otherwise a system account is made once; where that can't be
    done (no useradd, a read-only /etc) `nobody` serves.
    """
    if os.geteuid() != 0:
        return None
    try:
        owner = home.data.stat().st_uid
    except FileNotFoundError:
        owner = 0
    if owner:
        try:
            return pwd.getpwuid(owner)
        except KeyError:
            raise EmbeddedError(
                f"The data in {home.data} belong to the account with the number {owner}, which "
                "doesn't exist any more; give them to another with chown -R."
            ) from None
    return _find(ACCOUNT) or _add_account() or pwd.getpwnam("nobody")


def _find(name: str) -> pwd.struct_passwd | None:
    try:
        return pwd.getpwnam(name)
    except KeyError:
        return None


def _add_account() -> pwd.struct_passwd | None:
    command = ["useradd", "--system", "--user-group", "--no-create-home"]
    command += ["--home-dir", "/nonexistent", "--shell", "/usr/sbin/nologin", ACCOUNT]
    try:
        subprocess.run(command, check=False, capture_output=True, timeout=30)
    except (OSError, subprocess.TimeoutExpired):
        return None
    # Another start may have been quicker: what counts is whether the account is there.
    return _find(ACCOUNT)
