"""The SQL of recovery: executions that nobody will go on with by themselves, and why.

Each question answers `id`, `queue` and a detail as text, of at most `limit` executions and, if
`ids` is given, only of those. All of them hold between commits, so what is found is no passing
moment of something healthy; what is put right is looked at again under its lock.
"""

from __future__ import annotations

ENDED = "('completed', 'failed', 'cancelled')"
# Said like this there is an index for it, and what has ended is not looked at, however much it is.
ACTIVE = "('initialized', 'running', 'waiting', 'paused', 'resumed')"
_CHOSEN = "(%(ids)s::bigint[] IS NULL OR e.id = ANY(%(ids)s::bigint[]))"
_END = f"AND {_CHOSEN} ORDER BY e.id LIMIT %(limit)s"

# Nobody has it, and no moment is set at which somebody would take it.
_ASLEEP = f"e.owner_id IS NULL AND e.runnable_at IS NULL AND e.state IN {ACTIVE}"
# Legal ways to be like that: put aside with its workflow; in the line for a slot; an item that goes
# once another one has ended.
_HELD = """(e.is_parked
        OR (e.slot_key <> '' AND NOT e.slot_held AND e.state IN ('initialized', 'resumed'))
        OR (e.parent_id IS NOT NULL AND e.state IN ('initialized', 'resumed')
            AND EXISTS (SELECT FROM executions_execution p
                         WHERE p.id = e.parent_id AND p.children_next IS NOT NULL)))"""

WORKER_LOST = f"""
SELECT e.id, e.queue, w.name FROM executions_worker w
  JOIN executions_execution e ON e.owner_id = w.id
 WHERE w.lease_until < now() AND e.owner_id IS NOT NULL {_END}
"""  # noqa: S608 - constant
OWNER_MISSING = f"""
SELECT e.id, e.queue, e.owner_id::text FROM executions_execution e
 WHERE e.owner_id IS NOT NULL
   AND NOT EXISTS (SELECT FROM executions_worker w WHERE w.id = e.owner_id) {_END}
"""  # noqa: S608 - constant
# Longer than it takes the clock to ring again.
NOT_TAKEN = f"""
SELECT e.id, e.queue, to_char(e.runnable_at AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS')
  FROM executions_execution e
 WHERE e.owner_id IS NULL AND e.runnable_at < now() - %(late)s * interval '1 second'
   AND NOT EXISTS (SELECT FROM executions_hold h
                    WHERE h.mode = 'all' AND (h.until IS NULL OR h.until > now())
                      AND (h.queue = e.queue OR h.workflow_id = e.workflow_id)) {_END}
"""  # noqa: S608 - constant
MESSAGE_UNHEARD = f"""
SELECT e.id, e.queue, (e.inbox_seq - e.seen_seq)::text FROM executions_execution e
 WHERE {_ASLEEP} AND e.inbox_seq > e.seen_seq AND NOT {_HELD} {_END}
"""  # noqa: S608 - constant
# Those that wait for children or for news are asked about below.
NOTHING_WAKES = f"""
SELECT e.id, e.queue, e.state FROM executions_execution e
 WHERE {_ASLEEP} AND e.inbox_seq <= e.seen_seq AND NOT {_HELD}
   AND (e.state IN ('initialized', 'running', 'resumed')
        OR (e.state = 'waiting'
            AND (e.current_phase IN ('timer', 'expiry', 'backoff', 'undo_backoff')
                 OR (e.current_phase = 'limited'
                     AND NOT EXISTS (SELECT FROM executions_limituse u
                                      WHERE u.execution_id = e.id))))) {_END}
"""  # noqa: S608 - constant
_WAITS_FOR_CHILDREN = """e.state = 'waiting' AND e.current_phase IN ('children', 'stopping')
   AND e.owner_id IS NULL AND (e.runnable_at IS NULL OR e.runnable_at > now())
   AND NOT e.is_parked"""
_UNDER_WAY = f"""SELECT FROM executions_execution c
                    WHERE c.parent_id = e.id AND c.parent_step = e.current_step
                      AND c.generation = e.children_generation AND c.state NOT IN {ENDED}"""
_CHILDREN_ENDED = f"""{_WAITS_FOR_CHILDREN} AND e.inbox_seq <= e.seen_seq
   AND NOT EXISTS ({_UNDER_WAY})"""
