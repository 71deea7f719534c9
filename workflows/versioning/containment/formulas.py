"""What a JSON Schema says, as formulas: `and`, `or`, `not` over a few kinds of statements.

A statement (`Atom`) is about values of one kind only; values of other kinds satisfy it. "At most"
is "less than one more" (`Less`), so that a bound and its opposite are about the same statement and
contradict each other at sight.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from fractions import Fraction
from typing import TYPE_CHECKING, Any, ClassVar, TypeAlias

if TYPE_CHECKING:
    from workflows.versioning.containment.reader import Node


class Undecided(Exception):
    """The question can't be settled within bounds; the message says what stands in the way."""


class Kind(StrEnum):
    """The kinds of JSON values; whole numbers are numbers."""

    NULL = "null"
    BOOLEAN = "boolean"
    NUMBER = "number"
    STRING = "string"
    ARRAY = "array"
    OBJECT = "object"


@dataclass(frozen=True, slots=True)
class And:
    """All parts hold; without parts anything goes."""

    parts: tuple[Part, ...] = ()


@dataclass(frozen=True, slots=True)
class Or:
    """At least one part holds; without parts nothing does."""

    parts: tuple[Part, ...] = ()


@dataclass(frozen=True, slots=True)
class One:
    """Exactly one part holds."""

    parts: tuple[Part, ...]


@dataclass(frozen=True, slots=True)
class Not:
    """The part does not hold."""

    part: Part


@dataclass(frozen=True, slots=True)
class Types:
    """The value is of one of these types, of which `integer` is one."""

    names: frozenset[str]


@dataclass(frozen=True, slots=True)
class Enum:
    """The value equals one of these; `keys` are what makes two of them equal."""

    keys: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Atom:
    """A statement about values of one kind."""

    kind: ClassVar[Kind | None] = None


@dataclass(frozen=True, slots=True)
class Above(Atom):
    """A number from `limit` on, or only beyond it if `strict`."""

    kind: ClassVar[Kind | None] = Kind.NUMBER
    limit: Fraction
    strict: bool


@dataclass(frozen=True, slots=True)
class Multiple(Atom):
    """A number that is a multiple of `of`."""

    kind: ClassVar[Kind | None] = Kind.NUMBER
    of: Fraction


@dataclass(frozen=True, slots=True)
class Longer(Atom):
    """A text of at least `size` characters."""

    kind: ClassVar[Kind | None] = Kind.STRING
    size: int


@dataclass(frozen=True, slots=True)
class Pattern(Atom):
    """A text in which a regular expression is found."""

    kind: ClassVar[Kind | None] = Kind.STRING
    text: str


@dataclass(frozen=True, slots=True)
class Format(Atom):
    """A text of a named format."""

    kind: ClassVar[Kind | None] = Kind.STRING
    name: str


@dataclass(frozen=True, slots=True)
class MoreItems(Atom):
    """A list of at least `size` items."""

    kind: ClassVar[Kind | None] = Kind.ARRAY
    size: int


@dataclass(frozen=True, slots=True)
class Items(Atom):
    """A list whose first items fit `prefix` one by one, and all others fit `rest`."""

    kind: ClassVar[Kind | None] = Kind.ARRAY
    prefix: tuple[Node, ...]
    rest: Node

    def at(self, index: int) -> Node:
        return self.prefix[index] if index < len(self.prefix) else self.rest


@dataclass(frozen=True, slots=True)
class Unique(Atom):
    """A list without two equal items."""

    kind: ClassVar[Kind | None] = Kind.ARRAY


@dataclass(frozen=True, slots=True)
class Contains(Atom):
    """A list of which at least `least` items fit `node`."""

    kind: ClassVar[Kind | None] = Kind.ARRAY
    node: Node
    least: int


@dataclass(frozen=True, slots=True)
class MoreFields(Atom):
    """An object of at least `size` fields."""

    kind: ClassVar[Kind | None] = Kind.OBJECT
    size: int


@dataclass(frozen=True, slots=True)
class Required(Atom):
    """An object that has the field."""

    kind: ClassVar[Kind | None] = Kind.OBJECT
    name: str


@dataclass(frozen=True, slots=True)
class Fields(Atom):
    """An object whose fields fit what is said of them by name, by pattern, or of all others."""

    kind: ClassVar[Kind | None] = Kind.OBJECT
    named: tuple[tuple[str, Node], ...]
    patterns: tuple[tuple[str, Node], ...]
    others: Node

    def by_name(self) -> Mapping[str, Node]:
        return dict(self.named)


@dataclass(frozen=True, slots=True)
class Names(Atom):
    """An object whose fields' names all fit `node`."""

    kind: ClassVar[Kind | None] = Kind.OBJECT
    node: Node


@dataclass(frozen=True, slots=True)
class Less:
    """A value of the statement's kind does not satisfy it; values of other kinds are fine."""

    atom: Atom


@dataclass(frozen=True, slots=True)
class Opaque(Atom):
    """Something that is not understood here: it equals itself, and nothing more is known of it."""

    keyword: str
    key: str


Formula: TypeAlias = And | Or | One | Not | Types | Enum | Less | Atom
if TYPE_CHECKING:
    Part: TypeAlias = Formula | Node

NOTHING = Or()
ANYTHING = And()


def kind_of(value: Any) -> Kind:
    """The kind of a JSON value."""
    if value is None:
        return Kind.NULL
    if isinstance(value, bool):
        return Kind.BOOLEAN
    if isinstance(value, int | float):
        return Kind.NUMBER
    if isinstance(value, str):
        return Kind.STRING
    return Kind.ARRAY if isinstance(value, list) else Kind.OBJECT
