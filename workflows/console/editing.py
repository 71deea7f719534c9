"""The page that asks before a draft is deleted. Services decide."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from django.http import HttpRequest, HttpResponseRedirect
from django.http.response import HttpResponseBase
from django.urls import URLPattern

from autopilot.accounts.actors import actor_of
from autopilot.accounts.roles import Permission
from autopilot.common.admin_base import Crumb, PageAdmin, attempt
from workflows import services
from workflows.console.stamps import stamp_of, unchanged
from workflows.models import Workflow, WorkflowVersion

if TYPE_CHECKING:
    Base = PageAdmin
else:
    Base = object


class EditingPages(Base):
    """The editing half of the workflows' admin."""

    def editing_pages(self) -> Sequence[URLPattern]:
        edit = Permission.WORKFLOW_EDIT
        draft = "<int:pk>/versions/<str:number>/"
        return [
            self.page(f"{draft}delete/", "delete_draft", self.delete_page, permission=edit),
        ]

    # What WorkflowAdmin has.
    if TYPE_CHECKING:

        def workflow(self, request: HttpRequest, pk: int) -> Workflow: ...
        def version(self, request: HttpRequest, pk: int, number: str) -> WorkflowVersion: ...
        def _way_to(self, workflow: Workflow) -> list[Crumb]: ...

    def delete_page(self, request: HttpRequest, *, pk: int, number: str) -> HttpResponseBase:
        """Ask before a draft is deleted, then delete it."""
        version = self.version(request, pk, number)
        if request.method == "POST":
            actor = actor_of(request.user, request)
            attempt(
                request,
                lambda: services.delete_draft(
                    actor=actor, version=version, check=unchanged(request)
                ),
                done=f"The draft {number} is deleted.",
            )
            return HttpResponseRedirect(self.url("change", pk))
        return self.render(
            request,
            "workflows/delete_draft.html",
            title=f"Delete draft {number}",
            crumbs=self._way_to(version.workflow),
            version=version,
            stamp=stamp_of(version),
            back=self.url("version", pk, number),
        )
