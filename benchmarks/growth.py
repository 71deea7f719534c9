"""MEMORY: how much one worker process grows over many steps, of mixed executions."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any

from psycopg2.extensions import connection as Connection

from benchmarks import machine
from benchmarks.shapes import run_map, wait_for_end
from benchmarks.stand import Stand
from benchmarks.waits import run_signals
from benchmarks.workload import ACTOR, STEPS, BooksWrong

BATCH = 1_000
# Beside each batch of executions of ten steps: those that fail, the items of a map, the signals.
FAILING, ITEMS, WAITING = 50, 100, 50
QUARTERS = 4
# Threads that give back what they used do so a moment after the last end.
REST_SECONDS = 1.0
# The first batches fill caches, pools and the allocator; by then they are as full as they get.
WARM_UP = 2_000

FAIL = {
    "name": "A failure",
    "steps": [
        {
            "id": "stop",
            "name": "Stop",
            "type": "fail",
            "config": {"error": "bench.no", "message": "Number {{ input.n }} is not wanted."},
        }
    ],
}


@dataclass(frozen=True, slots=True)
class Growth:
    """PSS of the worker in MB after its warm-up, and after each quarter of the steps.

    ratio: of the last to the first. steps: those of all executions after the warm-up.
    """

    executions: int
    steps: int
    seconds: float
    warm_mb: float
    quarters_mb: list[float] = field(default_factory=list)

    @property
    def ratio(self) -> float:
        return self.quarters_mb[-1] / self.warm_mb


@dataclass(frozen=True, slots=True)
class Workflows:
    """What is run: `tens` has ten no-op steps."""

    tens: Any
    map: Any
    waiting: Any
    failing: Any


def run_growth(
    stand: Stand, connection: Connection, workflows: Workflows, executions: int
) -> Growth:
    """So many executions of ten steps through one worker, and the others beside them.

    Raises BooksWrong, NotReady.
    """
    _run(stand, connection, workflows, min(WARM_UP, executions))
    warm = _worker_mb(stand)
    began, quarters, steps = time.perf_counter(), [], 0
    for number in range(QUARTERS):
        share = executions // QUARTERS + (number < executions % QUARTERS)
        steps += _run(stand, connection, workflows, share)
        quarters.append(_worker_mb(stand))
    return Growth(executions, steps, time.perf_counter() - began, warm, quarters)


def _worker_mb(stand: Stand) -> float:
    time.sleep(REST_SECONDS)
    return max(machine.memory_of(stand).worker)


def _run(stand: Stand, connection: Connection, workflows: Workflows, count: int) -> int:
    """Run so many in batches; answers the number of steps."""
    steps = 0
    for first in range(0, count, BATCH):
        size = min(BATCH, count - first)
        share = size / BATCH
        _all(stand, connection, workflows.tens, size, "completed")
        _all(stand, connection, workflows.failing, round(FAILING * share) or 1, "failed")
        run_map(stand, connection, workflows.map, round(ITEMS * share) or 1)
        run_signals(stand, connection, workflows.waiting, round(WAITING * share) or 1)
        steps += size * STEPS + round((FAILING + ITEMS + WAITING) * share)
    return steps


def _all(stand: Stand, connection: Connection, workflow: Any, count: int, state: str) -> None:
    from autopilot.accounts.actors import Actor
    from executions.bulk_start import start_many

    requests = [{"input": {"n": number}} for number in range(count)]
    begun = start_many(workflow=workflow, actor=Actor.system(ACTOR), requests=requests)
    ids = [each.execution.pk for each in begun]
    wait_for_end(stand, connection, ids)
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(*) FROM executions_execution WHERE id = ANY(%s) AND state = %s",
            (ids, state),
        )
        row = cursor.fetchone()
    if row != (count,):
        raise BooksWrong(f"Of {count} executions these are {state}: {row}.")
