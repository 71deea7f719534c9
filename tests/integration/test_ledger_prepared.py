"""The statements that a ledger's connection keeps, and the plans it keeps of them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import psycopg2
import pytest
from django.db import connection

from executions.bulk_start import start_many
from executions.engine.states import State
from executions.runtime import lone, prepared, statements
from executions.runtime.process import WorkerProcess
from executions.runtime.rows import cursor
from tests.engine import NOOP, SYSTEM, published, reread, started, worker

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def opened() -> Iterator[Any]:
    """A cursor as the ledger's, with everything prepared while the tables are empty."""
    connection.close()
    with cursor() as found:
        found.execute(prepared.KEPT)
        yield found
        found.execute("ROLLBACK")
    connection.close()


def plan_of(opened: Any, execute: str, parameters: dict[str, Any]) -> str:
    opened.execute(f"EXPLAIN (COSTS OFF) {execute}", parameters)
    return "\n".join(row[0] for row in opened.fetchall())


@pytest.mark.usefixtures("new_tables")
@pytest.mark.parametrize(
    ("execute", "parameters", "index", "times"),
    [
        (
            prepared.LOCK.removeprefix(prepared.KEPT),
            {"ids": [1, 2]},
            "executions_execution_pkey",
            1,
        ),
        (
            prepared.FENCE.removeprefix(prepared.KEPT),
            {"ids": [1, 2], "worker": 1, "fences": "[]", "fenced": 0},
            "executions_execution_pkey",
            1,
        ),
        (prepared.UPDATE, {"rows": "[]", "written": [1, 2]}, "executions_execution_pkey", 1),
        (prepared.HOP, {"hops": "[]", "written": [1, 2]}, "executions_execution_pkey", 1),
    ],
    ids=["lock", "fence", "update", "hop"],
)
def test_plans_made_on_empty_tables_go_by_index(opened, execute, parameters, index, times) -> None:
    plan = plan_of(opened, execute, parameters)

    assert plan.count(f"Index Scan using {index}") == times
    assert "Index Cond: (id = ANY (" in plan
    assert plan.count("Hash Join") == plan.count("Function Scan")
    assert not [word for word in ("Seq Scan", "Bitmap", "Nested Loop", "Merge") if word in plan]


def plans_of_what_runs_alone() -> list[str]:
    """How a new session goes about a step, another checkpoint, and a claim."""
    session = psycopg2.connect(**connection.get_connection_params())
    kept = (
        (lone.EXECUTE_STEP, lone.STEP),
        (lone.EXECUTE_ROW, lone.ROW),
        (lone.EXECUTE_CLAIM, statements.CLAIM_ONE),
    )
    with closing(session), session.cursor() as opened:
        opened.execute(lone.SET_UP)
        return [
            plan_of(opened, execute, dict.fromkeys(re.findall(r"%\((\w+)\)s", sql)))
            for execute, sql in kept
        ]


@pytest.mark.usefixtures("new_tables")
def test_plans_of_what_runs_alone_made_on_empty_tables_go_by_the_key() -> None:
    key, worker_key = "executions_execution_pkey", "executions_worker_pkey"
    expected = ([key], [key], [worker_key, key, key])

    for plan, indexes in zip(plans_of_what_runs_alone(), expected, strict=True):
        assert re.findall(r"Index.* Scan using (\w+)", plan) == indexes, plan
        assert not [word for word in ("Seq Scan", "Bitmap", "Merge") if word in plan], plan


@pytest.mark.parametrize("rows", [0, 1, 200])
def test_plans_of_what_runs_alone_find_rows_by_id_whatever_the_tables_held(rows) -> None:
    workflow = published([{**NOOP, "id": "a"}])
    if rows:
        start_many(workflow=workflow, actor=SYSTEM, requests=[{}] * rows)
    with connection.cursor() as raw:
        raw.execute("ANALYZE executions_execution, executions_worker")

    # In small tables an index that has the id somewhere is as good as the key.
    for plan in plans_of_what_runs_alone():
        assert plan.count("Index Cond: (id = ") == plan.count("Scan using"), plan
        assert "Seq Scan" not in plan, plan


def test_an_execution_goes_on_when_its_statements_are_gone() -> None:
    execution = started(published([{**NOOP, "id": "a"}, {**NOOP, "id": "b"}]))

    with worker() as process:
        _on_the_ledger(process, "DEALLOCATE ALL")
        process.drain("default")

    assert reread(execution).state == State.COMPLETED


def test_an_execution_goes_on_when_a_column_has_changed_its_type() -> None:
    first = started(published([{**NOOP, "id": "a"}]))
    with worker() as process:
        process.drain("default")
        second = started(first.workflow)
        change = "ALTER TABLE executions_execution ALTER COLUMN current_phase TYPE varchar(%s)"
        with connection.cursor() as raw:
            raw.execute(
                "SELECT character_maximum_length FROM information_schema.columns"
                " WHERE table_name = 'executions_execution'"
                " AND column_name = 'current_phase'"
            )
            (length,) = raw.fetchone()
            raw.execute(change, [length + 1])
        try:
            process.drain("default")
        finally:
            with connection.cursor() as raw:
                raw.execute(change, [length])

    assert reread(first).state == State.COMPLETED
    assert reread(second).state == State.COMPLETED


def _on_the_ledger(process: WorkerProcess, sql: str) -> None:
    def run() -> None:
        with cursor() as raw:
            raw.execute(sql)

    process._loop.run_until_complete(process._ledger._ask(run))
