"""The ledger's SQL: set-based, one JSON document a statement, rows locked in the order of ids."""

from __future__ import annotations

LOCK = """
SELECT id, owner_id, epoch, revision, inbox_seq
  FROM executions_execution
 WHERE id = ANY(%(ids)s)
 ORDER BY id
   FOR NO KEY UPDATE
"""

# The same without waiting: what somebody else holds is left out.
LOCK_FREE = f"BEGIN; {LOCK} SKIP LOCKED"

# Locks them too, and ends the transaction with an error (a division by zero) unless every fence
# holds: owner, epoch and revision are those of the checkpoint, and no message came that its runner
# must hear of. `held` is read to its end, so all of `ids` are locked, parents of children included.
FENCE = f"""
WITH held AS ({LOCK})
SELECT 1 / (count(*) = %(fenced)s)::int
  FROM json_to_recordset(%(fences)s) AS x(id bigint, epoch int, revision int, heard bigint)
  JOIN held ON held.id = x.id AND held.epoch = x.epoch AND held.revision = x.revision
           AND held.owner_id = %(worker)s AND held.inbox_seq <= x.heard;
"""  # noqa: S608 - constant

INSERT_STEPS = """
INSERT INTO executions_stepexecution
       (execution_id, seq, attempt, step_id, name, type, state, params, output, error,
        started_at, ended_at)
SELECT execution_id, seq, attempt, step_id, name, type, state, params, output, error,
       started_at, ended_at
  FROM json_to_recordset(%(steps)s) AS x(
       execution_id bigint, seq int, attempt int, step_id text, name text, type text, state text,
       params jsonb, output jsonb, error jsonb, started_at timestamptz, ended_at timestamptz);
"""

INSERT_TRANSITIONS = """
INSERT INTO executions_statetransition
       (execution_id, seq, source, target, reason, actor, at)
SELECT execution_id, seq, source, target, reason, actor, at
  FROM json_to_recordset(%(transitions)s) AS x(
       execution_id bigint, seq int, source text, target text, reason text, actor text,
       at timestamptz);
"""

INSERT_LOG = """
INSERT INTO executions_logline
       (execution_id, seq, step_id, attempt, level, event, fields, at)
SELECT execution_id, seq, step_id, attempt, level, event, fields, at
  FROM json_to_recordset(%(log)s) AS x(
       execution_id bigint, seq int, step_id text, attempt int, level text, event text,
       fields jsonb, at timestamptz);
"""

# A plan may take several transitions at once; the trigger must see each of them.
HOP = """
UPDATE executions_execution e
   SET state = x.state
  FROM json_to_recordset(%(hops)s) AS x(id bigint, state text)
 WHERE e.id = x.id AND e.id = ANY(%(written)s);
"""

WRITE = """
UPDATE executions_execution e
   SET state = x.state,
       reason = COALESCE(x.reason, e.reason),
       error_code = COALESCE(x.error_code, e.error_code),
       current_step = x.current_step,
       current_seq = x.current_seq,
       current_phase = x.current_phase,
       current_attempt = x.current_attempt,
       current_since = x.current_since,
       wait_until = x.wait_until,
       steps_entered = x.steps_entered,
       variables = COALESCE(x.variables, e.variables),
       control = COALESCE(x.control, e.control),
       deadline_at = CASE WHEN x.control IS NULL THEN e.deadline_at ELSE x.deadline_at END,
       output = COALESCE(x.output, e.output),
       error = COALESCE(x.error, e.error),
       started_at = x.started_at,
       ended_at = COALESCE(x.ended_at, e.ended_at),
       paused_at = CASE WHEN x.state IN ('paused', 'resumed')
                        THEN COALESCE(x.paused_at, e.paused_at) END,
       -- Whoever wrote this checkpoint: no slot outlives the run, or a pause.
       slot_held = e.slot_held AND x.ended_at IS NULL AND x.state <> 'paused',
       seen_seq = x.seen_seq,
       transition_seq = x.transition_seq,
       log_seq = x.log_seq,
       revision = e.revision + 1,
       claims = 0,
       owner_id = CASE WHEN x.release THEN NULL ELSE e.owner_id END,
       -- What came in while this was being decided must not be slept through.
       runnable_at = CASE
           WHEN NOT x.release THEN e.runnable_at
           WHEN x.ended_at IS NULL AND e.inbox_seq > x.seen_seq THEN now()
           ELSE x.runnable_at END
  FROM json_to_recordset(%(rows)s) AS x(
       id bigint, state text, reason text, error_code text, current_step text, current_seq int,
       current_phase text, current_attempt int, current_since timestamptz, wait_until timestamptz,
       steps_entered int, variables jsonb, output jsonb, error jsonb, started_at timestamptz,
       ended_at timestamptz, paused_at timestamptz, seen_seq bigint, transition_seq int,
       log_seq int, release boolean, runnable_at timestamptz, control jsonb,
       deadline_at timestamptz)
 WHERE e.id = x.id"""

