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
from executions.console.keys import keys_of
from executions.console.rollout_view import MAY_DECIDE, STOP_IS_NEWS, view_of
from executions.console.switches import MODE_WORDS, hold_of
from executions.holding import live_holds
from executions.models import Execution, Hold
from workflows.console.panels import Activity, Mark, Panel, Verb
from workflows.models import Rollout, Workflow, WorkflowVersion
from workflows.versioning.states import VersionState

DAY = timedelta(hours=24)
# The bar of one workflow looks at no more than this many of its newest executions.
NEWEST = 200
SHOWN = 10
# What the pages of `executions.console.switches` ask for.
MAY_SWITCH = (Permission.MONITORING_VIEW, Permission.LIMITS_MANAGE)

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
        user = request.user
        hold = hold_of(workflow)
        verbs = []
        if user.has_perms(MAY_SWITCH):
            name = "resume" if hold else "pause"
            url = reverse(f"admin:executions_hold_{name}_workflow", args=[workflow.pk])
            verbs.append(Verb(name.capitalize(), name, url, is_primary=hold is not None))
        if live is not None and user.has_perms(MAY_DECIDE) and _has_candidate(workflow, live):
            url = reverse("admin:workflows_rollout_begin", args=[workflow.pk])
            verbs.append(Verb("Roll out", "call_split", url, is_primary=False))
        may_start = user.has_perms([Permission.EXECUTION_START, Permission.EXECUTION_VIEW])
        takes_starts = hold is None or hold.mode != Hold.Mode.STARTS
        if live is not None and may_start and takes_starts:
            url = reverse("admin:executions_execution_start", args=[workflow.pk])
            verbs.append(Verb("Start", "play_arrow", url, is_primary=hold is None))
        return verbs

    def panels(self, request: HttpRequest, workflow: Workflow) -> Sequence[Panel]:
        if not request.user.has_perm(Permission.EXECUTION_VIEW):
            return []
        rows = Execution.objects.roots().filter(workflow=workflow).select_related("version")
        latest = rows.defer("input", "output", "variables").order_by("-pk")[:SHOWN]
        context = {"rows": list(latest), "slug": workflow.slug}
        panels = [
            *self._notices(request, workflow),
            *_rollout(request, workflow),
            Panel("executions/latest.html", context),
        ]
        keys = keys_of(workflow)
        if keys.shown:
            panels.append(Panel("executions/keys.html", {"keys": keys}))
        return panels

    def _notices(self, request: HttpRequest, workflow: Workflow) -> Sequence[Panel]:
        hold = hold_of(workflow)
        if hold is None:
            return []
        url = reverse("admin:executions_hold_pause_workflow", args=[workflow.pk])
        context = {
            "hold": hold,
            "words": MODE_WORDS[hold.mode],
            "change_url": url if request.user.has_perms(MAY_SWITCH) else "",
        }
        return [Panel("switches/notice.html", context, is_notice=True)]

    def marks(self, request: HttpRequest, workflows: Sequence[Workflow]) -> Mapping[int, Mark]:
        if not workflows or not request.user.has_perm(Permission.EXECUTION_VIEW):
            return {}
        holds = live_holds(clock.now()).filter(workflow__in=workflows)
        return {
            hold.workflow_id: Mark("paused", f"paused: {MODE_WORDS[hold.mode].lower()}")
            for hold in holds
            if hold.workflow_id
        }


def _has_candidate(workflow: Workflow, live: WorkflowVersion) -> bool:
    """Whether there is a version to roll out, and no rollout under way."""
    if Rollout.objects.active().filter(workflow=workflow).exists():
        return False
    others = workflow.versions.exclude(pk=live.pk).exclude(state=VersionState.ARCHIVED)
    return others.exists()


def _rollout(request: HttpRequest, workflow: Workflow) -> Sequence[Panel]:
    """The rollout that is under way, or that the last one was stopped."""
    rows = Rollout.objects.filter(workflow=workflow).order_by("-pk")
    last = rows.select_related("workflow", "candidate", "baseline").first()
    if last is None:
        return []
    if last.is_active:
        view = view_of(last, may_decide=request.user.has_perms(MAY_DECIDE))
        return [Panel("rollouts/panel.html", {"view": view})]
    stopped = rows.stopped_since(clock.now() - STOP_IS_NEWS)
    found = stopped.select_related("candidate", "baseline").first()
    if found is None:
        return []
    return [Panel("rollouts/stopped.html", {"rollout": found}, is_notice=True)]
