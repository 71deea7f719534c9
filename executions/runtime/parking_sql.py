"""The SQL that puts executions of switched-off workflows out of the claims' way, and back."""

from __future__ import annotations

# What was asked of an execution is still seen to, so that one with news is left where it is.
PARK = """
WITH chosen AS (
    SELECT id FROM executions_execution
     WHERE workflow_id = ANY(%(held)s::bigint[])
       AND owner_id IS NULL AND runnable_at <= now() AND inbox_seq <= seen_seq
     ORDER BY id LIMIT %(batch)s
       FOR NO KEY UPDATE SKIP LOCKED)
UPDATE executions_execution e SET runnable_at = NULL, is_parked = true
  FROM chosen WHERE e.id = chosen.id
RETURNING e.id
"""

# One that somebody paused or cancelled meanwhile only loses the mark.
UNPARK = """
WITH chosen AS (
    SELECT id FROM executions_execution
     WHERE is_parked AND workflow_id <> ALL(%(held)s::bigint[])
       AND (%(only)s::bigint[] IS NULL OR id = ANY(%(only)s::bigint[]))
     ORDER BY id LIMIT %(batch)s
       FOR NO KEY UPDATE SKIP LOCKED)
UPDATE executions_execution e
   SET is_parked = false,
       runnable_at = CASE
           WHEN e.owner_id IS NULL AND e.runnable_at IS NULL
                AND e.state NOT IN ('completed', 'failed', 'cancelled', 'paused') THEN now()
           ELSE e.runnable_at END
  FROM chosen WHERE e.id = chosen.id
RETURNING e.id
"""
