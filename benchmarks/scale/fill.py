"""Fills a database as years of use do, by SQL: nothing of it was run.

The rows are those that services and the ledger write: executions with their steps, transitions and
audit entries, labels, correlation ids and payloads. Kinds are mixed by age, as they are in life.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from psycopg2.extensions import connection as Connection

KEYS = 50
DAYS = 90
# As many in every database, small or large, so that lists of them compare: those that wait for a
# person, and those with a rare label.
ASKING = 100
RARE = 60
CUSTOMERS = 10_000


@dataclass(frozen=True, slots=True)
class Kinds:
    """How many executions have ended, wait for a moment to come, and wait for a slot."""

    ended: int
    timers: int
    slots: int

    @property
    def total(self) -> int:
        return self.ended + self.timers + self.slots


@dataclass(frozen=True, slots=True)
class Published:
    """Workflow and version ids: of many that end, of one that waits, of one with slots."""

    plain: list[tuple[int, int]]
    timer: tuple[int, int]
    slot: tuple[int, int]


# n: its number; kind: 0 has ended, 1 waits for a moment, 2 waits for a slot; rank: the how-manieth
# of its kind, in no order. 7919 is prime, so each rank is there once.
PLAN = """
CREATE TEMP TABLE plan AS
SELECT n, CASE WHEN place < %(ended)s THEN 0 WHEN place < %(ended)s + %(timers)s THEN 1 ELSE 2 END
            AS kind,
       CASE WHEN place < %(ended)s THEN place WHEN place < %(ended)s + %(timers)s
            THEN place - %(ended)s ELSE place - %(ended)s - %(timers)s END AS rank,
       now() - interval '1 day' * %(days)s * (%(total)s - n + 1) / %(total)s AS at
  FROM (SELECT n, (n * 7919) %% %(total)s AS place FROM generate_series(1, %(total)s::bigint) AS n)
    AS x;
"""

# In the order of age, so that ids grow with it.
EXECUTIONS = """
INSERT INTO executions_execution
       (id, workflow_id, version_id, state, reason, error_code, current_step, current_seq,
        current_phase, current_attempt, current_since, wait_until, steps_entered, input, variables,
        control, output, error, queue, priority, runnable_at, epoch, claims, revision,
        inbox_seq, seen_seq, transition_seq, log_seq, kind, parent_step, generation, depth,
        children_generation, children_open, children_failed, children_tolerated, principal,
        idempotency_key, request_hash, correlation_id, labels, slot_key, slot_held, slot_limit,
        slot_policy, is_test, created_at, started_at, ended_at)
SELECT %(base)s + n,
       CASE WHEN kind = 0 THEN workflows[1 + rank %% cardinality(workflows)]
            WHEN is_holder OR kind = 2 THEN %(slot_workflow)s ELSE %(timer_workflow)s END,
       CASE WHEN kind = 0 THEN versions[1 + rank %% cardinality(workflows)]
            WHEN is_holder OR kind = 2 THEN %(slot_version)s ELSE %(timer_version)s END,
       state,
       CASE WHEN state = 'failed' THEN 'failed' WHEN state = 'cancelled' THEN 'no longer needed'
            WHEN kind = 0 THEN 'completed' WHEN kind = 2 THEN 'slot'
            WHEN asks THEN 'approval' ELSE 'timer' END,
       code,
       CASE WHEN kind = 1 THEN 'later' ELSE '' END, CASE kind WHEN 0 THEN 2 ELSE kind %% 2 END,
       CASE WHEN kind <> 1 THEN '' WHEN asks THEN 'outside' ELSE 'timer' END, 1,
       CASE WHEN kind = 1 THEN at END, CASE WHEN kind = 1 THEN due END,
       CASE kind WHEN 0 THEN 2 WHEN 1 THEN 1 ELSE 0 END,
       jsonb_build_object('customer', 'c' || n %% %(customers)s, 'order', n, 'account',
                          'a' || rank %% %(keys)s, 'note', repeat(md5(n::text), 4)),
       '{}', '{}',
       CASE WHEN state = 'completed' THEN jsonb_build_object('n', 2) END,
       CASE WHEN state = 'failed' THEN jsonb_build_object('code', code, 'step', 's2',
            'message', 'The service answered ' || 500 + n %% 5 || ' to order ' || n) END,
       'default', CASE WHEN n %% 10 = 0 THEN 2 ELSE 1 END, CASE WHEN kind = 1 THEN due END,
       CASE kind WHEN 2 THEN 0 ELSE 1 END, 0, 3, 0, 0, CASE kind WHEN 2 THEN 1 ELSE 3 END, 0,
       'root', '', 0, 0, 0, 0, 0, 0, 'system', '', '', 'order-' || n,
       jsonb_build_object('customer', 'c' || n %% %(customers)s, 'region',
                          (ARRAY['north', 'south', 'east', 'west', 'middle'])[1 + n %% 5])
           || CASE WHEN n %% greatest(1, %(total)s / %(rare)s) = 0
                   THEN jsonb_build_object('campaign', 'spring') ELSE '{}' END,
       CASE WHEN is_holder OR kind = 2
            THEN %(slot_workflow)s || ':a' || rank %% %(keys)s ELSE '' END,
       is_holder, CASE WHEN is_holder OR kind = 2 THEN 1 ELSE 0 END,
       CASE WHEN is_holder OR kind = 2 THEN 'queue' ELSE '' END, false, at,
       CASE WHEN kind < 2 THEN at END,
       CASE WHEN kind = 0 THEN at + interval '2 seconds' END
  FROM (SELECT *,
               kind = 1 AND rank < %(keys)s AS is_holder,
               kind = 1 AND rank BETWEEN %(keys)s AND %(keys)s + %(asking)s - 1 AS asks,
               now() + interval '1 day' + interval '1 day' * %(days)s * rank / %(timers)s AS due,
               CASE WHEN state = 'failed' THEN (ARRAY['http.429', 'timeout.step', 'http.429',
                    'input.invalid', 'http.5xx'])[1 + n %% 5] ELSE '' END AS code,
               %(workflows)s::bigint[] AS workflows, %(versions)s::bigint[] AS versions
          FROM (SELECT *, CASE WHEN kind = 1 THEN 'waiting' WHEN kind = 2 THEN 'initialized'
                               WHEN rank %% 100 < 15 THEN 'failed'
                               WHEN rank %% 100 < 18 THEN 'cancelled' ELSE 'completed' END AS state
                  FROM plan) AS stated) AS known
 ORDER BY n;
