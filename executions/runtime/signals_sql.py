"""The SQL of signals: waits are kept with the checkpoints, and matched with signals as sets.

A signal is given to a step by `MATCH` alone, which takes execution, signal and wait together or
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

_FREE = "s.execution_id IS NULL AND s.expires_at > now()"
# A signal to somebody in particular, and one to whoever waits for this.
_TO = """s.name = w.name AND s.target_id IN (w.execution_id, w.document_id)
         AND s.correlation IN ('', w.correlation)"""
_ANY = """s.target_id IS NULL AND s.name = w.name AND s.correlation = w.correlation
         AND (s.workflow_id IS NULL OR s.workflow_id = w.workflow_id)"""

# Signals that differ in nothing that matching looks at are a group: of one the first to have come
# goes to the one that has waited longest, the second to the next. What two groups could go to is
# given to one of them; the other one finds its own the next time round.
_GROUP = (
    "s.name, s.correlation, coalesce(s.workflow_id, 0) AS flow, coalesce(s.target_id, 0) AS dest"
)

_BY_SIGNALS = f"""
    SELECT DISTINCT {_GROUP} FROM executions_signal s
     WHERE {_FREE} AND {{of_signals}}"""  # noqa: S608 - constant
_BY_WAITS = f"""
    SELECT DISTINCT {_GROUP}
      FROM executions_signalwait w
     CROSS JOIN LATERAL (
           (SELECT * FROM executions_signal s WHERE {_FREE} AND {_ANY} ORDER BY s.id LIMIT 1)
           UNION ALL
           (SELECT * FROM executions_signal s WHERE {_FREE} AND {_TO} ORDER BY s.id LIMIT 1)) s
     WHERE w.signal_id IS NULL AND {{of_waits}}"""  # noqa: S608 - constant

_MATCH = f"""
WITH touched AS ({{touched}}),
groups AS (SELECT t.*, row_number() OVER () AS no FROM touched t),
kept AS (
    SELECT s.id, g.no, row_number() OVER (PARTITION BY g.no ORDER BY s.id) AS place
      FROM groups g
      JOIN executions_signal s
        ON s.name = g.name AND s.correlation = g.correlation
       AND coalesce(s.workflow_id, 0) = g.flow AND coalesce(s.target_id, 0) = g.dest
     WHERE {_FREE}),
able AS (
    SELECT g.no, w.execution_id,
           row_number() OVER (PARTITION BY g.no ORDER BY w.since, w.execution_id) AS place
      FROM groups g
      JOIN executions_signalwait w
        ON w.name = g.name AND w.correlation = g.correlation
       AND (g.flow = 0 OR g.flow = w.workflow_id)
     WHERE g.dest = 0 AND w.signal_id IS NULL
    UNION ALL
    SELECT g.no, w.execution_id,
           row_number() OVER (PARTITION BY g.no ORDER BY w.since, w.execution_id)
      FROM groups g
      JOIN executions_signalwait w
        ON g.dest IN (w.execution_id, w.document_id)
     WHERE g.dest > 0 AND w.signal_id IS NULL
       AND w.name = g.name AND g.correlation IN ('', w.correlation)),
pairs AS (
    SELECT DISTINCT ON (able.execution_id) able.execution_id, kept.id AS signal_id
      FROM kept JOIN able ON able.no = kept.no AND able.place = kept.place
     ORDER BY able.execution_id, kept.id),
-- Everything that made the pair is looked at again once it is locked.
locked AS (
    SELECT w.execution_id, w.seq, w.attempt, s.id AS signal_id, s.payload, s.sender
      FROM pairs p
      JOIN executions_execution e ON e.id = p.execution_id
      JOIN executions_signalwait w ON w.execution_id = p.execution_id
      JOIN executions_signal s ON s.id = p.signal_id
     WHERE w.signal_id IS NULL AND {_FREE}
       AND e.state NOT IN ('completed', 'failed', 'cancelled')
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
    RETURNING e.id, e.inbox_seq, e.owner_id, e.queue),
posted AS (
    INSERT INTO executions_inboxmessage (execution_id, seq, kind, payload, actor, created_at)
    SELECT t.id, t.inbox_seq, '{SIGNAL}',
           jsonb_build_object('seq', l.seq, 'attempt', l.attempt, 'data',
                              jsonb_build_object('signal', l.signal_id, 'payload', l.payload)),
           l.sender, now()
      FROM told t JOIN locked l ON l.execution_id = t.id)
SELECT id, owner_id, queue FROM told
"""  # noqa: S608 - constant


def _match(*touched: str) -> str:
    return _MATCH.format(touched=" UNION ".join(touched))


# Which signals, or whose waits, may have made a pair: those with ids, those of late, all.
MATCH_SIGNALS = _match(_BY_SIGNALS.format(of_signals="s.id = ANY(%(ids)s)"))
MATCH_WAITS = _match(_BY_WAITS.format(of_waits="w.execution_id = ANY(%(ids)s)"))
MATCH_LATE = _match(
    _BY_SIGNALS.format(of_signals="s.free_since > now() - %(seconds)s * interval '1 second'"),
    _BY_WAITS.format(of_waits="w.since > now() - %(seconds)s * interval '1 second'"),
)
MATCH_ALL = _match(_BY_WAITS.format(of_waits="true"))

# What was kept long enough. A signal that a step is looking at is left to it.
PURGE = """
DELETE FROM executions_signal s
 WHERE s.id IN (
       SELECT k.id FROM executions_signal k
        WHERE k.expires_at < now()
          AND NOT EXISTS (SELECT 1 FROM executions_signalwait w WHERE w.signal_id = k.id)
        ORDER BY k.expires_at LIMIT %(limit)s FOR UPDATE SKIP LOCKED)
"""
