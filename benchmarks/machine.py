"""What the machine can do, and what processes take of it."""

from __future__ import annotations

import os
import platform
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from math import ceil
from pathlib import Path

import psutil
from psycopg2.extensions import connection as Connection

from benchmarks.stand import Stand

SAMPLE_SECONDS = 0.1


def facts() -> dict[str, str | int | float]:
    """Cores, memory, Python, kernel: what figures must be read with."""
    return {
        "cores": os.cpu_count() or 0,
        "memory_gib": round(psutil.virtual_memory().total / 2**30, 1),
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
    }


def commit_rate(connection: Connection, seconds: float) -> float:
    """Commits per second of one connection: one INSERT and one UPDATE each, as a program sends
    them with psycopg2 (BEGIN, INSERT, UPDATE, COMMIT: four round trips).
    """
    with connection.cursor() as cursor:
        cursor.execute(
            "CREATE TABLE IF NOT EXISTS benchmark_commit"
            " (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, n int NOT NULL)"
        )
        count = 0
        started = time.perf_counter()
        while (spent := time.perf_counter() - started) < seconds:
            cursor.execute("BEGIN")
            cursor.execute("INSERT INTO benchmark_commit (n) VALUES (%s) RETURNING id", (count,))
            row = cursor.fetchone()
            cursor.execute("UPDATE benchmark_commit SET n = n + 1 WHERE id = %s", row)
            cursor.execute("COMMIT")
            count += 1
        cursor.execute("DROP TABLE benchmark_commit")
    return count / spent


def settle(connection: Connection) -> None:
    """Begin each work alike: nothing that an earlier one left to be done falls into it."""
    with connection.cursor() as cursor:
        cursor.execute("VACUUM (ANALYZE)")
        cursor.execute("CHECKPOINT")


@dataclass(slots=True)
class Meter:
    """CPU seconds by role and log written between `start` and `stop`."""

    stand: Stand
    connection: Connection
    cpu_seconds: dict[str, float] = field(default_factory=dict)
    wal_bytes: int = 0
    wal_flushes: int = 0

    def start(self) -> None:
        self.cpu_seconds = self._cpu()
        self.wal_bytes, self.wal_flushes = self._wal()

    def stop(self) -> None:
        before = self.cpu_seconds
        self.cpu_seconds = {
            role: round(now - before.get(role, 0.0), 3) for role, now in self._cpu().items()
        }
        written, flushes = self._wal()
        self.wal_bytes = written - self.wal_bytes
        self.wal_flushes = flushes - self.wal_flushes

    def _cpu(self) -> dict[str, float]:
        return {role: sum(map(_cpu_of, found)) for role, found in self.stand.processes().items()}

    def _wal(self) -> tuple[int, int]:
        """Bytes of log, and flushes of it. Backends report the latter up to a second late."""
        with self.connection.cursor() as cursor:
            cursor.execute("SELECT pg_wal_lsn_diff(pg_current_wal_lsn(), '0/0')::bigint")
            written = cursor.fetchone()
            cursor.execute(
                "SELECT sum(fsyncs)::bigint FROM pg_stat_io WHERE object = 'wal'"
                " AND context = 'normal'"
            )
            flushes = cursor.fetchone()
        return (written[0] if written else 0), (flushes[0] or 0 if flushes else 0)


def _cpu_of(process: psutil.Process) -> float:
    """User and system time, with what ended and reaped children have used."""
    try:
        times = process.cpu_times()
    except psutil.NoSuchProcess:
        return 0.0
    return float(times.user + times.system + times.children_user + times.children_system)


@dataclass(frozen=True, slots=True)
class Memory:
    """PSS in MB (10**6 bytes) of each process, by role, and of all of them."""

    worker: list[float]
    web: list[float]

    @property
    def total(self) -> float:
        return round(sum(self.worker) + sum(self.web), 1)


def memory_of(stand: Stand) -> Memory:
    """Worker and web processes now; database and broker are left out."""
    found = stand.processes()
    return Memory(worker=_pss(found["worker"]), web=_pss(found["web"]))


def _pss(processes: Sequence[psutil.Process]) -> list[float]:
    sizes: list[float] = []
    for process in processes:
        try:
            lines = Path(f"/proc/{process.pid}/smaps_rollup").read_text().splitlines()
        except (FileNotFoundError, ProcessLookupError):
            continue
        kilobytes = next(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
        sizes.append(round(kilobytes * 1024 / 1e6, 1))
    return sizes


class PeakMemory:
    """Samples while a block runs; `peak` is the sample with the largest sum."""

    def __init__(self, stand: Stand) -> None:
        self._stand = stand
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._work, name="memory")
        self.peak = memory_of(stand)

    def __enter__(self) -> PeakMemory:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _work(self) -> None:
        while not self._stop.wait(SAMPLE_SECONDS):
            found = memory_of(self._stand)
            if found.total > self.peak.total:
                self.peak = found


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that at least `share` of all are not above."""
    ordered = sorted(values)
    return ordered[max(0, ceil(round(len(ordered) * share, 9)) - 1)]


__all__ = [
    "Memory",
    "Meter",
    "PeakMemory",
    "commit_rate",
    "facts",
    "memory_of",
    "percentile",
    "settle",
]
