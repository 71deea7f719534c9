"""W3, W6, and what grows: one map, many HTTP calls at once, long loops and large maps."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from psycopg2.extensions import connection as Connection

from benchmarks import machine
from benchmarks.slow_server import SECONDS
from benchmarks.stand import Stand
from benchmarks.workload import ACTOR, BooksWrong

END_SECONDS = 300.0
SHORT_PASSES = 10
SHORT_LOOPS = 20

MAP = {
    "name": "A map",
    "steps": [
        {
            "id": "each",
            "name": "Each",
            "type": "map",
            "config": {
                "items": "input.items",
                "as": "item",
                "steps": [
                    {
                        "id": "same",
                        "name": "Same",
                        "type": "action",
                        "config": {"action": "noop", "with": {"n": "{{ item }}"}},
                    }
                ],
            },
        }
    ],
}
CALL = {
    "name": "A call",
    "steps": [
        {
            "id": "ask",
            "name": "Ask",
            "type": "action",
            "config": {"action": "http.request", "with": {"url": "{{ input.url }}"}},
        }
    ],
}
LOOP = {
    "name": "A loop",
    "steps": [
        {
            "id": "begin",
            "name": "Begin",
            "type": "transform",
            "config": {"output": 0},
            "assign": {"n": 0},
        },
        {
            "id": "count",
            "name": "Count",
            "type": "action",
            "config": {"action": "noop", "with": {"n": "{{ vars.n + 1 }}"}},
            "assign": {"n": "{{ steps.count.output.n }}"},
        },
        {
            "id": "again",
            "name": "Again",
            "type": "choice",
            "config": {
                "choices": [{"when": "vars.n < input.passes", "next": "count"}],
                "default": "done",
            },
        },
        {
            "id": "done",
            "name": "Done",
            "type": "succeed",
            "config": {"output": {"n": "{{ vars.n }}"}},
        },
    ],
}

BOOKS = """
SELECT (SELECT count(*) FROM executions_execution
         WHERE parent_id = e.id AND state = 'completed'
           AND output = jsonb_build_object('n', input)),
       (SELECT count(DISTINCT s.execution_id) FROM executions_stepexecution s
          JOIN executions_execution c ON c.id = s.execution_id
         WHERE c.parent_id = e.id AND s.state = 'completed'),
       jsonb_array_length(e.output), e.state
  FROM executions_execution e WHERE e.id = %s
"""
# The passes of a loop by the ends of their action: when the first and the last tenth were done.
PASSES = """
WITH ends AS (SELECT ended_at AS at, ntile(10) OVER (ORDER BY seq) AS tenth
                FROM executions_stepexecution
               WHERE execution_id = %s AND step_id = 'count' AND state = 'completed')
SELECT count(*),
       extract(epoch FROM max(at) FILTER (WHERE tenth = 1) - min(at))::float,
       extract(epoch FROM max(at) - max(at) FILTER (WHERE tenth = 9))::float
  FROM ends
