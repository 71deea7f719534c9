"""Deleting what has ended long ago: whole trees, with everything that is recorded of them.

The one door out of the history. A tree goes in a transaction that waits for nobody: rows that
somebody holds are left for another time. What must stay is looked for under the locks of the
roots, so nothing can change it in between: a root that has ended gets no children, is not retried
and not undone while its row is locked.

Roots are walked from the newest to the oldest: what refers to another execution is younger than
it, and so is gone when that one's turn comes.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from django.db import connection, transaction

from executions import purging_sql as sql
from executions.engine.states import ENDED, State

# How many roots are looked at in one go, whether they are due or not.
WINDOW = 2_000
# Of one tree in one transaction; of a larger one the youngest parts first, the root last. Between
# two transactions its root is not locked, so one that could be retried then goes in one.
MAX_AT_ONCE = 1_000


@dataclass(frozen=True, slots=True)
class Due:
    """What may go: roots that ended before `before` in one of `states`, of these workflows.

    workflows: ids; None = of all.
    """

    before: datetime
    states: tuple[str, ...] = tuple(sorted(state.value for state in ENDED))
    workflows: tuple[int, ...] | None = None

    def values(self) -> dict[str, Any]:
        return {
            "before": self.before,
            "states": list(self.states),
            "workflows": None if self.workflows is None else list(self.workflows),
        }


@dataclass(slots=True)
class Purged:
    """What one transaction has deleted, or would delete.

    roots: whole trees. executions: rows, parts of trees included. kept: roots that are due and
    have to stay, by why. left: ids of roots of which something is left to delete.
    """

    roots: int = 0
    executions: int = 0
    steps: int = 0
    kept: dict[str, int] = field(default_factory=dict)
    left: list[int] = field(default_factory=list)


def due_below(due: Due, pk: int) -> tuple[list[int], int | None]:
    """Roots that are due among the next WINDOW below this id, newest first.

    Answers where the next window begins, too; None if this was the last.
    """
    with connection.cursor() as cursor:
        cursor.execute(sql.WINDOW, {**due.values(), "below": pk, "window": WINDOW})
        found, lowest = cursor.fetchone()
    return list(found or []), lowest


def purge_trees(
    roots: Sequence[int],
    due: Due,
    *,
    archive: Callable[[list[str]], None] | None = None,
    keep: Callable[[Purged], None] | None = None,
) -> Purged:
    """Delete those of these trees that are due and free, in one transaction.

    archive: gets a line of JSON of each execution, with all that is recorded of it, before they are
    deleted. keep: called in the transaction, right before its end, with what was done.
    """
    purged = Purged()
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(sql.SETTINGS)
        cursor.execute(sql.LOCK_ROOTS, {**due.values(), "roots": list(roots)})
        locked = dict(cursor.fetchall())
        trees = _trees(cursor, list(locked))
        _without_kept(cursor, trees, purged)
        retryable = {root for root, state in locked.items() if state == State.FAILED}
        ids = _chosen(trees, retryable, purged)
        if ids:
            _delete(cursor, ids, purged, archive)
        if keep is not None:
            keep(purged)
    return purged


def preview_trees(roots: Sequence[int]) -> Purged:
    """What `purge_trees` would do with these, which are due; nothing is locked."""
    purged = Purged()
    with connection.cursor() as cursor:
        trees = _trees(cursor, roots)
        _without_kept(cursor, trees, purged)
    purged.roots = len(trees)
    purged.executions = sum(len(ids) for ids in trees.values())
    return purged


def _trees(cursor: Any, roots: Sequence[int]) -> dict[int, list[int]]:
    """The ids of each tree by its root, the youngest first: no parent before its children."""
    trees: dict[int, list[int]] = {root: [] for root in roots}
    cursor.execute(sql.TREES, {"roots": list(roots)})
    for root, pk in cursor.fetchall():
        trees[root].append(pk)
    return trees


def _without_kept(cursor: Any, trees: dict[int, list[int]], purged: Purged) -> None:
    """Take those away that have to stay. What stays may keep others, so until nothing changes."""
    while trees:
        pairs = [(root, pk) for root, ids in trees.items() for pk in ids]
        values = {"roots": [root for root, _ in pairs], "ids": [pk for _, pk in pairs]}
        cursor.execute(sql.KEPT, values)
        kept = dict(cursor.fetchall())
        if not kept:
            return
        for root, why in kept.items():
            purged.kept[why] = purged.kept.get(why, 0) + 1
            del trees[root]


def _chosen(trees: dict[int, list[int]], retryable: Collection[int], purged: Purged) -> list[int]:
    """As many as may go at once: whole trees, and of one that is too large its youngest part."""
    chosen: list[int] = []
    for root, ids in trees.items():
        room = MAX_AT_ONCE - len(chosen)
        if len(ids) <= room or (root in retryable and not chosen):
            chosen += ids
            purged.roots += 1
            continue
        purged.left.append(root)
        if not chosen:
            chosen = ids[:room]
    return chosen


def _delete(
    cursor: Any, ids: list[int], purged: Purged, archive: Callable[[list[str]], None] | None
) -> None:
    values = {"ids": ids}
    if archive is not None:
        cursor.execute(sql.ARCHIVED, values)
        archive([row[0] for row in cursor.fetchall()])
    cursor.execute(sql.FORGET_CONTINUED, values)
    for table, statement in sql.DELETE.items():
        cursor.execute(statement, values)
        if table == "executions_stepexecution":
            purged.steps = cursor.rowcount
        if table == "executions_execution":
            purged.executions = cursor.rowcount
