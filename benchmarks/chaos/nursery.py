"""Makes workers quickly: has everything imported and forks, so that one can die every second.

    python -m benchmarks.chaos.nursery

Reads lines with the path of a log, forks a process that is `manage.py worker` from there on, and
says its number. Everything it has made dies with it.
"""

from __future__ import annotations

import os
import signal
import sys
import traceback
from collections.abc import Callable

import django
from django.core.management import execute_from_command_line

from autopilot.embedded.lifeline import die_with_parent

COMMAND = ["manage.py", "worker"]


def _become_worker(log: str, wish: Callable[[], None] | None) -> None:
    """In the child; never returns."""
    status = 1
    try:
        if wish is not None:
            wish()
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        for number in (1, 2):
            os.dup2(file, number)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        # What a worker that recycles itself becomes.
        sys.orig_argv = [sys.executable, *COMMAND]
        execute_from_command_line(COMMAND)
        status = 0
    except SystemExit as error:
        status = int(error.code or 0)
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def main() -> None:
    django.setup()
    # What every worker needs and imports late.
    import executions.runtime.supervisor  # noqa: F401
    import workflows.actions.net.client  # noqa: F401

    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    print("ready", flush=True)
    wish = die_with_parent(signal.SIGTERM)
    while line := sys.stdin.readline():
        pid = os.fork()
        if pid == 0:
            _become_worker(line.strip(), wish)
        print(pid, flush=True)


if __name__ == "__main__":
    main()