"""


@dataclass(frozen=True, slots=True)
class MapRun:
    """seconds: from before the start until a reader sees the joined end.

    worker_mb: the largest worker process at its peak; grown_mb: by how much all of them grew.
    """

    executions: int
    seconds: float
    worker_mb: float
    grown_mb: float


@dataclass(frozen=True, slots=True)
class Maps:
    """A map and one ten times as large. *_ratio: of the large one to ten small ones."""

    executions: int
    seconds: float
    seconds_large: float
    time_ratio: float
    grown_mb: float
    grown_large_mb: float


@dataclass(frozen=True, slots=True)
class Loop:
    """Milliseconds per pass, of an action and a choice, from the first plan to the last.

    short_ms: of loops of ten passes, the median. cpu_*: milliseconds of CPU of workers and
    PostgreSQL; the short loops' with their starts and claims. drift: how long the last tenth of
    the long one took, to its first.
    """

    executions: int
    short_ms: float
    long_ms: float
    ratio: float
    drift: float
    cpu_short_ms: float
    cpu_long_ms: float
    cpu_ratio: float


@dataclass(frozen=True, slots=True)
class Calls:
    """seconds: from before the first start until a reader sees that all have ended."""

    executions: int
    seconds: float


def publish(document: dict[str, Any]) -> Any:
    """The workflow, with this as its first published version."""
    from autopilot.accounts.actors import Actor
    from workflows.services import create_workflow, publish_version

    actor = Actor.system(ACTOR)
    draft = create_workflow(actor=actor, document=document)
    return publish_version(actor=actor, version=draft).workflow


def run_map(stand: Stand, connection: Connection, workflow: Any, items: int) -> MapRun:
    """One map over so many items. Raises BooksWrong, NotReady."""
    idle = machine.memory_of(stand)
    with machine.PeakMemory(stand) as watch:
        began = time.perf_counter()
        pk = start(workflow, {"items": list(range(items))})
        wait_for_end(stand, connection, [pk])
        seconds = time.perf_counter() - began
    with connection.cursor() as cursor:
        cursor.execute(BOOKS, (pk,))
        row = cursor.fetchone()
    if row != (items, items, items, "completed"):
        raise BooksWrong(f"The map over {items} items has these: {row}.")
    return MapRun(items, seconds, max(watch.peak.worker), watch.peak.total - idle.total)


def run_maps(stand: Stand, connection: Connection, workflow: Any, items: int) -> Maps:
    """A map over `items` and one over ten times as many. Raises BooksWrong, NotReady."""
    small = run_map(stand, connection, workflow, items)
    large = run_map(stand, connection, workflow, items * 10)
    return Maps(
        executions=items * 11,
        seconds=small.seconds,
        seconds_large=large.seconds,
        time_ratio=large.seconds / small.seconds / 10,
        grown_mb=small.grown_mb,
        grown_large_mb=large.grown_mb,
    )


def run_loop(stand: Stand, connection: Connection, workflow: Any, passes: int) -> Loop:
    """Short loops one by one, then a long one. Raises BooksWrong, NotReady."""
    meter = machine.Meter(stand, connection)
    meter.start()
    short = [_loop(stand, connection, workflow, SHORT_PASSES)[0] for _ in range(SHORT_LOOPS)]
    meter.stop()
    cpu_short = _cpu(meter) / SHORT_LOOPS / SHORT_PASSES
    meter.start()
    long, pk = _loop(stand, connection, workflow, passes)
    meter.stop()
    cpu_long = _cpu(meter) / passes
    with connection.cursor() as cursor:
        cursor.execute(PASSES, (pk,))
        row = cursor.fetchone()
    found, first, last = row or (0, 0.0, 0.0)
    if found != passes:
        raise BooksWrong(f"Of {passes} passes {found} are recorded.")
    each = median(short) / SHORT_PASSES
    return Loop(
        executions=passes,
        short_ms=each * 1000,
        long_ms=long / passes * 1000,
        ratio=long / passes / each,
        drift=last / first if first else 0.0,
        cpu_short_ms=cpu_short * 1000,
        cpu_long_ms=cpu_long * 1000,
        cpu_ratio=cpu_long / cpu_short if cpu_short else 0.0,
    )


def _cpu(meter: machine.Meter) -> float:
    return meter.cpu_seconds["worker"] + meter.cpu_seconds["postgres"]


def _loop(stand: Stand, connection: Connection, workflow: Any, passes: int) -> tuple[float, int]:
    pk = start(workflow, {"passes": passes})
    wait_for_end(stand, connection, [pk])
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT extract(epoch FROM ended_at - started_at)::float, state, output->>'n'"
            "  FROM executions_execution WHERE id = %s",
            (pk,),
        )
        seconds, *rest = cursor.fetchone() or (0.0,)
    if rest != ["completed", str(passes)]:
        raise BooksWrong(f"A loop of {passes} passes ended as {rest}.")
    return float(seconds), pk


def run_calls(stand: Stand, connection: Connection, workflow: Any, count: int) -> Calls:
    """So many executions that each wait a second for an answer. Raises BooksWrong, NotReady."""
    from autopilot.accounts.actors import Actor
    from executions.bulk_start import start_many

    server = stand.spawn("slow-server", "-m", "benchmarks.slow_server", pipes=True)
    assert server.stdout is not None
    url = f"http://127.0.0.1:{int(server.stdout.readline())}/"
    requests = [{"input": {"url": url}}] * count
    began = time.perf_counter()
    rows = start_many(workflow=workflow, actor=Actor.system(ACTOR), requests=requests)
    ids = [each.execution.pk for each in rows]
    wait_for_end(stand, connection, ids)
    seconds = time.perf_counter() - began
    answered = int(server.communicate(timeout=30)[0])
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(*), min(ended_at - started_at) >= make_interval(secs => %s)"
            "  FROM executions_execution WHERE id = ANY(%s) AND state = 'completed'",
            (SECONDS, ids),
        )
        row = cursor.fetchone()
    if answered != count or row != (count, True):
        raise BooksWrong(f"Of {count} calls {answered} were answered; executions: {row}.")
    return Calls(count, seconds)


def start(workflow: Any, data: dict[str, Any]) -> int:
    from autopilot.accounts.actors import Actor
    from executions.services import start_execution

    started = start_execution(workflow=workflow, actor=Actor.system(ACTOR), input=data)
    return int(started.execution.pk)


def wait_for_end(stand: Stand, connection: Connection, ids: Sequence[int]) -> None:
    with connection.cursor() as cursor:

        def ended() -> bool:
            cursor.execute(
                "SELECT NOT EXISTS (SELECT 1 FROM executions_execution"
                " WHERE id = ANY(%s) AND ended_at IS NULL)",
                (list(ids),),
            )
            row = cursor.fetchone()
            return bool(row and row[0])

        stand.wait_until(ended, END_SECONDS, "all executions have ended")
