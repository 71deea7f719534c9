"""The SQL of signals: waits are kept with the checkpoints, and matched with signals as sets.

A signal is given to a step by `GIVE` alone, which takes execution, signal and wait together or
leaves the pair to somebody else; nothing waits for a lock there. It runs after every commit that
could have made a pair: that of a sender, and that of a checkpoint in which waits begin. Whichever
commit is the later, the matching after it sees both, so no order of them loses a signal; for
processes that die in between, and for pairs that somebody had locked, the clock looks again.
"""

from __future__ import annotations

from executions.engine.events import SIGNAL
from executions.runtime.outside_sql import KINDS, OutsideSql

_OPENS = """
INSERT INTO executions_signalwait
       (execution_id, document_id, workflow_id, seq, attempt, name, correlation, since)
SELECT e.id, d.id, e.workflow_id, x.seq, x.attempt, x.data->>'name', x.data->>'correlation', now()
  FROM json_to_recordset(%(rows)s) AS x(execution bigint, seq int, attempt int, data json)
  JOIN executions_execution e ON e.id = x.execution
 CROSS JOIN LATERAL (
       WITH RECURSIVE up AS (
           SELECT e.id, e.parent_id, e.kind
           UNION ALL
           SELECT p.id, p.parent_id, p.kind
             FROM up JOIN executions_execution p ON p.id = up.parent_id
            WHERE up.kind IN ('item', 'branch'))
       SELECT up.id FROM up WHERE up.kind NOT IN ('item', 'branch')) d;
"""

# What was given to a step that has ended otherwise is free again, for the next one.
_CLOSES = """
WITH gone AS (
    DELETE FROM executions_signalwait w
     USING json_to_recordset(%(rows)s) AS x(execution bigint, seq int, attempt int, outcome text)
     WHERE w.execution_id = x.execution AND w.seq = x.seq AND w.attempt = x.attempt
    RETURNING w.signal_id, x.outcome = 'delivered' AS is_used)
UPDATE executions_signal s
   SET consumed_at = CASE WHEN g.is_used THEN now() END,
       payload = CASE WHEN g.is_used THEN 'null' ELSE s.payload END,
       execution_id = CASE WHEN g.is_used THEN s.execution_id END,
       free_since = CASE WHEN g.is_used THEN s.free_since ELSE now() END
  FROM gone g
 WHERE s.id = g.signal_id;
"""

_REJECTS = """
WITH x AS (
    SELECT execution, seq, attempt, (data->>'signal')::bigint AS signal, reason
      FROM json_to_recordset(%(rows)s) AS r(
           execution bigint, seq int, attempt int, data json, reason text)),
freed AS (
    UPDATE executions_signalwait w SET signal_id = NULL
      FROM x WHERE w.execution_id = x.execution AND w.signal_id = x.signal)
UPDATE executions_signal s SET refused_at = now(), refusal = left(x.reason, 500)
  FROM x WHERE s.id = x.signal AND s.execution_id = x.execution;
"""

KINDS[SIGNAL] = OutsideSql(_OPENS, _CLOSES, _REJECTS)

# Free ones of either kind, by arrays of what they may be found by. Each statement reads one table:
# joined, a thousand of each cost seconds as long as the planner doesn't know how many there are.
WAITS = """
SELECT w.execution_id, w.document_id, w.workflow_id, w.name, w.correlation
  FROM executions_signalwait w
 WHERE w.signal_id IS NULL AND w.execution_id = ANY(%(ids)s)
 ORDER BY w.since, w.execution_id
"""
WAITS_BY_KEY = """
SELECT w.execution_id, w.document_id, w.workflow_id, w.name, w.correlation
  FROM executions_signalwait w
 WHERE w.signal_id IS NULL AND w.name = ANY(%(names)s) AND w.correlation = ANY(%(correlations)s)
 ORDER BY w.since, w.execution_id
"""
WAITS_OF_TARGETS = """
SELECT w.execution_id, w.document_id, w.workflow_id, w.name, w.correlation
  FROM executions_signalwait w
 WHERE w.signal_id IS NULL
   AND (w.execution_id = ANY(%(targets)s) OR w.document_id = ANY(%(targets)s))
 ORDER BY w.since, w.execution_id
"""
SIGNALS = """
SELECT s.id, s.target_id, s.workflow_id, s.name, s.correlation
  FROM executions_signal s WHERE s.id = ANY(%(ids)s) AND s.execution_id IS NULL
"""
SIGNALS_BY_KEY = """
SELECT s.id, s.target_id, s.workflow_id, s.name, s.correlation
  FROM executions_signal s
 WHERE s.execution_id IS NULL AND s.expires_at > now() AND s.target_id IS NULL
   AND s.name = ANY(%(names)s) AND s.correlation = ANY(%(correlations)s)
 ORDER BY s.id LIMIT %(limit)s
"""
SIGNALS_TO_TARGETS = """
SELECT s.id, s.target_id, s.workflow_id, s.name, s.correlation
  FROM executions_signal s
 WHERE s.execution_id IS NULL AND s.expires_at > now() AND s.target_id = ANY(%(targets)s)
 ORDER BY s.id LIMIT %(limit)s
"""

