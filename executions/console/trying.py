"""The editor's panel in which an expression is tried against what an execution came to."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from django.http import HttpRequest, JsonResponse
from django.http.response import HttpResponseBase
from django.urls import URLPattern, reverse

from autopilot.accounts.actors import actor_of
from autopilot.accounts.roles import Permission
from autopilot.common.admin_base import PageAdmin
from autopilot.common.api.parsers import parse_json
from autopilot.common.errors import DomainError, Invalid
from autopilot.common.problems import Problem
from executions.api.finding import found_execution
from executions.evaluating import evaluate_expression, evaluate_template
from executions.models import Execution
from workflows.console.panels import Panel
from workflows.models import Workflow

SHOWN = 10

if TYPE_CHECKING:
    Base = PageAdmin
else:
    Base = object


class TryingPage(Base):
    """The trying part of the executions' admin."""

    def trying_pages(self) -> Sequence[URLPattern]:
        return [self.page("evaluate/", "evaluate", self.evaluate_page)]

    def evaluate_page(self, request: HttpRequest) -> HttpResponseBase:
        """JSON for `static/console/editor/trying.js`; what is refused comes with its sentence."""
        actor = actor_of(request.user, request)
        try:
            given = parse_json(request.body)
            if not isinstance(given, dict):
                raise Invalid("An object was expected.")
            rows = Execution.objects.visible_to(actor).select_related("workflow", "version")
            execution = found_execution(rows, str(given.get("execution", "")).strip())
            text, step = _text(given, "text"), _text(given, "step")
            if "{{" in text:
                found = evaluate_template(
                    actor=actor, execution=execution, template=text, step=step
                )
            else:
                found = evaluate_expression(
                    actor=actor, execution=execution, expression=text, step=step
                )
        except DomainError as error:
            details = [_as_dict(each) for each in error.details]
            return JsonResponse({"message": error.message, "details": details}, status=error.status)
        return JsonResponse({"value": found.value, "step": found.step})


def trying_panel(request: HttpRequest, workflow: Workflow) -> Panel | None:
    """The newest executions of the workflow to choose from; None for who may see none."""
    if not request.user.has_perm(Permission.EXECUTION_VIEW):
        return None
    rows = Execution.objects.roots().filter(workflow=workflow).select_related("version")
    latest = rows.only("pk", "state", "created_at", "version__version", "workflow_id")
    url = reverse("admin:executions_execution_evaluate")
    context = {"rows": list(latest.order_by("-pk")[:SHOWN]), "url": url}
    return Panel("executions/trying.html", context)


def _text(given: dict[str, Any], name: str) -> str:
    value = given.get(name, "")
    if not isinstance(value, str):
        raise Invalid(f"A text was expected in {name}.")
    return value


def _as_dict(problem: Problem) -> dict[str, Any]:
    return dict(problem.as_dict())
