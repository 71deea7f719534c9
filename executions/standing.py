"""What a start has to know of how things stand, in one question to the database."""

from __future__ import annotations

from typing import NamedTuple

from django.db import DEFAULT_DB_ALIAS, connection

from autopilot.common.kept import Kept
from executions.fairness import LOOK, Line
from executions.models import Execution
from workflows.models import Workflow, WorkflowVersion
from workflows.versioning.states import VersionState

_STANDING = f"""
SELECT line.has_holds, line.behind, live.id, live.version,
       EXISTS (SELECT FROM workflows_rollout
                WHERE workflow_id = %(workflow)s AND state = 'active')
  FROM ({LOOK}) AS line
  LEFT JOIN (SELECT id, version FROM workflows_workflowversion
              WHERE workflow_id = %(workflow)s AND state = 'published'
              ORDER BY major DESC, minor DESC, patch DESC LIMIT 1) AS live ON true
"""  # noqa: S608 - constant
_KEPT = Kept(
    "start_standing", _STANDING, {"workflow": "bigint", "queue": "text", "priority": "int"}
)


class Standing(NamedTuple):
    """line: that the execution would get into. highest: the published version, with its number
    only: what else it has is read when it is asked for; None if nothing is published. It is what a
    start takes unless `has_rollout`, which says that a rollout has to be asked."""

    line: Line
    highest: WorkflowVersion | None
    has_rollout: bool


def standing_of(row: Execution) -> Standing:
    """How things stand for an execution that is not saved."""
    known: dict[str, int | str]
    known = {"workflow": row.workflow_id, "queue": row.queue, "priority": row.priority}
    with connection.cursor() as cursor:
        _KEPT.execute(cursor, known)
        has_holds, behind, pk, number, has_rollout = cursor.fetchone()
    highest = _version(row.workflow, pk, number) if pk else None
    return Standing(Line(behind, has_holds), highest, has_rollout)


def _version(workflow: Workflow, pk: int, number: str) -> WorkflowVersion:
    names = ["id", "workflow_id", "version", "state"]
    values = [pk, workflow.pk, number, VersionState.PUBLISHED.value]
    version = WorkflowVersion.from_db(DEFAULT_DB_ALIAS, names, values)
    version.workflow = workflow
    return version
