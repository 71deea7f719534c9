"""Executions with the items and branches inside them, which go where they go."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from typing import Any

from django.db import connection

from executions.engine.states import FINAL, State
from executions.models import Execution, Kind
from executions.runtime.control import NOWHERE, Control, control_from_json

PARTS = (Kind.ITEM.value, Kind.BRANCH.value)
# Read only where they are needed.
DATA = ("input", "variables", "output", "error")
_FINAL = [state.value for state in FINAL]

# Whatever has not come to its end for good. A child workflow is a tree of its own.
_TREES = """
WITH RECURSIVE tree AS (
    SELECT id, id AS head FROM executions_execution WHERE id = ANY(%(ids)s)
     UNION ALL
    SELECT c.id, tree.head
      FROM tree
      JOIN executions_execution c ON c.parent_id = tree.id AND c.kind IN ('item', 'branch')
       AND c.state NOT IN ('completed', 'cancelled'))
SELECT head, id FROM tree
"""

# They stay what they are, and are told what the steps that they belong to are called by now.
_CHILDREN = """
SELECT id FROM executions_execution
 WHERE parent_id = ANY(%(ids)s) AND kind = 'child' AND state NOT IN ('completed', 'cancelled')
"""


@dataclass(slots=True)
class Tree:
    """One execution and what is inside it that may go on; the head first, by ascending id."""

    head_id: int
    rows: dict[int, Execution] = field(default_factory=dict)
    controls: dict[int, Control] = field(default_factory=dict)

    @property
    def head(self) -> Execution | None:
        return self.rows.get(self.head_id)

    def control(self, row: Execution) -> Control:
        """Where it is inside of groups; a broken document counts as nowhere."""
        if row.pk not in self.controls:
            self.controls[row.pk] = control_from_json(row.control) if row.control else NOWHERE
        return self.controls[row.pk]

    def around(self, row: Execution) -> list[Execution]:
        """The executions that an item or a branch is inside of, the innermost first."""
        found = []
        while row.pk != self.head_id and row.parent_id in self.rows:
            row = self.rows[row.parent_id]
            found.append(row)
        return found

    def moving(self) -> Iterable[Execution]:
        """Those that may still run: a failed part does if its step may take it up again."""
        return [row for row in self.rows.values() if self.may_run(row)]

    def may_run(self, row: Execution) -> bool:
        if row.pk == self.head_id or row.state != State.FAILED:
            return True
        parent = self.rows.get(row.parent_id or 0)
        if parent is None or parent.current_step != row.parent_step:
            return False
        base = self.control(parent).base or self.control(parent).generation
        return self.may_run(parent) and row.generation >= base > 0


def ids_of(heads: Collection[int]) -> dict[int, list[int]]:
    """For each of these its own id and those of the parts inside it."""
    found: dict[int, list[int]] = defaultdict(list)
    with connection.cursor() as cursor:
        cursor.execute(_TREES, {"ids": list(heads)})
        for head, pk in cursor.fetchall():
            found[head].append(pk)
    return found


def read_trees(heads: Collection[int], *, lock: bool = False) -> dict[int, Tree]:
    """The trees of these, in the order of ids; one whose head isn't there is empty.

    lock: keep all their rows as they are until the transaction ends. A part that was made between
    the question for ids and the lock is missing; whoever made it has written its parent's row, so
    the caller asks again. Their child workflows are locked with them: renaming what those belong to
    later on would be out of the order of ids, in which workers lock them.
    """
    members = ids_of(heads)
    ids = [pk for each in members.values() for pk in each]
    rows = Execution.objects.filter(pk__in=ids)
    if lock:
        every = Execution.objects.filter(pk__in=[*ids, *_children_of(ids)])
        rows = every.select_for_update(no_key=True)
    known: dict[int, Execution] = {row.pk: row for row in rows.order_by("pk").defer(*DATA)}
    trees = {}
    for head in sorted(heads):
        tree = Tree(head)
        for pk in sorted(members.get(head, ())):
            if pk in known and (pk == head or known[pk].state not in _FINAL):
                tree.rows[pk] = known[pk]
        trees[head] = tree
    return trees


def _children_of(ids: list[int]) -> list[int]:
    with connection.cursor() as cursor:
        cursor.execute(_CHILDREN, {"ids": ids})
        return [row[0] for row in cursor.fetchall()]


def data_of(rows: Iterable[Execution]) -> dict[int, tuple[Any, Any]]:
    """Input and variables of these, as people see them."""
    keys = [row.pk for row in rows]
    found = Execution.objects.filter(pk__in=keys).values_list("pk", "input", "variables")
    return {pk: (data, variables or {}) for pk, data, variables in found}
