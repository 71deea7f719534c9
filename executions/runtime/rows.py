"""Reading rows on the ledger's own connection."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.conf import settings
from django.db import connection

from executions.engine.snapshot import StepFact
from executions.engine.states import StepState
from executions.hidden.veil import Veil
from executions.runtime import prepared, statements

DATA_STEPS = frozenset(
    {"action", "transform", "group", "map", "parallel", "workflow", "signal", "approval"}
)

# The latest fact of each step, and (row id, seq, output) of every step whose output may be the
# result, also if it came by again and failed: rows are in the order in which they ended, for a
# group ends after the steps in it that have higher numbers.
Loaded = tuple[dict[str, StepFact], list[tuple[int, int, Any]]]


def cursor() -> Any:
    """A raw cursor of this thread's connection, in autocommit; transactions are spelled out."""
    if connection.connection is None:
        connection.ensure_connection()
        assert connection.connection is not None
        try:
            _set_up()
        except BaseException:
            # Half of the set-up would be worse than none: what is next starts anew.
            connection.close()
            raise
    return connection.connection.cursor()


def _set_up() -> None:
    with connection.connection.cursor() as opened:
        # A process frozen between its lock and its commit would keep the rows of everything it
        # owns locked, and nobody could free them: the server ends such a session.
        milliseconds = int(settings.AUTOPILOT["LEASE_SECONDS"] * 500)
        opened.execute("SET idle_in_transaction_session_timeout = %s", [milliseconds])
        prepared.prepare(opened)


def load_steps(veils: Mapping[int, Veil]) -> dict[int, Loaded]:
    """What the steps of these executions have come to; each one's veil learns what is hidden."""
    loaded: dict[int, Loaded] = {pk: ({}, []) for pk in veils}
    with cursor() as opened:
        opened.execute(statements.LOAD_STEPS, {"ids": list(loaded)})
        for pk, step_id, row_id, seq, kind, state, output, error, attempt in opened.fetchall():
            facts, outputs = loaded[pk]
            load = veils[pk].load
            value = load(output)
            if step_id not in facts:
                facts[step_id] = StepFact(StepState(state), value, load(error), attempt)
            if kind in DATA_STEPS and state == StepState.COMPLETED:
                outputs.append((row_id, seq, value))
    return loaded
