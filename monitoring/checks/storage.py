"""Room on the disk, as far as it can be known from here."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from django.conf import settings
from django.db import connection

from monitoring.checks.base import Check, ok, problem, warning

GIB = 2**30
# Free shares and bytes: below both it is said.
WARNING, PROBLEM = (0.10, 10 * GIB), (0.03, GIB)


def disks(cursor: Any) -> Iterator[Check]:
    """Of PostgreSQL's data if it is on this machine and says where, and of the checkout's logs."""
    cursor.execute("SELECT pg_database_size(current_database())")
    (size,) = cursor.fetchone()
    yield ok("disk.database", f"The database takes {size / GIB:,.2f} GiB.", bytes=size)
    data = _data_folder(cursor)
    if data is not None:
        yield _room("disk.postgres", data, "PostgreSQL's data")
    yield _room("disk.here", Path(settings.BASE_DIR), "this checkout and its logs")


def _data_folder(cursor: Any) -> Path | None:
    host = str(connection.settings_dict.get("HOST") or "")
    if host and not host.startswith("/") and host not in ("localhost", "127.0.0.1", "::1"):
        return None
    cursor.execute("SELECT setting FROM pg_settings WHERE name = 'data_directory'")
    row = cursor.fetchone()
    folder = Path(row[0]) if row and row[0] else None
    try:
        return folder if folder is not None and folder.exists() else None
    except OSError:
        return None


def _room(name: str, folder: Path, what: str) -> Check:
    found = shutil.disk_usage(folder)
    share = found.free / found.total
    facts = {"free_bytes": found.free, "total_bytes": found.total}
    message = f"{found.free / GIB:,.1f} GiB ({share:.0%}) are free on the disk of {what}."
    advice = (
        "Make room, or give it more. When it is full PostgreSQL refuses to write: executions wait, "
        "and go on once there is room."
    )
    if share < PROBLEM[0] and found.free < PROBLEM[1]:
        return problem(name, message, advice, **facts)
    if share < WARNING[0] and found.free < WARNING[1]:
        return warning(name, message, advice, **facts)
    return ok(name, message, **facts)


LOOKS = (disks,)
