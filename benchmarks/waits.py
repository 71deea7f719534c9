"""SIGNALS: executions that wait for a signal each, woken by as many sent in bulk."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

from psycopg2.extensions import connection as Connection

from benchmarks.shapes import END_SECONDS, wait_for_end
from benchmarks.stand import Stand
from benchmarks.workload import ACTOR, BooksWrong

WAITING = {
    "name": "A signal",
    "steps": [
        {
            "id": "paid",
            "name": "Paid",
            "type": "signal",
            "config": {"signal": "paid", "correlation": "{{ input.order }}"},
        }
    ],
}

AT_REST = """
SELECT count(*) FROM executions_execution
 WHERE id = ANY(%s) AND state = 'waiting' AND owner_id IS NULL
"""
BOOKS = """
SELECT count(*) FILTER (WHERE e.state = 'completed' AND e.output = e.input->'order'),
       (SELECT count(*) FROM executions_signal s
         WHERE s.execution_id = ANY(%(ids)s) AND s.consumed_at IS NOT NULL)
  FROM executions_execution e WHERE e.id = ANY(%(ids)s)
"""


@dataclass(frozen=True, slots=True)
class Signals:
    """seconds: from before the first signal is sent until a reader sees that all have completed.

    send_seconds: of that until the last signal was accepted.
    """

    executions: int
    send_seconds: float
    seconds: float


def run_signals(stand: Stand, connection: Connection, workflow: Any, count: int) -> Signals:
    """So many executions that wait, and as many signals. Raises BooksWrong, NotReady."""
    from autopilot.accounts.actors import Actor
    from executions.bulk_start import start_many
    from executions.signalling import MAX_SIGNALS, SignalRequest, send_signals

    actor = Actor.system(ACTOR)
    orders = [f"{time.time_ns()}-{number}" for number in range(count)]
    ids = []
    for first in range(0, count, MAX_SIGNALS):
        requests = [{"input": {"order": each}} for each in orders[first : first + MAX_SIGNALS]]
        begun = start_many(workflow=workflow, actor=actor, requests=requests)
        ids += [each.execution.pk for each in begun]
    with connection.cursor() as cursor:

        def at_rest() -> bool:
            cursor.execute(AT_REST, (ids,))
            row = cursor.fetchone()
            return bool(row and row[0] == count)

        stand.wait_until(at_rest, END_SECONDS, "all executions wait")
        signals = [SignalRequest("paid", each, each) for each in orders]
        began = time.perf_counter()
        for first in range(0, count, MAX_SIGNALS):
            send_signals(signals=signals[first : first + MAX_SIGNALS], actor=actor)
        sent = time.perf_counter()
        wait_for_end(stand, connection, ids)
        ended = time.perf_counter()
        cursor.execute(BOOKS, {"ids": ids})
        row = cursor.fetchone()
    if row != (count, count):
        raise BooksWrong(f"Of {count} executions and signals these are done: {row}.")
    return Signals(count, sent - began, ended - began)
