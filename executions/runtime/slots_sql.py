"""The SQL of concurrency slots: counted from rows, handed on under an advisory lock of the key.

Whatever hands a slot out holds the key's lock until its commit, and counts in a statement of its
own after it has got it, so it sees every slot that was handed out before. Giving one back needs no
lock. The locks of keys are taken after all locks of rows, in the order of their numbers, and after
them no row is waited for: those who wait for a slot are locked with SKIP LOCKED. One that somebody
else holds at that moment is skipped; the clock hands it its slot a little later.
"""

from __future__ import annotations

# The two names of the same thing: here, and `WAITS_FOR_SLOT` of the model, for the index.
WAITS = """slot_key <> '' AND NOT slot_held AND owner_id IS NULL AND runnable_at IS NULL
               AND state IN ('initialized', 'resumed')"""

LOCK = """
SELECT pg_advisory_xact_lock(number)
  FROM (SELECT DISTINCT hashtextextended(key, 0) AS number
          FROM unnest(%(slots)s::text[]) AS key ORDER BY 1) AS x;
"""

# The same without waiting: answers the keys whose locks were to be had.
LOCK_FREE = """
SELECT key FROM unnest(%(slots)s::text[]) AS key
 WHERE pg_try_advisory_xact_lock(hashtextextended(key, 0))
"""

# As many of each key as there is room for, by priority, then age. The first in the line says how
# many there are to look at; each goes by the limit of its own version.
GRANT = f"""
WITH room AS (
    SELECT key.name, head.slot_limit - (
               SELECT count(*) FROM (
                   SELECT FROM executions_execution h
                    WHERE h.slot_key = key.name AND h.slot_held LIMIT head.slot_limit) AS held
           ) AS free
      FROM (SELECT DISTINCT unnest(%(slots)s::text[]) AS name) AS key
     CROSS JOIN LATERAL (
           SELECT slot_limit FROM executions_execution
            WHERE slot_key = key.name AND {WAITS}
            ORDER BY priority DESC, id LIMIT 1) AS head),
picked AS (
    SELECT next.id, next.slot_limit, room.name,
           (SELECT count(*) FROM executions_execution h
             WHERE h.slot_key = room.name AND h.slot_held) AS held,
           row_number() OVER (PARTITION BY room.name ORDER BY next.priority DESC, next.id) AS place
      FROM room
     CROSS JOIN LATERAL (
           SELECT id, slot_limit, priority FROM executions_execution
            WHERE slot_key = room.name AND {WAITS}
            ORDER BY priority DESC, id LIMIT room.free
              FOR NO KEY UPDATE SKIP LOCKED) AS next
     WHERE room.free > 0)
UPDATE executions_execution e
   SET slot_held = true,
       runnable_at = now(),
       reason = CASE WHEN e.state = 'initialized' THEN 'queued' ELSE e.reason END
  FROM picked
 WHERE e.id = picked.id AND picked.held + picked.place <= picked.slot_limit
"""  # noqa: S608 - constant
GRANT_AND_TELL = f"{GRANT} RETURNING e.id, e.queue"
# Of those whose turn it is, to these only.
GRANT_THESE_AND_TELL = f"{GRANT}   AND e.id = ANY(%(only)s) RETURNING e.id, e.queue"

# Keys that somebody waits for, from a key on: one probe a key, however many wait for it; whether
# the first in line would find room, and what it says about that.
WAITED_FOR = f"""
WITH RECURSIVE keys AS (
    (SELECT slot_key, slot_limit, slot_policy, 1 AS number FROM executions_execution
      WHERE slot_key > %(after)s AND {WAITS}
      ORDER BY slot_key, priority DESC, id LIMIT 1)
    UNION ALL
    SELECT next.slot_key, next.slot_limit, next.slot_policy, keys.number + 1
      FROM keys CROSS JOIN LATERAL (
           SELECT slot_key, slot_limit, slot_policy FROM executions_execution
            WHERE slot_key > keys.slot_key AND {WAITS}
            ORDER BY slot_key, priority DESC, id LIMIT 1) AS next
     WHERE keys.number < %(limit)s)
SELECT slot_key,
       (SELECT count(*) FROM (
            SELECT FROM executions_execution h
             WHERE h.slot_key = keys.slot_key AND h.slot_held LIMIT keys.slot_limit) AS held
       ) < keys.slot_limit AS has_room,
       slot_policy
  FROM keys
"""  # noqa: S608 - constant

# How many hold a slot of each of these keys.
HELD = """
SELECT slot_key, count(*) FROM executions_execution
 WHERE slot_key = ANY(%(slots)s) AND slot_held GROUP BY slot_key
"""

# Where the newest say so, all but the newest `limit` of those that run or are yet to begin are to
# make room; those that were asked before are left out.
OUTDATED = f"""
SELECT old.id
  FROM (SELECT DISTINCT unnest(%(slots)s::text[]) AS name) AS key
 CROSS JOIN LATERAL (
       SELECT slot_limit FROM executions_execution
        WHERE slot_key = key.name AND {WAITS} AND slot_policy = 'cancel_oldest'
          AND state = 'initialized'
        ORDER BY id DESC LIMIT 1) AS newest
 CROSS JOIN LATERAL (
       SELECT one.id FROM (
           SELECT id FROM executions_execution WHERE slot_key = key.name AND slot_held
           UNION ALL
           SELECT id FROM executions_execution
            WHERE slot_key = key.name AND {WAITS} AND state = 'initialized') AS one
        ORDER BY one.id DESC OFFSET newest.slot_limit) AS old
 WHERE NOT EXISTS (
       SELECT FROM executions_inboxmessage m
         JOIN executions_execution e ON e.id = m.execution_id
        WHERE m.execution_id = old.id AND m.kind = 'cancel' AND m.seq > e.seen_seq)
"""  # noqa: S608 - constant

# How many wait for a slot of the same key before each of these; never counts beyond the limit.
AHEAD = f"""
SELECT x.id, (
    SELECT count(*) FROM (
        SELECT FROM executions_execution
         WHERE slot_key = x.key AND {WAITS}
           AND (priority > x.priority OR (priority = x.priority AND id < x.id))
         LIMIT %(limit)s) AS found)
  FROM unnest(%(ids)s::bigint[], %(keys)s::text[], %(priorities)s::int[]) AS x(id, key, priority)
"""  # noqa: S608 - constant

# For a batch of checkpoints: the locks of keys come after all those of rows, so this is its end.
HAND_ON = f"SET LOCAL enable_seqscan = off;\n{LOCK}{GRANT};\n"
