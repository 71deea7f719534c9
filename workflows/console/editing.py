"""Pages that ask before they change a draft: publishing and deleting it. Services decide."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponseRedirect
from django.http.response import HttpResponseBase
from django.urls import URLPattern

from autopilot.accounts.actors import Actor, actor_of
from autopilot.accounts.roles import Permission
from autopilot.common.admin_base import Crumb, PageAdmin, attempt
from autopilot.common.errors import DomainError
from autopilot.common.problems import Problem
from workflows import services
from workflows.console import panels
from workflows.console.outline import read_lines
from workflows.models import Workflow, WorkflowVersion

Save = Callable[[Actor, Any, str], WorkflowVersion]

if TYPE_CHECKING:
    Base = PageAdmin
else:
    Base = object


class EditingPages(Base):
    """The editing half of the workflows' admin."""

    def editing_pages(self) -> Sequence[URLPattern]:
        edit, publish = Permission.WORKFLOW_EDIT, Permission.WORKFLOW_PUBLISH
        draft = "<int:pk>/versions/<str:number>/"
        return [
            self.page(f"{draft}publish/", "publish", self.publish_page, permission=publish),
            self.page(f"{draft}delete/", "delete_draft", self.delete_page, permission=edit),
        ]

    # What WorkflowAdmin has.
    if TYPE_CHECKING:

        def workflow(self, request: HttpRequest, pk: int) -> Workflow: ...
        def version(self, request: HttpRequest, pk: int, number: str) -> WorkflowVersion: ...
        def _way_to(self, workflow: Workflow) -> list[Crumb]: ...

    def publish_page(self, request: HttpRequest, *, pk: int, number: str) -> HttpResponseBase:
        """Ask before publishing, then publish."""
        version = self.version(request, pk, number)
        workflow = version.workflow
        problems: Sequence[Problem] = ()
        if request.method == "POST":
            actor = actor_of(request.user, request)
            try:
                services.publish_version(actor=actor, version=version)
            except DomainError as error:
                if error.status in {401, 403}:
                    raise
                messages.error(request, error.message)
                problems = error.details
            else:
                messages.success(request, f"Version {number} is live: new executions run it.")
                return HttpResponseRedirect(self.url("change", pk))
        live = workflow.versions.published().highest_first().first()
        return self.render(
            request,
            "workflows/publish.html",
            title=f"Publish {number}",
            crumbs=self._way_to(workflow),
            status=400 if problems else 200,
            workflow=workflow,
            version=version,
            live=live,
            lines=read_lines(version.definition),
            activity=panels.activity_of(request, [workflow]).get(pk, panels.Activity()),
            problems=problems,
            back=self.url("version", pk, number),
        )

    def delete_page(self, request: HttpRequest, *, pk: int, number: str) -> HttpResponseBase:
        """Ask before a draft is deleted, then delete it."""
        version = self.version(request, pk, number)
        if request.method == "POST":
            actor = actor_of(request.user, request)
            attempt(
                request,
                lambda: services.delete_draft(actor=actor, version=version),
                done=f"The draft {number} is deleted.",
            )
            return HttpResponseRedirect(self.url("change", pk))
        return self.render(
            request,
            "workflows/delete_draft.html",
            title=f"Delete draft {number}",
            crumbs=self._way_to(version.workflow),
            version=version,
            back=self.url("version", pk, number),
        )
