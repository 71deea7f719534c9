"""PARALLEL: one execution with a hundred branches side by side, joined."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

from psycopg2.extensions import connection as Connection

from benchmarks.shapes import start, wait_for_end
from benchmarks.stand import Stand
from benchmarks.workload import BooksWrong

BRANCHES = 100
PARALLEL = {
    "name": "A parallel",
    "steps": [
        {
            "id": "sides",
            "name": "Sides",
            "type": "parallel",
            "config": {
                "branches": [
                    {
                        "name": f"side {number}",
                        "steps": [
                            {
                                "id": f"call_{number}",
                                "name": "Call",
                                "type": "action",
                                "config": {"action": "noop", "with": {"n": number}},
                            }
                        ],
                    }
                    for number in range(BRANCHES)
                ]
            },
        }
    ],
}
BOOKS = """
SELECT p.state, p.children_open, count(*) FILTER (WHERE c.state = 'completed'),
       (SELECT count(*) FROM jsonb_object_keys(p.output))
  FROM executions_execution p JOIN executions_execution c ON c.parent_id = p.id
 WHERE p.id = %s GROUP BY p.id
"""


@dataclass(frozen=True, slots=True)
class Parallel:
    """seconds: from before the start until a reader sees that it has ended; of `executions` runs,
    one after the other, the median and the longest."""

    executions: int
    seconds: float
    longest_seconds: float


def run_parallel(stand: Stand, connection: Connection, workflow: Any, runs: int) -> Parallel:
    """So many of them, one by one. Raises BooksWrong, NotReady."""
    lasted = []
    for _ in range(runs):
        began = time.perf_counter()
        pk = start(workflow, {})
        wait_for_end(stand, connection, [pk])
        lasted.append(time.perf_counter() - began)
        with connection.cursor() as cursor:
            cursor.execute(BOOKS, (pk,))
            row = cursor.fetchone()
        if row != ("completed", 0, BRANCHES, BRANCHES):
            raise BooksWrong(f"The parallel of {BRANCHES} branches came to this: {row}.")
    lasted.sort()
    return Parallel(runs, lasted[len(lasted) // 2], lasted[-1])
