"""Which lists satisfy a branch of a goal."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice, product
from typing import Any

from workflows.versioning.containment import plain
from workflows.versioning.containment.checks import Checker
from workflows.versioning.containment.formulas import (
    Contains,
    Items,
    MoreItems,
    Undecided,
    Unique,
)
from workflows.versioning.containment.reader import Node
from workflows.versioning.containment.search import EMPTY, Branch, Found, Search

_MAX_PREFIX = 100
_MAX_BUILT = 300
_MAX_COMBINED = 12


def solve_array(search: Search, branch: Branch) -> Found:
    """A length, and what each item has to fit."""
    lists = _Lists(search, branch)
    if lists.least > lists.bound or not all(map(lists.can_contain, lists.holding)):
        return EMPTY
    ways: list[list[tuple[int, Any]]] = []
    for atom in branch.no:
        if isinstance(atom, Items):
            broken = lists.breaks(atom)
            if not broken:
                return EMPTY
            ways.append(broken)
        elif (isinstance(atom, Unique) and lists.bound < 2) or (
            isinstance(atom, Contains) and lists.surely_contains(atom)
        ):
            return EMPTY
    return Found(False, tuple(islice(lists.built(ways), _MAX_COMBINED)))


@dataclass(slots=True)
class _Lists:
    search: Search
    branch: Branch
    least: int = 0
    most: int | None = None
    items: list[Items] = field(default_factory=list)
    holding: list[Contains] = field(default_factory=list)

    def __post_init__(self) -> None:
        yes, no = self.branch.yes, self.branch.no
        self.items = [each for each in yes if isinstance(each, Items)]
        self.holding = [each for each in yes if isinstance(each, Contains)]
        sizes = [each.size for each in yes if isinstance(each, MoreItems)]
        self.least = max([0, *sizes, *(each.least for each in self.holding)])
        self.most = min((each.size - 1 for each in no if isinstance(each, MoreItems)), default=None)
        for index in range(self.prefix + 1):
            if index < self.bound and self.search.is_empty(self.at(index)):
                self.most = index
                return

    @property
    def bound(self) -> float:
        return float("inf") if self.most is None else self.most

    @property
    def prefix(self) -> int:
        """How many items have rules of their own; all after them are alike."""
        every = [each for each in (*self.branch.yes, *self.branch.no) if isinstance(each, Items)]
        longest = max((len(each.prefix) for each in every), default=0)
        if longest > _MAX_PREFIX:
            raise Undecided(f"More than {_MAX_PREFIX} items with rules of their own.")
        return longest

    def at(self, index: int) -> frozenset[Node]:
        return frozenset(each.at(index) for each in self.items)

    def breaks(self, atom: Items) -> list[tuple[int, Any]]:
        """Where an item can be that does not fit `atom`, each place with values for it."""
        found: list[tuple[int, Any]] = []
        for index in range(self.prefix + 1):
            if index < self.bound:
                answer = self.search.solve(self.at(index), frozenset({atom.at(index)}))
                if not answer.empty:
                    found += [(index, value) for value in answer.values[:2] or (None,)]
        return found

    def can_contain(self, atom: Contains) -> bool:
        """Whether there are places for as many fitting items as are asked for."""
        places = 0.0
        for index in range(self.prefix + 1):
            if index < self.bound and not self.search.is_empty(self.at(index) | {atom.node}):
                places += 1 if index < self.prefix else self.bound - self.prefix
        return places >= atom.least

    def surely_contains(self, atom: Contains) -> bool:
        """Whether every such list has as many fitting items as `atom` names."""
        unfit = frozenset({atom.node})
        for held in self.holding:
            if held.least >= atom.least and self.search.is_empty(frozenset({held.node}), unfit):
                return True
        sure = 0
        for index in range(self.prefix + 1):
            if index < self.least and self.search.is_empty(self.at(index), unfit):
                sure += 1 if index < self.prefix else self.least - self.prefix
        return sure >= atom.least

    def built(self, ways: list[list[tuple[int, Any]]]) -> Iterator[list[Any]]:
        """Lists to try: each has the broken items, and otherwise what fits."""
        for chosen in islice(product(*ways), _MAX_COMBINED):
            self.search.step()
            forced: dict[int, Any] = {}
            for index, value in chosen:
                while index in forced and index >= self.prefix:
                    index += 1
                forced[index] = value
            yield from self._filled(forced)

    def _filled(self, forced: dict[int, Any]) -> Iterator[list[Any]]:
        forced = dict(forced)
        for atom in sorted(self.holding, key=lambda each: -each.least):
            self._place(atom, forced)
        length = max(self.least, *(index + 1 for index in forced), 0) if forced else self.least
        twin = any(isinstance(each, Unique) for each in self.branch.no)
        if twin:
            length = max(length, 2, self.prefix + 2 if self.bound >= self.prefix + 2 else 2)
        if length > min(self.bound, _MAX_BUILT):
            return
        made = self._items(length, forced, alike=twin)
        if made is not None:
            yield made
        if not twin and length < min(self.bound, _MAX_BUILT):
            longer = self._items(length + 1, forced, alike=False)
            if longer is not None:
                yield longer

    def _place(self, atom: Contains, forced: dict[int, Any]) -> None:
        checker = Checker()
        placed = sum(checker.holds(atom.node, each) is True for each in forced.values())
        for index in range(self.prefix + atom.least + len(forced)):
            if placed >= atom.least:
                return
            if index in forced or index >= self.bound:
                continue
            values = self.search.solve(self.at(index) | {atom.node}, frozenset()).values
            if values:
                forced[index] = values[placed % len(values)]
                placed += 1

    def _items(self, length: int, forced: dict[int, Any], *, alike: bool) -> list[Any] | None:
        unwanted = frozenset(each.node for each in self.branch.no if isinstance(each, Contains))
        unique = any(isinstance(each, Unique) for each in self.branch.yes)
        made: list[Any] = []
        seen = {plain.key(value) for value in forced.values()}
        for index in range(length):
            self.search.step()
            if index in forced:
                made.append(forced[index])
                continue
            wanted = self.search.solve(self.at(index), unwanted).values
            values = wanted or self.search.solve(self.at(index), frozenset()).values
            if unique:
                values = tuple(each for each in values if plain.key(each) not in seen)
            if not values:
                return None
            made.append(values[0])
            seen.add(plain.key(values[0]))
        if alike and length >= 2:
            made[-1] = made[-2]
        return made
