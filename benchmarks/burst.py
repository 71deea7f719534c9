"""Many executions at once: submitted by other processes, watched until the last has ended."""

from __future__ import annotations

import json
import subprocess
import time
from dataclasses import dataclass
from typing import Any

from psycopg2.extensions import connection as Connection

from benchmarks.machine import Meter
from benchmarks.stand import Stand
from benchmarks.workload import STEPS, check_books, last_id

PER_EXECUTION_SECONDS = 0.05
SUBMIT_LIMITED_SHARE = 0.8

# Steps by their own end. The window lies between the ends of the first and the last tenth of the
# executions, which are ramps; the submitters' end cuts it in two.
TIMELINE = """
WITH mine AS (SELECT id, created_at, started_at, ended_at FROM executions_execution
               WHERE workflow_id = %(workflow)s AND id > %(after)s),
marks AS (SELECT percentile_disc(0.1) WITHIN GROUP (ORDER BY ended_at) AS low,
                 percentile_disc(0.9) WITHIN GROUP (ORDER BY ended_at) AS high,
                 to_timestamp(%(submitted)s) AS submitted FROM mine),
steps AS (SELECT s.ended_at AS at FROM executions_stepexecution s JOIN mine
              ON mine.id = s.execution_id),
instants AS (SELECT low + (high - low) * n / 100 AS at FROM marks, generate_series(0, 100) AS n),
waiting AS (SELECT at, (SELECT count(*) FROM mine WHERE created_at <= at AND started_at > at) AS n
              FROM instants)
SELECT extract(epoch FROM high - low)::float,
       (SELECT count(*) FROM steps WHERE at > low AND at <= high),
       extract(epoch FROM least(high, submitted) - low)::float,
       (SELECT count(*) FROM steps WHERE at > low AND at <= least(high, submitted)),
       (SELECT percentile_disc(0.5) WITHIN GROUP (ORDER BY n) FROM waiting)
  FROM marks
"""


@dataclass(frozen=True, slots=True)
class Burst:
    """What one burst took. Rates are per second.

    seconds: from before the first submit until a reader sees that all have ended.
    window_*: between the ends of the first and the last tenth of the executions, by the steps' own
    times; window_submitting and window_after are its parts while submitters ran and after.
    waiting_median: executions that waited to be claimed, over the instants of the window.
    submit_limited: the submitters took nearly as long as the whole, so they set the rate.
    """

    executions: int
    seconds: float
    submit_seconds: float
    executions_per_s: float
    steps_per_s: float
    submits_per_s: float
    window_seconds: float
    window_steps_per_s: float
    window_submitting_steps_per_s: float | None
    window_after_steps_per_s: float | None
    waiting_median: int
    submit_limited: bool
    cpu_seconds: dict[str, float]
    wal_kb_per_execution: float
    wal_flushes: int


def run_burst(
    stand: Stand,
    connection: Connection,
    *,
    workflow_id: int,
    count: int,
    submitters: int,
    batch: int,
) -> Burst:
    """Submit `count` executions, wait for their ends, check the books.

    batch: executions per call of start_many; 1 = start_execution, one by one.
    Raises BooksWrong, NotReady.
    """
    after = last_id(connection)
    shares = [count // submitters + (number < count % submitters) for number in range(submitters)]
    processes = [_submitter(stand, workflow_id, share, batch) for share in shares if share]
    meter = Meter(stand, connection)
    meter.start()
    for process in processes:
        _tell(process)
    deadline = time.monotonic() + 60 + count * PER_EXECUTION_SECONDS
    reports = [_report(process, deadline) for process in processes]
    began, submitted = min(r["began"] for r in reports), max(r["ended"] for r in reports)
    _wait_for_ends(stand, connection, deadline)
    ended = time.time()
    meter.stop()
    steps = check_books(connection, workflow_id=workflow_id, after=after, expected=count)
    with connection.cursor() as cursor:
        cursor.execute(TIMELINE, {"workflow": workflow_id, "after": after, "submitted": submitted})
        row: Any = cursor.fetchone()
    window, window_steps, head, head_steps, waiting = row
    return Burst(
        executions=count,
        seconds=ended - began,
        submit_seconds=submitted - began,
        executions_per_s=count / (ended - began),
        steps_per_s=steps / (ended - began),
        submits_per_s=count / (submitted - began),
        window_seconds=window,
        window_steps_per_s=window_steps / window if window else 0.0,
        window_submitting_steps_per_s=head_steps / head if head > 0.5 else None,
        window_after_steps_per_s=(
            (window_steps - head_steps) / (window - head) if window - max(head, 0) > 0.5 else None
        ),
        waiting_median=waiting,
        submit_limited=submitted - began > SUBMIT_LIMITED_SHARE * (ended - began),
        cpu_seconds={**meter.cpu_seconds, "submit": sum(each["cpu"] for each in reports)},
        wal_kb_per_execution=meter.wal_bytes / 1000 / count,
        wal_flushes=meter.wal_flushes,
    )


def _submitter(stand: Stand, workflow_id: int, count: int, batch: int) -> subprocess.Popen[bytes]:
    arguments = ("-m", "benchmarks.submit", str(workflow_id), str(count), str(batch))
    process = stand.spawn("submit", *arguments, pipes=True)
    assert process.stdout is not None
    if process.stdout.readline() != b"ready\n":
        raise RuntimeError((stand.log_folder / "submit.log").read_text(errors="replace")[-2000:])
    return process


def _tell(process: subprocess.Popen[bytes]) -> None:
    assert process.stdin is not None
    process.stdin.write(b"go\n")
    process.stdin.flush()


def _report(process: subprocess.Popen[bytes], deadline: float) -> dict[str, float]:
    output, _ = process.communicate(timeout=max(1.0, deadline - time.monotonic()))
    report: dict[str, float] = json.loads(output)
    return report


def _wait_for_ends(stand: Stand, connection: Connection, deadline: float) -> None:
    with connection.cursor() as cursor:

        def all_ended() -> bool:
            # The index by state answers; a count of everything would cost what is measured.
            cursor.execute(
                "SELECT 1 FROM executions_execution WHERE parent_id IS NULL"
                " AND state IN ('initialized', 'running', 'waiting') LIMIT 1"
            )
            return cursor.fetchone() is None

        seconds = max(1.0, deadline - time.monotonic())
        stand.wait_until(all_ended, seconds, "all executions have ended")


__all__ = ["STEPS", "Burst", "run_burst"]
