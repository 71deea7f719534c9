"""W7 itself: two databases of one server, a small and a large one, asked the same in turns."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field
from statistics import median
from typing import Any

import psycopg2

from autopilot.embedded.home import PROJECT
from benchmarks.machine import percentile
from benchmarks.scale.fill import Kinds, Published, fill
from benchmarks.scale.pages import PAGES
from benchmarks.stand import READY_SECONDS, NotReady, Stand

# Each is asked so often in a row, and the rounds take turns with which database is first.
WORK = {
    "claim_batch": 1,
    "claim_one": 3,
    "start": 5,
    "start_100": 1,
    "rest_start": 3,
    "why_timer": 5,
    "why_slot": 5,
    "why_ready": 5,
    "why_failed": 5,
    "clock_tick": 3,
    **dict.fromkeys(PAGES, 2),
}
# What the target is about; the others are what people ask for less often.
JUDGED = (
    *("claim_batch", "claim_one", "start", "start_100", "rest_start", "api_list", "console_list"),
    *("home", "why_timer", "why_slot", "why_ready", "why_failed"),
)
WARM_ROUNDS = 2
# What goes on beside a purge: a start makes ready what a claim takes.
BESIDE = ("start", "claim_one")
OLDER_THAN = "81d"
QUIET_SECONDS, PURGE_SECONDS = 10.0, 600.0
CLAIMED = 55


@dataclass(slots=True)
class Purging:
    """Starts and claims in the large database while the oldest tenth is deleted, and without.

    p95 in milliseconds, by what: of what was asked all the while.
    """

    executions: int = 0
    seconds: float = 0.0
    quiet_ms: dict[str, float] = field(default_factory=dict)
    purging_ms: dict[str, float] = field(default_factory=dict)


@dataclass(slots=True)
class Scale:
    """Medians in milliseconds, of the small and the large database, and their ratio."""

    small: int
    large: int
    fill_seconds: float
    large_gb: float
    small_ms: dict[str, float] = field(default_factory=dict)
    large_ms: dict[str, float] = field(default_factory=dict)
    ratios: dict[str, float] = field(default_factory=dict)
    worst_ratio: float = 0.0
    purge: Purging | None = None


def flat(result: dict[str, Any]) -> dict[str, float]:
    """A result as JSON has it, as figures."""
    found: dict[str, float] = {"worst_ratio": result["worst_ratio"], "large_gb": result["large_gb"]}
    purge = result["purge"]
    found |= {"purged": purge["executions"], "purge_seconds": purge["seconds"]}
    for part in ("quiet_ms", "purging_ms"):
        found |= {f"{what}_{part}": value for what, value in purge[part].items()}
    for part in ("small_ms", "large_ms", "ratios"):
        found |= {f"{what}_{part}": value for what, value in result[part].items()}
    return found


def kinds_of(ended: int) -> Kinds:
    """As many that wait for a moment as have ended, and a tenth of that wait for a slot."""
    return Kinds(ended=ended, timers=ended, slots=max(1, ended // 10))


def run_scale(
    stand: Stand, small: int, large: int, rounds: int, say: Callable[[str], None]
) -> Scale:
    """small, large: how many have ended in each. Raises NotReady."""
    with closing(stand.connect()) as connection, connection.cursor() as cursor:
        cursor.execute("CREATE DATABASE scale_small")
        first = Database(stand, "scale_small", 1)
        first.migrate()
        side = first.side()
        ids = side.ask(do="publish")
        side.end()
        published = Published(
            plain=[(workflow, version) for workflow, version in ids["plain"]],
            timer=tuple(ids["timer"]),
            slot=tuple(ids["slot"]),
        )
        cursor.execute("CREATE DATABASE scale_large TEMPLATE scale_small")
        second = Database(stand, "scale_large", 2)
        began = time.monotonic()
        try:
            first.fill(kinds_of(small), published)
            second.fill(kinds_of(large), published)
            lasted = time.monotonic() - began
            say(f"Filled with {kinds_of(large).total:,} executions in {lasted:.0f} s")
            found = Scale(small, large, lasted, second.gigabytes())
            sides = first.side(), second.side()
            _measure(found, *sides, rounds)
            say(f"At worst {found.worst_ratio:.2f} times; now beside a purge ...")
            found.purge = _purge(second, sides[1], min(QUIET_SECONDS, large / 1000))
        finally:
            for database in (first, second):
                database.end()
                cursor.execute(f"DROP DATABASE IF EXISTS {database.name} WITH (FORCE)")
    return found


def _measure(found: Scale, small: Side, large: Side, rounds: int) -> None:
    # Whatever is claimed must be there: the warm rounds and the others, of a batch and of one.
    ready = (rounds + WARM_ROUNDS + 1) * (CLAIMED + 3)
    sides = {"small": small, "large": large}
    for side in sides.values():
        side.ask(do="prepare", ready=ready)
    taken: dict[str, dict[str, list[float]]] = {name: {} for name in sides}
    for number in range(rounds + WARM_ROUNDS):
        order = list(sides) if number % 2 else list(sides)[::-1]
        for what, times in WORK.items():
            for name in order:
                answer = sides[name].ask(do="measure", what=what, times=times)
                if number >= WARM_ROUNDS:
                    taken[name].setdefault(what, []).extend(answer)
    found.small_ms = {what: round(median(values), 3) for what, values in taken["small"].items()}
    found.large_ms = {what: round(median(values), 3) for what, values in taken["large"].items()}
    found.ratios = {what: found.large_ms[what] / found.small_ms[what] for what in WORK}
    found.worst_ratio = max(found.ratios[what] for what in JUDGED)


def _purge(database: Database, side: Side, quiet_seconds: float) -> Purging:
    """Delete the oldest tenth of what has ended, as an operator does."""
    # It makes way for whatever waits for a worker, and the measured claims are the only ones.
    side.ask(do="drain")
    found = Purging()
    for name, seconds in (("quiet", quiet_seconds), ("purging", PURGE_SECONDS)):
        process = None
        if name == "purging":
            process = database.spawn("manage.py", "purge_executions", "--older-than", OLDER_THAN)
        began = time.monotonic()
        taken: dict[str, list[float]] = {what: [] for what in BESIDE}
        while time.monotonic() - began < seconds and (process is None or process.poll() is None):
            for what in BESIDE:
                taken[what] += side.ask(do="measure", what=what, times=10)
        p95 = {what: round(percentile(values, 0.95), 2) for what, values in taken.items()}
        setattr(found, f"{name}_ms", p95)
    assert process is not None
    if process.wait(PURGE_SECONDS):
        raise NotReady("The purge did not end well; its words are in the log above.")
    found.seconds = time.monotonic() - began
    with closing(psycopg2.connect(database.url)) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT sum(executions) FROM monitoring_purge")
        row = cursor.fetchone()
        found.executions = int(row[0] or 0) if row else 0
    return found


class Database:
    """One of the two, on the stand's server."""

    def __init__(self, stand: Stand, name: str, number: int) -> None:
        self.stand = stand
        self.name = name
        self.url = stand.pair.database_url.replace("/autopilot?", f"/{name}?")
        redis = stand.pair.redis_url.replace("?db=0", f"?db={number}")
        self.environment = {"DATABASE_URL": self.url, "REDIS_URL": redis}
        self._sides: list[Side] = []

    def migrate(self) -> None:
        subprocess.run(
            [sys.executable, "manage.py", "migrate", "--verbosity", "0", "--no-input"],
            check=True,
            cwd=PROJECT,
            env={**self.stand.environment, **self.environment},
            timeout=READY_SECONDS * 2,
        )

    def fill(self, kinds: Kinds, published: Published) -> None:
        with closing(psycopg2.connect(self.url)) as connection:
            connection.autocommit = True
            fill(connection, kinds, published)
            with connection.cursor() as cursor:
                cursor.execute("CHECKPOINT")

    def gigabytes(self) -> float:
        with closing(psycopg2.connect(self.url)) as connection, connection.cursor() as cursor:
            cursor.execute("SELECT pg_database_size(current_database())")
            row = cursor.fetchone()
            return round(row[0] / 1e9, 2) if row else 0.0

    def spawn(self, *arguments: str) -> subprocess.Popen[bytes]:
        return self.stand.spawn(f"{self.name}-other", *arguments, environment=self.environment)

    def side(self) -> Side:
        process = self.stand.spawn(
            self.name, "-m", "benchmarks.scale.side", pipes=True, environment=self.environment
        )
        side = Side(process, f"{self.stand.log_folder}/{self.name}.log")
        self._sides.append(side)
        return side

    def end(self) -> None:
        for side in self._sides:
            side.end()


class Side:
    """The process that measures in one of them."""

    def __init__(self, process: subprocess.Popen[bytes], log: str) -> None:
        self._process = process
        self._log = log

    def ask(self, **order: Any) -> Any:
        """Raises NotReady if it ended; its log says why."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(order).encode() + b"\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            with open(self._log, errors="replace") as log:
                raise NotReady(
                    f"The process that measures has ended; its last words:\n{log.read()[-2000:]}"
                )
        return json.loads(line)

    def end(self) -> None:
        if self._process.stdin is not None and not self._process.stdin.closed:
            self._process.stdin.close()
        self._process.wait(READY_SECONDS)
