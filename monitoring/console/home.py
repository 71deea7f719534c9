"""The home page of the console: what needs me?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.conf import settings
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from autopilot.accounts.actors import Actor, actor_of
from autopilot.accounts.roles import Permission
from autopilot.common import clock
from autopilot.common.admin_base import Crumb
from autopilot.common.templatetags.console import ago, moment, since
from autopilot.common.words import count_words, plural
from executions.console.approvals import MANY as MANY_APPROVALS
from executions.console.approvals import count_waiting
from executions.console.rollout_view import STOP_IS_NEWS
from executions.events import records
from executions.models import Approval, Execution, Hold, Worker
from executions.querysets import ExecutionQuerySet
from monitoring.console import overview
from monitoring.console.overview import MANY, Failing, Queue
from workflows.console.panels import Activity
from workflows.models import Rollout, Workflow

SHOWN_FAILING = 8
SHOWN_BUSIEST = 8
SHOWN_STOPPED = 4
APPROVALS_SEEN = 200
# Few enough to be counted in words, as people do.
_NUMBERS = ("Nothing", "One thing", "Two things", "Three things", "Four things", "Five things")


@dataclass(frozen=True, slots=True)
class Need:
    """One thing that somebody should look at. state: the color it has."""

    state: str
    icon: str
    sentence: SafeString


def dashboard(request: HttpRequest, context: dict[str, Any]) -> dict[str, Any]:
    """Unfold's hook: everything the home page shows, as far as this person may see it."""
    actor = actor_of(request.user, request)
    sees_executions = actor.may(Permission.EXECUTION_VIEW)
    sees_workflows = actor.may(Permission.WORKFLOW_VIEW)
    context |= {
        "title": "Home",
        "crumbs": [Crumb("Home")],
        "sees_executions": sees_executions,
        "sees_anything": sees_executions or sees_workflows or actor.may(Permission.USER_MANAGE),
        "may_edit": actor.may(Permission.WORKFLOW_EDIT),
        "approval_needs": _approval_needs(actor),
    }
    if sees_executions:
        context |= _operations(actor, request, context["approval_needs"])
    return context


def _operations(actor: Actor, request: HttpRequest, first: list[Need]) -> dict[str, Any]:
    here = records.here()
    now = clock.now()
    visible = Execution.objects.visible_to(actor)
    day = overview.last_day(now)
    failing = overview.failing(now)
    workers = overview.workers()
    queues = overview.queues(now, workers, list(settings.AUTOPILOT_QUEUES))
    busiest = sorted(day.by_workflow.items(), key=lambda item: -sum(item[1].values()))
    holds = overview.holds(now)
    held = [hold.queue for hold in holds if hold.queue and hold.mode == Hold.Mode.ALL]
    names = _names(
        actor,
        [one.workflow_id for one in failing[:SHOWN_FAILING]]
        + [key for key, _ in busiest[:SHOWN_BUSIEST]],
    )
    needs = [
        *first,
        *_failing_needs(failing, names),
        *_stopped_needs(actor, now),
        *_worker_needs(visible, workers, queues, actor),
        *_held_needs(holds, actor),
        *_late_needs(*overview.late(visible, now, held), queues),
        *_abandoned_needs(overview.abandoned(visible)),
        *_paused_needs(actor),
    ]
    shown = {
        "here": here,
        "needs": needs,
        "headline": _headline(len(needs)),
        "day": day,
        "counts": day.counts,
        "started": day.counts.total(),
        "under_way": _under_way(day.counts),
        "busiest": [
            (names[key], Activity(counts=counts))
            for key, counts in busiest[:SHOWN_BUSIEST]
            if key in names
        ],
        "workers": workers if actor.may(Permission.MONITORING_VIEW) else None,
        "queues": queues,
        "now": now,
    }
    if day.by_workflow or overview.anything_ran():
        return shown | {"anything_ran": True}
    return shown | {
        "sample": Workflow.objects.filter(slug="first-steps").first(),
        "has_workflows": Workflow.objects.exists(),
    }


def _names(actor: Actor, keys: list[int]) -> dict[int, Workflow]:
    return Workflow.objects.visible_to(actor).in_bulk(set(keys))


def _under_way(counts: dict[str, int]) -> int:
    ended = ("completed", "failed", "cancelled")
    return sum(count for state, count in counts.items() if state not in ended)


