"""The SQL of children: made, refilled, counted and told as sets, never one by one.

Every statement runs in a checkpoint's transaction that holds the parent's row, so whatever changes
its counters or picks among its blocked children has been put in order by that lock.
"""

from __future__ import annotations

# The execution `p`, or what it is a part of: items and branches have no labels of their own.
_WHOLE = """
    WITH RECURSIVE whole AS (
        SELECT p.id, p.parent_id, p.kind, p.correlation_id, p.labels
         UNION ALL
        SELECT e.id, e.parent_id, e.kind, e.correlation_id, e.labels
          FROM whole JOIN executions_execution e ON e.id = whole.parent_id
         WHERE whole.kind IN ('item', 'branch'))
    SELECT correlation_id, labels FROM whole WHERE kind IN ('root', 'child')
"""

# Of a further generation only what has not succeeded since `base`, and nothing at all if enough
# have. What failed last is taken up again where it failed, if that is asked for.
SPAWN = """
WITH given AS (
    SELECT x.*, row_number() OVER (PARTITION BY x.parent ORDER BY x.idx) AS place,
           count(*) OVER (PARTITION BY x.parent) AS total,
           count(*) FILTER (WHERE x.is_done) OVER (PARTITION BY x.parent) AS kept
      FROM (SELECT g.*, last.state IS NOT DISTINCT FROM 'completed' AS is_done,
                   -- What has been undone can't be gone on with.
                   CASE WHEN last.reason NOT IN ('compensated', 'compensation_failed')
                          OR last.reason = last.error_code THEN last.id END AS failed_id
              FROM json_to_recordset(%(spawn)s) AS g(
                   parent bigint, step text, generation int, base int, idx int, value jsonb,
                   concurrency int, tolerated int, kind text, needed int, takes_up boolean,
                   version bigint, slot_key text, slot_limit int, slot_policy text)
              LEFT JOIN LATERAL (
                   SELECT c.id, c.state, c.reason, c.error_code FROM executions_execution c
                    WHERE c.parent_id = g.parent AND c.parent_step = g.step
                      AND c.generation >= g.base AND c.generation < g.generation
                      AND (c.item_index = g.idx OR g.kind = 'child')
                    ORDER BY (g.kind <> 'child' AND c.state = 'completed') DESC,
                             c.generation DESC, c.item_index DESC LIMIT 1) last
                ON g.generation > g.base) x),
asked AS (
    SELECT g.*, p.queue, p.priority, p.depth, p.started_by_id, p.principal, p.is_test,
           around.correlation_id, around.labels,
           COALESCE(v.workflow_id, p.workflow_id) AS workflow_id,
           COALESCE(v.id, p.version_id) AS version_id,
           row_number() OVER (PARTITION BY g.parent ORDER BY g.idx) AS turn
      FROM given g
      JOIN executions_execution p ON p.id = g.parent
      LEFT JOIN workflows_workflowversion v ON v.id = g.version
      LEFT JOIN LATERAL ({WHOLE}) around ON g.kind = 'child'
     WHERE NOT g.is_done AND (g.needed = 0 OR g.kept < g.needed)),
revived AS (
    UPDATE executions_execution e
       SET generation = a.generation, state = 'resumed', reason = 'operator', error_code = '',
           error = NULL, ended_at = NULL, claims = 0,
           seen_seq = e.inbox_seq, inbox_seq = e.inbox_seq + 1,
           transition_seq = e.transition_seq + 1,
           runnable_at = CASE WHEN concurrency IS NULL OR turn <= concurrency THEN now() END
      FROM asked a
     WHERE a.takes_up AND e.id = a.failed_id AND e.state = 'failed'
    RETURNING e.id, e.parent_id, e.item_index, e.runnable_at, e.inbox_seq, e.transition_seq),
retried AS (
    INSERT INTO executions_inboxmessage (execution_id, seq, kind, payload, actor, created_at)
    SELECT id, inbox_seq, 'retry', '{}', 'engine', now() FROM revived),
resumed AS (
    INSERT INTO executions_statetransition
           (execution_id, seq, source, target, reason, actor, at)
    SELECT id, transition_seq, 'failed', 'resumed', 'operator', 'engine', now() FROM revived),
born AS (
    INSERT INTO executions_execution
           (workflow_id, version_id, state, reason, error_code, current_step, current_seq,
            current_phase, current_attempt, steps_entered, input, variables, control, queue,
            priority, runnable_at, epoch, claims, revision, inbox_seq, seen_seq, transition_seq,
            log_seq, kind, parent_id, parent_step, generation, item_index, depth,
            children_generation, children_open, children_failed, children_tolerated,
            started_by_id, principal, idempotency_key, request_hash, correlation_id, labels,
            slot_key, slot_held, slot_limit, slot_policy, is_test, created_at)
    SELECT workflow_id, version_id, 'initialized', 'queued', '', '', 0,
           '', 1, 0, value, '{}', '{}', queue,
           priority, CASE WHEN concurrency IS NULL OR turn <= concurrency THEN now() END,
           0, 0, 0, 0, 0, 1,
           0, kind, parent, step, generation, idx, depth + 1,
           0, 0, 0, 0,
           started_by_id, principal, '', '',
           COALESCE(correlation_id, ''), COALESCE(labels, '{}'),
           COALESCE(workflow_id || ':' || slot_key, ''), false, slot_limit, slot_policy,
           is_test, now()
      FROM asked a
     WHERE NOT (a.takes_up AND EXISTS (SELECT 1 FROM executions_execution e
                                        WHERE e.id = a.failed_id AND e.state = 'failed'))
     ORDER BY parent, idx
    RETURNING id, parent_id, item_index, runnable_at),
noted AS (
    INSERT INTO executions_statetransition
           (execution_id, seq, source, target, reason, actor, at)
    SELECT id, 1, '', 'initialized', 'queued', 'engine', now() FROM born),
made AS (
    SELECT parent_id, item_index, runnable_at FROM born
     UNION ALL
    SELECT parent_id, item_index, runnable_at FROM revived)
UPDATE executions_execution p
   SET children_generation = b.generation,
       children_total = b.total,
       children_open = b.open,
       children_failed = 0,
       children_tolerated = b.tolerated,
       children_needed = b.needed,
       children_next = b.next,
       -- Enough had succeeded before: nobody else will wake the parent.
       runnable_at = CASE WHEN b.open = 0 THEN now() ELSE p.runnable_at END
  FROM (SELECT m.parent AS parent_id, m.generation, m.tolerated, m.needed, m.total,
               count(made.item_index) AS open,
               min(made.item_index) FILTER (WHERE made.runnable_at IS NULL) AS next
          FROM given m
          LEFT JOIN made ON made.parent_id = m.parent
         WHERE m.place = 1
         GROUP BY m.parent, m.generation, m.tolerated, m.needed, m.total) b
 WHERE p.id = b.parent_id;
""".replace("{WHOLE}", _WHOLE)