CHILDREN_ENDED = f"""
SELECT e.id, e.queue, e.current_step FROM executions_execution e
 WHERE {_CHILDREN_ENDED} {_END}
"""  # noqa: S608 - constant
# Of its items some are left, and none is on its way that would let the next one go.
_ITEMS_LEFT = f"""{_WAITS_FOR_CHILDREN} AND e.children_next IS NOT NULL
   AND e.children_failed <= e.children_tolerated
   AND EXISTS ({_UNDER_WAY})
   AND NOT EXISTS ({_UNDER_WAY} AND NOT (
           c.state IN ('initialized', 'resumed') AND c.owner_id IS NULL AND c.runnable_at IS NULL
           AND c.slot_key = '' AND NOT c.is_parked))"""
ITEMS_LEFT = f"""
SELECT e.id, e.queue, e.current_step FROM executions_execution e
 WHERE {_ITEMS_LEFT} {_END}
"""  # noqa: S608 - constant
# Whoever ends before its children has asked them to cancel; one that undoes its steps first takes
# its time over it.
PARENT_ENDED = f"""
SELECT e.id, e.queue, e.parent_id::text FROM executions_execution e
  JOIN executions_execution p ON p.id = e.parent_id
 WHERE e.state IN {ACTIVE} AND p.state IN {ENDED}
   AND NOT EXISTS (SELECT FROM executions_inboxmessage m
                    WHERE m.execution_id = e.id AND m.kind = 'cancel') {_END}
"""  # noqa: S608 - constant
SLOT_OF_ENDED = f"""
SELECT e.id, e.queue, e.slot_key FROM executions_execution e
 WHERE e.slot_key <> '' AND e.slot_held AND e.state IN {ENDED} {_END}
"""  # noqa: S608 - constant
SLOT_WAITS = f"""
SELECT e.id, e.queue, e.slot_key FROM executions_execution e
 WHERE e.slot_key = ANY(%(keys)s) AND NOT e.slot_held AND {_ASLEEP}
   AND e.state IN ('initialized', 'resumed') {_END}
"""  # noqa: S608 - constant
LIMIT_STRAYS = f"""
SELECT DISTINCT e.id, e.queue, l.subject || ' ' || l.pattern FROM executions_limituse u
  JOIN executions_execution e ON e.id = u.execution_id
  JOIN executions_actionlimit l ON l.id = u.limit_id
 WHERE NOT (e.state IN ('running', 'waiting') AND e.current_phase IN ('call', 'limited')) {_END}
"""  # noqa: S608 - constant
LIMIT_WAITS = f"""
SELECT e.id, e.queue, l.subject || ' ' || l.pattern FROM executions_actionlimit l
 CROSS JOIN LATERAL (
       SELECT u.execution_id FROM executions_limituse u
        WHERE u.limit_id = l.id AND u.kind = 'place' AND NOT u.held
        ORDER BY u.priority DESC, u.id
        LIMIT greatest(0, l.max_concurrent - (
              SELECT count(*) FROM executions_limituse h
               WHERE h.limit_id = l.id AND h.kind = 'place' AND h.held))) AS next
  JOIN executions_execution e ON e.id = next.execution_id
 WHERE e.owner_id IS NULL AND e.state = 'waiting'
   AND (e.runnable_at IS NULL OR e.runnable_at > now()) {_END}
"""  # noqa: S608 - constant
PARKED = f"""
SELECT e.id, e.queue, '' FROM executions_execution e
 WHERE e.is_parked
   AND NOT EXISTS (SELECT FROM executions_hold h
                    WHERE h.workflow_id = e.workflow_id AND h.mode = 'all'
                      AND (h.until IS NULL OR h.until > now())) {_END}
"""  # noqa: S608 - constant
START_OWED = f"""
SELECT e.id, e.queue, s.workflow_slug FROM executions_errorstart s
  JOIN executions_execution e ON e.id = s.execution_id
 WHERE s.status = 'owed' AND s.created_at < now() - %(late)s * interval '1 second' {_END}
"""  # noqa: S608 - constant
# It waits for news that nobody could bring any more: no question, no token, no signal is kept.
WAIT_MISSING = f"""
SELECT e.id, e.queue, e.current_step FROM executions_execution e
 WHERE e.state = 'waiting' AND e.current_phase = 'outside' AND e.owner_id IS NULL
   AND (e.runnable_at IS NULL OR e.runnable_at > now()) AND e.inbox_seq <= e.seen_seq
   AND NOT EXISTS (SELECT FROM executions_signalwait w WHERE w.execution_id = e.id)
   AND NOT EXISTS (SELECT FROM executions_approval a
                    WHERE a.execution_id = e.id AND a.state = 'open')
   AND NOT EXISTS (SELECT FROM executions_callback b
                    WHERE b.execution_id = e.id AND b.closed_at IS NULL) {_END}
"""  # noqa: S608 - constant

