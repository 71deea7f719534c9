"""Workflows in the console: the list, a workflow's page, its versions."""

from __future__ import annotations

from collections.abc import Sequence

from django.contrib import admin
from django.core.paginator import Paginator
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.urls import URLPattern

from autopilot.accounts.actors import actor_of
from autopilot.accounts.roles import Permission
from autopilot.common.admin_base import Crumb, PageAdmin, found
from workflows.console import panels
from workflows.console.comparing import ComparingPages
from workflows.console.drawing import drawing_of
from workflows.console.editing import EditingPages
from workflows.console.editor import EditorPages
from workflows.console.files import FilesPages
from workflows.console.forms import arranged
from workflows.console.health import health_sentence
from workflows.console.outline import read_lines
from workflows.console.publishing import PublishingPages, moves_of
from workflows.models import Workflow, WorkflowVersion
from workflows.reviewing import REVIEWS, review_state
from workflows.versioning.states import VersionState

PER_PAGE = 50
SHOWN_VERSIONS = 50


@admin.register(Workflow)
class WorkflowAdmin(
    EditorPages, EditingPages, PublishingPages, ComparingPages, FilesPages, PageAdmin
):
    """What can run. Rows are changed by `workflows.services` only."""

    permission = Permission.WORKFLOW_VIEW

    def pages(self) -> Sequence[URLPattern]:
        return [
            self.page("", "changelist", self.list_page),
            *self.editor_pages(),
            *self.editing_pages(),
            *self.publishing_pages(),
            *self.comparing_pages(),
            *self.files_pages(),
            self.page("<int:pk>/", "change", self.workflow_page),
            self.page("<int:pk>/versions/<str:number>/", "version", self.version_page),
        ]

    def list_page(self, request: HttpRequest) -> HttpResponseBase:
        """Every workflow: which version is live, and how its last day was."""
        text = request.GET.get("q", "").strip()[:200]
        label = request.GET.get("label", "").strip()[:200]
        rows = Workflow.objects.visible_to(actor_of(request.user, request)).search(text)
        if label:
            key, has_value, value = label.partition("=")
            rows = rows.labelled(key, value if has_value else None)
        rows = rows.with_live_version().select_related("created_by").order_by("name", "id")
        page = Paginator(rows, PER_PAGE).get_page(request.GET.get("page"))
        workflows = list(page.object_list)
        activity = panels.activity_of(request, workflows)
        marks = panels.marks_of(request, workflows)
        return self.render(
            request,
            "workflows/list.html",
            title="Workflows",
            page=page,
            rows=[
                (row, activity.get(row.pk, panels.Activity()), marks.get(row.pk))
                for row in workflows
            ],
            query=text,
            label=label,
            is_filtered=bool(text or label),
            may_edit=self.may(request, Permission.WORKFLOW_EDIT),
        )

    def workflow_page(self, request: HttpRequest, *, pk: int) -> HttpResponseBase:
        """One workflow: is it healthy, and which version is live?"""
        workflow = self.workflow(request, pk)
        rows = workflow.versions.highest_first().select_related("author")
        rows = rows.with_override().with_share()
        versions = list(rows.prefetch_related(*REVIEWS)[: SHOWN_VERSIONS + 1])
        for row in versions:
            row.workflow = workflow
            row.approved_by = review_state(row).approved_by  # type: ignore[attr-defined]
        live = workflow.versions.established().highest_first().first()
        draft = next((row for row in versions if row.state == VersionState.DRAFT), None)
        shown = live or draft
        activity = panels.activity_of(request, [workflow]).get(workflow.pk, panels.Activity())
        return self.render(
            request,
            "workflows/workflow.html",
            title=workflow.name,
            crumbs=[Crumb("Workflows", self.url("changelist"))],
            workflow=workflow,
            live=live,
            draft=draft,
            shown=shown,
            lines=read_lines(shown.definition) if shown else [],
            drawing=drawing_of(shown.definition) if shown else None,
            document=arranged(shown.document) if shown else None,
            versions=versions[:SHOWN_VERSIONS],
            has_more_versions=len(versions) > SHOWN_VERSIONS,
            activity=activity,
            sentence=health_sentence(live, draft, activity),
            verbs=panels.verbs_of(request, workflow, live),
            panels=panels.panels_of(request, workflow),
            may_edit=self.may(request, Permission.WORKFLOW_EDIT),
            may_publish=self.may(request, Permission.WORKFLOW_PUBLISH),
            may_require_review=self.may(request, Permission.WORKFLOW_REQUIRE_REVIEW),
        )

    def version_page(self, request: HttpRequest, *, pk: int, number: str) -> HttpResponseBase:
        """One version: what it does, and what can be done with it."""
        version = self.version(request, pk, number)
        workflow = version.workflow
        reviews = review_state(version)
        transitions = list(version.transitions.order_by("-seq"))
        first = transitions[-1] if transitions else None
        judgement = (first.judgement if first else None) or {}
        may_publish = self.may(request, Permission.WORKFLOW_PUBLISH)
        return self.render(
            request,
            "workflows/version.html",
            title=version.version,
            crumbs=[
                Crumb("Workflows", self.url("changelist")),
                Crumb(workflow.name, self.url("change", pk)),
            ],
            workflow=workflow,
            version=version,
            lines=read_lines(version.definition),
            drawing=drawing_of(version.definition),
            document=arranged(version.document),
            verbs=panels.version_verbs_of(request, version),
            may_edit=version.is_draft and self.may(request, Permission.WORKFLOW_EDIT),
            may_publish=version.is_draft and may_publish,
            may_review=version.is_draft and self.may(request, Permission.WORKFLOW_REVIEW),
            moves=[
                {"title": each.title, "icon": each.icon, "url": self.url(each.verb, pk, number)}
                for each in moves_of(version)
                if may_publish
            ],
            reviews=reviews,
            has_reviews=bool(version.reviews.all()),
            transitions=transitions,
            override=first if judgement.get("enough") is False else None,
        )

    def workflow(self, request: HttpRequest, pk: int) -> Workflow:
        """The workflow, if there is one that this person may see."""
        visible = Workflow.objects.visible_to(actor_of(request.user, request))
        return found(visible.select_related("created_by").filter(pk=pk).first())

    def version(self, request: HttpRequest, pk: int, number: str) -> WorkflowVersion:
        """The version, if there is one that this person may see."""
        visible = WorkflowVersion.objects.visible_to(actor_of(request.user, request))
        rows = visible.select_related("workflow", "author")
        return found(rows.filter(workflow=pk, version=number).first())

    def may(self, request: HttpRequest, permission: Permission) -> bool:
        return request.user.has_perm(permission)
