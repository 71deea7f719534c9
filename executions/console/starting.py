"""The page that starts an execution of a workflow."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.contrib import messages
from django.http import HttpRequest, HttpResponseRedirect, QueryDict
from django.http.response import HttpResponseBase
from django.urls import reverse

from autopilot.accounts.actors import actor_of
from autopilot.common.admin_base import Crumb, PageAdmin, found
from autopilot.common.errors import DomainError
from autopilot.common.problems import Problem
from executions.console import forms
from executions.console.forms import StartForm
from executions.console.typing import Typing
from executions.services import start_execution
from workflows.console.lines import lines_of
from workflows.models import Rollout, Workflow, WorkflowVersion
from workflows.rollout_words import choice_words
from workflows.rollouts import active_rollout
from workflows.versioning.states import VersionState

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
        rollout = active_rollout(workflow)
        live = _live(versions, rollout)
        asked = _named(request.GET.get("version"), versions)
        chosen = _named(request.POST.get("version"), versions) or asked or live
        initial = forms.initial(chosen)
        if rollout is not None and asked is None:
            initial["version"] = ""
        form = StartForm(
            request.POST or None,
            versions=versions,
            rollout=choice_words(rollout) if rollout else "",
            initial=initial,
        )
        typing = _typing(request.POST, form, chosen, versions)
        refused: DomainError | None = None
        if request.method == "POST" and "to" in request.POST:
            refused = typing.change(request.POST["to"])
        elif request.method == "POST" and "refresh" not in request.POST and form.is_valid():
            try:
                arguments = form.arguments(typing.value())
                started = start_execution(workflow=workflow, actor=actor, **arguments)
            except DomainError as error:
                if error.status in {401, 403}:
                    raise
                refused = error
            else:
                if not started.created:
                    messages.info(request, "This form had started it already: here it is.")
                return HttpResponseRedirect(self.url("change", started.execution.pk))
        return self._form(request, form, typing, workflow, chosen, refused, back)

    def _form(
        self,
        request: HttpRequest,
        form: StartForm,
        typing: Typing,
        workflow: Workflow,
        chosen: WorkflowVersion,
        refused: DomainError | None,
        back: str,
    ) -> HttpResponseBase:
        details = list(refused.details) if refused else []
        if refused and not details:
            details = [Problem("$", refused.code, refused.message)]
        is_changing = bool({"to", "refresh"} & request.POST.keys())
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
            chosen=chosen,
            leaves_it=form["version"].value() == "",
            form=form,
            errors=errors,
            typing=typing,
            heading="It stays as JSON." if is_changing else "Nothing was started.",
            problems=with_lines(typing.text, others),
            input_is_wrong=any(each.path.startswith("$.input") for each in details),
            schema=chosen.definition.get("input_schema"),
            back=back,
        )


def _live(versions: list[WorkflowVersion], rollout: Rollout | None) -> WorkflowVersion:
    """What starts take that name no version, but for those of a rollout."""
    published = (row for row in versions if row.state == VersionState.PUBLISHED)
    candidate = rollout.candidate_id if rollout else None
    return next((row for row in published if row.pk != candidate), versions[0])


def _named(number: str | None, versions: list[WorkflowVersion]) -> WorkflowVersion | None:
    return next((row for row in versions if row.version == number), None)


def _typing(
    data: QueryDict, form: StartForm, chosen: WorkflowVersion, versions: list[WorkflowVersion]
) -> Typing:
    """What is being typed, for the version that is chosen now."""
    schema = chosen.definition.get("input_schema")
    if not data:
        return Typing.begin(schema, form.text)
    before = _named(data.get("drawn"), versions) or chosen
    typing = Typing.sent(data, schema, before.definition.get("input_schema"))
    if typing.mode == "json" and before != chosen:
        untouched = forms.initial(before)["input"]
        if typing.text.replace("\r\n", "\n") == untouched:
            return Typing.begin(schema, forms.initial(chosen)["input"])
    return typing


def with_lines(text: str, details: list[Problem]) -> list[tuple[Problem, int | None]]:
    """Each problem with the line of the typed input that it is about."""
    lines = lines_of(text) if details else {}
    return [
        (each, lines.get("$" + each.path.removeprefix("$.input")))
        if each.path.startswith("$.input")
        else (each, None)
        for each in details
    ]
