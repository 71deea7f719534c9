"""The SQL of calls that end elsewhere: kept with the checkpoints; tasks are taken as sets."""

from __future__ import annotations

from executions.engine.events import CALLBACK
from executions.runtime.outside_sql import KINDS, OutsideSql

# Somebody may have answered before the action that gave the token away had returned: then the news
# are there with the wait.
_OPENS = f"""
WITH opened AS (
    INSERT INTO executions_callback
           (execution_id, step_id, seq, attempt, created_at, opened_at, outcome,
            queue, payload, available_at, leases, worker)
    SELECT x.execution, x.step, x.seq, x.attempt, now(), now(), '',
           x.data->>'queue', x.data->'payload', now(), 0, ''
      FROM json_to_recordset(%(rows)s) AS x(
           execution bigint, step text, seq int, attempt int, data jsonb)
    ON CONFLICT (execution_id, seq, attempt) DO UPDATE
       SET opened_at = now(), queue = excluded.queue, payload = excluded.payload,
           available_at = now()
    RETURNING execution_id, seq, attempt, answer),
told AS (
    UPDATE executions_execution e
       SET inbox_seq = e.inbox_seq + 1,
           runnable_at = CASE WHEN e.owner_id IS NULL THEN now() ELSE e.runnable_at END
      FROM opened o
     WHERE e.id = o.execution_id AND o.answer IS NOT NULL AND o.answer <> 'null'
    RETURNING e.id, e.inbox_seq)
INSERT INTO executions_inboxmessage (execution_id, seq, kind, payload, actor, created_at)
SELECT t.id, t.inbox_seq, '{CALLBACK}',
       jsonb_build_object('seq', o.seq, 'attempt', o.attempt, 'data', o.answer), 'callback', now()
  FROM told t JOIN opened o ON o.execution_id = t.id;
"""  # noqa: S608 - constant

_CLOSES = """
UPDATE executions_callback c
   SET closed_at = now(), outcome = x.outcome, payload = 'null', answer = 'null', details = 'null'
  FROM json_to_recordset(%(rows)s) AS x(execution bigint, seq int, attempt int, outcome text)
 WHERE c.execution_id = x.execution AND c.seq = x.seq AND c.attempt = x.attempt;
"""

KINDS[CALLBACK] = OutsideSql(_OPENS, _CLOSES)

# Those that have waited longest, each for one worker and for the time of a lease.
TAKE = """
WITH free AS (
    SELECT id FROM executions_callback
     WHERE queue = %(queue)s AND queue <> '' AND opened_at IS NOT NULL AND closed_at IS NULL
       AND answered_at IS NULL AND available_at <= now()
     ORDER BY available_at, id
     LIMIT %(limit)s
       FOR UPDATE SKIP LOCKED)
UPDATE executions_callback c
   SET available_at = now() + %(lease)s * interval '1 second', leases = c.leases + 1,
       worker = %(worker)s, heard_at = now()
  FROM free
 WHERE c.id = free.id
RETURNING c.id
"""

# What is over, or was never begun, long enough ago. The tokens are void as their steps are over.
PURGE = """
DELETE FROM executions_callback
 WHERE id IN (
       SELECT c.id FROM executions_callback c
        WHERE c.created_at < now() - %(days)s * interval '1 day'
          AND (c.closed_at IS NOT NULL OR c.opened_at IS NULL)
        ORDER BY c.created_at LIMIT %(limit)s FOR UPDATE SKIP LOCKED)
"""
