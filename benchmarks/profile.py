"""Where the time of a worker goes during a work: samples of py-spy, by what the code is for."""

from __future__ import annotations

import shutil
import signal
import subprocess
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.stand import NotReady, Stand

RATE = 250
STOP_SECONDS = 30.0
TOP = 8

OTHERS = "event loop, libraries"
# By the innermost of our own files on the stack; the first that fits.
AREAS = (
    ("workflows/definition/", "expressions and templates"),
    ("workflows/actions/net/", "HTTP"),
    ("workflows/actions/", "actions"),
    ("executions/engine/", "planning"),
    ("executions/hidden/", "hidden values"),
    ("executions/runtime/performer.py", "calling the action"),
    ("executions/runtime/checkpoint", "checkpoints into rows"),
    ("executions/runtime/columns.py", "checkpoints into rows"),
    ("executions/runtime/control.py", "checkpoints into rows"),
    ("executions/runtime/veiling.py", "checkpoints into rows"),
    ("executions/runtime/batch.py", "batches into SQL, and sending it"),
    ("executions/runtime/committing.py", "batches into SQL, and sending it"),
    ("executions/runtime/lone.py", "batches into SQL, and sending it"),
    ("executions/runtime/direct.py", "batches into SQL, and sending it"),
    ("executions/runtime/claims.py", "claims into snapshots"),
    ("executions/runtime/outers.py", "claims into snapshots"),
    ("executions/runtime/ledger.py", "to the ledger and back"),
    ("executions/runtime/runner.py", "runners and the drain"),
    ("executions/runtime/drain.py", "runners and the drain"),
    ("executions/runtime/listener.py", "bells"),
    ("executions/runtime/dispatch.py", "bells"),
    ("executions/runtime/lease.py", "lease and clock"),
    ("executions/runtime/clock.py", "lease and clock"),
    ("executions/runtime/process.py", OTHERS),
    ("executions/runtime/", "the rest of the runtime"),
)


@dataclass(slots=True)
class Profile:
    """Samples in which the worker's Python ran. by_area: shares of them; leaves: functions."""

    samples: int = 0
    by_area: Counter[str] = field(default_factory=Counter)
    leaves: Counter[str] = field(default_factory=Counter)

    def lines(self) -> list[str]:
        """Areas and functions with their shares, the largest first."""
        if not self.samples:
            return ["no sample: it was over too soon"]
        found = [f"{self.samples:,} samples that hold the interpreter, {RATE} a second"]
        for counts, most in ((self.by_area, len(AREAS)), (self.leaves, TOP)):
            found += [
                f"{count / self.samples:6.1%}  {name}" for name, count in counts.most_common(most)
            ]
        return found


@contextmanager
def profiled(stand: Stand, folder: Path, name: str) -> Iterator[Profile]:
    """Watch the first worker until the end of the block; the raw stacks stay in `folder`.

    Raises NotReady if py-spy is not there or may not look.
    """
    program = shutil.which("py-spy")
    if program is None:
        raise NotReady("There is no py-spy; ./scripts/setup.sh --dev installs it.")
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"{name}.txt"
    watcher = subprocess.Popen(
        [
            *(program, "record", "--pid", str(stand.workers[0].pid), "--gil"),
            *("--format", "raw", "--rate", str(RATE), "--full-filenames", "--output", str(file)),
        ],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    found = Profile()
    try:
        yield found
    finally:
        watcher.send_signal(signal.SIGINT)
        _, said = watcher.communicate(timeout=STOP_SECONDS)
    if watcher.returncode or not file.exists():
        raise NotReady(f"py-spy has not watched the worker: {said.strip()[-300:]}")
    read(file.read_text(), found)


def read(stacks: str, into: Profile) -> None:
    """Add up lines of `outermost;...;innermost count`."""
    for line in stacks.splitlines():
        stack, _, count = line.rpartition(" ")
        frames = stack.split(";")
        number = int(count)
        into.samples += number
        into.by_area[_area(frames)] += number
        into.leaves[_short(frames[-1])] += number


def _area(frames: list[str]) -> str:
    for frame in reversed(frames):
        for part, area in AREAS:
            if f"/{part}" in frame and "/site-packages/" not in frame:
                return area
    return OTHERS


def _short(frame: str) -> str:
    """`plan (/a/b/executions/engine/planner.py:12)` as `plan (engine/planner.py)`."""
    function, _, rest = frame.partition(" (")
    path = rest.rpartition(":")[0] or rest.rstrip(")")
    return f"{function} ({'/'.join(path.split('/')[-2:])})"
