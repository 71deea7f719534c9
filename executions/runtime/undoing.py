"""What an execution has to undo, read out of the rows of its whole tree."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from autopilot.common.errors import DomainError
from executions.engine.events import Surveyed
from executions.engine.snapshot import UndoItem
from executions.engine.states import UndoState
from executions.hidden.veil import Veil
from executions.runtime import undo_sql
from executions.runtime.definitions import runnable_version
from executions.runtime.rows import cursor
from workflows.definition.compiled import RetryPolicy

# Read at once; each may have a megabyte of parameters.
BATCH = 20
MAX_LEFT_SHOWN = 100
# Larger parameters are not repeated in the error; the row has them.
MAX_PARAMS_SHOWN_CHARS = 2_000

_NOT_CALLED = {
    UndoState.PENDING: "It was not called any more.",
    UndoState.LEFT: "It can't be called.",
    UndoState.FAILED: "It failed.",
}


def survey(execution_id: int, current: int, veil: Veil) -> Surveyed:
    """What is to be undone next; what is left, if there is nothing.

    current: id of the row that was being called, which then comes first. veil: learns what of it
    is hidden.
    """
    given: dict[str, Any] = {"roots": [execution_id], "current": current, "limit": BATCH}
    with cursor() as opened:
        opened.execute(undo_sql.IS_BUSY, given)
        if opened.fetchone()[0]:
            return Surveyed(busy=True)
        opened.execute(undo_sql.NEXT, given)
        items = tuple(_item(veil, *row) for row in opened.fetchall())
        opened.execute(undo_sql.COUNTS, given)
        done, left_total = opened.fetchone()
        left: tuple[dict[str, Any], ...] = ()
        if left_total:
            opened.execute(undo_sql.LEFT, {**given, "limit": MAX_LEFT_SHOWN})
            left = tuple(_left(veil, *row) for row in opened.fetchall())
    return Surveyed(items, left=left, left_total=left_total, done=done)


def _item(
    veil: Veil,
    pk: int,
    execution_id: int,
    seq: int,
    step_id: str,
    name: str,
    action: str,
    params: str | None,
    version_id: int,
    present: str | None,
) -> UndoItem:
    """present: what the step is called in the version that its execution runs now."""
    retry, timeout = _rules(version_id, present or "")
    return UndoItem(
        pk, execution_id, seq, step_id, name, action, veil.load(params) or {}, retry, timeout
    )


def _rules(version_id: int, step_id: str) -> tuple[RetryPolicy | None, timedelta | None]:
    """How the call is tried again, by the version that the step belongs to."""
    try:
        step = runnable_version(version_id).definition.steps.get(step_id)
    except DomainError:
        return None, None
    if step is None or step.compensate is None:
        return None, None
    return step.compensate.retry, step.compensate.timeout


def _left(
    veil: Veil,
    pk: int,
    execution_id: int,
    seq: int,
    step_id: str,
    name: str,
    action: str,
    params: str | None,
    state: str,
    error: str | None,
) -> dict[str, Any]:
    said = veil.load(error) or {}
    shown = veil.load(params) if len(params or "") <= MAX_PARAMS_SHOWN_CHARS else None
    return {
        "compensation": pk,
        "execution": execution_id,
        "seq": seq,
        "step": step_id,
        "name": name,
        "action": action,
        "params": shown,
        "state": state,
        "code": said.get("code", ""),
        "why": said.get("message") or _NOT_CALLED[UndoState(state)],
    }
