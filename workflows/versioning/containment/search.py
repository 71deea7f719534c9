"""Whether any value satisfies some subschemas and none of some others.

A goal is such a question. "Nothing does" is a proof; otherwise values are found that may, to be
tried. Whatever is not understood is left out of the question, which only lets more values in: a
proof stays a proof.

A goal that comes up again inside its own proof is taken to be empty there. That is sound: the
question inside is about a part of the value, and a smallest value that satisfies the goal has no
smaller one inside.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import combinations
from typing import Any

from workflows.versioning.containment import plain
from workflows.versioning.containment.checks import Checker
from workflows.versioning.containment.formulas import (
    And,
    Atom,
    Enum,
    Kind,
    Less,
    Multiple,
    Not,
    One,
    Or,
    Types,
    Undecided,
    kind_of,
)
from workflows.versioning.containment.reader import Node

MAX_STEPS = 150_000
MAX_DEPTH = 30
MAX_VALUES = 6
_MAX_BRANCHES = 3_000
_MAX_ENUM = 2_000
_MAX_APART = 40

Signed = tuple[bool, Any]
Goal = tuple[frozenset[Node], frozenset[Node]]


@dataclass(frozen=True, slots=True)
class Found:
    """The answer to a goal: proven empty, or values that may satisfy it (perhaps none known)."""

    empty: bool
    values: tuple[Any, ...] = ()


EMPTY = Found(True)


@dataclass(frozen=True, slots=True)
class Branch:
    """One way to satisfy a goal with a value of one kind: statements that hold, and that don't."""

    kind: Kind
    yes: tuple[Any, ...]
    no: tuple[Any, ...]