# The execution that follows one which continues as new: same version, same labels, next input. Of a
# child it takes the place, with the next index, so its parent goes on waiting. What was asked of
# the one that has ended and nobody has heeded is asked of this one.
FOLLOW = """
WITH born AS (
    INSERT INTO executions_execution
           (workflow_id, version_id, state, reason, error_code, current_step, current_seq,
            current_phase, current_attempt, steps_entered, input, variables, control, queue,
            priority, runnable_at, epoch, claims, revision, inbox_seq, seen_seq, transition_seq,
            log_seq, kind, parent_id, parent_step, generation, item_index, depth,
            continued_from_id, started_by_execution_id,
            children_generation, children_open, children_failed, children_tolerated,
            started_by_id, principal, idempotency_key, request_hash, correlation_id, labels,
            slot_key, slot_held, slot_limit, slot_policy, is_test, created_at)
    SELECT p.workflow_id, p.version_id, 'initialized', 'queued', '', '', 0,
           '', 1, 0, x.input, '{}', '{}', p.queue,
           p.priority, now(), 0, 0, 0,
           (SELECT count(*) FROM executions_inboxmessage m
             WHERE m.execution_id = p.id AND m.seq > p.seen_seq AND m.kind IN ('pause', 'cancel')),
           0, 1,
           0, p.kind, p.parent_id, p.parent_step, p.generation, p.item_index + 1, p.depth,
           p.id, p.started_by_execution_id,
           0, 0, 0, 0,
           p.started_by_id, p.principal, '', '', p.correlation_id, p.labels,
           COALESCE(p.workflow_id || ':' || x.slot_key, ''), false, x.slot_limit, x.slot_policy,
           p.is_test, now()
      FROM json_to_recordset(%(follows)s) AS x(
           id bigint, input jsonb, slot_key text, slot_limit int, slot_policy text)
      JOIN executions_execution p ON p.id = x.id
    RETURNING id, continued_from_id),
asked AS (
    INSERT INTO executions_inboxmessage (execution_id, seq, kind, payload, actor, created_at)
    SELECT born.id, row_number() OVER (PARTITION BY born.id ORDER BY m.seq), m.kind, m.payload,
           m.actor, m.created_at
      FROM born
      JOIN executions_execution p ON p.id = born.continued_from_id
      JOIN executions_inboxmessage m ON m.execution_id = p.id AND m.seq > p.seen_seq
                                    AND m.kind IN ('pause', 'cancel'))
INSERT INTO executions_statetransition (execution_id, seq, source, target, reason, actor, at)
SELECT id, 1, '', 'initialized', 'queued', 'engine', now() FROM born;
"""

