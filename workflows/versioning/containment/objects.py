"""Which objects satisfy a branch of a goal."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import combinations, count, islice, product
from typing import Any

from workflows.versioning.containment.checks import Checker, applying, text_fits
from workflows.versioning.containment.formulas import (
    Fields,
    Kind,
    MoreFields,
    Names,
    Required,
)
from workflows.versioning.containment.reader import EVERY_TEXT, Node
from workflows.versioning.containment.search import EMPTY, Branch, Found, Search
from workflows.versioning.containment.wording import guesses, plain_names

_MAX_PATTERNS = 5
_MAX_COMBINED = 16
_MAX_BUILT = 300


def solve_object(search: Search, branch: Branch) -> Found:
    """Which fields there are, how many, and what each has to fit."""
    objects = _Objects(search, branch)
    if not all(map(objects.possible, objects.required)):
        return EMPTY
    objects.count()
    if objects.least > objects.most:
        return EMPTY
    ways: list[list[_Way]] = []
    for atom in branch.no:
        if isinstance(atom, Fields):
            found = list(objects.breaks(atom))
        elif isinstance(atom, Names):
            found = list(objects.misnamed(atom))
        else:
            continue
        if not found:
            return EMPTY
        ways.append(found)
    return Found(False, tuple(islice(objects.built(ways), _MAX_COMBINED)))


@dataclass(frozen=True, slots=True)
class _Way:
    """A field that doesn't fit: its name, or what is known of a name that nothing else names."""

    name: str | None
    value: Any = None
    known: bool = False
    matched: frozenset[str] = frozenset()
    asked: frozenset[str] = frozenset()


