"""What is different between two definitions, by meaning: steps by their ids, fields by their paths.

Both documents are normalized: every step has its id. The result is plain JSON in a stable order,
that of the documents.
"""

from __future__ import annotations

import json
from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from workflows.definition.outline import Outline, Scope, Step, read_outline
from workflows.definition.paths import join

SCHEMA_FIELDS = ("input_schema", "output_schema")
_TEXTS = frozenset({("name",), ("description",)})
# What only people read, by type of step; it may hold templates.
_STEP_TEXTS = {
    "approval": frozenset({("config", "title"), ("config", "description")}),
    "fail": frozenset({("config", "message")}),
}
_ABSENT = object()


class ChangeKind(StrEnum):
    """What happened to a step or to the document around the steps."""

    STEP_ADDED = "step.added"
    STEP_REMOVED = "step.removed"
    STEP_MOVED = "step.moved"
    STEP_RENAMED = "step.renamed"
    STEP_CHANGED = "step.changed"
    DOCUMENT_CHANGED = "document.changed"
    SCHEMA_CHANGED = "schema.changed"


@dataclass(frozen=True, slots=True)
class FieldChange:
    """One field: where it is now (or was, if it is gone), and its value before and after.

    is_text: only people read it; nothing runs differently.
    """

    path: str
    before: Any
    after: Any
    is_text: bool

    @property
    def is_new(self) -> bool:
        return self.before is _ABSENT

    @property
    def is_gone(self) -> bool:
        return self.after is _ABSENT

    def as_dict(self) -> dict[str, Any]:
        """`before` is left out where there was nothing, `after` where nothing is left."""
        found: dict[str, Any] = {"path": self.path, "text": self.is_text}
        if not self.is_new:
            found["before"] = self.before
        if not self.is_gone:
            found["after"] = self.after
        return found


