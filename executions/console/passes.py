"""The times a step has made children: in a loop it passes by more than once, each with its own.

A pass has a generation for each attempt at the step that made any; see ADR 0020.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from django.db import connection

from executions.console.items import NOUNS, Items
from executions.models import Execution
from executions.moved import steps_named

# Passes whose children are told apart; a loop may come by a step very often.
MAX_PASSES = 500

_GENERATIONS = """
SELECT parent_step, kind, generation, state, count(*), min(created_at)
  FROM executions_execution
 WHERE parent_id = %s AND item_index IS NOT NULL AND (%s = '' OR parent_step = %s)
 GROUP BY parent_step, kind, generation, state
"""
# Of several tries at an item the one that counts: the one that succeeded, else the latest.
_TRIED_AGAIN = """
SELECT step, first, state, count(*)
  FROM (SELECT DISTINCT ON (x.step, x.first, c.item_index) x.step, x.first, c.state
          FROM unnest(%s::text[], %s::int[], %s::int[]) AS x(step, first, last)
          JOIN executions_execution c
            ON c.parent_id = %s AND c.parent_step = x.step
           AND c.generation BETWEEN x.first AND x.last AND c.item_index IS NOT NULL
         ORDER BY x.step, x.first, c.item_index, (c.state = 'completed') DESC, c.generation DESC
       ) AS counted
 GROUP BY step, first, state
"""


@dataclass(frozen=True, slots=True)
class Pass:
    """One time that a step made children.

    number: from 1. seq: the how-manieth step of the execution it was. generations: one for each
    attempt that made any, the first to the last.
    """

    number: int
    seq: int
    generations: tuple[int, ...]
    items: Items

    @property
    def first(self) -> int:
        return self.generations[0]

    @property
    def last(self) -> int:
        return self.generations[-1]

    @property
    def tries(self) -> list[tuple[int, int]]:
        """Number and generation of each try."""
        return list(enumerate(self.generations, start=1))


@dataclass(slots=True)
class _Generation:
    counts: dict[str, int]
    born: datetime


def passes_of(execution: Execution, step_id: str = "") -> dict[str, list[Pass]]:
    """The passes of every step that has made children, or of one, the first to the last.

    At most three queries, however many children there are.
    """
    found, kinds = _generations(execution, step_id)
    runs = _runs(execution, found)
    grouped = {
        step: _grouped(generations, runs.get(step, [])) for step, generations in found.items()
    }
    again = _tried_again(execution, grouped)
    return {
        step: [
            Pass(
                number,
                seq,
                tuple(numbers),
                Items(
                    again.get((step, numbers[0])) or found[step][numbers[0]].counts,
                    *NOUNS[kinds[step]],
                ),
            )
            for number, (seq, numbers) in enumerate(groups, start=1)
        ]
        for step, groups in grouped.items()
    }


def pass_of(passes: Sequence[Pass], *, seq: int | None, generation: int | None) -> Pass | None:
    """The one at this place, or the one with this generation, or else the latest."""
    for each in passes:
        if each.seq == seq or (seq is None and generation in each.generations):
            return each
    return passes[-1] if passes else None


def _generations(
    execution: Execution, step_id: str
) -> tuple[dict[str, dict[int, _Generation]], dict[str, str]]:
    found: dict[str, dict[int, _Generation]] = {}
    kinds: dict[str, str] = {}
    with connection.cursor() as cursor:
        cursor.execute(_GENERATIONS, [execution.pk, step_id, step_id])
        for step, kind, generation, state, count, born in cursor.fetchall():
            kinds[step] = kind
            known = found.setdefault(step, {}).setdefault(generation, _Generation({}, born))
            known.counts[state] = count
            known.born = min(known.born, born)
    return found, kinds


def _runs(execution: Execution, steps: Iterable[str]) -> dict[str, list[tuple[datetime, int]]]:
    """When each attempt at these steps began, and which place it has."""
    wanted = list(steps)
    if not wanted:
        return {}
    rows = steps_named(execution).filter(now_id__in=wanted)
    known = list(
        rows.order_by("-seq", "-attempt").values_list("now_id", "started_at", "seq")[:MAX_PASSES]
    )
    if execution.current_step in wanted and execution.current_since is not None:
        known.append((execution.current_step, execution.current_since, execution.current_seq))
    found: dict[str, list[tuple[datetime, int]]] = {}
    for step, started_at, seq in known:
        found.setdefault(step, []).append((started_at, seq))
    return {step: sorted(each) for step, each in found.items()}


def _grouped(
    generations: Mapping[int, _Generation], runs: Sequence[tuple[datetime, int]]
) -> list[tuple[int, list[int]]]:
    """Generations by the place of the run that made them: the last that had begun by then."""
    grouped: list[tuple[int, list[int]]] = []
    for number in sorted(generations):
        begun = [seq for started_at, seq in runs if started_at <= generations[number].born]
        # The host's clock may be ahead of the database's, which is the children's.
        seq = begun[-1] if begun else (runs[0][1] if runs else 0)
        if grouped and grouped[-1][0] >= seq:
            grouped[-1][1].append(number)
        else:
            grouped.append((seq, [number]))
    return grouped[-MAX_PASSES:]


def _tried_again(
    execution: Execution, grouped: Mapping[str, Sequence[tuple[int, list[int]]]]
) -> dict[tuple[str, int], dict[str, int]]:
    """The states of children by step and first generation, where a pass has several."""
    wanted = [
        (step, numbers[0], numbers[-1])
        for step, groups in grouped.items()
        for _, numbers in groups
        if len(numbers) > 1
    ]
    found: dict[tuple[str, int], dict[str, int]] = {}
    if wanted:
        columns = [list(column) for column in zip(*wanted, strict=True)]
        with connection.cursor() as cursor:
            cursor.execute(_TRIED_AGAIN, [*columns, execution.pk])
            for step, first, state, count in cursor.fetchall():
                found.setdefault((step, first), {})[state] = count
    return found