# An execution of its own that a step has started and does not wait for, under a given id.
START = """
WITH born AS (
    INSERT INTO executions_execution
           (id, workflow_id, version_id, state, reason, error_code, current_step, current_seq,
            current_phase, current_attempt, steps_entered, input, variables, control, queue,
            priority, runnable_at, epoch, claims, revision, inbox_seq, seen_seq, transition_seq,
            log_seq, kind, parent_step, generation, depth, started_by_execution_id,
            children_generation, children_open, children_failed, children_tolerated,
            started_by_id, principal, idempotency_key, request_hash, correlation_id, labels,
            slot_key, slot_held, slot_limit, slot_policy, is_test, created_at)
    SELECT x.id, v.workflow_id, v.id, 'initialized', 'queued', '', '', 0,
           '', 1, 0, x.input, '{}', '{}', p.queue,
           p.priority, now(), 0, 0, 0, 0, 0, 1,
           0, 'root', '', 0, 0, p.id,
           0, 0, 0, 0,
           p.started_by_id, p.principal, '', '', around.correlation_id, around.labels,
           COALESCE(v.workflow_id || ':' || x.slot_key, ''), false, x.slot_limit, x.slot_policy,
           p.is_test, now()
      FROM json_to_recordset(%(starts)s) AS x(
           id bigint, parent bigint, version bigint, input jsonb, slot_key text, slot_limit int,
           slot_policy text)
      JOIN executions_execution p ON p.id = x.parent
      JOIN workflows_workflowversion v ON v.id = x.version
     CROSS JOIN LATERAL ({WHOLE}) around
    RETURNING id)
INSERT INTO executions_statetransition (execution_id, seq, source, target, reason, actor, at)
SELECT id, 1, '', 'initialized', 'queued', 'engine', now() FROM born;
""".replace("{WHOLE}", _WHOLE)

NEW_ID = "SELECT nextval(pg_get_serial_sequence('executions_execution', 'id'))"

# What an execution, or the one that it is part of, is correlated by.
CORRELATION = """
SELECT around.correlation_id FROM executions_execution p CROSS JOIN LATERAL ({WHOLE}) around
 WHERE p.id = %(id)s
""".replace("{WHOLE}", _WHOLE)

