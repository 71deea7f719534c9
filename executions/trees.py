"""The tree of executions around one: the root it belongs to, and all below that."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from django.db import connection

from executions.models import Execution
from executions.parts import branch_of

# A page of a tree is read whole; a map has its own page for its items.
MAX_NODES = 500

_ROOT = """
WITH RECURSIVE way AS (
    SELECT id, parent_id FROM executions_execution WHERE id = %(id)s
     UNION ALL
    SELECT e.id, e.parent_id FROM way JOIN executions_execution e ON e.id = way.parent_id)
SELECT id FROM way WHERE parent_id IS NULL
"""

# Level by level, so that what is cut off is what lies deepest.
_BELOW = """
SELECT id FROM executions_execution WHERE parent_id = ANY(%(ids)s)
 ORDER BY parent_id, id LIMIT %(limit)s
"""

_LEFT_OUT = """
SELECT DISTINCT parent_id FROM executions_execution
 WHERE parent_id = ANY(%(ids)s) AND NOT (id = ANY(%(ids)s))
"""


@dataclass(slots=True)
class Node:
    """One execution of a tree, without its data.

    branch: its name, if it is one. has_more: it has children that are left out, for the tree is
    too large.
    """

    execution: Execution
    branch: str = ""
    children: list[Node] = field(default_factory=list)
    has_more: bool = False

    def walk(self, depth: int = 0) -> Iterator[tuple[int, Node]]:
        """This one and all below it, each with how deep it is, in the order they were made."""
        yield depth, self
        for child in self.children:
            yield from child.walk(depth + 1)


def tree_of(execution: Execution, *, limit: int = MAX_NODES) -> Node:
    """The whole tree that an execution belongs to, `limit` executions of it at most."""
    with connection.cursor() as cursor:
        cursor.execute(_ROOT, {"id": execution.pk})
        (root_id,) = cursor.fetchone()
        ids, level, is_cut = [root_id], [root_id], False
        while level and not is_cut:
            room = limit - len(ids)
            cursor.execute(_BELOW, {"ids": level, "limit": room + 1})
            level = [row[0] for row in cursor.fetchall()]
            is_cut = len(level) > room
            level = level[:room]
            ids += level
    rows = Execution.objects.select_related("workflow", "version").defer(
        *("input", "output", "variables", "control", "error", "version__definition")
    )
    nodes = {row.pk: Node(row, branch_of(row)) for row in rows.filter(pk__in=ids).order_by("pk")}
    for pk, node in nodes.items():
        if pk != root_id and node.execution.parent_id in nodes:
            nodes[node.execution.parent_id].children.append(node)
    if is_cut:
        _note_left_out(nodes)
    return nodes[root_id]


def _note_left_out(nodes: dict[int, Node]) -> None:
    """Mark those that have children which are not among these."""
    with connection.cursor() as cursor:
        cursor.execute(_LEFT_OUT, {"ids": list(nodes)})
        for (pk,) in cursor.fetchall():
            nodes[pk].has_more = True
