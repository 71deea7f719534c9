"""The SQL of `purging`: what is due, what has to stay, and the deletes."""

from __future__ import annotations

# The history's triggers let deletes pass in such a transaction only. Nobody is waited for long.
SETTINGS = """
SET LOCAL executions.purging = 'on';
SET LOCAL lock_timeout = '1s';
SET LOCAL statement_timeout = '60s';
"""

_IS_DUE = """state = ANY(%(states)s) AND ended_at < %(before)s
           AND (%(workflows)s::bigint[] IS NULL OR workflow_id = ANY(%(workflows)s))"""

# By the index of roots; those that are not due cost a look each.
WINDOW = f"""
SELECT array_agg(id ORDER BY id DESC) FILTER (WHERE is_due),
       CASE WHEN count(*) = %(window)s THEN min(id) END
  FROM (SELECT id, {_IS_DUE} AS is_due FROM executions_execution
         WHERE parent_id IS NULL AND id < %(below)s ORDER BY id DESC LIMIT %(window)s) AS next
"""  # noqa: S608 - constant

# Whoever refers to one of these at this moment holds a share of its row: that one is left out.
LOCK_ROOTS = f"""
SELECT id, state FROM executions_execution
 WHERE id = ANY(%(roots)s) AND parent_id IS NULL AND {_IS_DUE}
 ORDER BY id DESC FOR UPDATE SKIP LOCKED
"""  # noqa: S608 - constant

TREES = """
WITH RECURSIVE tree AS (
    SELECT unnest(%(roots)s::bigint[]) AS root, unnest(%(roots)s::bigint[]) AS id
    UNION ALL
    SELECT tree.root, c.id FROM tree JOIN executions_execution c ON c.parent_id = tree.id)
SELECT root, id FROM tree ORDER BY root DESC, id DESC
"""

# Of trees, root by root, one reason why it has to stay. What refers from within the same trees
# goes with them.
KEPT = """
WITH tree AS MATERIALIZED (
    SELECT * FROM unnest(%(roots)s::bigint[], %(ids)s::bigint[]) AS t(root, id)),
others AS (
    SELECT tree.root, r.id, 'referred to' AS why
      FROM tree JOIN executions_execution r ON r.rerun_of_id = tree.id
    UNION ALL
    SELECT tree.root, r.id, 'referred to'
      FROM tree JOIN executions_execution r ON r.started_by_execution_id = tree.id
    UNION ALL
    SELECT tree.root, r.id, 'referred to'
      FROM tree JOIN executions_execution r ON r.continued_from_id = tree.id
     WHERE r.ended_at IS NULL
    UNION ALL
    SELECT tree.root, s.execution_id, 'referred to'
      FROM tree JOIN executions_errorstart s ON s.started_id = tree.id
    UNION ALL
    SELECT tree.root, w.execution_id, 'under way'
      FROM tree JOIN executions_signalwait w ON w.document_id = tree.id)
SELECT root, min(why) FROM (
    SELECT root, why FROM others
     WHERE NOT EXISTS (SELECT FROM tree WHERE tree.id = others.id)
    UNION ALL
    SELECT tree.root, 'under way' FROM tree JOIN executions_execution e ON e.id = tree.id
     WHERE e.ended_at IS NULL
    UNION ALL
    SELECT tree.root, 'owes an error workflow'
      FROM tree JOIN executions_errorstart s ON s.execution_id = tree.id WHERE s.status = 'owed'
    UNION ALL
    SELECT tree.root, 'can be undone'
      FROM tree JOIN executions_compensation c ON c.execution_id = tree.id
      JOIN executions_execution e ON e.id = tree.root
     WHERE c.state IN ('pending', 'failed') AND e.state = 'failed') AS reasons
 GROUP BY root
"""

# What continues one that goes is not changed but for this: it loses sight of it.
FORGET_CONTINUED = """
UPDATE executions_execution SET continued_from_id = NULL
 WHERE continued_from_id = ANY(%(ids)s) AND id <> ALL(%(ids)s)
"""

# Each before what it refers to.
DELETE = {
    **{
        f"executions_{table}": f"""
DELETE FROM executions_{table} USING executions_approval a
 WHERE a.id = executions_{table}.approval_id AND a.execution_id = ANY(%(ids)s)"""  # noqa: S608
        for table in ("approvalmail", "approvaldecision", "approvalassignee")
    },
    "executions_signal": """
DELETE FROM executions_signal WHERE execution_id = ANY(%(ids)s) OR target_id = ANY(%(ids)s)""",
    **{
        f"executions_{table}": f"""
DELETE FROM executions_{table} WHERE execution_id = ANY(%(ids)s)"""  # noqa: S608
        for table in (
            *("approval", "callback", "limituse", "compensation", "errorstart", "inboxmessage"),
            *("logline", "stepexecution", "statetransition", "migrationitem"),
        )
    },
    "executions_execution": "DELETE FROM executions_execution WHERE id = ANY(%(ids)s)",
}


def _rows(table: str, order: str, column: str = "execution_id") -> str:
    return f"""(SELECT jsonb_agg(to_jsonb(x) - 'xid' ORDER BY {order})
            FROM executions_{table} x WHERE x.{column} = e.id)"""  # noqa: S608 - constant


# As it is stored: what is hidden stays encrypted. Null where there is none.
ARCHIVED = f"""
SELECT jsonb_build_object(
           'archive', 1,
           'workflow', w.slug, 'version', v.version,
           'execution', to_jsonb(e),
           'transitions', {_rows("statetransition", "x.seq")},
           'steps', {_rows("stepexecution", "x.seq, x.attempt")},
           'log_lines', {_rows("logline", "x.seq")},
           'messages', {_rows("inboxmessage", "x.seq")},
           'approvals', {_rows("approval", "x.id")},
           'decisions', (SELECT jsonb_agg(to_jsonb(d) ORDER BY d.id)
                           FROM executions_approvaldecision d
                           JOIN executions_approval a ON a.id = d.approval_id
                          WHERE a.execution_id = e.id),
           'signals', {_rows("signal", "x.id")},
           'compensations', {_rows("compensation", "x.id")},
           'error_starts', {_rows("errorstart", "x.id")},
           'moves', {_rows("migrationitem", "x.id")})::text
  FROM executions_execution e
  JOIN workflows_workflow w ON w.id = e.workflow_id
  JOIN workflows_workflowversion v ON v.id = e.version_id
 WHERE e.id = ANY(%(ids)s)
 ORDER BY e.id
"""  # noqa: S608 - constant
