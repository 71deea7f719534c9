"""Pages that change workflows: a new one, a new version, a draft, publishing. Services decide."""

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
from workflows.console import forms, panels
from workflows.console.forms import DefinitionForm
from workflows.console.lines import lines_of
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
            self.page("add/", "add", self.add_page, permission=edit),
            self.page("<int:pk>/versions/add/", "add_version", self.new_page, permission=edit),
            self.page(f"{draft}edit/", "edit", self.edit_page, permission=edit),
            self.page(f"{draft}publish/", "publish", self.publish_page, permission=publish),
            self.page(f"{draft}delete/", "delete_draft", self.delete_page, permission=edit),
        ]

    # What WorkflowAdmin has.
    if TYPE_CHECKING:

        def workflow(self, request: HttpRequest, pk: int) -> Workflow: ...
        def version(self, request: HttpRequest, pk: int, number: str) -> WorkflowVersion: ...

    def add_page(self, request: HttpRequest) -> HttpResponseBase:
        """A new workflow from a definition."""

        def save(actor: Actor, document: Any, changelog: str) -> WorkflowVersion:
            return services.create_workflow(actor=actor, document=document, changelog=changelog)

        return self._edit(
            request,
            save,
            initial=forms.blank(),
            title="New workflow",
            crumbs=[Crumb("Workflows", self.url("changelist"))],
            lead="Describe it as a document. It is saved as a draft; nothing runs before it is "
            "published.",
            back=self.url("changelist"),
        )

    def new_page(self, request: HttpRequest, *, pk: int) -> HttpResponseBase:
        """A new draft of a workflow, beginning with its highest version."""
        workflow = self.workflow(request, pk)
        highest = workflow.versions.highest_first().first()

        def save(actor: Actor, document: Any, changelog: str) -> WorkflowVersion:
            return services.create_version(
                actor=actor, workflow=workflow, document=document, changelog=changelog
            )

        return self._edit(
            request,
            save,
            initial=forms.from_version(highest, keep_number=False) if highest else forms.blank(),
            title="New version",
            crumbs=self._way_to(workflow),
            lead="A draft beside the live version. It gets the next minor number unless the "
            "document has a “version” of its own.",
            back=self.url("change", pk),
        )

    def edit_page(self, request: HttpRequest, *, pk: int, number: str) -> HttpResponseBase:
        """The content of a draft."""
        version = self.version(request, pk, number)
        back = self.url("version", pk, number)
        if not version.is_draft:
            messages.error(request, f"Version {number} is {version.state} and stays as it is.")
            return HttpResponseRedirect(back)

        def save(actor: Actor, document: Any, changelog: str) -> WorkflowVersion:
            return services.update_draft(
                actor=actor, version=version, document=document, changelog=changelog
            )

        return self._edit(
            request,
            save,
            initial=forms.from_version(version, keep_number=True),
            title=f"Edit draft {number}",
            crumbs=self._way_to(version.workflow),
            lead="Nothing runs this version before it is published.",
            back=back,
        )

    def _edit(
        self,
        request: HttpRequest,
        save: Save,
        *,
        initial: dict[str, str],
        back: str,
        **page: Any,
    ) -> HttpResponseBase:
        """The form; on POST checked or saved, and shown again with every problem and every word."""
        form = DefinitionForm(request.POST or None, initial=initial)
        problems: Sequence[Problem] = ()
        refusal = ""
        is_fine = False
        if request.method == "POST" and form.is_valid():
            actor = actor_of(request.user, request)
            try:
                document = form.document()
                if "check" in request.POST:
                    problems = services.validate(actor=actor, document=document)
                    is_fine = not problems
                else:
                    version = save(actor, document, form.cleaned_data["changelog"])
                    return self._saved(request, version)
            except DomainError as error:
                if error.status in {401, 403}:
                    raise
                problems, refusal = error.details, error.message
        lines = lines_of(form.text) if problems else {}
        return self.render(
            request,
            "workflows/edit.html",
            status=400 if problems or refusal else 200,
            form=form,
            back=back,
            problems=[(problem, lines.get(problem.path)) for problem in problems],
            refusal=refusal,
            is_fine=is_fine,
            **page,
        )

    def _saved(self, request: HttpRequest, version: WorkflowVersion) -> HttpResponseBase:
        messages.success(request, f"Version {version.version} is saved as a draft.")
        return HttpResponseRedirect(self.url("version", version.workflow_id, version.version))

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

    def _way_to(self, workflow: Workflow) -> list[Crumb]:
        return [
            Crumb("Workflows", self.url("changelist")),
            Crumb(workflow.name, self.url("change", workflow.pk)),
        ]
