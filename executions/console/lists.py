"""The list of executions: what its address can ask for, and one page of the answer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlencode

from django.http import QueryDict

from autopilot.common.words import count_words
from executions.engine.states import State
from executions.models import Execution
from executions.querysets import ExecutionQuerySet
from executions.why_facts import LATE_AFTER
from workflows.models import Workflow

PER_PAGE = 50
MAX_TEXT = 200
MANY = 1_000

# How far back: the word in the address, what it is called, how long that is.
SPANS: dict[str, tuple[str, timedelta]] = {
    "1h": ("Last hour", timedelta(hours=1)),
    "24h": ("Last 24 hours", timedelta(hours=24)),
    "7d": ("Last 7 days", timedelta(days=7)),
    "30d": ("Last 30 days", timedelta(days=30)),
}

# By one word, things that a state alone doesn't tell.
MOVING: dict[str, str] = {"late": "Ready for more than a minute, and no worker has taken it"}


@dataclass(frozen=True, slots=True)
class Asked:
    """What the address asks for. Unknown words are ignored, so that an old link still opens."""

    q: str = ""
    state: str = ""
    workflow: str = ""
    span: str = ""
    label: str = ""
    error: str = ""
    slot: str = ""
    only: str = ""

    @classmethod
    def of(cls, query: QueryDict) -> Asked:
        given = {name: query.get(name, "").strip()[:MAX_TEXT] for name in FIELDS}
        if given["state"] not in set(State):
            given["state"] = ""
        if given["span"] not in SPANS:
            given["span"] = ""
        if given["only"] not in MOVING:
            given["only"] = ""
        return cls(**given)

    def query(self, **changes: str) -> str:
        """The address of this list with something else asked for: `?state=failed&...`."""
        values = {name: getattr(self, name) for name in FIELDS} | changes
        return "?" + urlencode({name: value for name, value in values.items() if value})

    @property
    def is_counted_by_state(self) -> bool:
        """Whether an index holds what is asked for by state, so that each can be counted."""
        return not any(getattr(self, name) for name in FIELDS if name not in {"state", "workflow"})

    @property
    def is_filtered(self) -> bool:
        return any(getattr(self, name) for name in FIELDS)

    def apply(self, rows: ExecutionQuerySet, now: datetime) -> ExecutionQuerySet:
        """The rows that match, but for the state (the chips count every state)."""
        for name, narrow in _NARROW.items():
            value = getattr(self, name)
            if value:
                rows = narrow(rows, value, now)
        return rows.with_slot(self.slot, self._slugs()) if self.slot else rows

    def _slugs(self) -> list[str] | None:
        return [self.workflow] if self.workflow else None


FIELDS = ("q", "state", "workflow", "span", "label", "error", "slot", "only")


def _search(rows: ExecutionQuerySet, text: str, now: datetime) -> ExecutionQuerySet:
    return rows.search(text)


def _workflow(rows: ExecutionQuerySet, slug: str, now: datetime) -> ExecutionQuerySet:
    # By key: the planner then reads the index of this workflow's executions, newest first.
    return rows.filter(workflow_id__in=list(Workflow.objects.filter(slug=slug).values_list("pk")))


def _span(rows: ExecutionQuerySet, word: str, now: datetime) -> ExecutionQuerySet:
    return rows.accepted_from(now - SPANS[word][1])


def _label(rows: ExecutionQuerySet, label: str, now: datetime) -> ExecutionQuerySet:
    key, has_value, value = label.partition("=")
    return rows.labelled(key, value if has_value else None)


def _error(rows: ExecutionQuerySet, code: str, now: datetime) -> ExecutionQuerySet:
    return rows.filter(error_code=code)


def _only(rows: ExecutionQuerySet, word: str, now: datetime) -> ExecutionQuerySet:
    return rows.ready(now - LATE_AFTER)


_NARROW: dict[str, Callable[[ExecutionQuerySet, Any, datetime], ExecutionQuerySet]] = {
    "q": _search,
    "workflow": _workflow,
    "span": _span,
    "label": _label,
    "error": _error,
    "only": _only,
}


def count_late(visible: ExecutionQuerySet, now: datetime) -> int:
    """How many are ready for too long without a worker; counted up to MANY + 1."""
    return visible.roots().ready(now - LATE_AFTER).order_by().values("pk")[: MANY + 1].count()


def late_words(count: int) -> str:
    """`3 executions are`; nothing for none."""
    if not count:
        return ""
    return f"{count_words(count, MANY)} {'execution is' if count == 1 else 'executions are'}"


@dataclass(frozen=True, slots=True)
class Page:
    """One page of executions, newest first, and the ids from which its neighbors go on."""

    rows: list[Execution]
    older: int | None
    newer: int | None
    is_first: bool


def read_page(rows: ExecutionQuerySet, query: QueryDict) -> Page:
    """The page that `before` or `after` (ids) in the address point at; the newest by default.

    Pages go by id, not by number: nothing is counted, and a page keeps its place while new
    executions arrive.
    """
    before, after = _id(query.get("before")), _id(query.get("after"))
    rows = rows.select_related("workflow", "version").defer("input", "output", "variables")
    if after is not None:
        found = list(rows.filter(pk__gt=after).order_by("pk")[: PER_PAGE + 1])
        has_newer = len(found) > PER_PAGE
        shown = found[:PER_PAGE][::-1]
        # Whoever comes back up has something below; the list is short of it only at the top.
        return Page(
            shown,
            older=shown[-1].pk if shown else None,
            newer=shown[0].pk if has_newer else None,
            is_first=not has_newer,
        )
    if before is not None:
        rows = rows.filter(pk__lt=before)
    found = list(rows.order_by("-pk")[: PER_PAGE + 1])
    shown = found[:PER_PAGE]
    return Page(
        shown,
        older=shown[-1].pk if len(found) > PER_PAGE else None,
        newer=shown[0].pk if before is not None and shown else None,
        is_first=before is None,
    )


def _id(text: str | None) -> int | None:
    return int(text) if text and text.isascii() and text.isdecimal() and len(text) < 19 else None
