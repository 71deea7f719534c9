"""How much work a JSON Schema can cause: references must neither multiply nor run in circles.

Schema libraries evaluate `anyOf`, `$ref` and their kin again and again without remembering, so
twenty definitions that each refer twice to the next cost a million evaluations, and a recursive
schema with two ways to the same place doubles its work at every level of the value.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from workflows.definition.components import components

MAX_EVALUATIONS = 20_000
MAX_RECURSIVE_REFERENCES = 200

_IN_PLACE_LISTS = ("allOf", "anyOf", "oneOf")
_IN_PLACE = ("not", "if", "then", "else")
_IN_PLACE_MAPS = ("dependentSchemas", "dependencies")
_ANY_PROPERTY = ("additionalProperties", "unevaluatedProperties", "propertyNames")
_ANY_ITEM = ("items", "contains", "unevaluatedItems", "additionalItems")
_HOLDERS = ("$defs", "definitions")


@dataclass(frozen=True, slots=True)
class Move:
    """A move from a value to one inside it: a property or an item; key None stands for any.

    others: the properties that "any" does not stand for, or the first item that it does.
    """

    is_item: bool
    key: str | int | None = None
    others: frozenset[str] = frozenset()
    start: int = 0

    def meets(self, other: Move) -> bool:
        """Whether both can lead to the same place."""
        if self.is_item != other.is_item:
            return False
        if self.key is not None and other.key is not None:
            return self.key == other.key
        return self._covers(other.key) and other._covers(self.key)

    def _covers(self, key: str | int | None) -> bool:
        if self.key is not None or key is None:
            return True
        return key >= self.start if isinstance(key, int) else key not in self.others


@dataclass(slots=True, eq=False)
class Node:
    """One subschema: its children with the move to each, and where its `$ref` leads."""

    path: str
    schema: Mapping[str, Any]
    children: list[tuple[Node, Move | None]] = field(default_factory=list)
    held: list[Node] = field(default_factory=list)
    reference: Node | None = None
    number: int = -1


def subschemas(schema: Mapping[str, Any]) -> Iterator[tuple[tuple[str | int, ...], Any, Any]]:
    """Every direct subschema: its keys, itself, and the move to it (None: same value; "held":
    it is only defined here)."""
    for name in _IN_PLACE:
        if name in schema:
            yield (name,), schema[name], None
    for name in _IN_PLACE_LISTS:
        for index, item in enumerate(_list(schema.get(name))):
            yield (name, index), item, None
    for name in _IN_PLACE_MAPS:
        for key, item in _map(schema.get(name)):
            yield (name, key), item, None
    for name in _HOLDERS:
        for key, item in _map(schema.get(name)):
            yield (name, key), item, "held"
    yield from _moving(schema)


def _moving(schema: Mapping[str, Any]) -> Iterator[tuple[tuple[str | int, ...], Any, Any]]:
    named = _map(schema.get("properties"))
    others = frozenset(key for key, _ in named)
    for key, item in named:
        yield ("properties", key), item, Move(is_item=False, key=key)
    for key, item in _map(schema.get("patternProperties")):
        yield ("patternProperties", key), item, Move(is_item=False)
    for name in _ANY_PROPERTY:
        if name in schema:
            excluded = others if name == "additionalProperties" else frozenset()
            yield (name,), schema[name], Move(is_item=False, others=excluded)
    prefix = _list(schema.get("prefixItems"))
    for index, item in enumerate(prefix):
        yield ("prefixItems", index), item, Move(is_item=True, key=index)
    for name in _ANY_ITEM:
        if name in schema:
            start = len(prefix) if name == "items" else 0
            yield (name,), schema[name], Move(is_item=True, start=start)


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def _map(value: object) -> list[tuple[str, Any]]:
    pairs = value.items() if isinstance(value, dict) else ()
    return [(key, item) for key, item in pairs if isinstance(key, str)]


def find_costly(nodes: list[Node]) -> Iterator[tuple[str, str]]:
    """(path, sentence) for what makes a schema too expensive. The first node is the root."""
    for number, node in enumerate(nodes):
        node.number = number
    component = components([[next_.number for next_, _ in _ways(node)] for node in nodes])
    members: dict[int, list[Node]] = {}
    for node in nodes:
        members.setdefault(component[node.number], []).append(node)
    recursive = list(_ambiguous(nodes, component, members))
    yield from recursive
    if not recursive and _evaluations(nodes, component, members) > MAX_EVALUATIONS:
        yield (
            nodes[0].path,
            f"The references of this schema multiply to more than {MAX_EVALUATIONS:,} "
            "evaluations; refer to fewer definitions from alternatives.",
        )


def _ways(node: Node) -> Iterator[tuple[Node, Move | None]]:
    yield from node.children
    if node.reference is not None:
        yield node.reference, None


def _evaluations(nodes: list[Node], component: list[int], members: Mapping[int, list[Node]]) -> int:
    cost: dict[int, int] = {}
    for number in sorted(members):
        total = 0
        for node in members[number]:
            # The library looks at everything in place a second time for `unevaluated...`.
            again = 2 if _evaluates_again(node) else 1
            total += 1
            for behind, move in _ways(node):
                if component[behind.number] != number:
                    total += cost[component[behind.number]] * (again if move is None else 1)
        cost[number] = total
    return cost[component[0]]


def _ambiguous(
    nodes: list[Node], component: list[int], members: Mapping[int, list[Node]]
) -> Iterator[tuple[str, str]]:
    """Recursive definitions with two ways to one place inside a value, or none out of a place."""
    targets = {id(node.reference): node.reference for node in nodes if node.reference is not None}
    refused = 0
    for target in targets.values():
        number = component[target.number]
        twice = next((n for n in members[number] if _looks_twice(n, component)), None)
        inner = list(_references(target, number, component, ()))
        if len(inner) > MAX_RECURSIVE_REFERENCES:
            refused += 1
            yield target.path, "This recursive definition refers to itself too often."
        elif _collide([moves for _, moves in inner]):
            refused += 1
            yield (
                target.path,
                "This recursive definition can reach the same place in a value in two ways, which "
                "doubles the work at every level; let one way lead there.",
            )
        elif twice is not None:
            refused += 1
            yield (
                twice.path,
                'A recursive definition cannot have "unevaluatedProperties" or "unevaluatedItems" '
                "around the recursion, which doubles the work at every level.",
            )
        elif any(place is target for place in _places(target, component)):
            refused += 1
            yield target.path, "This definition refers to itself without ever going into a value."
        if refused >= 10:
            return


def _looks_twice(node: Node, component: list[int]) -> bool:
    """Whether a node of a recursion is evaluated again for the sake of `unevaluated...`."""
    return _evaluates_again(node) and any(
        move is None and component[behind.number] == component[node.number]
        for behind, move in _ways(node)
    )


def _evaluates_again(node: Node) -> bool:
    return any(name.startswith("unevaluated") for name in node.schema)


def _references(
    node: Node, number: int, component: list[int], moves: tuple[Move, ...]
) -> Iterator[tuple[Node, tuple[Move, ...]]]:
    """The references below a node that stay among the definitions which recurse with it."""
    if component[node.number] != number:
        return
    if node.reference is not None and component[node.reference.number] == number:
        yield node.reference, moves
    for child, move in node.children:
        yield from _references(child, number, component, moves if move is None else (*moves, move))


def _places(node: Node, component: list[int]) -> list[Node]:
    """The nodes that are evaluated for the same value as `node`, beyond itself."""
    found: list[Node] = []
    seen: set[int] = set()
    pending = [node]
    while pending:
        for behind, move in _ways(pending.pop()):
            same = component[behind.number] == component[node.number]
            if move is None and same and behind.number not in seen:
                seen.add(behind.number)
                found.append(behind)
                pending.append(behind)
    return found


def _collide(words: list[tuple[Move, ...]]) -> bool:
    """Whether one word can be the beginning of another: then a place is reached in two ways."""
    for index, first in enumerate(words):
        for second in words[index + 1 :]:
            if all(a.meets(b) for a, b in zip(first, second, strict=False)):
                return True
    return False
