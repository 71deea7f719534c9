"""A comparison as a person reads it: a sentence, the changes of each step, the two texts."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby, zip_longest
from typing import Any

from autopilot.common.json_html import pretty
from autopilot.common.words import plural
from workflows.comparison import Comparison
from workflows.console.aligning import aligned
from workflows.versioning.contract import Bump
from workflows.versioning.diff import Change, ChangeKind, FieldChange

MAX_SHOWN = 4_000
MAX_LINES = 60_000
CONTEXT = 3
# Shorter texts are read faster side by side than with the changes inside them.
LONG_TEXT = 24

_WORDS = {
    ChangeKind.STEP_ADDED: "added",
    ChangeKind.STEP_REMOVED: "removed",
    ChangeKind.STEP_MOVED: "moved",
    ChangeKind.STEP_RENAMED: "renamed",
    ChangeKind.STEP_CHANGED: "changed",
}
_TOKEN = re.compile(r"\w+|\s+|[^\w\s]")


@dataclass(frozen=True, slots=True)
class Piece:
    """A part of a text that is `same`, `gone` or `new`."""

    kind: str
    text: str


@dataclass(frozen=True, slots=True)
class Field:
    """One field that differs. pieces: a long text with its changes in it; then nothing else."""

    name: str
    path: str
    is_text: bool
    before: str | None
    after: str | None
    pieces: tuple[Piece, ...] = ()


@dataclass(frozen=True, slots=True)
class Card:
    """Everything that is different about one step, or about one field around the steps."""

    id: str
    title: str
    type: str
    words: tuple[str, ...]
    look: str
    path: str
    note: str
    fields: tuple[Field, ...]
    content: str = ""

    @property
    def mark(self) -> dict[str, str]:
        """What the graph says of the step."""
        return {"words": ", ".join(self.words), "look": self.look}


@dataclass(frozen=True, slots=True)
class Row:
    """A line of both texts; a number of 0 stands for none. kind: as of pieces, or `skipped`."""

    kind: str
    old_line: int = 0
    old: str = ""
    new_line: int = 0
    new: str = ""


def cards_of(changes: Iterable[Change], old: Any, new: Any) -> list[Card]:
    """The changes by what they are about, in the order of the new document."""
    found = []
    for (_, about), group in groupby(changes, key=_about):
        together = list(group)
        first = together[0]
        is_step = bool(first.step or first.old_step)
        found.append(_step_card(together, old, new) if is_step else _field_card(first, about))
    return found


def marks_of(cards: Iterable[Card]) -> dict[str, dict[str, str]]:
    """What `static/console/graph_view.js` writes on the steps, by their ids."""
    return {card.id: card.mark for card in cards if card.type}


def summary(changes: Sequence[Change]) -> str:
    """`2 steps added, 1 changed, the input schema changed.`"""
    if not changes:
        return "Nothing is different: both do the same."
    said: list[str] = []
    for kind, word in _WORDS.items():
        count = sum(change.kind == kind for change in changes)
        if count:
            said.append(f"{count} {word}" if said else f"{plural(count, 'step')} {word}")
    around = [
        _title(change.path or change.was).lower()
        for change in changes
        if change.kind in (ChangeKind.DOCUMENT_CHANGED, ChangeKind.SCHEMA_CHANGED)
    ]
    if around:
        last = around.pop()
        said.append(f"{', '.join(around)} and {last} changed" if around else f"{last} changed")
    text = ", ".join(said)
    return f"{text[0].upper()}{text[1:]}."


def verdict(found: Comparison) -> str:
    """What the guard says, as one sentence."""
    against = found.against
    if against is None:
        return "There is nothing before it: the first version breaks nobody."
    first = found.judgement.reasons[0].sentence if found.judgement.reasons else ""
    if found.number is not None and found.number < against.number:
        word = _BUMPS[found.judgement.bump]
        return f"{found.number} is the earlier one. Going back would be {word}. {first}"
    if found.judgement.bump == Bump.NONE:
        return f"Any number after {against.version} is honest."
    rest = len(found.judgement.reasons) + found.judgement.more - 1
    more = f" ({plural(rest, 'more reason')} below.)" if rest else ""
    return f"The smallest honest number is {found.suggested}, because: {first}{more}"


_BUMPS = {
    Bump.NONE: "no change",
    Bump.PATCH: "a change of texts only",
    Bump.MINOR: "a minor change",
    Bump.MAJOR: "a breaking change",
}


def text_rows(old: str, new: str) -> list[Row] | None:
    """Both texts line by line, what is alike shortened; None if they are too long to compare."""
    before, after = old.splitlines(), new.splitlines()
    if len(before) + len(after) > MAX_LINES:
        return None
    rows: list[Row] = []
    i = j = 0
    for at, other in aligned(before, after):
        rows += _changed_rows(before[i:at], after[j:other], i, j)
        rows.append(Row("same", at + 1, before[at], other + 1, after[other]))
        i, j = at + 1, other + 1
    return _shortened([*rows, *_changed_rows(before[i:], after[j:], i, j)])


def _changed_rows(before: list[str], after: list[str], i: int, j: int) -> Iterator[Row]:
    for at, (old, new) in enumerate(zip_longest(before, after), start=1):
        was = (i + at, old) if old is not None else (0, "")
        now = (j + at, new) if new is not None else (0, "")
        yield Row("changed", *was, *now)


def _shortened(rows: Sequence[Row]) -> list[Row]:
    """Without what is alike, but for a few lines around each change."""
    changed = [at for at, row in enumerate(rows) if row.kind == "changed"]
    near = {at for each in changed for at in range(each - CONTEXT, each + CONTEXT + 1)}
    shown: list[Row] = []
    for is_near, group in groupby(enumerate(rows), key=lambda each: each[0] in near):
        together = [row for _, row in group]
        shown += together if is_near else [Row("skipped", new=plural(len(together), "line"))]
    return shown if changed else []


def _about(change: Change) -> tuple[bool, str]:
    """One step, or one field around them; a removed step is no other one's."""
    if change.step or change.old_step:
        return True, change.step or f"-{change.old_step}"
    return False, change.path or change.was


