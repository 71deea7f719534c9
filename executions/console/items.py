"""The items of a map: how many are in which state, and the pages of the list of them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from django.db.models import F, Q, TextField, Value
from django.db.models.functions import Cast, Left, StrIndex
from django.http import QueryDict

from autopilot.common.words import plural
from executions.engine.states import State
from executions.hidden.marks import SIGN
from executions.models import Execution, Kind
from executions.parts import branch_of

PER_PAGE = 100
MAX_INPUT_CHARS = 160
_AS_TEXT = Cast("input", TextField())
# The order in which a bar shows the states: what is done, what is on its way, what went wrong.
_ORDER = ("completed", "running", "resumed", "waiting", "paused", "initialized")
_ENDED_BADLY = ("cancelled", "failed")
NOUNS: Mapping[str, tuple[str, str]] = {
    Kind.ITEM.value: ("item", "items"),
    Kind.BRANCH.value: ("branch", "branches"),
    Kind.CHILD.value: ("execution", "executions"),
}


@dataclass(frozen=True, slots=True)
class Items:
    """The items of a map or the branches of a parallel, by state; named by `noun`, `nouns`."""

    counts: Mapping[str, int]
    noun: str = "item"
    nouns: str = "items"

    @property
    def total(self) -> int:
        return sum(self.counts.values())

    @property
    def ended(self) -> int:
        return sum(self.counts.get(state, 0) for state in ("completed", "failed", "cancelled"))

    @property
    def parts(self) -> list[tuple[str, int]]:
        """The states that occur, in the order in which a bar shows them."""
        order = (*_ORDER, *_ENDED_BADLY)
        return [(state, self.counts[state]) for state in order if self.counts.get(state)]

    @property
    def words(self) -> str:
        """`980 of 1,000 ended, 3 failed`."""
        failed = self.counts.get("failed", 0)
        text = f"{self.ended:,} of {self.total:,} ended"
        if self.ended == self.total:
            text = plural(self.total, self.noun, self.nouns)
        return text + (f", {failed:,} failed" if failed else "")


@dataclass(frozen=True, slots=True)
class ItemPage:
    """One page of a map's items in the order of the list, and the places where others go on."""

    rows: list[Execution]
    before: str
    after: str


def read_items(
    execution: Execution, step_id: str, query: QueryDict, generations: tuple[int, int]
) -> ItemPage:
    """The items that the address asks for: `state`, and `after` or `before` a place.

    generations: the first and the last of those meant. A place is `index-generation`: an item that
    was tried again is there once for each try. Pages go by place and not by number, so they stay
    as they are while items end.
    """
    rows = execution.children.filter(
        parent_step=step_id, generation__range=generations, item_index__isnull=False
    )
    state = query.get("state", "")
    if state in set(State):
        rows = rows.filter(state=state)
    rows = rows.defer("input", "output", "variables", "control").annotate(
        item_input=Left(_AS_TEXT, MAX_INPUT_CHARS + 1), sealed=StrIndex(_AS_TEXT, Value(SIGN))
    )
    after, before = _place(query.get("after")), _place(query.get("before"))
    if before is not None:
        index, generation = before
        rows = rows.filter(Q(item_index__lt=index) | Q(item_index=index, generation__lt=generation))
        found = list(rows.order_by(F("item_index").desc(), "-generation")[: PER_PAGE + 1])
        shown = found[:PER_PAGE][::-1]
        return _page(shown, has_before=len(found) > PER_PAGE, has_after=bool(shown))
    if after is not None:
        index, generation = after
        rows = rows.filter(Q(item_index__gt=index) | Q(item_index=index, generation__gt=generation))
    found = list(rows.order_by("item_index", "generation")[: PER_PAGE + 1])
    shown = found[:PER_PAGE]
    return _page(shown, has_before=after is not None, has_after=len(found) > PER_PAGE)


def _page(shown: Sequence[Execution], *, has_before: bool, has_after: bool) -> ItemPage:
    _mask(shown)
    return ItemPage(
        list(shown),
        before=_place_of(shown[0]) if shown and has_before else "",
        after=_place_of(shown[-1]) if shown and has_after else "",
    )


def _mask(rows: Sequence[Any]) -> None:
    """The text of the column holds what is hidden encrypted; the field knows how to show it."""
    sealed = [row.pk for row in rows if row.sealed]
    if not sealed:
        return
    shown = dict(Execution.objects.filter(pk__in=sealed).values_list("pk", "input"))
    for row in rows:
        if row.pk in shown:
            row.item_input = json.dumps(shown[row.pk], ensure_ascii=False)


def _place_of(row: Execution) -> str:
    return f"{row.item_index}-{row.generation}"


def _place(text: str | None) -> tuple[int, int] | None:
    index, _, generation = (text or "").partition("-")
    fits = all(
        part.isascii() and part.isdecimal() and len(part) < 10 for part in (index, generation)
    )
    return (int(index), int(generation)) if fits else None


def shown_input(row: Any) -> str:
    """What a part is: a branch by its name, an item by the beginning of its value."""
    if row.kind == Kind.BRANCH:
        return branch_of(row)
    text = row.item_input or ""
    return text if len(text) <= MAX_INPUT_CHARS else f"{text[: MAX_INPUT_CHARS - 1]}…"
