"""What a start has to know of how things stand, in one question to the database."""

from __future__ import annotations

from typing import NamedTuple

from django.db import DEFAULT_DB_ALIAS, connection

from autopilot.common.kept import Kept
from executions.fairness import LOOK, Line
from executions.models import Execution
from workflows.models import Workflow, WorkflowVersion
from workflows.routing import Route
from workflows.versioning.states import VersionState

# Without a rollout nothing is joined: its side is empty.
_STANDING = f"""
SELECT line.has_holds, line.behind, live.id, live.version,
       rollout.candidate_id, candidate.version, rollout.percent, rollout.key, rollout.salt
  FROM ({LOOK}) AS line
  LEFT JOIN (SELECT candidate_id, percent, key, salt FROM workflows_rollout
              WHERE workflow_id = %(workflow)s AND state = 'active') AS rollout ON true
  LEFT JOIN workflows_workflowversion AS candidate ON candidate.id = rollout.candidate_id
  LEFT JOIN LATERAL (SELECT id, version FROM workflows_workflowversion
                      WHERE workflow_id = %(workflow)s AND state = 'published'
                        AND id IS DISTINCT FROM rollout.candidate_id
                      ORDER BY major DESC, minor DESC, patch DESC LIMIT 1) AS live ON true
"""  # noqa: S608 - constant
_KEPT = Kept(
    "start_standing", _STANDING, {"workflow": "bigint", "queue": "text", "priority": "int"}
)


class Standing(NamedTuple):
    """What a start finds.

    line: that the execution would get into. live: the version that it takes, with its number only:
    what else it has is read when it is asked for; None if nothing is published. route, candidate:
    a rollout, which may give it another version.
    """

    line: Line
    live: WorkflowVersion | None
    route: Route | None
    candidate: WorkflowVersion | None


def standing_of(row: Execution) -> Standing:
    """How things stand for an execution that is not saved."""
    known: dict[str, int | str]
    known = {"workflow": row.workflow_id, "queue": row.queue, "priority": row.priority}
    with connection.cursor() as cursor:
        _KEPT.execute(cursor, known)
        has_holds, behind, pk, number, *rollout = cursor.fetchone()
    line, live = Line(behind, has_holds), _version(row.workflow, pk, number) if pk else None
    tried, tried_number, percent, key, salt = rollout
    if tried is None:
        return Standing(line, live, None, None)
    candidate = _version(row.workflow, tried, tried_number)
    return Standing(line, live, Route.of(tried, percent, key, salt), candidate)


def _version(workflow: Workflow, pk: int, number: str) -> WorkflowVersion:
    names = ["id", "workflow_id", "version", "state"]
    values = [pk, workflow.pk, number, VersionState.PUBLISHED.value]
    version = WorkflowVersion.from_db(DEFAULT_DB_ALIAS, names, values)
    version.workflow = workflow
    return version
