"""The settings of the tests: the project's own, on a pair of servers apart from anybody's data.

The pair belongs to this checkout's tests and is shared by whatever runs of them are under way;
it starts with the first test that needs a database and stops when the last run has ended. Each
process of a run (xdist's workers too) holds a slot of its own: a number that names its database
and its Redis database, so that runs side by side don't meet. The slot is a file lock: the kernel
gives it back however the process ends.
"""

from __future__ import annotations

import fcntl
import os
from typing import TextIO

from autopilot.embedded import Pair, home

REDIS_DATABASES = 256

_home = home("test-servers")

# Made again for every run: nothing is lost when fsync is off. Tests that pull the plug start
# servers of their own, with everything on (`own_servers`).
PAIR = Pair(
    _home.directory,
    durable=False,
    ephemeral=True,
    max_connections=300,
    redis_databases=REDIS_DATABASES,
)


def _take_slot() -> tuple[int, TextIO]:
    folder = _home.directory / "slots"
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(1, REDIS_DATABASES):
        file = (folder / str(number)).open("a")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.close()
        else:
            return number, file
    raise RuntimeError(f"All {REDIS_DATABASES} slots for tests in {folder} are taken.")


SLOT, _slot_file = _take_slot()

# What the developer has in the environment or in .env must not decide what the tests do,
# least of all on which database.
os.environ.update(
    AUTOPILOT_ENV_FILE="",
    DATABASE_URL=PAIR.database_url,
    REDIS_URL=PAIR.redis_url.replace("db=0", f"db={SLOT}"),
    SECRET_KEY="for tests only: not secret, and long enough for what is signed with it",
    AUTOPILOT_ENCRYPTION_KEYS="Zm9yIHRlc3RzIG9ubHksIG9mIDMyIGJ5dGVzOiBvbmU=",
    DEBUG="false",
    HTTPS="false",
    AUTOPILOT_APPS="tests.probe",
    AUTOPILOT_SAMPLES="true",
)

from autopilot.settings import *  # noqa: E402, F403
from autopilot.settings import AUTOPILOT, DATABASES  # noqa: E402

DATABASES["default"]["TEST"] = {"NAME": f"test_{SLOT}"}

# Hashing passwords slowly is for real ones.
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]

# A drain that a test asks for ends once nothing is ready; workers in processes of their own linger.
AUTOPILOT["LINGER_SECONDS"] = 0.0
