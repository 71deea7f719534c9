"""What can go wrong with the embedded servers, in one sentence each."""

from __future__ import annotations

from pathlib import Path


class EmbeddedError(Exception):
    """The embedded servers can't run; the message says why and what to do."""


OWN_SERVERS = "or set DATABASE_URL and REDIS_URL to servers of your own"


def no_room(folder: Path, needed: int, free: int) -> EmbeddedError:
    """`needed` and `free` are bytes."""
    return EmbeddedError(
        f"No room on the disk: the embedded PostgreSQL needs {needed // 2**20} MB under {folder} "
        f"and {free // 2**20} MB are free; make room, or set AUTOPILOT_DATA to a folder on "
        "another disk."
    )


def not_writable(error: OSError) -> EmbeddedError:
    """A folder or file of the embedded servers can't be made, read or written."""
    return EmbeddedError(
        f"The embedded servers' files can't be written ({error.strerror}: {error.filename}); "
        f"give the folder to the account that runs this, set AUTOPILOT_DATA to another, "
        f"{OWN_SERVERS}."
    )


def wont_start(server: str, log: Path, since: int = 0) -> EmbeddedError:
    """`server` ended before it was ready: its last words are in `log`, from byte `since` on."""
    lines = _lines(log, since)
    full = [line for line in lines if "No space left on device" in line]
    if full:
        return EmbeddedError(
            f"No room on the disk: {server} can't write under {log.parent.parent} "
            f"({full[-1]}); make room and start again."
        )
    line = last_line(log, since)
    said = f"its last words are {line!r}; " if line else ""
    return EmbeddedError(f"{server} won't start: {said}see {log}, {OWN_SERVERS}.")


def last_line(log: Path, since: int = 0) -> str:
    """The last line of a log that says something: FATAL and PANIC before anything else."""
    lines = _lines(log, since)
    grave = [line for line in lines if "FATAL:" in line or "PANIC:" in line]
    return (grave or lines or [""])[-1]


def _lines(log: Path, since: int) -> list[str]:
    try:
        with log.open("rb") as file:
            file.seek(since)
            text = file.read().decode(errors="replace")
    except OSError:
        return []
    return [line.strip() for line in text.splitlines() if line.strip()]