@dataclass(frozen=True, slots=True)
class Change:
    """One difference.

    path, was: where it is in the new document and was in the old one; empty where it is not.
    step, old_step: the step's id now and before; empty for what is about no step or where there
    is none.
    """

    kind: ChangeKind
    path: str = ""
    was: str = ""
    step: str = ""
    old_step: str = ""
    type: str = ""
    name: str = ""
    fields: tuple[FieldChange, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        return {
            "kind": str(self.kind),
            "path": self.path,
            "was": self.was,
            "step": self.step,
            "old_step": self.old_step,
            "type": self.type,
            "name": self.name,
            "field_changes": [each.as_dict() for each in self.fields],
        }


def compare(old: dict[str, Any], new: dict[str, Any]) -> list[Change]:
    """Every difference between two normalized definitions; none if they mean the same.

    First the fields around the steps, then the steps in the order of the new document, then those
    that are gone. A renamed or moved step that is changed too is listed once for each.
    """
    pairing = pair_steps(read_outline(old), read_outline(new))
    return [*_document_changes(old, new), *_step_changes(pairing)]


def _document_changes(old: dict[str, Any], new: dict[str, Any]) -> Iterator[Change]:
    for name in dict.fromkeys([*new, *old]):
        if name == "steps":
            continue
        path = join("$", name)
        found = tuple(
            _fields(old.get(name, _ABSENT), new.get(name, _ABSENT), path, (name,), _DOCUMENT_TEXTS)
        )
        if found:
            is_schema = name in SCHEMA_FIELDS
            kind = ChangeKind.SCHEMA_CHANGED if is_schema else ChangeKind.DOCUMENT_CHANGED
            gone, fresh = name not in new, name not in old
            yield Change(kind, "" if gone else path, "" if fresh else path, fields=found)


_DOCUMENT_TEXTS = _TEXTS | {("labels",)}


@dataclass(frozen=True, slots=True)
class Pairing:
    """Which step of the old document is which of the new one.

    order: the ids of the new document as they stand there. moved: ids in the new document.
    """

    pairs: tuple[tuple[Step, Step], ...]
    added: tuple[Step, ...]
    removed: tuple[Step, ...]
    moved: frozenset[str]
    order: tuple[str, ...]


def pair_steps(old: Outline, new: Outline) -> Pairing:
    """Pair by id; then what has gone with what has come, if the content is the same."""
    before, after = old.by_id(), new.by_id()
    pairs = {id: (before[id], step) for id, step in after.items() if id in before}
    gone = [step for id, step in before.items() if id not in after]
    come = [step for id, step in after.items() if id not in before]
    for one, other in _renamed(gone, come):
        pairs[other.id] = (one, other)
    known = {one.id for one, _ in pairs.values()}
    return Pairing(
        pairs=tuple(pairs[id] for id in after if id in pairs),
        added=tuple(step for id, step in after.items() if id not in pairs),
        removed=tuple(step for id, step in before.items() if id not in known),
        moved=frozenset(_moved(list(pairs.values()))),
        order=tuple(after),
    )


def _renamed(gone: list[Step], come: list[Step]) -> Iterator[tuple[Step, Step]]:
    """Those with the same content under another id; first those that have the same name too."""
    left = list(come)
    for with_name in (True, False):
        by_content: dict[str, list[Step]] = {}
        for step in reversed(left):
            by_content.setdefault(_content_key(step, with_name), []).append(step)
        unpaired: list[Step] = []
        for step in gone:
            found = by_content.get(_content_key(step, with_name))
            if found:
                yield step, found.pop()
            else:
                unpaired.append(step)
        taken = {id(step) for steps in by_content.values() for step in steps}
        gone, left = unpaired, [step for step in left if id(step) in taken]


def _content_key(step: Step, with_name: bool) -> str:
    content = own_content(step)
    inner = [[each.id for each in scope.steps] for scope in step.scopes]
    name = step.name if with_name else None
    return json.dumps([content, inner, name], sort_keys=True)


def own_content(step: Step) -> dict[str, Any]:
    """A step without its id, its name and the steps inside it."""
    content = {key: value for key, value in step.raw.items() if key not in ("id", "name")}
    if step.scopes and isinstance(content.get("config"), dict):
        config = {
            key: value for key, value in content["config"].items() if key not in _INNER_FIELDS
        }
        branches = config.get("branches")
        if isinstance(branches, list):
            config["branches"] = [
                {key: value for key, value in each.items() if key != "steps"}
                if isinstance(each, dict)
                else each
                for each in branches
            ]
        content["config"] = config
    return content


_INNER_FIELDS = ("steps", "finally")


def scope_key(scope: Scope) -> str:
    """What a scope is called whatever stands before it: a branch goes by its name."""
    if scope.parent is None:
        return ""
    if scope.kind != "branch":
        return f"{scope.parent.id}.{scope.kind}"
    branches = scope.parent.config.get("branches")
    at = int(scope.suffix.rpartition("[")[2].rstrip("]"))
    branch = branches[at] if isinstance(branches, list) else {}
    return f"{scope.parent.id}.branch.{branch.get('name', at)}"


def _moved(pairs: list[tuple[Step, Step]]) -> Iterator[str]:
    """The steps in another scope, and in each scope the fewest whose move explains the order."""
    new_ids = {one.id: other.id for one, other in pairs}
    stayed: dict[str, list[tuple[Step, Step]]] = {}
    for one, other in pairs:
        was = one.scope
        parent = was.parent
        key = scope_key(was)
        if parent is not None and parent.id in new_ids:
            key = new_ids[parent.id] + key.removeprefix(parent.id)
        if key != scope_key(other.scope):
            yield other.id
        else:
            stayed.setdefault(key, []).append((one, other))
    for steps in stayed.values():
        steps.sort(key=lambda pair: pair[1].position)
        kept = _longest_rise([one.position for one, _ in steps])
        yield from (other.id for at, (_, other) in enumerate(steps) if at not in kept)


def _longest_rise(numbers: list[int]) -> set[int]:
    """Where a longest rising selection of different numbers stands."""
    ends: list[int] = []
    places: list[int] = []
    before: list[int] = []
    for at, number in enumerate(numbers):
        length = bisect_left(ends, number)
        before.append(places[length - 1] if length else -1)
        if length == len(ends):
            ends.append(number)
            places.append(at)
        else:
            ends[length] = number
            places[length] = at
    found: set[int] = set()
    at = places[-1] if places else -1
    while at >= 0:
        found.add(at)
        at = before[at]
    return found


def _step_changes(pairing: Pairing) -> Iterator[Change]:
    pairs = {other.id: (one, other) for one, other in pairing.pairs}
    added = {step.id: step for step in pairing.added}
    for id in pairing.order:
        if id in added:
            yield _about(ChangeKind.STEP_ADDED, None, added[id])
        else:
            yield from _pair_changes(*pairs[id], moved=id in pairing.moved)
    for step in pairing.removed:
        yield _about(ChangeKind.STEP_REMOVED, step, None)


def _pair_changes(one: Step, other: Step, *, moved: bool) -> Iterator[Change]:
    if one.id != other.id or one.name != other.name:
        names = tuple(
            FieldChange(join(other.path, key), before, after, key == "name")
            for key, before, after in (("id", one.id, other.id), ("name", one.name, other.name))
            if before != after
        )
        yield _about(ChangeKind.STEP_RENAMED, one, other, names)
    if moved:
        yield _about(ChangeKind.STEP_MOVED, one, other)
    texts = _TEXTS | _STEP_TEXTS.get(other.type, frozenset())
    fields = tuple(_fields(own_content(one), own_content(other), other.path, (), texts))
    if fields:
        yield _about(ChangeKind.STEP_CHANGED, one, other, fields)


def _about(
    kind: ChangeKind, one: Step | None, other: Step | None, fields: tuple[FieldChange, ...] = ()
) -> Change:
    shown = other or one
    return Change(
        kind,
        path=other.path if other else "",
        was=one.path if one else "",
        step=other.id if other else "",
        old_step=one.id if one else "",
        type=shown.type if shown else "",
        name=(shown.name or "") if shown else "",
        fields=fields,
    )


def _fields(
    before: Any, after: Any, path: str, keys: tuple[str, ...], texts: frozenset[tuple[str, ...]]
) -> Iterator[FieldChange]:
    """The smallest places in which two values differ."""
    if isinstance(before, dict) and isinstance(after, dict):
        for name in dict.fromkeys([*after, *before]):
            one, other = before.get(name, _ABSENT), after.get(name, _ABSENT)
            yield from _fields(one, other, join(path, name), (*keys, name), texts)
    elif isinstance(before, list) and isinstance(after, list):
        for at in range(max(len(before), len(after))):
            one = before[at] if at < len(before) else _ABSENT
            other = after[at] if at < len(after) else _ABSENT
            yield from _fields(one, other, join(path, at), (*keys, "*"), texts)
    elif type(before) is not type(after) or before != after:
        yield FieldChange(path, before, after, keys in texts or keys[:1] in texts)
