"""Everything an execution's page shows, read once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from autopilot.common import clock
from executions.console.drawing import graph_of, states_of
from executions.console.passes import passes_of
from executions.console.sentences import html_of
from executions.console.timeline import Shape, rows_of
from executions.console.timeline import groups_under_way as groups
from executions.console.verbs import offered
from executions.engine.states import FINAL
from executions.models import Execution, LogLine
from executions.moved import steps_named
from executions.parts import part_words
from executions.reads import StepView, recorded, step_under_way, steps_of, transitions_of
from executions.situations import situation_of
from workflows.console.drawing import depths_of, scopes_by_step

SHOWN_STEPS = 200
SHOWN_LOG = 500
SHOWN_RUNS = 20
_WITH_PARTS = frozenset({"map", "parallel"})


def live_context(execution: Execution, *, may_control: bool) -> dict[str, Any]:
    """What changes while an execution runs."""
    now = clock.now()
    situation = situation_of(execution)
    pending = situation.pending
    steps = steps_of(execution, last=SHOWN_STEPS)
    log = list(LogLine.objects.filter(execution=execution).order_by("-seq")[: SHOWN_LOG + 1])
    is_log_cut = len(log) > SHOWN_LOG
    log = log[:SHOWN_LOG][::-1]
    drawing = graph_of(execution)
    names = {node["id"]: node["name"] for node in drawing["nodes"]}
    around = [replace(each, name=names.get(each.step_id, each.name)) for each in groups(execution)]
    passes = passes_of(execution) if _has_items(execution, steps) else {}
    items = {step: each[-1].items for step, each in passes.items()}
    shape = Shape(depths_of(drawing), passes)
    rows = rows_of(execution, [*around, *steps], log, now, shape)
    current = [step for step in steps[-1:] if not step.is_recorded]
    return {
        "execution": execution,
        "is_final": execution.state in FINAL,
        "sentence": html_of(situation.why.phrase),
        "pending": pending,
        "asks": any(step.type == "approval" for step in steps),
        "signal": situation.why.details.get("signal"),
        "approval_id": situation.why.details.get("approval"),
        "verbs": offered(execution, pending) if may_control else [],
        "rows": rows,
        "missing_steps": rows[0].step.seq - 1 if rows else 0,
        "drawing": drawing,
        "painting": states_of(execution, drawing, [*around, *current], items),
        "transitions": transitions_of(execution),
        "log": log,
        "is_log_cut": is_log_cut,
        "seen": fingerprint(execution),
        "now": now,
    }


def fingerprint(execution: Execution) -> str:
    """Changes whenever the live part of the page would."""
    numbers = (
        *(execution.revision, execution.inbox_seq, execution.epoch),
        *(execution.children_generation, execution.children_open, execution.children_failed),
    )
    return "-".join(map(str, numbers)) + f"-{execution.state}"


def _has_items(execution: Execution, steps: list[StepView]) -> bool:
    """Whether it may have made children; most have not, and need not be asked."""
    return execution.children_generation > 0 or any(step.type in _WITH_PARTS for step in steps)


def node_of(execution: Execution, step_id: str) -> dict[str, Any] | None:
    """A step as the execution's drawing has it; None if its version has no such step."""
    nodes: list[dict[str, Any]] = graph_of(execution)["nodes"]
    return next((each for each in nodes if each["id"] == step_id), None)


def step_context(execution: Execution, step_id: str) -> dict[str, Any] | None:
    """Everything about one step of an execution: its latest runs, each with its attempts.

    None if its version has no such step.
    """
    drawing = graph_of(execution)
    node = next((each for each in drawing["nodes"] if each["id"] == step_id), None)
    if node is None:
        return None
    now = clock.now()
    taken = steps_named(execution).filter(now_id=step_id)
    latest = taken.order_by("-seq", "-attempt")[: SHOWN_RUNS + 1]
    views = [recorded(row, execution.step_names) for row in latest][::-1]
    is_cut = len(views) > SHOWN_RUNS
    under_way = step_under_way(execution, steps_of(execution, last=1))
    views += [
        replace(each, name=node["name"])
        for each in [*groups(execution), *([under_way] if under_way else [])]
        if each.step_id == step_id
    ]
    log = LogLine.objects.filter(execution=execution, step_id=step_id).order_by("-seq")
    passes = passes_of(execution, step_id)
    shape = Shape(passes=passes)
    rows = rows_of(execution, views[-SHOWN_RUNS:], list(log[:SHOWN_LOG])[::-1], now, shape)
    return {
        "execution": execution,
        "node": node,
        "rows": rows[::-1],
        "is_cut": is_cut,
        "passes": passes.get(step_id, []),
        "item_scope": _map_around(drawing, node),
        "rerun_step": _rerun_step(execution, drawing, node),
        "now": now,
    }


def _rerun_step(execution: Execution, drawing: Mapping[str, Any], node: Mapping[str, Any]) -> str:
    """The step that a rerun from this one begins at: itself, or what it is inside of; or empty."""
    if not execution.has_ended or execution.parent_id is not None:
        return ""
    holder = {scope["id"]: scope["parent"] for scope in drawing["scopes"]}
    scope_of = scopes_by_step(drawing)
    step = str(node["id"])
    while outer := holder[scope_of[step]]:
        step = outer
    has_run = steps_named(execution).filter(now_id=step).exists()
    return step if has_run else ""


def _map_around(drawing: Mapping[str, Any], node: Mapping[str, Any]) -> str:
    """The id of the step whose items or branches take this one; empty if the execution itself
    takes it."""
    scopes = {scope["id"]: scope for scope in drawing["scopes"]}
    scope_of = scopes_by_step(drawing)
    scope = scopes[node["scope"]]
    while scope["parent"]:
        if scope["kind"] in ("item", "branch"):
            return str(scope["parent"])
        scope = scopes[scope_of[scope["parent"]]]
    return ""


def name_of(execution: Execution) -> str:
    """What its page is called: a part goes by its place in the whole, anything else by its id."""
    words = part_words(execution)
    return words[:1].upper() + words[1:] if words else f"Execution {execution.pk}"


def facts_of(execution: Execution) -> list[tuple[str, str]]:
    """The small print: names and texts; what is empty is left out."""
    facts = [
        ("Queue", execution.queue),
        ("Priority", execution.get_priority_display()),
        ("Correlation id", execution.correlation_id),
        ("Idempotency key", execution.idempotency_key),
        ("Asked for by", _asker(execution)),
    ]
    return [(name, value) for name, value in facts if value]


def _asker(execution: Execution) -> str:
    return str(execution.started_by) if execution.started_by_id else execution.principal