"""

TRANSITIONS = """
INSERT INTO executions_statetransition (execution_id, seq, source, target, reason, actor, at)
SELECT e.id, x.seq, x.source, x.target, CASE x.seq WHEN 3 THEN e.reason ELSE '' END, 'worker',
       e.created_at
  FROM executions_execution e
 CROSS JOIN LATERAL (VALUES (1, '', 'initialized'), (2, 'initialized', 'running'),
                            (3, 'running', e.state)) AS x(seq, source, target)
 WHERE e.id > %(base)s AND x.seq <= e.transition_seq
 ORDER BY e.id, x.seq;
"""

# The first step of what waits is what it waits at: that is recorded when it ends.
STEPS = """
INSERT INTO executions_stepexecution
       (execution_id, seq, attempt, step_id, name, type, state, params, output, error, started_at,
        ended_at)
SELECT e.id, seq, 1, 's' || seq, 'Step ' || seq, 'action',
       CASE WHEN seq = 2 AND e.state = 'failed' THEN 'failed' ELSE 'completed' END,
       jsonb_build_object('n', seq),
       CASE WHEN seq < 2 OR e.state <> 'failed' THEN jsonb_build_object('n', seq) END,
       CASE WHEN seq = 2 AND e.state = 'failed' THEN e.error END,
       e.created_at, e.created_at + interval '1 second' * seq
  FROM executions_execution e CROSS JOIN generate_series(1, 2) AS seq
 WHERE e.id > %(base)s AND e.ended_at IS NOT NULL
 ORDER BY e.id, seq;
"""

AUDIT = """
INSERT INTO accounts_auditentry
       (at, actor_kind, actor_id, actor_name, action, target_type, target_id, target_name, after,
        address, request_id)
SELECT created_at, 'system', '', 'benchmarks', 'execution.started', 'executions.execution',
       id::text, 'Execution ' || id, jsonb_build_object('workflow', workflow_id), '', ''
  FROM executions_execution WHERE id > %(base)s ORDER BY id;
"""

APPROVALS = """
INSERT INTO executions_approval
       (execution_id, seq, attempt, step_id, step_name, title, description, state, quorum,
        allow_requester, is_open_to_all, missing, opened_at, expires_at)
SELECT id, 1, 1, 'later', 'Later', 'May order ' || id || ' go out?', '', 'open', 1, false, true,
       '[]', created_at, wait_until
  FROM executions_execution WHERE id > %(base)s AND reason = 'approval' ORDER BY id;
"""

NUMBERING = """
SELECT setval(pg_get_serial_sequence('executions_execution', 'id'), max(id))
  FROM executions_execution
"""
TABLES = ("executions_execution", "accounts_auditentry")
FILLED = (
    *TABLES,
    "executions_statetransition",
    "executions_stepexecution",
    "executions_approval",
)
INDEXES = """
SELECT i.indexrelid::regclass::text, pg_get_indexdef(i.indexrelid)
  FROM pg_index i
 WHERE i.indrelid = ANY(%s::regclass[])
   AND NOT EXISTS (SELECT FROM pg_constraint c WHERE c.conindid = i.indexrelid)
"""


def fill(connection: Connection, kinds: Kinds, published: Published) -> None:
    """Insert so many, behind what is there. The connection is in autocommit."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT coalesce(max(id), 0) FROM executions_execution")
        row = cursor.fetchone()
        values = {
            "base": row[0] if row else 0,
            "ended": kinds.ended,
            "timers": kinds.timers,
            "total": kinds.total,
            "days": DAYS,
            "keys": KEYS,
            "asking": ASKING,
            "rare": RARE,
            "customers": CUSTOMERS,
            "workflows": [workflow for workflow, _ in published.plain],
            "versions": [version for _, version in published.plain],
            "timer_workflow": published.timer[0],
            "timer_version": published.timer[1],
            "slot_workflow": published.slot[0],
            "slot_version": published.slot[1],
        }
        # Foreign keys are right by the way the rows are made; asking each would take minutes.
        cursor.execute("SET session_replication_role = replica")
        cursor.execute("SET synchronous_commit = off")
        cursor.execute("SET maintenance_work_mem = '512MB'")
        with _without_indexes(connection):
            for statement in (PLAN, EXECUTIONS, TRANSITIONS, STEPS, AUDIT, APPROVALS):
                cursor.execute(statement, values)
        cursor.execute("DROP TABLE plan")
        cursor.execute(NUMBERING)
        cursor.execute("RESET ALL")
        cursor.execute(f"VACUUM (ANALYZE) {', '.join(FILLED)}")


@contextmanager
def _without_indexes(connection: Connection) -> Iterator[None]:
    """Building indexes once is several times faster than keeping them up to date row by row."""
    with connection.cursor() as cursor:
        cursor.execute(INDEXES, ([*TABLES],))
        found = cursor.fetchall()
        for name, _ in found:
            cursor.execute(f"DROP INDEX {name}")
        yield
        for _, definition in found:
            cursor.execute(definition)
