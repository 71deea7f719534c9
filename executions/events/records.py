"""What has happened, read in the one order that no late commit disturbs."""

from __future__ import annotations

import heapq
import json
from collections import OrderedDict
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Any, NamedTuple

from django.db import connection
from django.db.models import TextField, Value
from django.db.models.fields.json import KT
from django.db.models.functions import Coalesce

from autopilot.common import streams
from executions.events.position import RANKS, Position
from executions.models import Execution, LogLine, StateTransition, StepExecution
from executions.querysets import SettledQuerySet

# Executions that a process remembers the unchanging facts of.
REMEMBERED = 20_000

_TREE = """
WITH RECURSIVE tree (id) AS (
    SELECT %s::bigint
    UNION ALL
    SELECT child.id FROM executions_execution child JOIN tree ON child.parent_id = tree.id
)
SELECT id FROM tree
"""


class Facts(NamedTuple):
    """What never changes about an execution."""

    id: int
    workflow: str
    parent: int | None
    kind: str
    item_index: int | None


@dataclass(frozen=True)
class Record:
    """One event: a transition, a recorded step, or a line of the log."""

    position: Position
    kind: str
    execution: int
    fields: dict[str, Any]
    facts: Facts

    @cached_property
    def text(self) -> bytes:
        """As it is sent; made once for everybody who gets it."""
        about = {
            "execution": self.execution,
            "workflow": self.facts.workflow,
            "kind": self.facts.kind,
            "parent": self.facts.parent,
            "item_index": self.facts.item_index,
        }
        data = json.dumps({**about, **self.fields}, default=_plain, ensure_ascii=False)
        return streams.event(data, name=self.kind, event_id=str(self.position))


def _plain(value: Any) -> str:
    if isinstance(value, datetime):
        return value.isoformat().replace("+00:00", "Z")
    # Whatever it is, one odd value is not to hold up the events of everybody.
    return str(value)


def read_horizon() -> int:
    """Every transaction below this one has ended: what it wrote is visible, or never will be."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_snapshot_xmin(pg_current_snapshot())::text")
        return int(cursor.fetchone()[0])


def here() -> str:
    """The id from which a stream goes on to what is read after this call."""
    return str(Position.before(read_horizon()))


def read_end() -> int:
    """No transaction has begun that has this number or a higher one."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_snapshot_xmax(pg_current_snapshot())::text")
        return int(cursor.fetchone()[0])


def read_tree(execution_id: int) -> list[int]:
    """The execution and all that it has started, and those, and so on."""
    with connection.cursor() as cursor:
        cursor.execute(_TREE, [execution_id])
        return [row[0] for row in cursor.fetchall()]


class _Table(NamedTuple):
    """One kind of record: where it is read from, and which columns are told under which name."""

    rows: Callable[[], SettledQuerySet]
    columns: dict[str, str]


def _same(*names: str) -> dict[str, str]:
    return {name: name for name in names}


# Of a code that holds something hidden, what is shown of it.
_ERROR_CODE = Coalesce(
    KT("error__code__shown"), KT("error__code"), Value(""), output_field=TextField()
)

# By rank; see `position.RANKS`. What steps took and gave is asked for where it is wanted.
_TABLES = (
    _Table(
        lambda: LogLine.objects.all(),
        {"step": "step_id", **_same("seq", "attempt", "level", "event", "fields", "at")},
    ),
    _Table(
        lambda: StepExecution.objects.annotate(error_code=_ERROR_CODE),
        {
            "step": "step_id",
            **_same("seq", "attempt", "name", "type", "state", "error_code"),
            **_same("started_at", "ended_at", "taken_over"),
        },
    ),
    _Table(
        lambda: StateTransition.objects.all(),
        _same("seq", "source", "target", "reason", "actor", "at"),
    ),
)


class Page(NamedTuple):
    """Records in order. reached: where the next page begins. is_last: there is none."""

    records: list[Record]
    reached: Position
    is_last: bool


class Reader:
    """Reads pages of what has happened. Belongs to one thread and its connection."""

    def __init__(self) -> None:
        self._facts: OrderedDict[int, Facts] = OrderedDict()

    def page(
        self,
        after: Position,
        horizon: int,
        limit: int,
        *,
        kinds: Collection[str] = RANKS,
        executions: Collection[int] | None = None,
    ) -> Page:
        """The first `limit` records after a position, of transactions below `horizon`.

        horizon: of `read_horizon`, asked before; so every table is read as of the same moment.
        executions: only of these.
        """
        found: list[list[tuple[Position, int, tuple[Any, ...]]]] = []
        for rank, table in enumerate(_TABLES):
            if RANKS[rank] not in kinds:
                continue
            rows = table.rows().between(after.xid, after.row_after(rank), horizon)
            if executions is not None:
                rows = rows.filter(execution__in=executions)
            values = rows.values_list("xid", "pk", "execution_id", *table.columns.values())
            found.append(
                [(Position(row[0], rank, row[1]), row[2], row[3:]) for row in values[:limit]]
            )
        merged = list(heapq.merge(*found, key=lambda each: each[0]))[:limit]
        self._learn(execution for _, execution, _ in merged)
        records = [
            Record(
                position,
                RANKS[position.rank],
                execution,
                dict(zip(_TABLES[position.rank].columns, values, strict=True)),
                self._facts[execution],
            )
            for position, execution, values in merged
            if execution in self._facts
        ]
        if len(merged) < limit:
            return Page(records, Position.before(horizon), is_last=True)
        return Page(records, merged[-1][0], is_last=False)

    def line(self, execution_id: int) -> list[int]:
        """An execution's id and those of all above it."""
        line = [execution_id]
        while (facts := self._facts.get(line[-1])) is not None and facts.parent is not None:
            if facts.parent not in self._facts:
                self._learn([facts.parent])
            line.append(facts.parent)
        return line

    def _learn(self, executions: Iterable[int]) -> None:
        asked = set(executions)
        missing = [each for each in asked if each not in self._facts]
        for each in asked.difference(missing):
            self._facts.move_to_end(each)
        names = ("pk", "workflow__slug", "parent_id", "kind", "item_index")
        for start in range(0, len(missing), REMEMBERED // 4):
            some = missing[start : start + REMEMBERED // 4]
            for row in Execution.objects.filter(pk__in=some).order_by().values_list(*names):
                self._facts[row[0]] = Facts(*row)
        while len(self._facts) > REMEMBERED + len(asked):
            self._facts.popitem(last=False)
