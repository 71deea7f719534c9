"""One trial: two hosts work, one is cut off in the middle and comes back; then the books."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from psycopg2.extensions import connection as Connection

from benchmarks.hosts.ground import Ground

HOSTS = ("north", "south")
NOOP = {"type": "action", "config": {"action": "noop", "with": {"n": 1}}}
# A call of a second in the middle: when the cable is pulled, many are in it.
DOCUMENT: dict[str, Any] = {
    "name": "Hosts",
    "steps": [
        {"id": "first", "name": "First", **NOOP},
        {
            "id": "call",
            "name": "Call",
            "type": "action",
            "config": {"action": "http.request", "with": {"url": "{{ input.url }}"}},
            "retry": {"max_attempts": 5},
        },
        {"id": "last", "name": "Last", **NOOP},
    ],
}
BATCH = 10
END_SECONDS = 120.0
FREE_SECONDS = 30.0
BACK_SECONDS = 60.0

# Who recorded what, from where: by address, and by the connection's process.
WITNESS = """
CREATE TABLE benchmark_write (at timestamptz NOT NULL DEFAULT clock_timestamp(), address inet,
                              pid int NOT NULL, execution_id bigint NOT NULL);
CREATE FUNCTION benchmark_witness() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO benchmark_write (address, pid, execution_id)
    VALUES (inet_client_addr(), pg_backend_pid(), NEW.execution_id);
    RETURN NEW;
END $$;
CREATE TRIGGER benchmark_step AFTER INSERT ON executions_stepexecution
    FOR EACH ROW EXECUTE FUNCTION benchmark_witness();
CREATE TRIGGER benchmark_transition AFTER INSERT ON executions_statetransition
    FOR EACH ROW EXECUTE FUNCTION benchmark_witness();
"""
WRITTEN_BY = "SELECT DISTINCT host(address) FROM benchmark_write WHERE address IS NOT NULL"
# The workers by the address that their connections come from.
BACKENDS = "SELECT array_agg(pid) FROM pg_stat_activity WHERE host(client_addr) = %s"
OWNED = "SELECT count(*) FROM executions_execution WHERE owner_id = %s"
LATE = """
SELECT count(*) FROM benchmark_write
 WHERE host(address) = %(address)s AND at > %(freed)s AND (at < %(back)s OR pid = ANY(%(pids)s))
"""
BOOKS = """
SELECT count(*),
       count(*) FILTER (WHERE state = 'completed' AND owner_id IS NULL
                          AND output = '{"n": 1}'::jsonb),
       count(*) FILTER (WHERE (SELECT string_agg(step_id, ' ' ORDER BY seq)
                                 FROM executions_stepexecution s
                                WHERE s.execution_id = e.id AND s.state = 'completed')
                              = 'first call last'),
       count(*) FILTER (WHERE (SELECT string_agg(target, ' ' ORDER BY seq)
                                 FROM executions_statetransition t
                                WHERE t.execution_id = e.id) = 'initialized running completed'),
       (SELECT count(*) FROM executions_stepexecution WHERE state = 'failed')
  FROM executions_execution e