@dataclass(slots=True)
class _Objects:
    search: Search
    branch: Branch
    fields: list[Fields] = field(default_factory=list)
    required: list[str] = field(default_factory=list)
    absent: set[str] = field(default_factory=set)
    names: list[str] = field(default_factory=list)
    naming: list[Node] = field(default_factory=list)
    least: int = 0
    most: float = float("inf")
    _possible: dict[str, bool] = field(default_factory=dict)

    def __post_init__(self) -> None:
        yes, no = self.branch.yes, self.branch.no
        self.fields = [each for each in yes if isinstance(each, Fields)]
        self.required = sorted(each.name for each in yes if isinstance(each, Required))
        self.absent = {each.name for each in no if isinstance(each, Required)}
        self.naming = [each.node for each in yes if isinstance(each, Names)]
        known = dict.fromkeys([*self.required, *sorted(self.absent)])
        for atom in (*yes, *no):
            if isinstance(atom, Fields):
                known.update(dict.fromkeys(name for name, _ in atom.named))
                for pattern, _ in atom.patterns:
                    known.update(dict.fromkeys(sorted(plain_names(pattern) or ())))
        self.names = list(known)
        self.search.step(len(self.names))

    def nodes(self, name: str) -> frozenset[Node]:
        """What a field of this name surely has to fit."""
        return frozenset(node for atom in self.fields for node in applying(atom, name)[0])

    def possible(self, name: str) -> bool:
        """Whether there can be a field of this name."""
        if name not in self._possible:
            self._possible[name] = (
                name not in self.absent
                and self.named_well(name)
                and not self.search.is_empty(self.nodes(name))
            )
        return self._possible[name]

    def named_well(self, name: str) -> bool:
        checker = Checker()
        self.search.step()
        return all(checker.holds(node, name) is not False for node in self.naming)

    def count(self) -> None:
        """How many fields there have to be and can be."""
        yes, no = self.branch.yes, self.branch.no
        sizes = [each.size for each in yes if isinstance(each, MoreFields)]
        self.least = max([len(self.required), *sizes])
        self.most = min(
            (each.size - 1 for each in no if isinstance(each, MoreFields)), default=float("inf")
        )
        closed = any(atom.others.schema is False for atom in self.fields)
        if closed and not self._others_possible():
            self.most = min(self.most, sum(map(self.possible, self.names)))

    def _others_possible(self) -> bool:
        """Whether there can be a field that nothing names."""
        patterns = _patterns(self.fields)
        if len(patterns) > _MAX_PATTERNS:
            return True
        return any(
            not self.search.is_empty(self._unnamed(self.fields, matched))
            for matched in _subsets(patterns)
        )

    def _unnamed(self, fields: list[Fields], matched: frozenset[str]) -> frozenset[Node]:
        """What a field that nothing names has to fit, if these patterns are found in its name."""
        found: set[Node] = set()
        for atom in fields:
            fitting = [node for pattern, node in atom.patterns if pattern in matched]
            found.update(fitting or [atom.others])
        return frozenset(found)

    def room(self, name: str | None) -> bool:
        return name in self.required or len(self.required) + 1 <= self.most

    def breaks(self, atom: Fields) -> Iterator[_Way]:
        """The fields that can be there and not fit `atom`."""
        for name in self.names:
            if not self.room(name) or not self.possible(name):
                continue
            nodes, sure = applying(atom, name)
            if not sure:
                nodes = [*nodes, *(node for _, node in atom.patterns), atom.others]
            for node in nodes:
                answer = self.search.solve(self.nodes(name), frozenset({node}))
                if not answer.empty:
                    yield _Way(name)
                    for value in answer.values[:2]:
                        yield _Way(name, value, known=True)
        if self.room(None):
            yield from self._unnamed_breaks(atom)

    def _unnamed_breaks(self, atom: Fields) -> Iterator[_Way]:
        patterns = _patterns([*self.fields, atom])
        if len(patterns) > _MAX_PATTERNS:
            yield _Way(None)
            return
        asked = frozenset(patterns)
        for matched in _subsets(patterns):
            wanted = self._unnamed(self.fields, matched)
            for node in sorted(self._unnamed([atom], matched), key=lambda each: each.key):
                answer = self.search.solve(wanted, frozenset({node}))
                if not answer.empty:
                    yield _Way(None, matched=matched, asked=asked)
                    for value in answer.values[:2]:
                        yield _Way(None, value, known=True, matched=matched, asked=asked)

    def misnamed(self, atom: Names) -> Iterator[_Way]:
        """The fields that can be there under a name that does not fit `atom`."""
        goal = (frozenset(self.naming), frozenset({atom.node}))
        texts: list[Any] = []
        empty = True
        for branch in self.search.branches(goal, Kind.STRING):
            found = self.search.settle(branch)
            empty = empty and found.empty
            texts += found.values
        if empty:
            return
        checker = Checker()
        if self.room(None):
            yield _Way(None)
        for name in [*self.names, *texts[:6]]:
            if self.room(name) and checker.holds(atom.node, name) is not True:
                if name in self.names and not self.possible(name):
                    continue
                values = self.search.solve(self.nodes(name), frozenset()).values
                yield _Way(name, values[0], known=True) if values else _Way(name)

    def built(self, ways: list[list[_Way]]) -> Iterator[dict[str, Any]]:
        """Objects to try: each has the fields that don't fit, and what else has to be there."""
        usable = [[each for each in way if each.known] for way in ways]
        for chosen in islice(product(*usable), _MAX_COMBINED):
            self.search.step()
            forced: dict[str, Any] = {}
            for way in chosen:
                name = way.name if way.name is not None else self._fresh(way, forced)
                if name is not None:
                    forced[name] = way.value
            made = self._filled(forced)
            if made is not None:
                yield made

    def _fresh(self, way: _Way, taken: dict[str, Any]) -> str | None:
        """A name that nothing names, in which just these patterns are found."""
        likely = [text for pattern in sorted(way.matched) for text in guesses(pattern)]
        for name in [*likely, "other", "x", "a0", "Z", "_", "0", "another field"]:
            self.search.step()
            if name in self.names or name in taken or not self.named_well(name):
                continue
            if all(text_fits("pattern", each, name) is (each in way.matched) for each in way.asked):
                return name
        return None

    def _filled(self, forced: dict[str, Any]) -> dict[str, Any] | None:
        made = dict(forced)
        extra = (f"field{number}" for number in islice(count(1), _MAX_BUILT))
        optional = (name for name in self.names if self.possible(name))
        for name in (*self.required, *optional, *extra):
            if name in made:
                continue
            if name not in self.required and len(made) >= self.least:
                break
            values = self.search.solve(self.nodes(name), frozenset()).values
            if values:
                made[name] = values[0]
            elif name in self.required:
                return None
        return made


def _patterns(fields: list[Fields]) -> list[str]:
    """The patterns in which a name that nothing names can differ."""
    return sorted(
        {pattern for atom in fields for pattern, _ in atom.patterns if plain_names(pattern) is None}
    )


def _subsets(patterns: list[str]) -> Iterator[frozenset[str]]:
    """Every way in which a name can have some of the patterns and not the others."""
    always = [each for each in patterns if each in EVERY_TEXT]
    rest = [each for each in patterns if each not in EVERY_TEXT]
    for size in range(len(rest) + 1):
        for some in combinations(rest, size):
            yield frozenset([*always, *some])
