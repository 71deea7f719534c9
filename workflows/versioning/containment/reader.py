"""From JSON Schema to formulas: one node for each subschema, shared by all that say the same."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import unquote

from workflows.versioning.containment import plain
from workflows.versioning.containment.formulas import (
    ANYTHING,
    NOTHING,
    Above,
    And,
    Contains,
    Enum,
    Fields,
    Format,
    Formula,
    Items,
    Kind,
    Less,
    Longer,
    MoreFields,
    MoreItems,
    Multiple,
    Names,
    Not,
    One,
    Opaque,
    Or,
    Pattern,
    Required,
    Types,
    Undecided,
    Unique,
)

_MAX_NODES = 5_000
# Expressions that are found in every text.
EVERY_TEXT = frozenset({"", "^", "$", ".*", "^.*", ".*$"})
_SILENT = frozenset(
    (
        *("title", "description", "default", "examples", "deprecated", "readOnly", "writeOnly"),
        *("$schema", "$id", "$comment", "$anchor", "$defs", "definitions"),
        *("contentEncoding", "contentMediaType", "contentSchema"),
    )
)
_OPAQUE = (
    "unevaluatedProperties",
    "unevaluatedItems",
    "$dynamicRef",
    "$dynamicAnchor",
    "$recursiveRef",
    "$recursiveAnchor",
)
_NOT_OBJECT = Types(frozenset(kind for kind in Kind if kind != Kind.OBJECT))


class Node:
    """A subschema. Two that say the same in the same words are one node."""

    __slots__ = ("_formula", "_loops", "document", "key", "schema")

    def __init__(self, key: str, schema: Any, document: Document) -> None:
        self.key = key
        self.schema = schema
        self.document = document
        self._formula: Formula | None = None
        self._loops: bool | None = None

    @property
    def formula(self) -> Formula:
        """What the subschema says. Raises Undecided when it can't be read."""
        if self._formula is None:
            self._formula = self.document.read(self.schema, self.key)
        return self._formula

    @property
    def loops(self) -> bool:
        """Whether it leads back to itself without ever going into a value."""
        if self._loops is None:
            self._loops = _leads_to(self, self, set())
        return self._loops


def _leads_to(node: Node, target: Node, seen: set[int]) -> bool:
    pending: list[Any] = [node.formula]
    while pending:
        part = pending.pop()
        if isinstance(part, Node):
            if part is target:
                return True
            if id(part) not in seen:
                seen.add(id(part))
                pending.append(part.formula)
        elif isinstance(part, And | Or | One):
            pending.extend(part.parts)
        elif isinstance(part, Not):
            pending.append(part.part)
    return False


class Pool:
    """The nodes of all schemas that are compared with each other."""

    def __init__(self) -> None:
        self._nodes: dict[str, Node] = {}

    def node(self, schema: Any, document: Document) -> Node:
        key = document.key_of(schema)
        found = self._nodes.get(key)
        if found is None:
            if len(self._nodes) >= _MAX_NODES:
                raise Undecided(f"The schemas have more than {_MAX_NODES:,} parts.")
            found = self._nodes[key] = Node(key, schema, document)
        return found


