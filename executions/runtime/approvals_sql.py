"""The SQL of approvals: opened and closed with the checkpoint in which their step waits or leaves.

Both run under the locks of the executions, which come before those of approvals everywhere.
"""

from __future__ import annotations

from typing import Any

from django.contrib.auth import get_user_model
from django.contrib.auth.models import Group

from executions.engine.events import DECISION
from executions.runtime.outside_sql import KINDS, OutsideSql

# Names are looked up here, where the question becomes durable: who may decide is a matter of rows.
# Where fewer people could decide than have to agree, the execution is told so at once, in the same
# transaction: nobody is left to wait for an answer that can't come.
_OPEN = """
WITH given AS (
    SELECT x.*, e.started_by_id
      FROM json_to_recordset(%(rows)s) AS x(
           execution bigint, step text, seq int, attempt int, data jsonb)
      JOIN executions_execution e ON e.id = x.execution),
named AS (
    SELECT g.execution, g.seq, g.attempt, k.is_user, k.is_later, n.name
      FROM given g
     CROSS JOIN (VALUES ('users', true, false), ('groups', false, false),
                        ('later_users', true, true), ('later_groups', false, true)
                ) AS k(field, is_user, is_later)
     CROSS JOIN LATERAL jsonb_array_elements_text(g.data -> k.field) AS n(name)),
found AS (
    SELECT n.*, u.{user_pk} AS user_id, NULL::int AS group_id
      FROM named n JOIN {users} u ON u.{user_name} = n.name{is_active}
     WHERE n.is_user
    UNION ALL
    SELECT n.*, NULL, g.id
      FROM named n JOIN {groups} g ON g.name = n.name
     WHERE NOT n.is_user),
people AS (
    SELECT execution, seq, attempt, user_id FROM found WHERE user_id IS NOT NULL
    UNION
    SELECT f.execution, f.seq, f.attempt, u.{user_pk}
      FROM found f
      JOIN {members} m ON m.{member_group} = f.group_id
      JOIN {users} u ON u.{user_pk} = m.{member_user}{is_active}),
counted AS (
    SELECT g.execution, g.seq, g.attempt,
           (SELECT count(*) FROM people p
             WHERE (p.execution, p.seq, p.attempt) = (g.execution, g.seq, g.attempt)
               AND ((g.data ->> 'allow_requester')::boolean
                    OR p.user_id IS DISTINCT FROM g.started_by_id)) AS able,
           (SELECT coalesce(jsonb_agg(DISTINCT n.name), '[]') FROM named n
             WHERE (n.execution, n.seq, n.attempt) = (g.execution, g.seq, g.attempt)
               AND NOT EXISTS (
                   SELECT 1 FROM found f
                    WHERE (f.execution, f.seq, f.attempt) = (n.execution, n.seq, n.attempt)
                      AND f.is_user = n.is_user AND f.name = n.name)) AS missing
      FROM given g),
born AS (
    INSERT INTO executions_approval
           (execution_id, seq, attempt, step_id, step_name, title, description, context, form,
            state, quorum, allow_requester, is_open_to_all, missing, requester_id, opened_at,
            expires_at, remind_at, announce_at)
    SELECT g.execution, g.seq, g.attempt, g.step, g.data ->> 'name', {title},
           {description}, g.data -> 'context', g.data -> 'form',
           'open', (g.data ->> 'quorum')::int, (g.data ->> 'allow_requester')::boolean,
           (g.data ->> 'is_open')::boolean, c.missing, g.started_by_id, now(),
           (g.data ->> 'expires_at')::timestamptz,
           now() + (g.data ->> 'remind_seconds')::double precision * interval '1 second',
           CASE WHEN NOT (g.data ->> 'is_open')::boolean THEN now() END
      FROM given g
      JOIN counted c USING (execution, seq, attempt)
     ORDER BY g.execution, g.seq
    RETURNING id, execution_id, seq, attempt),
assigned AS (
    INSERT INTO executions_approvalassignee (approval_id, user_id, group_id, is_later)
    SELECT b.id, f.user_id, f.group_id, f.is_later
      FROM found f
      JOIN born b ON (b.execution_id, b.seq, b.attempt) = (f.execution, f.seq, f.attempt)),
lacking AS (
    SELECT g.execution, g.seq, g.attempt, g.data, c.able, c.missing
      FROM given g
      JOIN counted c USING (execution, seq, attempt)
     WHERE NOT (g.data ->> 'is_open')::boolean AND c.able < (g.data ->> 'quorum')::int),
told AS (
    INSERT INTO executions_inboxmessage (execution_id, seq, kind, payload, actor, created_at)
    SELECT l.execution, e.inbox_seq + 1, '{kind}',
           jsonb_build_object(
               'seq', l.seq, 'attempt', l.attempt,
               'data', jsonb_build_object(
                   'able', l.able, 'quorum', l.data -> 'quorum', 'missing', l.missing)),
           'engine', now()
      FROM lacking l JOIN executions_execution e ON e.id = l.execution)
UPDATE executions_execution e
   SET inbox_seq = e.inbox_seq + 1,
       runnable_at = CASE WHEN e.owner_id IS NULL THEN now() END
  FROM lacking
 WHERE e.id = lacking.execution;
"""

# What people have decided stays so, whatever became of the step.
_CLOSE = """
UPDATE executions_approval a
   SET state = CASE x.outcome WHEN 'expired' THEN 'expired' ELSE 'withdrawn' END,
       settled_at = now()
  FROM json_to_recordset(%(rows)s) AS x(execution bigint, seq int, attempt int, outcome text)
 WHERE a.execution_id = x.execution AND a.seq = x.seq AND a.attempt = x.attempt
   AND a.state = 'open';
"""


# Of a text that holds hidden values this is what is shown of it.
_SHOWN = (
    "CASE jsonb_typeof(g.data -> '{0}') WHEN 'string' THEN g.data ->> '{0}' "
    "ELSE coalesce(g.data -> '{0}' ->> 'shown', '•••') END"
)


def _open_sql() -> str:
    """With the tables and columns of whatever AUTH_USER_MODEL names."""
    user = get_user_model()._meta
    members: Any = user.get_field("groups")
    has_active = any(each.name == "is_active" for each in user.concrete_fields)
    name: Any = user.get_field(get_user_model().USERNAME_FIELD)
    return _OPEN.format(
        kind=DECISION,
        title=_SHOWN.format("title"),
        description=_SHOWN.format("description"),
        users=f'"{user.db_table}"',
        user_pk=f'"{user.pk.column}"',
        user_name=f'"{name.column}"',
        is_active=" AND u.is_active" if has_active else "",
        groups=f'"{Group._meta.db_table}"',
        members=f'"{members.m2m_db_table()}"',
        member_user=f'"{members.m2m_column_name()}"',
        member_group=f'"{members.m2m_reverse_name()}"',
    )


KINDS[DECISION] = OutsideSql(opens=_open_sql(), closes=_CLOSE)
