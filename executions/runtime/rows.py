"""Reading rows on the ledger's own connection."""

from __future__ import annotations

from collections.abc import Collection, Mapping
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


def load_steps(veils: Mapping[int, Veil], moved: Collection[int] = ()) -> dict[int, Loaded]:
    """What the steps of these executions have come to; each one's veil learns what is hidden.

    moved: those that were moved to another version. Their steps go by the names that they have
    there, and what that version hides is hidden from here on, although it was stored as it is.
    """
    loaded: dict[int, Loaded] = {pk: ({}, []) for pk in veils}
    with cursor() as opened:
        found: list[tuple[Any, ...]] = []
        others = [pk for pk in loaded if pk not in moved]
        if others:
            opened.execute(statements.LOAD_STEPS, {"ids": others})
            found += opened.fetchall()
        if moved:
            opened.execute(statements.LOAD_MOVED_STEPS, {"ids": list(moved)})
            found += opened.fetchall()
        for pk, step_id, row_id, seq, kind, state, output, error, attempt in found:
            facts, outputs = loaded[pk]
            veil = veils[pk]
            value = veil.load(output)
            if pk in moved:
                veil.learn_at(value, veil.redaction.steps.get(step_id))
            if step_id not in facts:
                facts[step_id] = StepFact(StepState(state), value, veil.load(error), attempt)
            if kind in DATA_STEPS and state == StepState.COMPLETED:
                outputs.append((row_id, seq, value))
    return loaded
