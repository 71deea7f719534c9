"""The workflow of W1, W1L and W2, and the books that are checked after each run of it."""

from __future__ import annotations

from typing import Any

from psycopg2.extensions import connection as Connection

STEPS = 10
# One step more than ten would not be the work that the peers were measured on.
ACTOR = "benchmarks"


class BooksWrong(Exception):
    """What the tables hold is not what was asked for; no figure counts then."""


def document() -> dict[str, Any]:
    """Ten no-op steps; each returns a small object built from the one before."""
    steps = []
    for number in range(1, STEPS + 1):
        previous = f"{{{{ steps.s{number - 1}.output.n + 1 }}}}" if number > 1 else 1
        steps.append(
            {
                "id": f"s{number}",
                "name": f"Step {number}",
                "type": "action",
                "config": {"action": "noop", "with": {"n": previous}},
            }
        )
    return {"name": "Ten steps", "description": "What speed is measured on.", "steps": steps}


BOOKS = """
WITH mine AS (
    SELECT id, state, output, error, owner_id, transition_seq
      FROM executions_execution WHERE workflow_id = %(workflow)s AND id > %(after)s),
steps AS (
    SELECT s.execution_id, count(*) AS n, count(DISTINCT s.seq) AS different,
           bool_and(s.state = 'completed' AND s.attempt = 1
                    AND s.step_id = 's' || s.seq
                    AND s.output = jsonb_build_object('n', s.seq)) AS correct
      FROM executions_stepexecution s JOIN mine ON mine.id = s.execution_id
     GROUP BY s.execution_id),
changes AS (
    SELECT t.execution_id, string_agg(t.target, ' ' ORDER BY t.seq) AS path
      FROM executions_statetransition t JOIN mine ON mine.id = t.execution_id
     GROUP BY t.execution_id)
SELECT count(*),
       count(*) FILTER (WHERE mine.state = 'completed' AND mine.owner_id IS NULL
                          AND mine.output = jsonb_build_object('n', %(steps)s::int)),
       count(*) FILTER (WHERE steps.n = %(steps)s AND steps.different = %(steps)s
                          AND steps.correct),
       count(*) FILTER (WHERE changes.path = 'initialized running completed')
  FROM mine LEFT JOIN steps ON steps.execution_id = mine.id
            LEFT JOIN changes ON changes.execution_id = mine.id
"""


def check_books(connection: Connection, *, workflow_id: int, after: int, expected: int) -> int:
    """Every execution of `workflow_id` above the id `after`: completed, each step recorded exactly
    once with the right output, each change of state once. Answers the number of steps.

    Raises BooksWrong.
    """
    with connection.cursor() as cursor:
        cursor.execute(BOOKS, {"workflow": workflow_id, "after": after, "steps": STEPS})
        row = cursor.fetchone()
    found, completed, stepped, changed = row or (0, 0, 0, 0)
    if not found == completed == stepped == changed == expected:
        raise BooksWrong(
            f"Of {expected} executions {found} are there, {completed} completed with the right "
            f"result, {stepped} have each of their {STEPS} steps exactly once, {changed} have "
            "taken each change of state exactly once."
        )
    return expected * STEPS


def last_id(connection: Connection) -> int:
    """The id of the newest execution; 0 if there is none."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT coalesce(max(id), 0) FROM executions_execution")
        row = cursor.fetchone()
    return int(row[0]) if row else 0
