"""What executions add to the pages of workflows: how the last day was, the latest, the start."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import timedelta

from django.db import connection
from django.http import HttpRequest
from django.urls import reverse

from autopilot.accounts.roles import Permission
from autopilot.common import clock
from executions.models import Execution
from workflows.console.panels import Activity, Panel, Verb
from workflows.models import Workflow, WorkflowVersion

DAY = timedelta(hours=24)
# The bar of one workflow looks at no more than this many of its newest executions.
NEWEST = 200
SHOWN = 10

# By the index (workflow, -id): as much work for a workflow with ten executions as with a million.
_STATES = """
SELECT w.id, e.state, count(*)
FROM unnest(%s::bigint[]) AS w (id)
CROSS JOIN LATERAL (
    SELECT state, created_at FROM executions_execution
    WHERE workflow_id = w.id AND parent_id IS NULL ORDER BY id DESC LIMIT %s
) AS e
WHERE e.created_at >= %s
GROUP BY w.id, e.state
"""
_LAST = """
SELECT w.id, e.id, e.state, e.created_at
FROM unnest(%s::bigint[]) AS w (id)
CROSS JOIN LATERAL (
    SELECT id, state, created_at FROM executions_execution
    WHERE workflow_id = w.id AND parent_id IS NULL ORDER BY id DESC LIMIT 1
) AS e
"""


class ExecutionsOfWorkflows:
    """Gives workflows what `workflows.console.panels.Provider` asks for."""

    def activity(
        self, request: HttpRequest, workflows: Sequence[Workflow]
    ) -> Mapping[int, Activity]:
        if not workflows or not request.user.has_perm(Permission.EXECUTION_VIEW):
            return {}
        keys = [workflow.pk for workflow in workflows]
        counts: dict[int, dict[str, int]] = defaultdict(dict)
        with connection.cursor() as cursor:
            cursor.execute(_STATES, [keys, NEWEST, clock.now() - DAY])
            for key, state, count in cursor.fetchall():
                counts[key][state] = count
            cursor.execute(_LAST, [keys])
            return {
                key: Activity(
                    counts=counts[key],
                    is_capped=sum(counts[key].values()) == NEWEST,
                    last_state=state,
                    last_at=at,
                    last_url=reverse("admin:executions_execution_change", args=[pk]),
                )
                for key, pk, state, at in cursor.fetchall()
            }

    def verbs(
        self, request: HttpRequest, workflow: Workflow, live: WorkflowVersion | None
    ) -> Sequence[Verb]:
        may_start = request.user.has_perms([Permission.EXECUTION_START, Permission.EXECUTION_VIEW])
        if live is None or not may_start:
            return []
        url = reverse("admin:executions_execution_start", args=[workflow.pk])
        return [Verb(title="Start", icon="play_arrow", url=url)]

    def panels(self, request: HttpRequest, workflow: Workflow) -> Sequence[Panel]:
        if not request.user.has_perm(Permission.EXECUTION_VIEW):
            return []
        rows = Execution.objects.roots().filter(workflow=workflow).select_related("version")
        latest = rows.defer("input", "output", "variables").order_by("-pk")[:SHOWN]
        context = {"rows": list(latest), "slug": workflow.slug}
        return [Panel("executions/latest.html", context)]
