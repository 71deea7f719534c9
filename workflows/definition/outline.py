"""The skeleton of a document: its scopes and steps, read from any JSON without ever failing.

Checks walk the outline instead of the models, so that one misspelt field does not hide the
problems of everything around it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from workflows.definition.ids import IdAllocator, is_identifier
from workflows.definition.paths import join

MAX_SCOPE_DEPTH = 10


@dataclass(slots=True)
class Step:
    """One step as written.

    position: index among the steps of its scope that are objects.
    id: the explicit id if it is usable, else the one derived from the name.
    """

    path: str
    raw: dict[str, Any]
    scope: Scope
    position: int
    id: str = ""
    id_is_explicit: bool = False
    scopes: list[Scope] = field(default_factory=list)

    @property
    def type(self) -> str:
        value = self.raw.get("type")
        return value if isinstance(value, str) else ""

    @property
    def name(self) -> str | None:
        value = self.raw.get("name")
        return value if isinstance(value, str) else None

    @property
    def config(self) -> dict[str, Any]:
        value = self.raw.get("config")
        return value if isinstance(value, dict) else {}

    @property
    def config_path(self) -> str:
        return join(self.path, "config")


@dataclass(slots=True)
class Scope:
    """An ordered list of steps: the document's own, or one inside a step.

    kind: `root`, `branch`, `item`, `group` or `finally`.
    names: what expressions inside may use beside the common names (of a map: its `as`, `index`).
    suffix: what tells the scopes of one step apart.
    """

    path: str
    kind: str
    parent: Step | None = None
    steps: list[Step] = field(default_factory=list)
    names: frozenset[str] = frozenset()
    depth: int = 1
    suffix: str = ""
    _positions: dict[str, int] | None = None

    @property
    def id(self) -> str:
        """Empty for the document's own steps, else the holder's id and the suffix."""
        return "" if self.parent is None else self.parent.id + self.suffix

    def positions(self) -> Mapping[str, int]:
        """Position by step id; of steps that share one id, the first. Call when ids are known."""
        if self._positions is None:
            self._positions = {}
            for step in self.steps:
                self._positions.setdefault(step.id, step.position)
        return self._positions


@dataclass(slots=True)
class Outline:
    """All scopes and steps of a document, in document order."""

    root: Scope
    scopes: list[Scope] = field(default_factory=list)
    steps: list[Step] = field(default_factory=list)
    too_deep: list[Scope] = field(default_factory=list)

    def by_id(self) -> dict[str, Step]:
        """Steps by id; of steps that share one id, the first."""
        found: dict[str, Step] = {}
        for step in self.steps:
            found.setdefault(step.id, step)
        return found


def read_outline(document: Mapping[str, Any]) -> Outline:
    """The outline of a document; whatever is no list of objects is left out."""
    root = Scope(path="$.steps", kind="root")
    outline = Outline(root=root)
    _read_scope(document.get("steps"), root, outline)
    explicit = [_explicit_id(step) for step in outline.steps]
    allocator = IdAllocator(id for id in explicit if id is not None)
    for ordinal, (step, id) in enumerate(zip(outline.steps, explicit, strict=True), start=1):
        step.id_is_explicit = id is not None
        step.id = id if id is not None else allocator.derive(step.name, ordinal)
    return outline


def _explicit_id(step: Step) -> str | None:
    value = step.raw.get("id")
    return value if isinstance(value, str) and is_identifier(value) else None


def _read_scope(items: object, scope: Scope, outline: Outline) -> None:
    outline.scopes.append(scope)
    if scope.depth > MAX_SCOPE_DEPTH:
        outline.too_deep.append(scope)
        return
    if not isinstance(items, list):
        return
    for index, raw in enumerate(items):
        if not isinstance(raw, dict):
            continue
        step = Step(join(scope.path, index), raw, scope, position=len(scope.steps))
        scope.steps.append(step)
        outline.steps.append(step)
        for inner, inner_items in _inner_scopes(step):
            step.scopes.append(inner)
            _read_scope(inner_items, inner, outline)


def _inner_scopes(step: Step) -> Iterator[tuple[Scope, object]]:
    read = _INNER.get(step.type)
    return read(step) if read is not None else iter(())


def _scope(
    step: Step, path: str, kind: str, *, names: frozenset[str] = frozenset(), suffix: str = ""
) -> Scope:
    return Scope(
        path,
        kind,
        step,
        names=step.scope.names | names,
        depth=step.scope.depth + 1,
        suffix=suffix,
    )


def _parallel_scopes(step: Step) -> Iterator[tuple[Scope, object]]:
    branches = step.config.get("branches")
    path = join(step.config_path, "branches")
    for position, branch in enumerate(branches if isinstance(branches, list) else []):
        if isinstance(branch, dict):
            suffix = branch_scope_id("", position)
            inner = _scope(step, f"{path}[{position}].steps", "branch", suffix=suffix)
            yield inner, branch.get("steps")


def branch_scope_id(step_id: str, position: int) -> str:
    """The id of the scope that one branch of a parallel is."""
    return f"{step_id}.branches[{position}]"


def _map_scopes(step: Step) -> Iterator[tuple[Scope, object]]:
    name = step.config.get("as", "item")
    names = frozenset({"index", name if isinstance(name, str) else "item"})
    inner = _scope(step, f"{step.config_path}.steps", "item", names=names)
    yield inner, step.config.get("steps")


def _group_scopes(step: Step) -> Iterator[tuple[Scope, object]]:
    yield _scope(step, f"{step.config_path}.steps", "group"), step.config.get("steps")
    if step.config.get("finally") is not None:
        last = _scope(step, f"{step.config_path}.finally", "finally", suffix=".finally")
        yield last, step.config["finally"]


_INNER = {"parallel": _parallel_scopes, "map": _map_scopes, "group": _group_scopes}
