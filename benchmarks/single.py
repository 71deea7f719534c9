"""W2: one execution at a time, and how long each takes."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

from psycopg2.extensions import connection as Connection

from benchmarks.machine import percentile
from benchmarks.workload import ACTOR, check_books, last_id

LOOK_SECONDS = 0.0005
END_SECONDS = 30.0

# Asked so often that it must not take much of what is measured: planned once.
LOOK = """
PREPARE benchmark_look(bigint) AS
SELECT 1 FROM executions_execution WHERE id = $1 AND ended_at < now()
"""

PHASES = """
SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY extract(epoch FROM started_at - created_at)),
       percentile_cont(0.5) WITHIN GROUP (ORDER BY extract(epoch FROM ended_at - started_at))
  FROM executions_execution WHERE workflow_id = %(workflow)s AND id > %(after)s
"""


@dataclass(frozen=True, slots=True)
class Single:
    """Milliseconds, from before `start_execution` until another connection reads `ended_at`.

    submit_ms: the call of start_execution itself. claim_ms: from the row's created_at to the
    claim's plan. run_ms: from there to the plan that ends it. All medians.
    """

    executions: int
    p50_ms: float
    p95_ms: float
    submit_ms: float
    claim_ms: float
    run_ms: float


def run_single(connection: Connection, *, workflow_id: int, count: int) -> Single:
    """Start, poll its row until it has ended, start the next; check the books.

    Raises BooksWrong; TimeoutError if one does not end.
    """
    from autopilot.accounts.actors import Actor
    from executions.services import start_execution
    from workflows.models import Workflow

    actor, workflow = Actor.system(ACTOR), Workflow.objects.get(pk=workflow_id)
    after = last_id(connection)
    totals: list[float] = []
    submits: list[float] = []
    with connection.cursor() as cursor:
        cursor.execute(f"DEALLOCATE ALL; SET plan_cache_mode = force_generic_plan; {LOOK}")
        for _ in range(count):
            began = time.perf_counter()
            pk = start_execution(workflow=workflow, actor=actor).execution.pk
            submits.append(time.perf_counter() - began)
            while not _has_ended(cursor, pk):
                if time.perf_counter() - began > END_SECONDS:
                    raise TimeoutError(f"Execution {pk} did not end within {END_SECONDS:g} s.")
                time.sleep(LOOK_SECONDS)
            totals.append(time.perf_counter() - began)
        check_books(connection, workflow_id=workflow_id, after=after, expected=count)
        cursor.execute(PHASES, {"workflow": workflow_id, "after": after})
        phases: Any = cursor.fetchone()
    return Single(
        executions=count,
        p50_ms=percentile(totals, 0.5) * 1000,
        p95_ms=percentile(totals, 0.95) * 1000,
        submit_ms=percentile(submits, 0.5) * 1000,
        claim_ms=float(phases[0]) * 1000,
        run_ms=float(phases[1]) * 1000,
    )


def _has_ended(cursor: Any, pk: int) -> bool:
    cursor.execute("EXECUTE benchmark_look(%s)", (pk,))
    return cursor.fetchone() is not None
