"""Rollouts in the console: begin one, look at it, raise its percentage, promote it, end it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from django.contrib import messages
from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponseRedirect
from django.http.response import HttpResponseBase
from django.urls import URLPattern, reverse

from autopilot.accounts.actors import Actor, actor_of
from autopilot.accounts.roles import Permission
from autopilot.common.admin_base import Crumb, PageAdmin, found
from autopilot.common.errors import DomainError, NotFound
from executions.console.rollout_forms import PercentForm, RolloutForm, initial
from executions.console.rollout_view import COLORS, MAY_DECIDE, MAY_LOOK, WORDS, view_of
from executions.rollouts import preview_rollback
from workflows import rollouts
from workflows.errors import VersionTooSmall
from workflows.models import Rollout, Workflow, WorkflowVersion
from workflows.rollout_words import percent_words, route_words
from workflows.rollouts import active_rollout
from workflows.versioning.states import VersionState

PER_PAGE = 50
MAX_VERSIONS = 50


@dataclass(frozen=True, slots=True)
class Verb:
    """What can be decided about a rollout; `work` does it and answers what is said then."""

    title: str
    icon: str
    button: str
    is_danger: bool
    consequences: Callable[[Rollout], Sequence[str]]
    work: Callable[[Rollout, Actor, PercentForm], str]


def _set(rollout: Rollout, actor: Actor, form: PercentForm) -> str:
    reason = form.cleaned_data["reason"]
    changed = rollouts.set_percentage(
        rollout=rollout, actor=actor, percent=form.number, reason=reason
    )
    return route_words(changed)


def _promote(rollout: Rollout, actor: Actor, form: PercentForm) -> str:
    reason = form.cleaned_data["reason"]
    rollouts.promote_rollout(rollout=rollout, actor=actor, reason=reason)
    return f"Version {rollout.candidate.version} is live: every start takes it."


def _roll_back(rollout: Rollout, actor: Actor, form: PercentForm) -> str:
    reason = form.cleaned_data["reason"]
    rollouts.rollback_rollout(rollout=rollout, actor=actor, reason=reason)
    return preview_rollback(rollout).sentence


def _of_percentage(rollout: Rollout) -> Sequence[str]:
    return (
        "It holds from the next start on.",
        "With a higher percentage everybody who takes "
        f"{rollout.candidate.version} now goes on taking it; with a lower one some don't.",
        "What runs goes on with the version it has.",
    )


def _of_promotion(rollout: Rollout) -> Sequence[str]:
    candidate, baseline = rollout.candidate, rollout.baseline
    kept = "can still be started by its number"
    if baseline.number > candidate.number:
        kept = f"is deprecated, for the highest version is live: it {kept}"
    return (
        f"Every start takes {candidate.version} from now on.",
        f"{baseline.version} {kept}.",
        "What runs goes on with the version it has.",
        "Nothing watches its failures any more.",
    )


def _of_rollback(rollout: Rollout) -> Sequence[str]:
    found = preview_rollback(rollout)
    version = rollout.candidate.version
    fate = (
        f"{version} is deprecated: it starts only for those who ask for this number."
        if found.deprecates
        else f"{version} stays published, as it was before the rollout."
    )
    return (found.sentence, fate)


VERBS = {
    "percentage": Verb(
        "Change the percentage", "percent", "Change it", False, _of_percentage, _set
    ),
    "promote": Verb("Promote", "verified", "Promote it", False, _of_promotion, _promote),
    "rollback": Verb("Roll back", "undo", "Roll it back", True, _of_rollback, _roll_back),
}


class RolloutAdmin(PageAdmin):
    """Versions on their way. Rows are changed by `workflows.rollouts` only."""

    permission = Permission.WORKFLOW_VIEW

    def pages(self) -> Sequence[URLPattern]:
        return [
            self.page("", "changelist", self.list_page, permission=MAY_LOOK),
            self.page("add/<int:pk>/", "begin", self.begin_page, permission=MAY_DECIDE),
            self.page("<int:pk>/", "change", self.rollout_page, permission=MAY_LOOK),
            self.page("<int:pk>/<slug:verb>/", "verb", self.verb_page, permission=MAY_DECIDE),
        ]

    def list_page(self, request: HttpRequest) -> HttpResponseBase:
        """Every rollout, the newest first; of one workflow if the address names it."""
        rows = Rollout.objects.visible_to(actor_of(request.user, request))
        slug = request.GET.get("workflow", "").strip()[:200]
        if slug:
            rows = rows.filter(workflow__slug=slug)
        rows = rows.select_related("workflow", "candidate", "baseline").order_by("-pk")
        page = Paginator(rows, PER_PAGE).get_page(request.GET.get("page"))
        return self.render(
            request,
            "rollouts/list.html",
            title="Rollouts",
            page=page,
            slug=slug,
            rows=[
                (row, COLORS[row.state], WORDS[row.state], percent_words(row.percent))
                for row in page.object_list
            ],
        )

    def rollout_page(self, request: HttpRequest, *, pk: int) -> HttpResponseBase:
        """One rollout: is it doing well, and what was decided?"""
        rollout = self._rollout(request, pk)
        view = view_of(rollout, may_decide=request.user.has_perms(MAY_DECIDE))
        return self.render(
            request,
            "rollouts/rollout.html",
            title=f"Rollout of {rollout.candidate.version}",
            crumbs=_way_to(rollout.workflow),
            view=view,
            rollout=rollout,
        )

    def verb_page(self, request: HttpRequest, *, pk: int, verb: str) -> HttpResponseBase:
        """What it would do; does it on POST."""
        asked = found(VERBS.get(verb))
        rollout = self._rollout(request, pk)
        back = reverse("admin:workflows_workflow_change", args=[rollout.workflow_id])
        if request.method != "POST" and not rollout.is_active:
            messages.info(request, f"The rollout has ended: it was {WORDS[rollout.state]}.")
            return HttpResponseRedirect(self.url("change", pk))
        sent = request.POST if request.method == "POST" else None
        form = PercentForm(sent, initial={"percent": f"{rollout.percent.normalize():f}"})
        if form.is_valid():
            try:
                said = asked.work(rollout, actor_of(request.user, request), form)
            except DomainError as error:
                if error.status in {401, 403} or isinstance(error, NotFound):
                    raise
                form.add_refusal(error)
            else:
                messages.success(request, said)
                return HttpResponseRedirect(back)
        return self.render(
            request,
            "rollouts/ask.html",
            status=400 if form.errors else 200,
            title=asked.title,
            crumbs=[
                *_way_to(rollout.workflow),
                Crumb(f"Rollout of {rollout.candidate.version}", self.url("change", pk)),
            ],
            rollout=rollout,
            verb=asked,
            is_percentage=verb == "percentage",
            sentence=route_words(rollout) if rollout.is_active else "",
            consequences=asked.consequences(rollout),
            form=form,
            back=back,
        )

    def begin_page(self, request: HttpRequest, *, pk: int) -> HttpResponseBase:
        """Which version, to how many, when it is stopped; begins it on POST."""
        actor = actor_of(request.user, request)
        workflow = found(Workflow.objects.visible_to(actor).filter(pk=pk).first())
        back = reverse("admin:workflows_workflow_change", args=[pk])
        live = workflow.versions.established().highest_first().first()
        versions = candidates_of(workflow, live)
        refusal = _no_way(workflow, live, versions)
        if refusal:
            messages.error(request, refusal)
            return HttpResponseRedirect(back)
        form = RolloutForm(request.POST or None, initial=initial(_likely(versions)))
        too_small = False
        if request.method == "POST" and form.is_valid():
            try:
                begun = rollouts.start_rollout(
                    workflow=workflow, actor=actor, **form.arguments(versions)
                )
            except DomainError as error:
                if error.status in {401, 403}:
                    raise
                too_small = isinstance(error, VersionTooSmall)
                form.add_refusal(error)
            else:
                messages.success(request, route_words(begun))
                return HttpResponseRedirect(back)
        may_override = request.user.has_perm(Permission.WORKFLOW_OVERRIDE_GUARD)
        return self.render(
            request,
            "rollouts/begin.html",
            status=400 if form.errors else 200,
            title="Roll out",
            crumbs=_way_to(workflow),
            workflow=workflow,
            live=live,
            versions=versions,
            has_draft=any(row.is_draft for row in versions),
            asks_override=may_override and (too_small or bool(form["override_reason"].value())),
            form=form,
            back=back,
        )

    def _rollout(self, request: HttpRequest, pk: int) -> Rollout:
        rows = Rollout.objects.visible_to(actor_of(request.user, request))
        rows = rows.select_related("workflow", "candidate", "baseline")
        return found(rows.filter(pk=pk).first() if pk < 2**63 else None)


def candidates_of(workflow: Workflow, live: WorkflowVersion | None) -> list[WorkflowVersion]:
    """What could be rolled out in place of the live version."""
    rows = workflow.versions.exclude(state=VersionState.ARCHIVED).highest_first()
    if live is not None:
        rows = rows.exclude(pk=live.pk)
    return list(rows.defer("definition")[:MAX_VERSIONS])


def _likely(versions: Sequence[WorkflowVersion]) -> WorkflowVersion:
    return next((row for row in versions if row.is_draft), versions[0])


def _no_way(
    workflow: Workflow, live: WorkflowVersion | None, versions: Sequence[WorkflowVersion]
) -> str:
    """Why nothing can be rolled out now; empty if something can."""
    if live is None:
        return "Nothing is live that the others could take: publish a first version."
    running = active_rollout(workflow)
    if running is not None:
        return f"The rollout of {running.candidate.version} is under way: end it first."
    return "" if versions else "There is no other version: write one first."


def _way_to(workflow: Workflow) -> list[Crumb]:
    return [
        Crumb("Workflows", reverse("admin:workflows_workflow_changelist")),
        Crumb(workflow.name, reverse("admin:workflows_workflow_change", args=[workflow.pk])),
    ]


__all__ = ["RolloutAdmin", "candidates_of"]