# The clock's: what has come or changed of late, and (joined, and never row by row) all there is.
LATE_SIGNALS = """
SELECT id FROM executions_signal
 WHERE execution_id IS NULL AND free_since > now() - %(seconds)s * interval '1 second'
 ORDER BY free_since LIMIT %(limit)s
"""
LATE_WAITS = """
SELECT execution_id FROM executions_signalwait
 WHERE signal_id IS NULL AND since > now() - %(seconds)s * interval '1 second'
 ORDER BY since LIMIT %(limit)s
"""
ALL_WAITS = """
SET LOCAL enable_nestloop = off;
SELECT w.execution_id FROM executions_signalwait w
  JOIN executions_signal s ON s.name = w.name AND s.correlation = w.correlation
 WHERE w.signal_id IS NULL AND s.execution_id IS NULL AND s.target_id IS NULL
 UNION
SELECT w.execution_id FROM executions_signalwait w
  JOIN executions_signal s ON s.target_id = w.execution_id AND s.name = w.name
 WHERE w.signal_id IS NULL AND s.execution_id IS NULL
 UNION
SELECT w.execution_id FROM executions_signalwait w
  JOIN executions_signal s ON s.target_id = w.document_id AND s.name = w.name
 WHERE w.signal_id IS NULL AND s.execution_id IS NULL
 LIMIT %(limit)s
"""

# Everything that made the pair is looked at again once it is locked. Written so that rows are found
# by their keys and by no other index, whatever the planner takes the tables for.
GIVE = f"""
WITH locked AS (
    SELECT w.execution_id, w.seq, w.attempt, s.id AS signal_id, s.payload, s.sender
      FROM unnest(%(executions)s::bigint[], %(signals)s::bigint[]) AS p(execution_id, signal_id)
      JOIN executions_execution e ON e.id = p.execution_id
      JOIN executions_signalwait w ON w.execution_id = p.execution_id
      JOIN executions_signal s ON s.id = p.signal_id
     WHERE coalesce(w.signal_id, 0) = 0 AND coalesce(s.execution_id, 0) = 0
       AND s.expires_at > now() AND e.state NOT IN ('completed', 'failed', 'cancelled')
     ORDER BY e.id
       FOR NO KEY UPDATE OF e, w, s SKIP LOCKED),
given AS (
    UPDATE executions_signal s
       SET execution_id = l.execution_id, seq = l.seq, attempt = l.attempt
      FROM locked l WHERE s.id = l.signal_id),
taken AS (
    UPDATE executions_signalwait w SET signal_id = l.signal_id
      FROM locked l WHERE w.execution_id = l.execution_id),
told AS (
    UPDATE executions_execution e
       SET inbox_seq = e.inbox_seq + 1,
           runnable_at = CASE WHEN e.owner_id IS NULL THEN now() ELSE e.runnable_at END
      FROM locked l WHERE e.id = l.execution_id
    RETURNING e.id, e.inbox_seq, e.owner_id, e.queue,
              l.seq, l.attempt, l.signal_id, l.payload, l.sender),
posted AS (
    INSERT INTO executions_inboxmessage (execution_id, seq, kind, payload, actor, created_at)
    SELECT id, inbox_seq, '{SIGNAL}',
           jsonb_build_object('seq', seq, 'attempt', attempt, 'data',
                              jsonb_build_object('signal', signal_id, 'payload', payload)),
           sender, now()
      FROM told)
SELECT id, owner_id, queue FROM told
"""  # noqa: S608 - constant

# What was kept long enough. A signal that a step is looking at is left to it.
PURGE = """
DELETE FROM executions_signal s
 WHERE s.id IN (
       SELECT k.id FROM executions_signal k
        WHERE k.expires_at < now()
          AND NOT EXISTS (SELECT 1 FROM executions_signalwait w WHERE w.signal_id = k.id)
        ORDER BY k.expires_at LIMIT %(limit)s FOR UPDATE SKIP LOCKED)
"""
