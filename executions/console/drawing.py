"""The graph of an execution: the drawing of its version, and the path it has taken through it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from django.db import connection
from django.urls import reverse

from autopilot.common.errors import DomainError
from autopilot.common.words import duration_words
from executions.console.items import Items
from executions.console.undoing import words_of
from executions.engine.states import State
from executions.engine.undo import STEP_TYPE as UNDO_TYPE
from executions.models import Execution, Kind, StepExecution
from executions.reads import StepView
from workflows.console.drawing import drawing_of, scopes_by_step
from workflows.definition.outline import branch_scope_id

# Every step by the one before it in its scope: what ran how often, what came of it the last time,
# and which ways were taken. Reads the steps of one execution once, by their unique index.
_TAKEN = """
WITH scoped AS (SELECT * FROM unnest(%(steps)s::text[], %(scopes)s::text[]) AS x(step_id, scope)),
taken AS (
    SELECT DISTINCT ON (s.seq) s.seq, scoped.step_id, s.state, s.attempt, scoped.scope,
           extract(epoch FROM s.ended_at - s.started_at) AS lasted
    FROM executions_stepexecution s
    JOIN scoped ON scoped.step_id = {step}
    WHERE s.execution_id = %(execution)s AND s.type <> 'compensation'
    ORDER BY s.seq, s.attempt DESC),
linked AS (
    SELECT taken.*, lag(step_id) OVER way AS before, lag(state) OVER way AS state_before
    FROM taken WINDOW way AS (PARTITION BY scope ORDER BY seq))
SELECT step_id, before, state_before, count(*), max(seq),
       (array_agg(state ORDER BY seq DESC))[1], (array_agg(attempt ORDER BY seq DESC))[1],
       (array_agg(lasted ORDER BY seq DESC))[1]
FROM linked GROUP BY step_id, before, state_before
"""
# Moved to another version, an execution is drawn as that one has it.
_PRESENT = "executions_present_step(%(names)s, s.id, s.step_id)"


def graph_of(execution: Execution) -> dict[str, Any]:
    """The drawing of what this execution runs: the document, or an item's or a branch's scope."""
    inside = execution.parent_step if execution.kind == Kind.ITEM else ""
    if execution.kind == Kind.BRANCH:
        inside = branch_scope_id(execution.parent_step, execution.item_index or 0)
    try:
        return drawing_of(execution.version.definition, inside=inside)
    except DomainError:
        return {"scopes": [], "nodes": [], "edges": []}


def states_of(
    execution: Execution,
    drawing: Mapping[str, Any],
    under_way: list[StepView],
    items: Mapping[str, Items],
) -> dict[str, Any]:
    """What the drawing is painted with; see `static/console/graph.js`.

    under_way: the step it stands at, and the groups around that.
    """
    scope_of = scopes_by_step(drawing)
    steps: dict[str, dict[str, Any]] = {}
    ways: list[list[str]] = []
    last: dict[str, tuple[int, str, str]] = {}
    for row in _taken(execution, scope_of):
        step, before, state_before, runs, seq, state, attempts, lasted = row
        known = steps.setdefault(step, {"runs": 0, "seq": 0})
        known["runs"] += runs
        if seq > known["seq"]:
            known |= {"seq": seq, "state": state, "attempts": attempts, "ended": True}
            known["lasted"] = duration_words(float(lasted))
        if before:
            ways.append([before, step, state_before])
        last[scope_of[step]] = max(last.get(scope_of[step], (0, "", "")), (seq, step, state))
    for step, (state, word) in words_of(execution).items():
        if step in steps:
            steps[step] |= {"state": state, "word": word}
    for view in under_way:
        scope = scope_of.get(view.step_id)
        if scope is None:
            continue
        if scope in last and last[scope][0] < view.seq:
            ways.append([last[scope][1], view.step_id, last[scope][2]])
        known = steps.setdefault(view.step_id, {"runs": 0, "seq": 0})
        # Tried again, it is recorded already under the same number.
        known["runs"] += known["seq"] != view.seq
        known |= {"state": view.state, "attempts": view.attempt, "lasted": "", "ended": False}
        if view.type == UNDO_TYPE:
            known["word"] = "undoing"
    branches = _branches(execution, items)
    if branches:
        _add_branch_steps(steps, branches, scope_of)
    return {
        "state": execution.state,
        "current": under_way[-1].step_id if under_way else "",
        "last": last.get("", (0, "", ""))[1],
        "ways": ways,
        "steps": {
            step: {key: value for key, value in known.items() if key != "seq"}
            for step, known in steps.items()
        },
        "items": {
            step: {"words": each.words, "parts": each.parts, "total": each.total}
            for step, each in items.items()
        },
        "branches": _branch_titles(branches),
        "links": {
            step: reverse("admin:executions_execution_step", args=[execution.pk, step])
            for step in scope_of
        },
    }


def _branches(execution: Execution, items: Mapping[str, Items]) -> list[Execution]:
    """The latest execution of each branch; where they stand, and nothing of their data."""
    if not items:
        return []
    rows = Execution.objects.filter(parent=execution, kind=Kind.BRANCH)
    rows = rows.order_by("parent_step", "item_index", "-generation", "-pk")
    found = rows.distinct("parent_step", "item_index")
    return list(found.only("pk", "parent_step", "item_index", "state", "current_step"))


def _branch_titles(branches: Sequence[Execution]) -> dict[str, dict[str, str]]:
    """State and address of each branch, by the id of its scope in this drawing."""
    return {
        branch_scope_id(row.parent_step, row.item_index or 0): {
            "state": row.state,
            "url": reverse("admin:executions_execution_change", args=[row.pk]),
        }
        for row in branches
    }


def _add_branch_steps(
    steps: dict[str, dict[str, Any]], branches: Sequence[Execution], scope_of: Mapping[str, str]
) -> None:
    """What has come of the steps of branches, which their own executions have taken."""
    rows = (
        StepExecution.objects.filter(execution__in=[row.pk for row in branches])
        .order_by("step_id", "-pk")
        .distinct("step_id")
        .values_list("step_id", "state", "attempt")
    )
    for step, state, attempts in rows:
        if step in scope_of and step not in steps:
            known = {"runs": 1, "state": state, "attempts": attempts, "lasted": "", "ended": True}
            steps[step] = known
    for row in branches:
        step = row.current_step
        if not row.has_ended and step in scope_of:
            state = "running" if row.state == State.RUNNING else "waiting"
            known = {"runs": 1, "state": state, "attempts": 1, "lasted": "", "ended": False}
            steps[step] = known


def _taken(execution: Execution, scope_of: Mapping[str, str]) -> list[tuple[Any, ...]]:
    names = execution.step_names
    sql = _TAKEN.format(step="s.step_id" if names is None else _PRESENT)
    with connection.cursor() as cursor:
        cursor.execute(
            sql,
            {
                "names": json.dumps(names),
                "execution": execution.pk,
                "steps": list(scope_of),
                "scopes": list(scope_of.values()),
            },
        )
        return cursor.fetchall()
