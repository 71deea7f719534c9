"""What a rerun would do: where it can begin, what is taken over, what runs again and repeats."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from executions.engine.states import State
from executions.models import Execution
from executions.moved import steps_named
from workflows.actions.base import Action, InvalidParams
from workflows.actions.registry import registry
from workflows.definition.graph import to_graph
from workflows.definition.outline import Outline, Step, read_outline

MAX_STEPS = 10_000


@dataclass(frozen=True, slots=True)
class Ran:
    """A step as the execution ran it last."""

    step_id: str
    name: str
    type: str
    seq: int
    attempt: int
    state: str
    started_at: datetime
    ended_at: datetime
    runs: int = 1


@dataclass(frozen=True, slots=True)
class Choice:
    """A step that ran, and what speaks against beginning at it; empty if nothing does."""

    step: Ran
    obstacle: str = ""


@dataclass(frozen=True, slots=True)
class Repeated:
    """A call that is made again although that may do harm.

    inside: the map whose items make it, once each; empty if the execution makes it itself.
    """

    name: str
    action: str
    inside: str = ""


@dataclass(frozen=True, slots=True)
class Plan:
    """What comes of a rerun, by the names of steps.

    taken_over: with their latest results. again: what ran and runs anew. further: what had not
    run and may now. repeated: side effects.
    """

    taken_over: Sequence[Ran]
    again: Sequence[str]
    further: Sequence[str]
    repeated: Sequence[Repeated]


class Rerun:
    """One execution, to be run again on a version with this definition."""

    def __init__(self, source: Execution, definition: Mapping[str, Any]) -> None:
        self._source = source
        self._outline = read_outline(definition)
        self._steps = self._outline.by_id()
        self._graph = to_graph(definition)
        self._ran = latest_of(source)

    def choices(self) -> list[Choice]:
        """The steps that ran and were not inside another one, in order."""
        inside = {step.id for step in _own_outline(self._source).steps if step.scope.parent}
        found = []
        for ran in self._ran:
            step = self._steps.get(ran.step_id)
            obstacle = ""
            if step is None:
                obstacle = "This version has no such step."
            elif step.scope.parent is not None:
                obstacle = f"In this version it is inside {step.scope.parent.id}."
            if ran.step_id not in inside or (step is not None and not obstacle):
                found.append(Choice(ran, obstacle))
        return found

    def default(self) -> str:
        """The step to begin at if nobody says: the failed one, else empty for the start."""
        if self._source.state != State.FAILED:
            return ""
        error: Mapping[str, Any] = self._source.error or {}
        step_id = str(error.get("step") or self._source.current_step or "")
        outer = self.outermost(step_id)
        return outer if outer in {each.step.step_id for each in self.choices()} else ""

    def outermost(self, step_id: str) -> str:
        """The step itself, or the one around it that is in no other."""
        step = self._steps.get(step_id)
        while step is not None and step.scope.parent is not None:
            step = step.scope.parent
        return step.id if step is not None else ""

    def plan(self, step_id: str) -> Plan:
        """What comes of it if it begins at this step; empty = at the start."""
        at = next((each.seq for each in self._ran if each.step_id == step_id), 0)
        reached = self._reached(step_id)
        taken_over = latest_of(self._source, before=at) if at else []
        later = latest_of(self._source, since=at) if at else self._ran
        # By the version that is to run; a step that it lacks can't run again.
        again = {each.step_id for each in later if each.step_id in reached}
        for holder in [self._steps[each] for each in again]:
            again.update(inner.id for inner in _inside(holder, "item"))
        further = reached - again - {each.step_id for each in taken_over}
        return Plan(
            taken_over=taken_over,
            again=[_name(step) for step in self._outline.steps if step.id in again],
            further=[_name(step) for step in self._outline.steps if step.id in further],
            repeated=list(self._repeated(again)),
        )

    def _reached(self, step_id: str) -> set[str]:
        """What may run from there on, what is inside of it included."""
        root = [step.id for step in self._outline.root.steps]
        pending = [step_id] if step_id else root[:1]
        reached: set[str] = set()
        while pending:
            here = pending.pop()
            if here in reached or here not in self._steps:
                continue
            reached.add(here)
            ways = [edge for edge in self._graph["edges"] if edge["source"] == here]
            pending.extend(edge["target"] for edge in ways if edge["target"])
            pending.extend(scope.steps[0].id for scope in self._steps[here].scopes if scope.steps)
        return reached

    def _repeated(self, again: set[str]) -> Iterable[Repeated]:
        called = self._called(again)
        for step in self._outline.steps:
            if step.id not in again or step.type != "action":
                continue
            name = str(step.config.get("action"))
            action = registry.get(name)
            given = called.get(step.id, [step.config.get("with", {})])
            if action is None or not all(_can_repeat(action, params) for params in given):
                holder = _map_around(step)
                yield Repeated(_name(step), name, _name(holder) if holder else "")

    def _called(self, step_ids: set[str]) -> dict[str, list[Any]]:
        """What each step was called with the last time."""
        rows = steps_named(self._source).filter(
            now_id__in=step_ids, type="action", params__isnull=False
        )
        rows = rows.order_by("now_id", "-seq", "-attempt")
        found = rows.distinct("now_id").values_list("now_id", "params")
        return {step_id: [params] for step_id, params in found}


def latest_of(source: Execution, *, since: int = 0, before: int | None = None) -> list[Ran]:
    """Each step as it ran last, in that order; since, before: only runs with such numbers."""
    rows = steps_named(source).filter(seq__gte=since, now_id__isnull=False)
    if before is not None:
        rows = rows.filter(seq__lt=before)
    columns = ("now_id", "name", "type", "seq", "attempt", "state", "started_at", "ended_at")
    found: dict[str, Ran] = {}
    for row in rows.order_by("-seq", "-attempt").values_list(*columns)[:MAX_STEPS]:
        found.setdefault(row[0], Ran(*row))
    return sorted(found.values(), key=lambda each: each.seq)


def _own_outline(source: Execution) -> Outline:
    return read_outline(source.version.definition)


def _inside(step: Step, kind: str) -> Iterable[Step]:
    for scope in step.scopes:
        if scope.kind == kind:
            for inner in scope.steps:
                yield inner
                yield from _inside(inner, kind)


def _map_around(step: Step) -> Step | None:
    scope = step.scope
    while scope.parent is not None:
        if scope.kind == "item":
            return scope.parent
        scope = scope.parent.scope
    return None


def _name(step: Step) -> str:
    return step.name or step.id


def _can_repeat(action: Action, params: Any) -> bool:
    """Whether a call with these parameters may be repeated; not, if that can't be told of them."""
    if action.always_idempotent is not None:
        return action.always_idempotent
    try:
        return action.can_repeat(action.validate(params))
    except InvalidParams:
        return False
