"""Switching workflows and queues off and on in the console, and how the queues are doing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC
from typing import Any

from django import forms
from django.conf import settings
from django.contrib import messages
from django.http import HttpRequest, HttpResponseRedirect
from django.http.response import HttpResponseBase
from django.urls import URLPattern, reverse

from autopilot.accounts.actors import Actor, actor_of
from autopilot.accounts.roles import Permission
from autopilot.common import clock
from autopilot.common.admin_base import Crumb, PageAdmin, attempt, found
from autopilot.common.errors import DomainError, NotFound
from executions import holding
from executions.asking import MAX_REASON_CHARS
from executions.engine.states import ACTIVE, State
from executions.holding import live_holds
from executions.models import Execution, Hold, Kind
from executions.queues import queue_states
from executions.reads import StateCount, state_counts
from workflows.models import Workflow

MODE_WORDS = {Hold.Mode.STARTS.value: "No new starts", Hold.Mode.ALL.value: "Nothing runs"}
MAX_WORKFLOWS = 100
COUNTED = 1_000
# The order in which what is under way is told.
_TOLD = {
    State.RUNNING: ("is running", "are running"),
    State.RESUMED: ("is about to go on", "are about to go on"),
    State.WAITING: ("waits", "wait"),
    State.INITIALIZED: ("has not begun", "have not begun"),
    State.PAUSED: ("is paused by itself", "are paused by themselves"),
}


class PauseForm(forms.Form):
    """How, why, and until when; the moment is in UTC."""

    mode = forms.ChoiceField(
        choices=list(MODE_WORDS.items()),
        error_messages=dict.fromkeys(("required", "invalid_choice"), "Choose one of the two."),
    )
    until = forms.DateTimeField(
        required=False, error_messages={"invalid": "A moment such as 2030-01-31T12:00 is expected."}
    )
    reason = forms.CharField(
        required=False,
        max_length=MAX_REASON_CHARS,
        error_messages={"max_length": f"At most {MAX_REASON_CHARS} characters are kept."},
    )

    def add_refusal(self, refused: DomainError) -> None:
        """Show what the service refused, next to the fields that it is about."""
        for problem in refused.details:
            name = problem.path.removeprefix("$.")
            self.add_error(name if name in self.fields else None, problem.message)
        if not refused.details:
            self.add_error(None, refused.message)


@dataclass(frozen=True, slots=True)
class Switch:
    """One thing that can be switched off: a workflow or a queue, with what is done to it."""

    name: str
    back: str
    crumbs: tuple[Crumb, ...]
    mode: str
    hold: Hold | None
    counts: dict[str, StateCount]
    pause: Callable[..., Any]
    resume: Callable[..., Any]

    @property
    def now_words(self) -> str:
        """`Now 2 of its executions are running and 31 wait.`"""
        told = []
        for state, (one, many) in _TOLD.items():
            count = self.counts[state.value]
            if count.count:
                number = f"{count.count:,}{'+' if count.is_capped else ''}"
                told.append(f"{number} {one if count.count == 1 else many}")
        if not told:
            return "None of its executions is under way now."
        *first, last = told
        return f"Now, of its executions, {', '.join(first)}{' and ' if first else ''}{last}."


def hold_of(workflow: Workflow) -> Hold | None:
    """How the workflow is switched off now; None = it is on."""
    return live_holds(clock.now()).filter(workflow=workflow).first()


class HoldAdmin(PageAdmin):
    """Queues, and what is switched off. Rows are changed by `executions.holding` only."""

    permission = Permission.MONITORING_VIEW

    def pages(self) -> Sequence[URLPattern]:
        manage = Permission.LIMITS_MANAGE
        of_workflow = (manage, Permission.WORKFLOW_VIEW)
        return [
            self.page("", "changelist", self.queues_page),
            self.page("queues/<str:queue>/pause/", "pause_queue", self.pause, permission=manage),
            self.page("queues/<str:queue>/resume/", "resume_queue", self.resume, permission=manage),
            self.page(
                "workflows/<int:pk>/pause/", "pause_workflow", self.pause, permission=of_workflow
            ),
            self.page(
                "workflows/<int:pk>/resume/", "resume_workflow", self.resume, permission=of_workflow
            ),
        ]

    def queues_page(self, request: HttpRequest) -> HttpResponseBase:
        """Every queue: what waits, since when, who serves it, whether it is paused."""
        queues = queue_states()
        workflows = live_holds(clock.now()).filter(workflow__isnull=False).order_by("-pk")
        shown: list[Hold] = []
        if request.user.has_perm(Permission.WORKFLOW_VIEW):
            shown = list(workflows.select_related("workflow")[: MAX_WORKFLOWS + 1])
        return self.render(
            request,
            "switches/queues.html",
            title="Queues",
            queues=[(each, _mode_words(each.hold)) for each in queues],
            lead=_lead(queues),
            workflows=[(each, _mode_words(each)) for each in shown[:MAX_WORKFLOWS]],
            has_more=len(shown) > MAX_WORKFLOWS,
            may_manage=request.user.has_perm(Permission.LIMITS_MANAGE),
        )

    def pause(self, request: HttpRequest, *, pk: int = 0, queue: str = "") -> HttpResponseBase:
        """What it would do, then how, why and until when; does it on POST."""
        switch = self._switch(request, pk, queue)
        sent = request.POST if request.method == "POST" else None
        form = PauseForm(sent, initial=_initial(switch))
        if form.is_valid():
            given = dict(form.cleaned_data)
            if given["until"] is not None:
                given["until"] = given["until"].astimezone(UTC)
            try:
                switch.pause(actor=actor_of(request.user, request), **given)
            except DomainError as error:
                if error.status in {401, 403} or isinstance(error, NotFound):
                    raise
                form.add_refusal(error)
            else:
                messages.success(request, f"Paused {switch.name}.")
                return HttpResponseRedirect(switch.back)
        return self.render(
            request,
            "switches/pause.html",
            status=400 if form.errors else 200,
            title="Pause",
            crumbs=switch.crumbs,
            switch=switch,
            form=form,
            hold_words=_mode_words(switch.hold),
        )

    def resume(self, request: HttpRequest, *, pk: int = 0, queue: str = "") -> HttpResponseBase:
        """What goes on then; does it on POST."""
        switch = self._switch(request, pk, queue)

        def work() -> None:
            switch.resume(actor=actor_of(request.user, request))

        if request.method == "POST":
            attempt(request, work, done=f"Resumed {switch.name}.")
            return HttpResponseRedirect(switch.back)
        if switch.hold is None:
            messages.info(request, f"It is not paused any more: {switch.name}.")
            return HttpResponseRedirect(switch.back)
        return self.render(
            request,
            "switches/resume.html",
            title="Resume",
            crumbs=switch.crumbs,
            switch=switch,
            hold=switch.hold,
            hold_words=_mode_words(switch.hold),
        )

    def _switch(self, request: HttpRequest, pk: int, queue: str) -> Switch:
        actor = actor_of(request.user, request)
        return self._queue(queue) if queue else self._workflow(actor, pk)

    def _queue(self, queue: str) -> Switch:
        name: str = found(queue if queue in settings.AUTOPILOT_QUEUES else None)
        back = self.url("changelist")
        return Switch(
            name=f"the queue {name}",
            back=back,
            crumbs=(Crumb("Queues", back),),
            mode=Hold.Mode.ALL,
            hold=live_holds(clock.now()).filter(queue=name).first(),
            counts=_under_way(queue=name),
            pause=lambda **given: holding.pause_queue(queue=name, **given),
            resume=lambda **given: holding.resume_queue(queue=name, **given),
        )

    def _workflow(self, actor: Actor, pk: int) -> Switch:
        rows = Workflow.objects.visible_to(actor)
        workflow: Workflow = found(rows.filter(pk=pk).first() if pk < 2**63 else None)
        back = reverse("admin:workflows_workflow_change", args=[pk])
        return Switch(
            name=f"the workflow {workflow.name}",
            back=back,
            crumbs=(
                Crumb("Workflows", reverse("admin:workflows_workflow_changelist")),
                Crumb(workflow.name, back),
            ),
            mode=Hold.Mode.STARTS,
            hold=hold_of(workflow),
            counts=_under_way(workflow=workflow),
            pause=lambda **given: holding.pause_workflow(workflow=workflow, **given),
            resume=lambda **given: holding.resume_workflow(workflow=workflow, **given),
        )


def _under_way(**of: Any) -> dict[str, StateCount]:
    """What is under way, each with all its items and branches counted as one."""
    rows = Execution.objects.filter(kind__in=[Kind.ROOT, Kind.CHILD], **of)
    return state_counts(rows, cap=COUNTED, among=ACTIVE)


def _initial(switch: Switch) -> dict[str, Any]:
    """What is said now, to be changed; else what the API takes when nothing is said."""
    hold = switch.hold
    if hold is None:
        return {"mode": switch.mode}
    until = f"{hold.until.astimezone(UTC):%Y-%m-%dT%H:%M:%S}" if hold.until else ""
    return {"mode": hold.mode, "reason": hold.reason, "until": until}


def _mode_words(hold: Hold | None) -> str:
    return MODE_WORDS[hold.mode] if hold else ""


def _lead(queues: Sequence[Any]) -> str:
    """The answer before the table: does everything that waits have somebody to do it?"""
    paused = [each.name for each in queues if each.hold]
    alone = [each.name for each in queues if each.ready and not each.workers and not each.hold]
    said = []
    if alone:
        queue = "the queue" if len(alone) == 1 else "any of the queues"
        said.append(f"No worker serves {queue} {', '.join(alone)}, where executions wait.")
    if paused:
        queue, are = ("queue", "is") if len(paused) == 1 else ("queues", "are")
        said.append(f"The {queue} {', '.join(paused)} {are} paused.")
    return " ".join(said) or "Nothing is paused, and whatever waits has workers that serve it."
