"""The SQL of compensations, and of the starts that failures owe."""

from __future__ import annotations

# In the order in which the steps completed: the ids say so later.
PROMISE = """
INSERT INTO executions_compensation
       (execution_id, seq, step_id, name, action, params, state, error, attempts)
SELECT execution_id, seq, step_id, name, action, params, state, error, 0
  FROM ROWS FROM (json_to_recordset(%(promises)s) AS (
       execution_id bigint, seq int, step_id text, name text, action text, params jsonb,
       state text, error jsonb)) WITH ORDINALITY AS x(
       execution_id, seq, step_id, name, action, params, state, error, place)
 ORDER BY place;
"""

# The rows may belong to executions below the one that undoes; those have ended, and only it, which
# is locked and fenced, changes them.
SETTLE = """
UPDATE executions_compensation c
   SET state = x.state, error = x.error, attempts = c.attempts + x.attempts,
       done_by = x.done_by, done_seq = x.seq, settled_at = x.at
  FROM json_to_recordset(%(settles)s) AS x(
       id bigint, state text, error jsonb, attempts int, done_by bigint, seq int, at timestamptz)
 WHERE c.id = x.id AND c.state = 'pending';
"""

OWE = """
INSERT INTO executions_errorstart (execution_id, seq, workflow_slug)
SELECT execution_id, seq, workflow
  FROM json_to_recordset(%(owes)s) AS x(execution_id bigint, seq int, workflow text)
ON CONFLICT DO NOTHING;
"""

# An execution with everything that ran for its document, and with the child workflows that it has
# to answer for: one that failed has undone itself, if its own document says so.
TREE = """
WITH RECURSIVE tree AS (
    SELECT id, id AS root, state, version_id FROM executions_execution WHERE id = ANY(%(roots)s)
    UNION ALL
    SELECT c.id, t.root, c.state, c.version_id
      FROM tree t
      JOIN executions_execution c ON c.parent_id = t.id
     WHERE c.kind <> 'child' OR c.state <> 'failed')
"""

# By root: how many are in which state, and how many of those could be called (again).
BY_STATE = f"""
{TREE}
SELECT t.root, c.state, count(*),
       count(*) FILTER (
           WHERE c.state = 'pending' OR (c.state IN ('failed', 'left') AND c.attempts > 0))
  FROM tree t JOIN executions_compensation c ON c.execution_id = t.id
 GROUP BY t.root, c.state
"""  # noqa: S608 - constant

# For the ORM, whose parameters have no names.
LISTED = f"""
{TREE.replace("%(roots)s", "%s")}
SELECT c.id FROM tree t JOIN executions_compensation c ON c.execution_id = t.id
"""  # noqa: S608 - constant

# What failed or was left is tried again if somebody asks; what couldn't be worked out can't be.
AGAIN = f"""
{TREE}
UPDATE executions_compensation c
   SET state = 'pending', error = NULL, settled_at = NULL
  FROM tree t
 WHERE c.execution_id = t.id AND c.state IN ('failed', 'left') AND c.attempts > 0
"""  # noqa: S608 - constant

# Its error stays; wishes that nobody had heeded when it failed are void.
TAKE_UP = """
UPDATE executions_execution
   SET state = 'running', reason = 'compensating', ended_at = NULL, runnable_at = now(),
       claims = 0, seen_seq = inbox_seq, transition_seq = transition_seq + 1,
       control = control || jsonb_build_object(
           'undo', %(undo)s::jsonb || jsonb_build_object('error', error))
 WHERE id = ANY(%(ids)s)
"""

# What it is calling now comes first, wherever that stands.
NEXT = f"""
{TREE}
SELECT c.id, c.execution_id, c.seq, c.step_id, c.name, c.action, c.params, t.version_id,
       CASE WHEN e.step_names IS NULL THEN c.step_id
            ELSE executions_present_step(
                e.step_names,
                (SELECT max(s.id) FROM executions_stepexecution s
                  WHERE s.execution_id = c.execution_id AND s.seq = c.seq),
                c.step_id) END
  FROM tree t
  JOIN executions_execution e ON e.id = t.id
  JOIN executions_compensation c ON c.execution_id = t.id AND c.state = 'pending'
 ORDER BY c.id = %(current)s DESC, c.id DESC
 LIMIT %(limit)s
"""  # noqa: S608 - constant

IS_BUSY = f"""
{TREE}
SELECT EXISTS (
    SELECT 1 FROM tree
     WHERE id <> root AND state NOT IN ('completed', 'failed', 'cancelled'))
"""  # noqa: S608 - constant

COUNTS = f"""
{TREE}
SELECT count(*) FILTER (WHERE c.state = 'done'), count(*) FILTER (WHERE c.state <> 'done')
  FROM tree t JOIN executions_compensation c ON c.execution_id = t.id
"""  # noqa: S608 - constant

LEFT = f"""
{TREE}
SELECT c.id, c.execution_id, c.seq, c.step_id, c.name, c.action, c.params, c.state, c.error
  FROM tree t
  JOIN executions_compensation c ON c.execution_id = t.id AND c.state <> 'done'
 ORDER BY c.id DESC
 LIMIT %(limit)s
"""  # noqa: S608 - constant