# The workflows that have started each other down to this one, waiting for it or not.
CHAIN = """
WITH RECURSIVE chain AS (
    SELECT e.id, COALESCE(e.parent_id, e.started_by_execution_id) AS above, e.kind, e.workflow_id,
           0 AS level, (e.kind IN ('root', 'child'))::int AS workflows
      FROM executions_execution e WHERE e.id = %(id)s
     UNION ALL
    SELECT e.id, COALESCE(e.parent_id, e.started_by_execution_id), e.kind, e.workflow_id,
           chain.level + 1, chain.workflows + (e.kind IN ('root', 'child'))::int
      FROM chain JOIN executions_execution e ON e.id = chain.above
     WHERE chain.workflows < %(limit)s)
SELECT w.slug FROM chain JOIN workflows_workflow w ON w.id = chain.workflow_id
 WHERE chain.kind IN ('root', 'child') ORDER BY chain.level DESC
"""

# How many slots of a key an execution and those that wait for it hold.
SLOTS_ABOVE = """
WITH RECURSIVE up AS (
    SELECT id, parent_id, slot_key, slot_held FROM executions_execution WHERE id = %(id)s
     UNION ALL
    SELECT e.id, e.parent_id, e.slot_key, e.slot_held
      FROM up JOIN executions_execution e ON e.id = up.parent_id)
SELECT count(*) FROM up WHERE slot_held AND slot_key = %(key)s
"""

# The child that a step has made last since its first attempt, with the version it runs.
LAST_CHILD = """
SELECT version_id, state FROM executions_execution
 WHERE parent_id = %(parent)s AND parent_step = %(step)s AND generation >= %(base)s
 ORDER BY generation DESC, item_index DESC LIMIT 1
"""

# Ends of children, counted on the parent. An older generation's stragglers count for nothing.
COUNT = """
UPDATE executions_execution p
   SET children_open = p.children_open - x.ended,
       children_failed = p.children_failed + x.failed
  FROM json_to_recordset(%(ended)s) AS x(parent bigint, generation int, ended int, failed int)
 WHERE p.id = x.parent AND p.children_generation = x.generation;
"""

# As many blocked items as have ended may go, unless the map is lost. If it is paused, so are they:
# what nobody lets go now would have nobody left to let it go once the map is resumed.
REFILL = """
WITH picked AS (
    SELECT c.id, c.parent_id, c.item_index, p.reason, (p.state = 'paused') AS pauses
      FROM json_to_recordset(%(ended)s) AS x(parent bigint, step text, generation int, ended int)
      JOIN executions_execution p
        ON p.id = x.parent AND p.children_generation = x.generation
       AND p.children_next IS NOT NULL AND p.state NOT IN ('completed', 'failed', 'cancelled')
       AND p.children_failed <= p.children_tolerated
     CROSS JOIN LATERAL (
           SELECT b.id, b.parent_id, b.item_index FROM executions_execution b
            WHERE b.parent_id = p.id AND b.parent_step = x.step AND b.generation = x.generation
              AND b.item_index >= p.children_next AND b.state IN ('initialized', 'resumed')
              AND b.runnable_at IS NULL AND b.owner_id IS NULL
            ORDER BY b.item_index LIMIT x.ended) c),
woken AS (
    UPDATE executions_execution e
       SET runnable_at = now(), inbox_seq = e.inbox_seq + picked.pauses::int
      FROM picked WHERE e.id = picked.id
    RETURNING e.id, e.parent_id, e.item_index, e.inbox_seq, picked.pauses, picked.reason),
told AS (
    INSERT INTO executions_inboxmessage (execution_id, seq, kind, payload, actor, created_at)
    SELECT id, inbox_seq, 'pause', json_build_object('reason', reason), 'engine', now()
      FROM woken WHERE pauses)
UPDATE executions_execution p SET children_next = w.last + 1
  FROM (SELECT parent_id, max(item_index) AS last FROM woken GROUP BY parent_id) w
 WHERE p.id = w.parent_id;
"""

