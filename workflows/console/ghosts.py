"""The graph of a comparison: the new version, and what is gone as ghosts where it stood."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from workflows.console.drawing import drawing_of
from workflows.definition.outline import Outline, Scope, Step, read_outline
from workflows.versioning.diff import Pairing, pair_steps, scope_key

GONE = "gone"

Edge = Mapping[str, Any]


def compared_drawing(old: dict[str, Any], new: dict[str, Any]) -> dict[str, Any]:
    """`drawing_of` the new definition, with the removed steps in their scopes.

    The ways that led through them are edges of the kind `gone`, as far as they can be drawn.
    """
    drawing = drawing_of(new)
    before, after = read_outline(old), read_outline(new)
    pairing = pair_steps(before, after)
    if not pairing.removed:
        return drawing
    scopes = _scopes(before, after, pairing)
    earlier = drawing_of(old)
    nodes = {node["id"]: node for node in earlier["nodes"]}
    for step in pairing.removed:
        drawing["nodes"].append({**nodes[step.id], "scope": scopes.of(step)})
    drawing["scopes"] += scopes.added
    drawing["edges"] += _gone_ways(earlier["edges"], drawing, pairing)
    return drawing


class _Scopes:
    """Where the steps of the old document are drawn.

    added: scopes of removed steps, which the new document has not.
    """

    def __init__(self, known: Mapping[str, str], names: Mapping[str, str]) -> None:
        self._known = known
        self._names = names
        self.added: list[dict[str, Any]] = []
        self._added_ids: set[str] = set()

    def add(self, scope: Scope, parent: Step) -> None:
        """The scope of a removed step. Its id may be that of no other: the step's is in it."""
        self._added_ids.add(scope.id)
        self.added.append(
            {"id": scope.id, "kind": scope.kind, "parent": parent.id, "name": scope.suffix}
        )

    def of(self, step: Step) -> str:
        """The id of the scope to draw a removed step in; the outermost if its own is gone."""
        scope = step.scope
        if scope.id in self._added_ids:
            return scope.id
        return self._known.get(_key(scope, self._names), "")


def _scopes(before: Outline, after: Outline, pairing: Pairing) -> _Scopes:
    names = {one.id: other.id for one, other in pairing.pairs}
    found = _Scopes({scope_key(scope): scope.id for scope in after.scopes}, names)
    for step in pairing.removed:
        for scope in step.scopes:
            if any(inner in pairing.removed for inner in scope.steps):
                found.add(scope, step)
    return found


def _key(scope: Scope, names: Mapping[str, str]) -> str:
    """The `scope_key` of an old scope, its holder under the id that it has now."""
    key = scope_key(scope)
    if scope.parent is None:
        return key
    return names.get(scope.parent.id, scope.parent.id) + key.removeprefix(scope.parent.id)


def _gone_ways(
    earlier: list[dict[str, Any]], drawing: Mapping[str, Any], pairing: Pairing
) -> Iterator[dict[str, Any]]:
    """The old ways from and to removed steps whose ends are drawn in one scope."""
    names = {one.id: other.id for one, other in pairing.pairs}
    gone = {step.id for step in pairing.removed}
    scope_of = {node["id"]: node["scope"] for node in drawing["nodes"]}
    ways = _Reach(drawing["edges"])
    for edge in earlier:
        if edge["source"] not in gone and edge["target"] not in gone:
            continue
        source = names.get(edge["source"], edge["source"])
        target = names.get(edge["target"], edge["target"])
        if target is None or scope_of[source] != scope_of[target] or ways.leads(target, source):
            continue
        ways.add(source, target)
        yield {
            "source": source,
            "target": target,
            "scope": scope_of[source],
            "kind": GONE,
            "label": "",
        }


class _Reach:
    """Whether one step leads to another: a way against the flow would cross everything."""

    def __init__(self, edges: list[dict[str, Any]]) -> None:
        self._next: dict[str, list[str]] = {}
        for edge in edges:
            if edge["target"] is not None and edge["kind"] != "loop":
                self.add(edge["source"], edge["target"])

    def add(self, source: str, target: str) -> None:
        self._next.setdefault(source, []).append(target)

    def leads(self, source: str, target: str) -> bool:
        seen, pending = {source}, [source]
        while pending:
            here = pending.pop()
            if here == target:
                return True
            for each in self._next.get(here, ()):
                if each not in seen:
                    seen.add(each)
                    pending.append(each)
        return False