class Document:
    """One schema with the places that its references lead to."""

    def __init__(self, root: Any, pool: Pool) -> None:
        if any(_identified(each) for each in _inner(root)):
            # References below it would start from there, not from the top.
            raise Undecided('Only the top of a schema can have an "$id".')
        self._root = root
        self._pool = pool
        self._anchors: dict[str, Any] | None = None
        self._reached: dict[str, frozenset[str]] = {}

    def node(self, schema: Any) -> Node:
        return self._pool.node(schema, self)

    def key_of(self, schema: Any) -> str:
        """The same for subschemas that mean the same word by word, wherever their references lead.

        A text of the subschema and of every place that can be reached from it.
        """
        text = _text(schema)
        if '"$ref"' not in text:
            return text
        reached = self._closure(schema)
        return _text([schema, {each: self._resolve(each) for each in sorted(reached)}])

    def _closure(self, schema: Any) -> set[str]:
        found: set[str] = set()
        pending = list(_references(schema))
        while pending:
            each = pending.pop()
            if each in found:
                continue
            found.add(each)
            if each not in self._reached:
                self._reached[each] = frozenset(_references(self._resolve(each)))
            pending.extend(self._reached[each])
        return found

    def _resolve(self, reference: str) -> Any:
        """Where a reference leads; None if not to a schema in this document."""
        if not reference.startswith("#"):
            return None
        fragment = unquote(reference[1:])
        if fragment and not fragment.startswith("/"):
            if self._anchors is None:
                self._anchors = dict(_anchors(self._root))
            return self._anchors.get(fragment)
        value: Any = self._root
        for token in fragment.split("/")[1:]:
            name = token.replace("~1", "/").replace("~0", "~")
            if isinstance(value, dict):
                value = value.get(name)
            elif isinstance(value, list) and name.isdecimal() and int(name) < len(value):
                value = value[int(name)]
            else:
                return None
        return value if isinstance(value, dict | bool) else None

    def read(self, schema: Any, key: str) -> Formula:
        """What `schema` says. Raises Undecided when it is no valid schema."""
        if schema is True:
            return ANYTHING
        if schema is False:
            return NOTHING
        if not isinstance(schema, dict):
            raise Undecided("A part of the schema is no JSON Schema.")
        try:
            return And(tuple(self._parts(schema, key)))
        except (TypeError, ValueError, AttributeError) as error:
            raise Undecided("A part of the schema is no valid JSON Schema.") from error

    def _parts(self, schema: dict[str, Any], key: str) -> Iterator[Any]:
        for word, value in schema.items():
            simple = _SIMPLE.get(word)
            if simple is not None:
                yield simple(value)
            elif word in _OPAQUE or (word == "$ref" and self._resolve(str(value)) is None):
                yield Opaque(word, key)
        yield from self._combined(schema)
        yield from self._arrays(schema)
        yield from self._objects(schema)

    def _combined(self, schema: dict[str, Any]) -> Iterator[Any]:
        target = self._resolve(schema["$ref"]) if "$ref" in schema else None
        if target is not None:
            yield self.node(target)
        for word, combine in (("allOf", And), ("anyOf", Or), ("oneOf", One)):
            if word in schema:
                yield combine(tuple(self.node(each) for each in schema[word]))
        if "not" in schema:
            yield Not(self.node(schema["not"]))
        if "if" in schema:
            test = self.node(schema["if"])
            yes = self.node(schema.get("then", True))
            no = self.node(schema.get("else", True))
            yield Or((And((test, yes)), And((Not(test), no))))

    def _arrays(self, schema: dict[str, Any]) -> Iterator[Any]:
        if "prefixItems" in schema or "items" in schema:
            prefix = tuple(self.node(each) for each in schema.get("prefixItems", ()))
            yield Items(prefix, self.node(schema.get("items", True)))
        if "contains" in schema:
            node = self.node(schema["contains"])
            least = int(schema.get("minContains", 1))
            if least > 0:
                yield Contains(node, least)
            if "maxContains" in schema:
                yield Less(Contains(node, int(schema["maxContains"]) + 1))

    def _objects(self, schema: dict[str, Any]) -> Iterator[Any]:
        if any(word in schema for word in _FIELD_WORDS):
            yield Fields(
                tuple(sorted(self._map(schema, "properties"))),
                tuple(sorted(self._map(schema, "patternProperties"))),
                self.node(schema.get("additionalProperties", True)),
            )
        if "propertyNames" in schema:
            yield Names(self.node(schema["propertyNames"]))
        for name, others in schema.get("dependentRequired", {}).items():
            needed = And(tuple(Required(other) for other in others))
            yield Or((_NOT_OBJECT, Not(Required(name)), needed))
        for name, node in self._map(schema, "dependentSchemas"):
            yield Or((_NOT_OBJECT, Not(Required(name)), node))

    def _map(self, schema: dict[str, Any], word: str) -> list[tuple[str, Node]]:
        # Names are different within one map: sorting never compares two nodes.
        return [(name, self.node(each)) for name, each in schema.get(word, {}).items()]