"""


@dataclass(slots=True)
class Report:
    """freed_seconds: from the cut until nothing belonged to the host any more; back_seconds: from
    the moment it was joined again until it had registered anew. owned: what it was doing when it
    was cut off. late_writes: what it wrote though it had lost its lease. failed_attempts: calls
    that the cut made fail and that were tried again.
    """

    executions: int
    cut_seconds: float
    led_the_clock: bool = False
    owned: int = 0
    freed_seconds: float = 0.0
    ended_meanwhile: int = 0
    back_seconds: float = 0.0
    worked_again: int = 0
    seconds: float = 0.0
    late_writes: int = 0
    failed_attempts: int = 0
    findings: list[str] = field(default_factory=list)


def run_trial(
    ground: Ground, *, executions: int, cut_seconds: float, say: Callable[[str], None]
) -> Report:
    """Raises NotReady where something does not come to an end."""
    from benchmarks.shapes import publish

    report = Report(executions, cut_seconds)
    connection = ground.connect()
    workflow = publish(DOCUMENT)
    _do(connection, WITNESS)
    ground.start_workers()
    ground.wait_until(
        lambda: _one(connection, "SELECT count(*) FROM executions_worker") == len(HOSTS),
        60,
        "the workers registered",
    )
    began = time.monotonic()
    submitter = threading.Thread(
        target=_submit, args=(workflow, executions, ground.service_url, cut_seconds), daemon=True
    )
    submitter.start()
    ground.wait_until(
        lambda: len(_rows(connection, WRITTEN_BY)) == len(HOSTS), 60, "both hosts worked"
    )
    # The one that leads the clock, so that somebody else has to take that over, too.
    name = next((each for each in HOSTS if "clock.leads" in ground.log(each)), HOSTS[0])
    report.led_the_clock = "clock.leads" in ground.log(name)
    _cut(ground, connection, name, report, say)
    submitter.join(END_SECONDS)
    ground.wait_until(
        lambda: _ended(connection) == executions, END_SECONDS, "all executions have ended"
    )
    report.seconds = time.monotonic() - began
    _judge(connection, report)
    connection.close()
    return report


def _submit(workflow: Any, count: int, url: str, cut_seconds: float) -> None:
    """Evenly, over the time of the cut and some more, so that there is work all the while."""
    from django.db import connection

    from autopilot.accounts.actors import Actor
    from executions.bulk_start import start_many

    actor = Actor.system("benchmarks")
    pause = (cut_seconds + 10) / max(1, count / BATCH)
    for first in range(0, count, BATCH):
        requests: list[Any] = [{"input": {"url": url}}] * min(BATCH, count - first)
        start_many(workflow=workflow, actor=actor, requests=requests)
        time.sleep(pause)
    connection.close()


def _cut(
    ground: Ground, connection: Connection, name: str, report: Report, say: Callable[[str], None]
) -> None:
    address = ground.network.addresses[name]
    pids = _one(connection, BACKENDS, address)
    worker = _one(
        connection,
        "SELECT id FROM executions_worker WHERE pid = %s",
        ground.workers[name].pid,
    )
    ground.wait_until(lambda: _one(connection, OWNED, worker) > 0, 30, f"{name} has work")
    ground.network.cut(name)
    cut_at = time.monotonic()
    report.owned = _one(connection, OWNED, worker)
    ended = _ended(connection)
    say(f"{name} is cut off while it has {report.owned} executions")
    report.freed_seconds = ground.wait_until(
        lambda: (
            _one(connection, OWNED, worker) == 0
            and not _one(connection, "SELECT count(*) FROM executions_worker WHERE id = %s", worker)
        ),
        FREE_SECONDS,
        f"what {name} had was freed",
    )
    freed_at: datetime = _one(connection, "SELECT clock_timestamp()")
    say(f"Freed after {report.freed_seconds:.1f} s")
    time.sleep(max(0.0, report.cut_seconds - (time.monotonic() - cut_at)))
    report.ended_meanwhile = _ended(connection) - ended
    ground.network.join(name)
    report.back_seconds = ground.wait_until(
        lambda: _one(connection, "SELECT count(*) FROM executions_worker") == len(HOSTS),
        BACK_SECONDS,
        f"{name} registered anew",
    )
    back_at: datetime = _one(connection, "SELECT max(started_at) FROM executions_worker")
    say(f"{name} is back and has registered anew after {report.back_seconds:.1f} s")
    wrote = "SELECT count(*) FROM benchmark_write WHERE host(address) = %s AND at > %s"
    ground.wait_until(
        lambda: _one(connection, wrote, address, back_at) > 0, END_SECONDS, f"{name} works again"
    )
    ground.wait_until(
        lambda: _ended(connection) == report.executions, END_SECONDS, "all executions have ended"
    )
    report.worked_again = _one(connection, wrote, address, back_at)
    known = {"address": address, "freed": freed_at, "back": back_at, "pids": pids}
    report.late_writes = _rows(connection, LATE, known)[0][0]


def _judge(connection: Connection, report: Report) -> None:
    found, completed, stepped, changed, failed = _rows(connection, BOOKS)[0]
    report.failed_attempts = failed
    for what, count in (
        ("are there", found),
        ("have completed with the right result, without an owner", completed),
        ("have each of their steps completed once", stepped),
        ("have taken each change of state once", changed),
    ):
        if count != report.executions:
            report.findings.append(f"{count} of {report.executions} executions {what}")
    if report.late_writes:
        report.findings.append(f"{report.late_writes} rows were written after the lease was over")


def _ended(connection: Connection) -> int:
    return int(_one(connection, "SELECT count(*) FROM executions_execution WHERE ended_at < now()"))


def _do(connection: Connection, sql: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(sql)


def _one(connection: Connection, sql: str, *values: Any) -> Any:
    return _rows(connection, sql, values)[0][0]


def _rows(connection: Connection, sql: str, values: Any = None) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(sql, values)
        return cursor.fetchall()
