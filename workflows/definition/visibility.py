"""What can have happened before a step: which outputs, errors and names its formulas may use."""

from __future__ import annotations

from functools import cached_property

from workflows.definition.graph import ScopeGraph
from workflows.definition.ids import END
from workflows.definition.outline import Outline, Scope, Step

# The steps inside these belong to the same execution, so later steps see their outputs.
_TRANSPARENT = ("group", "finally")


class Visibility:
    """Answers for one document; the graph of each scope is built once."""

    def __init__(self, outline: Outline) -> None:
        self._flows = {id(scope): _Flow(scope) for scope in outline.scopes}

    def unreachable(self, scope: Scope) -> list[Step]:
        """The steps of a scope that no way leads to, in document order."""
        reachable = self._flows[id(scope)].reachable
        return [step for step in scope.steps if step.position not in reachable]

    def is_reachable(self, step: Step) -> bool:
        """Whether some way leads to a step and to every step it lies in."""
        place: Step | None = step
        while place is not None:
            if place.position not in self._flows[id(place.scope)].reachable:
                return False
            place = place.scope.parent
        return True

    def can_have_run(self, target: Step, *, before: Step | None, done: bool = False) -> bool:
        """Whether `target` can have ended on some way that leads to `before`.

        before: None is the end of the document. done: `before` itself has ended too.
        """
        places = _places(before)
        place = target
        while True:
            if before is None and place.scope.kind == "root":
                return True
            here = places.get(id(place.scope))
            if here is not None:
                return self._precedes(place, here, target, before, done)
            if place.scope.kind not in _TRANSPARENT or place.scope.parent is None:
                return False
            place = place.scope.parent

    def _precedes(
        self, place: Step, here: Step, target: Step, before: Step | None, done: bool
    ) -> bool:
        if self._flows[id(here.scope)].ancestors[here.position] >> place.position & 1:
            return True
        if place is not here:
            return False
        if here is before:
            return done
        # Both lie in the same step: only `finally` comes after the step's other scope.
        return target is not place and _within(before, here).kind == "finally"

    def caught(self, step: Step | None) -> frozenset[str] | None:
        """None when no error can have been caught before `step`, else the names it got by `as`."""
        names: set[str] = set()
        found = False
        while step is not None:
            flow = self._flows[id(step.scope)]
            for position, name in flow.catches:
                if position == step.position or flow.ancestors[step.position] >> position & 1:
                    found = True
                    names.update({name} if name else ())
            step = step.scope.parent
        return frozenset(names) if found else None


class _Flow:
    def __init__(self, scope: Scope) -> None:
        self._scope = scope
        self._graph = ScopeGraph(scope)

    @cached_property
    def reachable(self) -> set[int]:
        return self._graph.reachable()

    @cached_property
    def ancestors(self) -> list[int]:
        return self._graph.ancestors()

    @cached_property
    def catches(self) -> list[tuple[int, str]]:
        """Position of the step that each `catch` entry of the scope leads to, and its `as`."""
        positions = self._scope.positions()
        found: set[tuple[int, str]] = set()
        for step in self._scope.steps:
            entries = step.raw.get("catch")
            for entry in entries if isinstance(entries, list) else []:
                target = entry.get("next") if isinstance(entry, dict) else None
                if isinstance(target, str) and target != END and target in positions:
                    name = entry.get("as")
                    found.add((positions[target], name if isinstance(name, str) else ""))
        return sorted(found)


def _places(step: Step | None) -> dict[int, Step]:
    """For the scope of a step and all scopes around it: the step that leads inwards."""
    places: dict[int, Step] = {}
    while step is not None:
        places[id(step.scope)] = step
        step = step.scope.parent
    return places


def _within(step: Step | None, container: Step) -> Scope:
    """The scope of `container` in which `step` lies."""
    assert step is not None
    scope = step.scope
    while scope.parent is not container:
        assert scope.parent is not None
        scope = scope.parent.scope
    return scope