UPDATE = f"{WRITE} AND e.id = ANY(%(written)s);\n"

COMMIT = "COMMIT;"

# One priority of one queue. LIMIT counts what the priorities before it have taken already.
_PROBE = """
{name} AS (
    SELECT id FROM executions_execution
     WHERE owner_id IS NULL AND queue = %(queue)s AND priority = %({name})s
       AND runnable_at <= now() AND runnable_at IS NOT NULL AND claims < %(suspect)s{only}
     ORDER BY runnable_at
     LIMIT greatest(0, %(limit)s{taken})
       FOR NO KEY UPDATE SKIP LOCKED)"""

_RETURNING = """
RETURNING e.id, e.epoch, e.revision, e.claims, e.version_id, e.state, e.input, e.variables,
          e.current_step, e.current_seq, e.current_phase, e.current_attempt, e.current_since,
          e.wait_until, e.steps_entered, e.started_at, e.inbox_seq, e.seen_seq,
          e.transition_seq, e.log_seq, e.control, e.deadline_at, e.paused_at,
          e.parent_id, e.parent_step, e.generation, e.item_index, e.children_generation,
          e.children_open, e.children_failed, e.children_tolerated, e.children_total,
          e.children_needed, e.kind, now() AS claimed_at, e.slot_key, e.slot_held, e.step_names
"""

# The worker's row is held while it claims: if the clock has deleted it, nothing is claimed; if the
# clock is about to, it waits, and then sees and frees what was claimed here.
_TAKE = """
UPDATE executions_execution e
   SET owner_id = me.id, epoch = e.epoch + 1, claims = e.claims + 1
  FROM me
 WHERE e.id {source}
"""

_ME = "WITH me AS (SELECT id FROM executions_worker WHERE id = %(worker)s FOR KEY SHARE)"

PROBES = ("first", "second", "third", "fourth")


def _claim(only: str = "") -> str:
    parts = []
    for index, name in enumerate(PROBES):
        taken = "".join(f" - (SELECT count(*) FROM {each})" for each in PROBES[:index])  # noqa: S608 - constant
        parts.append(_PROBE.format(name=name, taken=taken, only=only))
    source = " UNION ALL ".join(f"SELECT id FROM {name}" for name in PROBES)  # noqa: S608 - constant
    return f"{_ME},{','.join(parts)}{_TAKE.format(source=f'IN ({source})')}{_RETURNING}"


CLAIM = _claim()
# While something is switched off, what was asked of an execution is still seen to.
CLAIM_OF_HELD_QUEUE = _claim(" AND inbox_seq > seen_seq")
CLAIM_BUT_HELD = _claim(" AND (workflow_id <> ALL(%(held)s::bigint[]) OR inbox_seq > seen_seq)")

# The one of which somebody has said that it is ready. Whoever is slower does not wait. All but the
# id is compared in a roundabout way, so that no other index suggests itself, whatever the planner
# takes the tables to hold: such a plan may be kept.
CLAIM_ONE = f"""{_ME},
said AS (
    SELECT id FROM executions_execution
     WHERE id = %(id)s AND owner_id IS NOT DISTINCT FROM NULL
       AND queue IS NOT DISTINCT FROM %(queue)s AND (runnable_at <= now()) IS TRUE
       AND (claims < %(suspect)s) IS TRUE
       FOR NO KEY UPDATE SKIP LOCKED)
{_TAKE.format(source="= (SELECT id FROM said)")}{_RETURNING}"""  # noqa: S608 - constant