def _headline(count: int) -> str:
    if count < len(_NUMBERS):
        verb = "needs" if count <= 1 else "need"
        return f"{_NUMBERS[count]} {verb} you{' right now' if count == 0 else ''}."
    return f"{count} things need you."


def _approval_needs(actor: Actor) -> list[Need]:
    """Questions that await this person's word: home's first question."""
    count = count_waiting(actor)
    if not count:
        return []
    rows = Approval.objects.decidable_by(actor)
    # Only the newest are looked at, however many there are.
    newest = rows.order_by("-pk").values("expires_at")[:APPROVALS_SEEN]
    due = min((row["expires_at"] for row in newest if row["expires_at"]), default=None)
    sentence = format_html(
        '<a href="{}">{} {}</a> for your decision{}.',
        reverse("admin:executions_approval_changelist"),
        count_words(count, MANY_APPROVALS),
        "approval waits" if count == 1 else "approvals wait",
        format_html("; the next is due {}", ago(due)) if due else "",
    )
    return [Need("waiting", "approval", sentence)]


def _failing_needs(failing: Sequence[Failing], names: dict[int, Workflow]) -> list[Need]:
    needs = []
    for one in failing[:SHOWN_FAILING]:
        workflow = names.get(one.workflow_id)
        if workflow is None:
            continue
        link = f"{_executions()}?state=failed&workflow={workflow.slug}"
        others = f" and {plural(len(one.codes) - 1, 'other code')}" if len(one.codes) > 1 else ""
        sentence = format_html(
            '<a href="{}">{} of {}</a> failed in the last 24 hours, the last {}, '
            "with <code>{}</code>{}.",
            link,
            plural(one.count, "execution"),
            workflow.name,
            ago(one.last_at),
            one.most_common,
            others,
        )
        needs.append(Need("failed", "error", sentence))
    more = len(failing) - SHOWN_FAILING
    if more > 0:
        sentence = format_html(
            '<a href="{}?state=failed&span=24h">{}</a> had failures too.',
            _executions(),
            plural(more, "other workflow"),
        )
        needs.append(Need("failed", "error", sentence))
    return needs


def _stopped_needs(actor: Actor, now: datetime) -> list[Need]:
    """Rollouts that stopped themselves, and nothing was published or rolled out since."""
    rows = Rollout.objects.visible_to(actor).stopped_since(now - STOP_IS_NEWS)
    rows = rows.select_related("workflow", "candidate", "baseline").order_by("-ended_at")
    found = list(rows[: SHOWN_STOPPED + 1])
    needs = []
    for one in found[:SHOWN_STOPPED]:
        sentence = format_html(
            '<a href="{}">The rollout of {} {}</a> was stopped by itself {}: {} '
            "Every start takes {} again.",
            reverse("admin:workflows_rollout_change", args=[one.pk]),
            one.workflow.name,
            one.candidate.version,
            ago(one.ended_at),
            one.stop_reason,  # type: ignore[attr-defined]
            one.baseline.version,
        )
        needs.append(Need("failed", "gpp_bad", sentence))
    if len(found) > SHOWN_STOPPED:
        url = reverse("admin:workflows_rollout_changelist")
        sentence = format_html('<a href="{}">More rollouts</a> were stopped by themselves.', url)
        needs.append(Need("failed", "gpp_bad", sentence))
    return needs


def _worker_needs(
    visible: ExecutionQuerySet, workers: Sequence[Worker], queues: Sequence[Queue], actor: Actor
) -> list[Need]:
    """Nobody to do the work: of a queue in which something is ready, or at all."""
    if not workers:
        count = overview.bounded(overview.unfinished(visible))
        if not count:
            return []
        sentence = format_html(
            "No worker is running, so nothing moves: {} {} not ended. Start one with "
            "<code>manage.py worker</code>.",
            count_words(count, MANY),
            "execution has" if count == 1 else "executions have",
        )
        return [Need("waiting", "engineering", sentence)]
    return [
        Need(
            "waiting",
            "engineering",
            format_html(
                "No worker serves {}, where {} ready for {}. Start one with "
                "<code>manage.py worker</code>.",
                _queue_words(queue.name, actor),
                _ready_words(queue),
                since(queue.oldest),
            ),
        )
        for queue in _unserved(queues)
    ]


