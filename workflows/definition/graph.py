"""The flow inside scopes as a pure graph: who follows whom, what can be reached, what loops."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from workflows.definition.components import components
from workflows.definition.ids import END
from workflows.definition.outline import Scope, Step, read_outline
from workflows.definition.paths import join


class EdgeKind(StrEnum):
    """Why flow can go from one step to another."""

    FLOW = "flow"
    CHOICE = "choice"
    CATCH = "catch"
    LOOP = "loop"


@dataclass(frozen=True, slots=True)
class Edge:
    """A way from `source` to `target`; None is the end of the scope.

    A `loop` edge goes back to a step that can lead here again.
    """

    source: str
    target: str | None
    kind: EdgeKind
    label: str = ""


@dataclass(frozen=True, slots=True)
class Target:
    """A step id as it is written somewhere in a step."""

    path: str
    id: str
    kind: EdgeKind
    label: str


def resolve_target(target: str) -> str | None:
    """The step id that a written target means; None for `end`."""
    return None if target == END else target


def successor(step: Step) -> str | None:
    """The id that follows a step: its `next`, else the step below; None is the end of the scope."""
    position = _successor(step)
    return None if position is None else step.scope.steps[position].id


def _successor(step: Step) -> int | None:
    """Position of what follows. A `next` that names no step of the scope counts as absent, so
    that one mistake is reported once and not again for every step behind it.
    """
    target = step.raw.get("next")
    if target == END:
        return None
    if isinstance(target, str) and target in step.scope.positions():
        return step.scope.positions()[target]
    below = step.position + 1
    return below if below < len(step.scope.steps) else None


def targets(step: Step) -> Iterator[Target]:
    """Every step id that a step names as somewhere to go to, except those that are no text."""
    written = step.raw.get("next")
    if isinstance(written, str):
        yield Target(join(step.path, "next"), written, EdgeKind.FLOW, "")
    if step.type == "choice":
        yield from _choice_targets(step)
    catches = step.raw.get("catch")
    for index, entry in enumerate(catches if isinstance(catches, list) else []):
        if isinstance(entry, dict) and isinstance(entry.get("next"), str):
            path = f"{step.path}.catch[{index}].next"
            yield Target(path, entry["next"], EdgeKind.CATCH, _codes(entry.get("errors")))


def _choice_targets(step: Step) -> Iterator[Target]:
    choices = step.config.get("choices")
    for index, way in enumerate(choices if isinstance(choices, list) else []):
        if isinstance(way, dict) and isinstance(way.get("next"), str):
            label = way.get("when")
            yield Target(
                f"{step.config_path}.choices[{index}].next",
                way["next"],
                EdgeKind.CHOICE,
                label if isinstance(label, str) else "",
            )
    default = step.config.get("default")
    if isinstance(default, str):
        yield Target(f"{step.config_path}.default", default, EdgeKind.CHOICE, "default")


def _codes(errors: object) -> str:
    return ", ".join(e for e in errors if isinstance(e, str)) if isinstance(errors, list) else ""


def falls_through(step: Step) -> bool:
    """Whether flow can go from a step to its successor.

    A choice goes elsewhere, `fail` and `succeed` end the scope: only `when` can skip them.
    """
    return step.type not in ("choice", "fail", "succeed") or step.raw.get("when") is not None


@dataclass(frozen=True, slots=True)
class _Way:
    source: int
    target: int | None
    kind: EdgeKind
    label: str


class ScopeGraph:
    """The graph of one scope, by position of the steps; building it costs steps plus edges."""

    def __init__(self, scope: Scope) -> None:
        self.scope = scope
        self._ways = [way for step in scope.steps for way in _ways(step)]
        self._next: list[list[int]] = [[] for _ in scope.steps]
        for way in self._ways:
            if way.target is not None:
                self._next[way.source].append(way.target)
        self._component = components(self._next)
        self._members: dict[int, list[int]] = {}
        for position, component in enumerate(self._component):
            self._members.setdefault(component, []).append(position)

    def edges(self) -> list[Edge]:
        """All ways, in document order."""
        steps = self.scope.steps
        return [
            Edge(
                source=steps[way.source].id,
                target=None if way.target is None else steps[way.target].id,
                kind=EdgeKind.LOOP if self._goes_back(way) else way.kind,
                label=way.label,
            )
            for way in self._ways
        ]

    def _goes_back(self, way: _Way) -> bool:
        if way.target is None or way.target > way.source:
            return False
        return self._component[way.source] == self._component[way.target]

    def reachable(self) -> set[int]:
        """Positions that some way from the first step leads to."""
        seen = {0} if self.scope.steps else set()
        pending = list(seen)
        while pending:
            for target in self._next[pending.pop()]:
                if target not in seen:
                    seen.add(target)
                    pending.append(target)
        return seen

    def ancestors(self) -> list[int]:
        """For each position a bit mask of the positions that can have run before it.

        A step in a loop is among its own ancestors. The steps of a strongly connected component
        share one mask, and components are visited from the front: one pass over the edges.
        """
        masks = dict.fromkeys(self._members, 0)
        for component in sorted(self._members, reverse=True):
            members = self._members[component]
            own = sum(1 << position for position in members)
            if len(members) > 1 or members[0] in self._next[members[0]]:
                masks[component] |= own
            seen = masks[component] | own
            for position in members:
                for target in self._next[position]:
                    if self._component[target] != component:
                        masks[self._component[target]] |= seen
        return [masks[component] for component in self._component]


def _ways(step: Step) -> Iterator[_Way]:
    positions = step.scope.positions()
    written = [target for target in targets(step) if target.kind is not EdgeKind.FLOW]
    # A target to nowhere is one mistake: what it was meant to reach is not reported as well.
    lost = any(target.id != END and target.id not in positions for target in written)
    if lost or falls_through(step):
        yield _Way(step.position, _successor(step), EdgeKind.FLOW, "")
    for target in written:
        if target.id == END:
            yield _Way(step.position, None, target.kind, target.label)
        elif target.id in positions:
            yield _Way(step.position, positions[target.id], target.kind, target.label)


def to_graph(document: Mapping[str, Any]) -> dict[str, list[dict[str, Any]]]:
    """Nodes and edges of a whole document, for drawing.

    nodes: `id`, `name`, `type`, `path`, `parent` (id of the step that holds the scope, or None)
    and `scope` (JSON path of the scope's list). edges: `source`, `target` (None is the end of the
    scope), `kind` (an EdgeKind) and `label`. Works for any document, valid or not.
    """
    outline = read_outline(document)
    nodes = [_node(step) for step in outline.steps]
    edges = [
        {"source": edge.source, "target": edge.target, "kind": edge.kind.value, "label": edge.label}
        for scope in outline.scopes
        for edge in ScopeGraph(scope).edges()
    ]
    return {"nodes": nodes, "edges": edges}


def _node(step: Step) -> dict[str, Any]:
    return {
        "id": step.id,
        "name": step.name or step.id,
        "type": step.type,
        "path": step.path,
        "parent": step.scope.parent.id if step.scope.parent else None,
        "scope": step.scope.path,
    }