# Putting right -----------------------------------------------------------------------------------
#
# Each answers the ids of those that it has changed.

# Only as long as it has that owner: one that was taken since belongs to a worker that lives.
FREE_OWNERLESS = """
WITH missing AS MATERIALIZED (
    SELECT e.id, e.owner_id FROM executions_execution e
     WHERE e.id = ANY(%(ids)s) AND e.owner_id IS NOT NULL
       AND NOT EXISTS (SELECT FROM executions_worker w WHERE w.id = e.owner_id)),
chosen AS (
    SELECT e.id FROM executions_execution e
      JOIN missing m ON m.id = e.id AND m.owner_id = e.owner_id
     ORDER BY e.id FOR NO KEY UPDATE OF e SKIP LOCKED)
UPDATE executions_execution e SET owner_id = NULL, runnable_at = now()
  FROM chosen WHERE e.id = chosen.id
RETURNING e.id
"""

# Whoever takes it looks at where it stands and sleeps again if there is nothing to do.
WAKE = f"""
WITH chosen AS (
    SELECT e.id FROM executions_execution e
     WHERE e.id = ANY(%(ids)s) AND {_ASLEEP}
     ORDER BY e.id FOR NO KEY UPDATE SKIP LOCKED)
UPDATE executions_execution e SET runnable_at = now() FROM chosen WHERE e.id = chosen.id
RETURNING e.id
"""  # noqa: S608 - constant

# The counts of a parent whose children have all ended are what the rows say, and it is told so, as
# the last of them should have done.
TELL_PARENTS = f"""
WITH chosen AS (
    SELECT e.id FROM executions_execution e
     WHERE e.id = ANY(%(ids)s) AND {_CHILDREN_ENDED}
     ORDER BY e.id FOR NO KEY UPDATE OF e SKIP LOCKED),
told AS (
    UPDATE executions_execution p
       SET children_open = 0,
           children_failed = (
               SELECT count(*) FROM executions_execution c
                WHERE c.parent_id = p.id AND c.parent_step = p.current_step
                  AND c.generation = p.children_generation AND c.state <> 'completed'),
           inbox_seq = p.inbox_seq + 1, runnable_at = now()
      FROM chosen WHERE p.id = chosen.id
    RETURNING p.id, p.inbox_seq)
INSERT INTO executions_inboxmessage (execution_id, seq, kind, payload, actor, created_at)
SELECT id, inbox_seq, 'children', '{{}}', 'recovery', now() FROM told
RETURNING execution_id
"""  # noqa: S608 - constant

# As many of the next items as may be under way at once.
LET_GO = f"""
WITH parent AS (
    SELECT e.id, e.current_step, e.children_generation FROM executions_execution e
     WHERE e.id = %(id)s AND {_ITEMS_LEFT} FOR NO KEY UPDATE OF e),
picked AS (
    SELECT c.id, c.parent_id, c.item_index FROM executions_execution c
      JOIN parent ON c.parent_id = parent.id AND c.parent_step = parent.current_step
       AND c.generation = parent.children_generation
     WHERE c.state IN ('initialized', 'resumed') AND c.owner_id IS NULL AND c.runnable_at IS NULL
     ORDER BY c.item_index LIMIT %(concurrency)s FOR NO KEY UPDATE OF c),
woken AS (
    UPDATE executions_execution c SET runnable_at = now() FROM picked WHERE c.id = picked.id
    RETURNING c.parent_id, c.item_index)
UPDATE executions_execution p SET children_next = w.last + 1
  FROM (SELECT parent_id, max(item_index) AS last FROM woken GROUP BY parent_id) w
 WHERE p.id = w.parent_id
RETURNING p.id
"""  # noqa: S608 - constant

GIVE_BACK_SLOTS = f"""
WITH chosen AS (
    SELECT e.id FROM executions_execution e
     WHERE e.id = ANY(%(ids)s) AND e.slot_held AND e.state IN {ENDED}
     ORDER BY e.id FOR NO KEY UPDATE SKIP LOCKED)
UPDATE executions_execution e SET slot_held = false FROM chosen WHERE e.id = chosen.id
RETURNING e.id, e.slot_key
"""  # noqa: S608 - constant