# One that was claimed several times without getting anywhere, to be run alone.
CLAIM_SUSPECT = f"""{_ME},
suspects AS (
    SELECT id FROM executions_execution
     WHERE owner_id IS NULL AND queue = %(queue)s AND runnable_at <= now()
       AND claims >= %(suspect)s AND workflow_id <> ALL(%(held)s::bigint[])
     ORDER BY runnable_at LIMIT 1
       FOR NO KEY UPDATE SKIP LOCKED)
{_TAKE.format(source="IN (SELECT id FROM suspects)")}{_RETURNING}"""  # noqa: S608 - constant

# The latest result of every step, for executions that were under way already, and the one before
# it that it completed with, if it has not completed since. The latest of a step comes first.
LOAD_STEPS = """
SELECT execution_id, step_id, id, seq, type, state, output, error, attempt
  FROM (SELECT DISTINCT ON (execution_id, step_id, state = 'completed')
               execution_id, step_id, id, seq, type, state, output, error, attempt
          FROM executions_stepexecution
         WHERE execution_id = ANY(%(ids)s) AND type <> 'compensation'
         ORDER BY execution_id, step_id, state = 'completed', seq DESC, attempt DESC) latest
 ORDER BY execution_id, step_id, seq DESC, attempt DESC
"""

# The same of executions that were moved to other versions, by what their steps are called there.
LOAD_MOVED_STEPS = """
SELECT execution_id, step_id, id, seq, type, state, output, error, attempt
  FROM (SELECT DISTINCT ON (execution_id, present, state = 'completed')
               execution_id, present AS step_id, id, seq, type, state, output, error, attempt
          FROM (SELECT s.*, executions_present_step(e.step_names, s.id, s.step_id) AS present
                  FROM executions_stepexecution s
                  JOIN executions_execution e ON e.id = s.execution_id
                 WHERE s.execution_id = ANY(%(ids)s) AND s.type <> 'compensation') named
         WHERE present IS NOT NULL
         ORDER BY execution_id, present, state = 'completed', seq DESC, attempt DESC) latest
 ORDER BY execution_id, step_id, seq DESC, attempt DESC
"""

LOAD_MESSAGES = """
SELECT m.execution_id, m.seq, m.kind, m.payload, m.actor
  FROM executions_inboxmessage m
  JOIN unnest(%(ids)s::bigint[], %(after)s::bigint[]) AS x(id, seen)
    ON m.execution_id = x.id AND m.seq > x.seen
 ORDER BY m.execution_id, m.seq
"""

# Ownership given back before the work is done. `untouched`: the call that was to come never began.
# A further attempt goes on right before it: whether to take the step (`when`) was asked once.
# `refund`: 1 if the claim was no sign of trouble, 0 if it is to count against the execution.
RELEASE = """
WITH mine AS (
    SELECT e.id, x.untouched, x.refund
      FROM executions_execution e
      JOIN unnest(%(ids)s::bigint[], %(epochs)s::bigint[], %(untouched)s::boolean[],
                  %(refunds)s::int[]) AS x(id, epoch, untouched, refund) ON e.id = x.id
     WHERE e.owner_id = %(worker)s AND e.epoch = x.epoch
     ORDER BY e.id
       FOR NO KEY UPDATE OF e)
UPDATE executions_execution e
   SET owner_id = NULL,
       runnable_at = now(),
       claims = greatest(e.claims - mine.refund, 0),
       current_phase = CASE WHEN mine.untouched AND e.current_phase = 'call'
                            THEN CASE WHEN e.current_attempt > 1 THEN 'limited' ELSE 'enter' END
                            WHEN mine.untouched AND e.current_phase = 'undo_call' THEN 'undo'
                            ELSE e.current_phase END
  FROM mine
 WHERE e.id = mine.id
RETURNING e.id
"""

# After a lost connection: what a claim took without this process hearing of it.
RELEASE_STRAYS = """
WITH strays AS (
    SELECT id FROM executions_execution
     WHERE owner_id = %(worker)s AND NOT (id = ANY(%(held)s))
     ORDER BY id FOR NO KEY UPDATE)
UPDATE executions_execution e
   SET owner_id = NULL, runnable_at = now(), claims = greatest(e.claims - 1, 0)
  FROM strays
 WHERE e.id = strays.id
RETURNING e.id
"""