def _queue_words(name: str, actor: Actor) -> SafeString:
    """The queue, with a link for those who may see how queues are doing."""
    if not actor.may(Permission.MONITORING_VIEW):
        return format_html("the queue “{}”", name)
    url = reverse("admin:executions_hold_changelist")
    return format_html('<a href="{}#queue-{}">the queue “{}”</a>', url, name, name)


def _held_needs(holds: Sequence[Hold], actor: Actor) -> list[Need]:
    """What is switched off; who forgets it wonders why nothing moves."""
    needs = []
    for hold in holds:
        if hold.workflow is None:
            what = _queue_words(hold.queue, actor)
        elif actor.may(Permission.WORKFLOW_VIEW):
            url = reverse("admin:workflows_workflow_change", args=[hold.workflow_id])
            what = format_html('the workflow <a href="{}">{}</a>', url, hold.workflow.name)
        else:
            continue
        sentence = format_html(
            "{} {} {}: paused by {} {}{}.",
            "Nothing runs of" if hold.mode == Hold.Mode.ALL else "Nothing new is accepted of",
            what,
            format_html("until {}", moment(hold.until)) if hold.until else "until it is resumed",
            hold.actor,
            ago(hold.created_at),
            f", because: {hold.reason.rstrip('.')}" if hold.reason else "",
        )
        needs.append(Need("paused", "pause_circle", sentence))
    return needs


def _unserved(queues: Sequence[Queue]) -> list[Queue]:
    return [queue for queue in queues if queue.ready and not queue.workers]


def _late_needs(late: int, late_items: int, queues: Sequence[Queue]) -> list[Need]:
    if not (late or late_items) or _unserved(queues):
        return []
    words = "execution" if late == 1 else "executions"
    said = [
        format_html(
            '<a href="{}?only=late">{} {}</a>', _executions(), count_words(late, MANY), words
        )
    ]
    if late_items:
        items = format_html("{} {}", count_words(late_items, MANY), _items_word(late_items))
        said = [*(said if late else []), items]
    sentence = format_html(
        "{} {} ready for more than a minute, and no worker has taken {}: more workers would help.",
        format_html_join(" and ", "{}", ((each,) for each in said)),
        "is" if late + late_items == 1 else "are",
        "it" if late + late_items == 1 else "them",
    )
    return [Need("waiting", "schedule", sentence)]


def _items_word(count: int) -> str:
    return "item or branch" if count == 1 else "items and branches"


def _ready_words(queue: Queue) -> str:
    """`3 executions and 950 items and branches are`: what waits in a queue, with its verb."""
    roots = queue.ready - queue.items
    said = [plural(roots, "execution")] if roots else []
    if queue.items:
        said.append(f"{queue.items:,} {_items_word(queue.items)}")
    return f"{' and '.join(said)} {'is' if queue.ready == 1 else 'are'}"


def _abandoned_needs(count: int) -> list[Need]:
    if not count:
        return []
    sentence = format_html(
        "{} {} to a worker that is gone; any running worker frees {} within seconds.",
        count_words(count, MANY),
        "execution belongs" if count == 1 else "executions belong",
        "it" if count == 1 else "them",
    )
    return [Need("waiting", "person_off", sentence)]


def _paused_needs(actor: Actor) -> list[Need]:
    rows = overview.paused(Execution.objects.visible_to(actor))
    count = overview.bounded(rows)
    if not count:
        return []
    if count == 1:
        one = rows.select_related("workflow").first()
        if one is None:
            return []
        url = reverse("admin:executions_execution_change", args=[one.pk])
        sentence = format_html(
            '<a href="{}">Execution {}</a> of {} has been paused {}.',
            url,
            one.pk,
            one.workflow.name,
            _since(one),
        )
    else:
        sentence = format_html(
            '<a href="{}?state=paused">{} executions</a> are paused and go on when somebody '
            "resumes them.",
            _executions(),
            count_words(count, MANY),
        )
    return [Need("paused", "pause_circle", sentence)]


def _since(execution: Execution) -> SafeString | str:
    if execution.paused_at is None:
        return ""
    return format_html("for {}", since(execution.paused_at))


def _executions() -> str:
    return reverse("admin:executions_execution_changelist")