# The last end of a generation, the one failure too many and the success that makes enough are
# messages to the parent.
REPORT = """
WITH told AS (
    UPDATE executions_execution p
       SET inbox_seq = p.inbox_seq + 1,
           runnable_at = CASE WHEN p.owner_id IS NULL THEN now() ELSE p.runnable_at END
      FROM json_to_recordset(%(ended)s) AS x(parent bigint, generation int, ended int, failed int)
     WHERE p.id = x.parent AND p.children_generation = x.generation
       AND p.state NOT IN ('completed', 'failed', 'cancelled')
       AND (p.children_open = 0
            OR (p.children_failed > p.children_tolerated
                AND p.children_failed - x.failed <= p.children_tolerated)
            OR (p.children_needed > 0
                AND p.children_total - p.children_open - p.children_failed >= p.children_needed
                AND p.children_total - p.children_open - p.children_failed - (x.ended - x.failed)
                    < p.children_needed))
    RETURNING p.id, p.inbox_seq)
INSERT INTO executions_inboxmessage (execution_id, seq, kind, payload, actor, created_at)
SELECT id, inbox_seq, 'children', '{}', 'engine', now() FROM told;
"""

# A wish passed on. Items that have not been let go stay where they are, unless they are cancelled;
# a resumed parent's blocked items go on when those under way end, as before. One that waits for a
# slot, or has been put aside with its workflow, is let go by others, so it has to hear of a pause.
TELL = """
WITH meant AS (
    -- The children's own worker may be writing a batch of them, and locks them by ascending id.
    SELECT c.id, x.verb, x.actor, x.reason
      FROM json_to_recordset(%(tell)s) AS x(
           parent bigint, step text, generation int, verb text, actor text, reason text)
      JOIN executions_execution c
        ON c.parent_id = x.parent AND c.parent_step = x.step AND c.generation = x.generation
     WHERE c.state NOT IN ('completed', 'failed', 'cancelled')
       AND (x.verb = 'cancel' OR c.state NOT IN ('initialized', 'resumed')
            OR c.runnable_at IS NOT NULL OR c.slot_key <> '' OR c.is_parked)
     ORDER BY c.id FOR NO KEY UPDATE OF c),
told AS (
    UPDATE executions_execution c
       SET inbox_seq = c.inbox_seq + 1,
           runnable_at = CASE WHEN c.owner_id IS NULL THEN now() ELSE c.runnable_at END
      FROM meant WHERE c.id = meant.id
    RETURNING c.id, c.inbox_seq, meant.verb, meant.actor, meant.reason)
INSERT INTO executions_inboxmessage (execution_id, seq, kind, payload, actor, created_at)
SELECT id, inbox_seq, verb, json_build_object('reason', reason), actor, now() FROM told;
"""

# What the children of a step came to; of several attempts at an item the one that succeeded, of a
# child workflow the last one.
RESULTS = """
SELECT DISTINCT ON (CASE WHEN kind = 'child' THEN 0 ELSE item_index END)
       item_index, state, output, error, id
  FROM executions_execution
 WHERE parent_id = %(parent)s AND parent_step = %(step)s AND generation >= %(base)s
 ORDER BY CASE WHEN kind = 'child' THEN 0 ELSE item_index END,
          (kind <> 'child' AND state = 'completed') DESC, generation DESC, item_index DESC
"""

# The execution around an item or a branch, for its expressions. A child workflow sees nothing of
# its parent.
OUTER = """
SELECT id, CASE WHEN kind IN ('item', 'branch') THEN parent_id END, parent_step, generation,
       item_index, input, variables, control, version_id, step_names
  FROM executions_execution WHERE id = ANY(%(ids)s)
"""
