"""The SQL of limits: places are counted from rows under the lock of the limit's row.

Order of locks: executions by id, limits by id, then only executions that are free (SKIP LOCKED).
Whoever asks for a place holds no execution's lock; whoever leaves a call does so in the checkpoint
that says it, which also hands on what it gives back. Nobody polls: who waits for a place is woken
by the one who hands it on, who waits for a turn has its moment in `runnable_at`.
"""

from __future__ import annotations

LOCK = """
SELECT id, max_concurrent, rate, period_seconds, next_at, now() FROM executions_actionlimit
 WHERE id = ANY(%(limits)s) ORDER BY id FOR NO KEY UPDATE
"""
USES = """
SELECT limit_id, kind, held, until FROM executions_limituse WHERE execution_id = %(execution)s
"""
PRIORITY = "SELECT priority FROM executions_execution WHERE id = %(execution)s"
# Whether there is room for this execution: places left, less those that wait before it.
ROOM = """
SELECT count(*) FILTER (WHERE held)
       + count(*) FILTER (WHERE NOT held AND execution_id <> %(execution)s
                          AND (priority > %(priority)s
                               OR (priority = %(priority)s AND id < %(own)s)))
  FROM executions_limituse WHERE limit_id = %(limit)s AND kind = 'place'
"""
OWN = """
SELECT id FROM executions_limituse
 WHERE limit_id = %(limit)s AND execution_id = %(execution)s AND kind = 'place'
"""
TAKE = """
INSERT INTO executions_limituse (limit_id, execution_id, kind, held, until, priority)
VALUES (%(limit)s, %(execution)s, %(kind)s, true, %(until)s, %(priority)s)
    ON CONFLICT (limit_id, execution_id, kind) DO UPDATE SET held = true
"""
NEXT_TURN = "UPDATE executions_actionlimit SET next_at = %(next)s WHERE id = %(limit)s"

# For checkpoints. Those that leave a call give back what they have; those that block for a place
# get into the line, unless the limit is being deleted; and whoever is next in any line gets what is
# free.
LOCK_ALL = """
SELECT id FROM executions_actionlimit WHERE max_concurrent IS NOT NULL
 ORDER BY id FOR NO KEY UPDATE;
"""
LEAVE = "DELETE FROM executions_limituse WHERE execution_id = ANY(%(leaving)s);\n"
WAIT = """
INSERT INTO executions_limituse (limit_id, execution_id, kind, held, priority)
SELECT x.limit_id, x.execution_id, 'place', false, e.priority
  FROM json_to_recordset(%(lining_up)s) AS x(execution_id bigint, limit_id bigint)
  JOIN executions_actionlimit l ON l.id = x.limit_id
  JOIN executions_execution e ON e.id = x.execution_id
 ORDER BY e.id
   FOR KEY SHARE OF l
    ON CONFLICT DO NOTHING;
"""
# One that waits for a limit that is gone meanwhile has nothing to wait for.
WAKE_STRAY = """
UPDATE executions_execution e SET runnable_at = now()
  FROM json_to_recordset(%(lining_up)s) AS x(execution_id bigint, limit_id bigint)
 WHERE e.id = x.execution_id
   AND NOT EXISTS (SELECT FROM executions_actionlimit l
                    WHERE l.id = x.limit_id AND l.max_concurrent IS NOT NULL);
"""
_HAND_ON = """
WITH room AS (
    SELECT l.id, l.max_concurrent - (
               SELECT count(*) FROM executions_limituse u
                WHERE u.limit_id = l.id AND u.kind = 'place' AND u.held) AS free
      FROM executions_actionlimit l
     WHERE l.max_concurrent IS NOT NULL
       AND EXISTS (SELECT FROM executions_limituse u
                    WHERE u.limit_id = l.id AND u.kind = 'place' AND NOT u.held)),
picked AS (
    SELECT next.id, next.execution_id
      FROM room
     CROSS JOIN LATERAL (
           SELECT u.id, u.execution_id
             FROM executions_limituse u
             JOIN executions_execution e ON e.id = u.execution_id
            WHERE u.limit_id = room.id AND u.kind = 'place' AND NOT u.held
              AND e.owner_id IS NULL AND e.state = 'waiting'
            ORDER BY u.priority DESC, u.id LIMIT room.free
              FOR NO KEY UPDATE OF e SKIP LOCKED) AS next
     WHERE room.free > 0 {chosen}),
used AS (UPDATE executions_limituse u SET held = true FROM picked WHERE u.id = picked.id)
UPDATE executions_execution e SET runnable_at = now()
  FROM picked WHERE e.id = picked.execution_id
"""
HAND_ON = _HAND_ON.format(chosen="")
HAND_ON_AND_TELL = f"{HAND_ON} RETURNING e.queue"
# Of those whose turn it is, to these only.
HAND_ON_TO_THESE = (
    _HAND_ON.format(chosen="AND next.execution_id = ANY(%(only)s)") + " RETURNING e.id"
)

# A safety net: what belongs to no call any more.
STRAYS = """
DELETE FROM executions_limituse u USING executions_execution e
 WHERE e.id = u.execution_id
   AND NOT (e.state IN ('running', 'waiting') AND e.current_phase IN ('call', 'limited'))
"""
STRAYS_OF_THESE = f"{STRAYS}   AND e.id = ANY(%(only)s) RETURNING e.id"
ARE_WAITED_FOR = """
SELECT EXISTS (SELECT FROM executions_limituse WHERE kind = 'place' AND NOT held)
"""