def _step_card(changes: list[Change], old: Any, new: Any) -> Card:
    first = changes[0]
    kinds = [change.kind for change in changes]
    words = tuple(_WORDS[kind] for kind in kinds)
    notes = []
    if ChangeKind.STEP_RENAMED in kinds:
        notes.append(f"Its id was {first.old_step}." if first.step != first.old_step else "")
    if ChangeKind.STEP_MOVED in kinds:
        notes.append(f"It stood at {first.was} and stands at {first.path} now.")
    content: Any = None
    if first.kind in (ChangeKind.STEP_ADDED, ChangeKind.STEP_REMOVED):
        content = _at(new, first.path) if first.path else _at(old, first.was)
    fields = [each for change in changes for each in change.fields]
    return Card(
        id=first.step or first.old_step,
        title=first.name or first.step or first.old_step,
        type=first.type,
        words=words,
        look=words[-1],
        path=first.path or first.was,
        note=" ".join(note for note in notes if note),
        fields=tuple(_field(each, first.path) for each in fields),
        content=_cut(pretty(content)) if content is not None else "",
    )


def _field_card(change: Change, path: str) -> Card:
    words = "added" if not change.was else "removed" if not change.path else "changed"
    return Card(
        id=path.removeprefix("$."),
        title=_title(path),
        type="",
        words=(words,),
        look=words,
        path=path,
        note="",
        fields=tuple(_field(each, path) for each in change.fields),
    )


def _title(path: str) -> str:
    name = path.removeprefix("$.")
    return "The " + name.replace("_", " ")


def _field(change: FieldChange, base: str) -> Field:
    name = change.path.removeprefix(base).lstrip(".") or base.removeprefix("$.")
    pieces: tuple[Piece, ...] = ()
    before, after = change.before, change.after
    if isinstance(before, str) and isinstance(after, str) and _is_long(before, after):
        pieces = tuple(_pieces(before, after))
    return Field(
        name=name,
        path=change.path,
        is_text=change.is_text,
        before=None if change.is_new else _value(before),
        after=None if change.is_gone else _value(after),
        pieces=pieces,
    )


def _is_long(before: str, after: str) -> bool:
    return min(len(before), len(after)) > LONG_TEXT and max(len(before), len(after)) < MAX_SHOWN


def _pieces(before: str, after: str) -> Iterator[Piece]:
    """The text with what is gone and what is new in it; nothing if hardly a word stayed."""
    one, two = _TOKEN.findall(before), _TOKEN.findall(after)
    pairs = aligned(one, two)
    if len(pairs) < 0.2 * (len(one) + len(two)):
        return
    i = j = 0
    said: list[Piece] = []
    for at, other in [*pairs, (len(one), len(two))]:
        said.append(Piece("gone", "".join(one[i:at])))
        said.append(Piece("new", "".join(two[j:other])))
        said.append(Piece("same", "".join(one[at : at + 1])))
        i, j = at + 1, other + 1
    for kind, group in groupby((each for each in said if each.text), key=lambda each: each.kind):
        yield Piece(kind, "".join(each.text for each in group))


def _value(value: Any) -> str:
    """A text as it is, everything else as JSON."""
    return _cut(value if isinstance(value, str) and value.strip() else pretty(value))


def _cut(text: str) -> str:
    return text if len(text) <= MAX_SHOWN else f"{text[:MAX_SHOWN]}…"


def _at(document: Any, path: str) -> Any:
    """The value at the path of a step."""
    for key, index in re.findall(r"\.([a-z_]+)|\[(\d+)\]", path):
        document = document[int(index)] if index else document[key]
    return document
