"""The page that starts an execution of a workflow."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.contrib import messages
from django.http import HttpRequest, HttpResponseRedirect
from django.http.response import HttpResponseBase
from django.urls import reverse

from autopilot.accounts.actors import actor_of
from autopilot.common.admin_base import Crumb, PageAdmin, found
from autopilot.common.errors import DomainError
from autopilot.common.problems import Problem
from executions.console import forms
from executions.console.forms import StartForm
from executions.services import start_execution
from workflows.console.lines import lines_of
from workflows.models import Workflow, WorkflowVersion

MAX_VERSIONS = 50

if TYPE_CHECKING:
    Base = PageAdmin
else:
    Base = object


class StartPage(Base):
    """The starting half of the executions' admin."""

    def start_page(self, request: HttpRequest, *, pk: int) -> HttpResponseBase:
        """A form with the input and what else a start takes; on success, the new execution."""
        actor = actor_of(request.user, request)
        workflow = found(Workflow.objects.visible_to(actor).filter(pk=pk).first())
        back = reverse("admin:workflows_workflow_change", args=[pk])
        versions = list(workflow.versions.startable().highest_first()[:MAX_VERSIONS])
        if not versions:
            messages.error(request, "Nothing can be started: no version is published.")
            return HttpResponseRedirect(back)
        live = next((row for row in versions if row.state == "published"), versions[0])
        form = StartForm(request.POST or None, versions=versions, initial=forms.initial(live))
        refused: DomainError | None = None
        if request.method == "POST" and form.is_valid():
            try:
                started = start_execution(workflow=workflow, actor=actor, **form.arguments())
            except DomainError as error:
                if error.status in {401, 403}:
                    raise
                refused = error
            else:
                if not started.created:
                    messages.info(request, "This form had started it already: here it is.")
                return HttpResponseRedirect(self.url("change", started.execution.pk))
        return self._form(request, form, workflow, live, refused, back)

    def _form(
        self,
        request: HttpRequest,
        form: StartForm,
        workflow: Workflow,
        live: WorkflowVersion,
        refused: DomainError | None,
        back: str,
    ) -> HttpResponseBase:
        details = list(refused.details) if refused else []
        if refused and not details:
            details = [Problem("$", refused.code, refused.message)]
        is_wrong = bool(details or form.errors)
        return self.render(
            request,
            "executions/start.html",
            status=400 if is_wrong else 200,
            title="Start",
            crumbs=[
                Crumb("Workflows", reverse("admin:workflows_workflow_changelist")),
                Crumb(workflow.name, back),
            ],
            workflow=workflow,
            live=live,
            form=form,
            problems=_with_lines(form, details),
            input_is_wrong=any(each.path.startswith("$.input") for each in details),
            schema=live.definition.get("input_schema"),
            back=back,
        )


def _with_lines(form: StartForm, details: list[Problem]) -> list[tuple[Problem, int | None]]:
    """Each problem with the line of the typed input that it is about."""
    lines = lines_of(form.text) if details else {}
    return [
        (each, lines.get("$" + each.path.removeprefix("$.input")))
        if each.path.startswith("$.input")
        else (each, None)
        for each in details
    ]
