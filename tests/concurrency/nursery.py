"""Processes of this project within a moment: what they import is imported once, and they fork.

    python -m tests.concurrency.nursery

A process spends seconds of a core on importing, before it does anything that a test is about. Each
is a process of its own like any other: it is what its command line says from `main` on.

Reads lines of JSON and answers each with one: `{"module": ..., "arguments": [...], "log": ...,
"environment": {...}}` starts one and answers its number, `{"pid": ...}` answers how that one ended,
or null as long as it runs. Everything it has started dies with it.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent.parent

# What no module looks at while it is imported.
PASSED_ON = {"PROBE_FILE", "PYTEST_CURRENT_TEST"}
# Between two looks at whether a process has ended.
LOOK_SECONDS = 0.02


class Process:
    """One that was forked, with the verbs of `subprocess.Popen`."""

    def __init__(self, nursery: Nursery, pid: int) -> None:
        self._nursery = nursery
        self.pid = pid
        self.returncode: int | None = None

    def poll(self) -> int | None:
        if self.returncode is None:
            self.returncode = self._nursery.ask({"pid": self.pid})
        return self.returncode

    def wait(self, timeout: float) -> int:
        """Raises subprocess.TimeoutExpired."""
        until = time.monotonic() + timeout
        while (status := self.poll()) is None:
            if time.monotonic() > until:
                raise subprocess.TimeoutExpired(f"process {self.pid}", timeout)
            time.sleep(LOOK_SECONDS)
        return status

    def terminate(self) -> None:
        self._signal(signal.SIGTERM)

    def kill(self) -> None:
        self._signal(signal.SIGKILL)

    def _signal(self, number: signal.Signals) -> None:
        # Until it was asked about its number belongs to nobody else.
        if self.poll() is None:
            os.kill(self.pid, number)


class Nursery:
    """Forks processes that read their settings from one environment."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.concurrency.nursery"],
            cwd=ROOT,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )

    def start(
        self, module: str, arguments: list[str], *, log: Path, environment: Mapping[str, str]
    ) -> Process:
        """A process that is `python -m module arguments`, with what it says in `log`."""
        wanted = {"module": module, "arguments": arguments, "log": str(log)}
        return Process(self, self.ask({**wanted, "environment": dict(environment)}))

    def ask(self, question: dict[str, Any]) -> Any:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(question).encode() + b"\n")
        self._process.stdin.flush()
        return json.loads(self._process.stdout.readline())

    def close(self) -> None:
        self._process.communicate(timeout=10)


class Nurseries:
    """One for every environment that settings are read from; most tests have the same."""

    def __init__(self) -> None:
        self._made: dict[str, Nursery] = {}

    def start(
        self, module: str, *arguments: str, log: Path, environment: Mapping[str, str]
    ) -> Process:
        own = {name: value for name, value in environment.items() if name not in PASSED_ON}
        key = json.dumps(own, sort_keys=True)
        if key not in self._made:
            self._made[key] = Nursery(own)
        return self._made[key].start(module, [*arguments], log=log, environment=environment)

    def close(self) -> None:
        for each in self._made.values():
            each.close()


# In the process of its own ------------------------------------------------------------------------


def main() -> None:
    import django

    django.setup()
    _import_what_they_need()
    from autopilot.embedded.lifeline import die_with_parent

    wish = die_with_parent(signal.SIGKILL)
    gc.freeze()
    while line := sys.stdin.readline():
        print(json.dumps(_answer(json.loads(line), wish)), flush=True)


def _import_what_they_need() -> None:
    for name in (
        "autopilot.urls",
        "executions.management.commands.worker",
        "executions.runtime.supervisor",
        "tests.concurrency.racer",
        "tests.engine",
        "workflows.actions.net.client",
    ):
        importlib.import_module(name)


def _answer(asked: dict[str, Any], wish: Callable[[], None] | None) -> int | None:
    if "pid" in asked:
        pid, status = os.waitpid(asked["pid"], os.WNOHANG)
        return os.waitstatus_to_exitcode(status) if pid else None
    pid = os.fork()
    if pid == 0:
        _become(asked, wish)
    return pid


def _become(asked: dict[str, Any], wish: Callable[[], None] | None) -> None:
    """In the child; never returns."""
    status = 1
    try:
        if wish is not None:
            wish()
        os.environ.clear()
        os.environ.update(asked["environment"])
        log = os.open(asked["log"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        for number in (1, 2):
            os.dup2(log, number)
        module, arguments = asked["module"], asked["arguments"]
        sys.argv = [module, *arguments]
        # What a worker that recycles itself becomes.
        sys.orig_argv = [sys.executable, "-m", module, *arguments]
        importlib.import_module(module).main()
        status = 0
    except SystemExit as error:
        status = error.code if isinstance(error.code, int) else int(error.code is not None)
        if isinstance(error.code, str):
            print(error.code, file=sys.stderr)
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


if __name__ == "__main__":
    main()
