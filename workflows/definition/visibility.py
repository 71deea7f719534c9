"""What can have happened before a step: which outputs, errors and names its formulas may use."""

from __future__ import annotations

from functools import cached_property

from workflows.definition.graph import ScopeGraph
from workflows.definition.ids import END
from workflows.definition.outline import Outline, Scope, Step

# The steps inside these belong to the same execution, so later steps see their outputs.
_TRANSPARENT = ("group", "finally")


def execution_of(scope: Scope) -> Scope:
    """The scope whose steps and variables form one execution: the document's own steps, those of
    a map's item or those of a parallel branch.
    """
    while scope.kind in _TRANSPARENT and scope.parent is not None:
        scope = scope.parent.scope
    return scope


class Visibility:
    """Answers for one document; the graph of each scope is built once."""

    def __init__(self, outline: Outline) -> None:
        self._root = outline.root
        self._flows = {id(scope): _Flow(scope) for scope in outline.scopes}
        self._caught: dict[int, frozenset[str]] = {}
        self._catching: dict[int, dict[str, int]] = {}

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

    def can_have_caught(self, step: Step | None, name: str = "", *, done: bool = False) -> bool:
        """Whether an error can have been caught, under this name if one is given, before `step`.

        step: None is the end of the document. done: `step` itself has ended too.
        """
        if step is None:
            return name in self._caught_in(self._root)
        while step is not None:
            flow = self._flows[id(step.scope)]
            own = 1 << step.position
            seen = flow.ancestors[step.position]
            if flow.caught_at.get(name, 0) & (seen | own):
                return True
            ended = seen | own if done else seen
            if self._holders(step.scope).get(name, 0) & ended:
                return True
            if step.scope.kind == "finally" and (not name or self._body_caught(step.scope, name)):
                return True
            step, done = step.scope.parent, False
        return False

    def _body_caught(self, last: Scope, name: str) -> bool:
        """Whether the steps of a group can have caught an error before its `finally`."""
        assert last.parent is not None
        return any(name in self._caught_in(s) for s in last.parent.scopes if s is not last)

    def _caught_in(self, scope: Scope) -> frozenset[str]:
        """The names under which a scope, with the groups in it, catches errors; empty for any."""
        found = self._caught.get(id(scope))
        if found is None:
            own = self._flows[id(scope)].caught_at
            found = self._caught[id(scope)] = frozenset((*own, *self._holders(scope)))
        return found

    def _holders(self, scope: Scope) -> dict[str, int]:
        """Bit masks of the groups of a scope in which errors are caught, by name."""
        found = self._catching.get(id(scope))
        if found is None:
            found = self._catching[id(scope)] = {}
            for step in scope.steps:
                names = {
                    name
                    for inner in step.scopes
                    if inner.kind in _TRANSPARENT
                    for name in self._caught_in(inner)
                }
                for name in names:
                    found[name] = found.get(name, 0) | 1 << step.position
        return found


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
    def caught_at(self) -> dict[str, int]:
        """By the name of a caught error, and by the empty one for any: a bit mask of the
        positions that such a `catch` leads to. One that leads nowhere is reported elsewhere and
        counts as leading to every step.
        """
        positions = self._scope.positions()
        everywhere = (1 << len(self._scope.steps)) - 1
        found: dict[str, int] = {}
        for step in self._scope.steps:
            entries = step.raw.get("catch")
            for entry in entries if isinstance(entries, list) else []:
                if not isinstance(entry, dict):
                    continue
                target, name = entry.get("next"), entry.get("as")
                mask = 0 if target == END else everywhere
                if isinstance(target, str) and target in positions:
                    mask = 1 << positions[target]
                for key in {"", name if isinstance(name, str) else ""}:
                    found[key] = found.get(key, 0) | mask
        return found


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