class Search:
    """Answers goals within a bound of steps. Raises Undecided beyond it."""

    def __init__(
        self, solvers: Mapping[Kind, Callable[[Search, Branch], Found]], steps: int = MAX_STEPS
    ) -> None:
        self._solvers = solvers
        self._steps = self._left = steps
        self._known: dict[Goal, Found] = {}
        self._active: dict[Goal, int] = {}
        self._known_apart: dict[One, bool] = {}
        # The outermost goal in progress that was taken to be empty, by depth.
        self._leaned_on: float = math.inf

    @property
    def used(self) -> int:
        """How many steps were taken."""
        return self._steps - max(0, self._left)

    def step(self, count: int = 1) -> None:
        self._left -= count
        if self._left < 0:
            raise Undecided("The schemas are too intricate to be compared within bounds.")

    def solve(self, yes: frozenset[Node], no: frozenset[Node]) -> Found:
        """What satisfies all of `yes` and none of `no`."""
        self.step()
        if yes & no:
            return EMPTY
        goal = (yes, no)
        if goal in self._known:
            return self._known[goal]
        if goal in self._active:
            self._leaned_on = min(self._leaned_on, self._active[goal])
            return EMPTY
        depth = len(self._active)
        if depth >= MAX_DEPTH:
            raise Undecided("The schemas are nested too deep to be compared within bounds.")
        outer, self._leaned_on = self._leaned_on, math.inf
        self._active[goal] = depth
        try:
            found = self._look(goal)
        finally:
            del self._active[goal]
            mine, self._leaned_on = self._leaned_on, outer
        if found.empty and mine < depth:
            # True only if a goal further out is empty too: not to be kept.
            self._leaned_on = min(outer, mine)
        else:
            self._known[goal] = found
        return found

    def is_empty(self, yes: frozenset[Node], no: frozenset[Node] = frozenset()) -> bool:
        return self.solve(yes, no).empty

    def _look(self, goal: Goal) -> Found:
        empty = True
        values: list[Any] = []
        for kind in Kind:
            for branch in self.branches(goal, kind):
                found = self.settle(branch)
                empty = empty and found.empty
                values += found.values[:MAX_VALUES]
                if not found.empty and len(values) >= MAX_VALUES * 2:
                    return Found(False, _some(values))
        return EMPTY if empty else Found(False, _some(values))

    def settle(self, branch: Branch) -> Found:
        """What satisfies a branch, with the values that certainly don't taken out."""
        enums = [each for each in branch.yes if isinstance(each, Enum)]
        if enums or branch.kind in (Kind.NULL, Kind.BOOLEAN):
            return self._listed(branch, enums)
        found = self._solvers[branch.kind](self, branch)
        if found.empty:
            return EMPTY
        return Found(False, tuple(each for each in found.values if not self.fails(branch, each)))

    def _listed(self, branch: Branch, enums: list[Enum]) -> Found:
        """A branch with a fixed list of values: each is looked at."""
        listed = {Kind.NULL: ["null"], Kind.BOOLEAN: ["true", "false"]}.get(branch.kind)
        keys = list(min(enums, key=lambda each: len(each.keys)).keys) if enums else listed or []
        if len(keys) > _MAX_ENUM:
            raise Undecided(f"A list of more than {_MAX_ENUM:,} values is not compared.")
        self.step(len(keys))
        values = [plain.value_of(each) for each in keys]
        left = [
            each for each in values if kind_of(each) == branch.kind and not self.fails(branch, each)
        ]
        return Found(False, tuple(left)) if left else EMPTY

    def fails(self, branch: Branch, value: Any) -> bool:
        """Whether `value` certainly does not satisfy the branch."""
        checker = Checker()
        out = any(checker.holds(each, value) is False for each in branch.yes) or any(
            checker.holds(each, value) is True for each in branch.no
        )
        self.step(2 * checker.used)
        return out

    def branches(self, goal: Goal, kind: Kind) -> Iterator[Branch]:
        """Every way to satisfy a goal with a value of one kind."""
        # In an order of their own: the same question has the same answer every time.
        start: list[Signed] = [(True, each) for each in sorted(goal[0], key=_key)]
        start += [(False, each) for each in sorted(goal[1], key=_key)]
        pending: list[_State] = [_State(start, [], {}, {})]
        count = 0
        while pending:
            state = pending.pop()
            alive = self._reduce(state, kind)
            if not alive:
                continue
            if not state.choices:
                count += 1
                if count > _MAX_BRANCHES:
                    raise Undecided("The alternatives of the schemas multiply beyond bounds.")
                yield Branch(kind, _atoms(state.yes), _atoms(state.no))
                continue
            # What a value is says more than what it is not: then most other choices are none.
            state.choices.sort(key=lambda each: (not each[0][0][0], len(each)), reverse=True)
            options = state.choices.pop()
            for option in reversed(options):
                rest = [list(each) for each in state.choices]
                pending.append(_State(list(option), rest, dict(state.yes), dict(state.no)))

    def _reduce(self, state: _State, kind: Kind) -> bool:
        """Work off everything that leaves no choice; False when the state contradicts itself."""
        while state.todo:
            self.step()
            sign, part = state.todo.pop()
            if isinstance(part, Node):
                if part.loops:
                    raise Undecided("A definition refers to itself without going into a value.")
                if not _add(state, sign, part):
                    return False
                state.todo.append((sign, part.formula))
            elif isinstance(part, Not):
                state.todo.append((not sign, part.part))
            elif isinstance(part, And | Or):
                _split(state, sign, part)
            elif isinstance(part, One):
                self._one(state, sign, part)
            elif isinstance(part, Less):
                if not _less(state, sign, part, kind):
                    return False
            elif isinstance(part, Types):
                if not _type(state, sign, part, kind):
                    return False
            elif not _state(state, sign, part, kind):
                return False
        if not self._narrow(state, kind):
            return False
        # What has one way left is no choice.
        sure = [each for each in state.choices if len(each) == 1]
        if not sure:
            return True
        state.choices = [each for each in state.choices if len(each) > 1]
        state.todo += [signed for (option,) in sure for signed in option]
        return self._reduce(state, kind)

    def _one(self, state: _State, sign: bool, part: One) -> None:
        if self._apart(part):
            # Of alternatives that exclude each other at most one holds anyway.
            _split(state, sign, Or(part.parts))
        else:
            state.choices.append(_exactly_one(part) if sign else _not_one(part))

    def _apart(self, part: One) -> bool:
        """Whether no value satisfies two of the parts."""
        known = self._known_apart.get(part)
        if known is None:
            nodes = [each for each in part.parts if isinstance(each, Node)]
            known = len(nodes) <= _MAX_APART and all(
                self.is_empty(frozenset(pair)) for pair in combinations(nodes, 2)
            )
            if math.isinf(self._leaned_on):
                self._known_apart[part] = known
        return known

    def _narrow(self, state: _State, kind: Kind) -> bool:
        """Strike out ways that contradict what is there; False for a choice without any left."""
        for options in state.choices:
            self.step(1 + len(options) // 10)
            options[:] = [each for each in options if not _contradicts(state, each, kind)]
            if not options:
                return False
        state.choices = [
            options for options in state.choices if not any(_holds(state, each) for each in options)
        ]
        return True


def _atoms(parts: dict[Any, None]) -> tuple[Any, ...]:
    """The statements alone: what a subschema says has been taken apart."""
    return tuple(each for each in parts if not isinstance(each, Node))


def _key(node: Node) -> str:
    return node.key


@dataclass(slots=True)
class _State:
    todo: list[Signed]
    choices: list[list[list[Signed]]]
    yes: dict[Any, None]
    no: dict[Any, None]


def _split(state: _State, sign: bool, part: And | Or) -> None:
    if isinstance(part, And) == sign:
        state.todo += [(sign, each) for each in part.parts]
    else:
        state.choices.append([[(sign, each)] for each in part.parts])


def _exactly_one(part: One) -> list[list[Signed]]:
    return [
        [(at == chosen, each) for at, each in enumerate(part.parts)]
        for chosen in range(len(part.parts))
    ]


def _not_one(part: One) -> list[list[Signed]]:
    parts = part.parts
    pairs: list[list[Signed]] = [
        [(True, first), (True, second)]
        for at, first in enumerate(parts)
        for second in parts[at + 1 :]
    ]
    return [[(False, each) for each in parts], *pairs]


def _type(state: _State, sign: bool, types: Types, kind: Kind) -> bool:
    if kind in types.names:
        return sign
    if kind == Kind.NUMBER and "integer" in types.names:
        return _state(state, sign, Multiple(plain.exact(1)), kind)
    return not sign


def _less(state: _State, sign: bool, part: Less, kind: Kind) -> bool:
    return sign if part.atom.kind != kind else _state(state, not sign, part.atom, kind)


def _state(state: _State, sign: bool, atom: Enum | Atom, kind: Kind) -> bool:
    """Add a statement; False when it contradicts one that is there."""
    if isinstance(atom, Atom) and atom.kind not in (None, kind):
        return sign
    return _add(state, sign, atom)


def _add(state: _State, sign: bool, part: Any) -> bool:
    if part in (state.no if sign else state.yes):
        return False
    if sign:
        state.yes[part] = None
    else:
        state.no[part] = None
    return True


def _contradicts(state: _State, option: list[Signed], kind: Kind) -> bool:
    for sign, part in option:
        if isinstance(part, Types):
            if sign != (kind in part.names) and not (
                kind == Kind.NUMBER and "integer" in part.names
            ):
                return True
        elif isinstance(part, Atom | Enum | Node) and part in (state.no if sign else state.yes):
            return True
    return False


def _holds(state: _State, option: list[Signed]) -> bool:
    """Whether all of an option is there already: then it is chosen anyway."""
    return all(
        isinstance(part, Atom | Enum | Node) and part in (state.yes if sign else state.no)
        for sign, part in option
    )


def _some(values: list[Any]) -> tuple[Any, ...]:
    """A few different values."""
    different = {plain.key(each): each for each in reversed(values)}
    return tuple(reversed(different.values()))[: MAX_VALUES * 2]
