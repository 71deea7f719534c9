"""The page that starts an execution of a workflow."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponseRedirect, QueryDict
from django.http.response import HttpResponseBase
from django.urls import reverse

from autopilot.accounts.actors import actor_of
from autopilot.common.admin_base import Crumb, PageAdmin, found
from autopilot.common.errors import DomainError, Invalid
from autopilot.common.problems import Problem
from executions.console import forms
from executions.console.forms import StartForm
from executions.console.schema_form import SchemaForm
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
        typing = Typing.of(request.POST, form, live.definition.get("input_schema"))
        refused: DomainError | None = None
        if request.method == "POST" and "to" in request.POST:
            refused = typing.change(request.POST["to"])
        elif request.method == "POST" and form.is_valid():
            try:
                arguments = form.arguments(typing.fields if typing.mode == "form" else None)
                started = start_execution(workflow=workflow, actor=actor, **arguments)
            except DomainError as error:
                if error.status in {401, 403}:
                    raise
                refused = error
            else:
                if not started.created:
                    messages.info(request, "This form had started it already: here it is.")
                return HttpResponseRedirect(self.url("change", started.execution.pk))
        return self._form(request, form, typing, workflow, live, refused, back)

    def _form(
        self,
        request: HttpRequest,
        form: StartForm,
        typing: Typing,
        workflow: Workflow,
        live: WorkflowVersion,
        refused: DomainError | None,
        back: str,
    ) -> HttpResponseBase:
        details = list(refused.details) if refused else []
        if refused and not details:
            details = [Problem("$", refused.code, refused.message)]
        is_changing = "to" in request.POST
        errors = {} if is_changing else form.errors
        others = details
        if typing.fields and typing.mode == "form":
            others = typing.fields.show_problems(details)
        return self.render(
            request,
            "executions/start.html",
            status=400 if details or errors else 200,
            title="Start",
            crumbs=[
                Crumb("Workflows", reverse("admin:workflows_workflow_changelist")),
                Crumb(workflow.name, back),
            ],
            workflow=workflow,
            live=live,
            form=form,
            errors=errors,
            typing=typing,
            heading="It stays as JSON." if is_changing else "Nothing was started.",
            problems=_with_lines(typing.text, others),
            input_is_wrong=any(each.path.startswith("$.input") for each in details),
            schema=live.definition.get("input_schema"),
            back=back,
        )


@dataclass(slots=True)
class Typing:
    """How the input is being typed: as JSON, or in the fields that its schema asks for.

    fields: None where the schema names none.
    """

    mode: str
    text: str
    form: StartForm
    fields: SchemaForm | None

    @classmethod
    def of(cls, data: QueryDict, form: StartForm, schema: Any) -> Typing:
        """As the page was sent, or as it begins: with fields where there are any."""
        fields = SchemaForm(schema) if isinstance(schema, dict) else None
        if fields is not None and not fields.fields:
            fields = None
        mode = "form" if fields and (not data or data.get("mode") == "form") else "json"
        if fields and data:
            fields.bind(data)
        return cls(mode, form.text, form, fields)

    def change(self, to: str) -> DomainError | None:
        """Go on in the other way with what has been typed; what speaks against it, if anything."""
        if self.fields is None or to == self.mode:
            return None
        try:
            if to == "json":
                value = self.fields.value()
                self.text = json.dumps(value, indent=2, ensure_ascii=False)
            elif not self.fields.fill(self.form.json_input() or {}):
                message = (
                    "The form has no place for everything in this input: it has fields or kinds "
                    "of values that the schema doesn't name."
                )
                return Invalid(message, details=[Problem("$.input", "input.no_form", message)])
        except Invalid as error:
            return error
        self.mode = to
        return None


def _with_lines(text: str, details: list[Problem]) -> list[tuple[Problem, int | None]]:
    """Each problem with the line of the typed input that it is about."""
    lines = lines_of(text) if details else {}
    return [
        (each, lines.get("$" + each.path.removeprefix("$.input")))
        if each.path.startswith("$.input")
        else (each, None)
        for each in details
    ]