_FIELD_WORDS = ("properties", "patternProperties", "additionalProperties")


def _types(value: Any) -> Formula:
    names = frozenset([value] if isinstance(value, str) else value)
    if not names <= {*Kind, "integer"}:
        raise Undecided("A type in the schema is unknown.")
    return Types(names)


def _multiple(value: Any) -> Formula:
    of = plain.exact(value)
    if of <= 0:
        raise Undecided('"multipleOf" has to be above zero.')
    return Multiple(of)


def _size(value: Any) -> int:
    if isinstance(value, bool) or value != int(value):
        raise Undecided("A size in the schema is no whole number.")
    return int(value)


_SIMPLE: dict[str, Callable[[Any], Formula]] = {
    "type": _types,
    "enum": lambda values: Enum(tuple(dict.fromkeys(plain.key(each) for each in values))),
    "const": lambda value: Enum((plain.key(value),)),
    "minimum": lambda limit: Above(plain.exact(limit), False),
    "exclusiveMinimum": lambda limit: Above(plain.exact(limit), True),
    "maximum": lambda limit: Less(Above(plain.exact(limit), True)),
    "exclusiveMaximum": lambda limit: Less(Above(plain.exact(limit), False)),
    "multipleOf": _multiple,
    "minLength": lambda size: Longer(_size(size)),
    "maxLength": lambda size: Less(Longer(_size(size) + 1)),
    "pattern": lambda text: ANYTHING if text in EVERY_TEXT else Pattern(str(text)),
    "format": lambda name: Format(str(name)),
    "minItems": lambda size: MoreItems(_size(size)),
    "maxItems": lambda size: Less(MoreItems(_size(size) + 1)),
    "uniqueItems": lambda flag: Unique() if flag else ANYTHING,
    "minProperties": lambda size: MoreFields(_size(size)),
    "maxProperties": lambda size: Less(MoreFields(_size(size) + 1)),
    "required": lambda names: And(tuple(Required(str(name)) for name in names)),
}


def _text(schema: Any) -> str:
    return json.dumps(_meaning(schema), sort_keys=True, ensure_ascii=True)


def _meaning(schema: Any) -> Any:
    """Without what only describes; a field that is called "title" stays in `properties`."""
    if isinstance(schema, list):
        return [_meaning(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    kept: dict[str, Any] = {}
    for word, value in schema.items():
        if word in _SILENT:
            continue
        if word in ("enum", "const", "required", "dependentRequired"):
            kept[word] = value
        elif word in ("properties", "patternProperties", "dependentSchemas") and isinstance(
            value, dict
        ):
            kept[word] = {name: _meaning(each) for name, each in value.items()}
        else:
            kept[word] = _meaning(value)
    return kept


def _references(schema: Any) -> Iterator[str]:
    if isinstance(schema, dict):
        reference = schema.get("$ref")
        if isinstance(reference, str):
            yield reference
        for word, value in schema.items():
            if word not in ("$defs", "definitions", "enum", "const"):
                yield from _references(value)
    elif isinstance(schema, list):
        for each in schema:
            yield from _references(each)


def _inner(schema: Any) -> Iterator[Any]:
    return iter(schema.values() if isinstance(schema, dict) else ())


def _identified(schema: Any) -> bool:
    if isinstance(schema, dict):
        return isinstance(schema.get("$id"), str) or any(map(_identified, schema.values()))
    return isinstance(schema, list) and any(map(_identified, schema))


def _anchors(schema: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(schema, dict):
        name = schema.get("$anchor")
        if isinstance(name, str):
            yield name, schema
        for value in schema.values():
            yield from _anchors(value)
    elif isinstance(schema, list):
        for each in schema:
            yield from _anchors(each)
