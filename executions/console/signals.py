"""Signals in the console: what was received, and sending one to an execution that waits for it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import urlencode

from django.contrib import messages
from django.http import HttpRequest, HttpResponseRedirect, QueryDict
from django.http.response import HttpResponseBase
from django.urls import URLPattern, reverse

from autopilot.accounts.actors import actor_of
from autopilot.accounts.roles import Permission
from autopilot.common.admin_base import Crumb, PageAdmin, found
from autopilot.common.errors import DomainError
from autopilot.common.problems import Problem
from executions.console.detail import name_of
from executions.console.typing import Typing
from executions.engine.signals import SignalState
from executions.models import Execution, Signal, SignalWait
from executions.querysets import SignalQuerySet
from executions.signalling import send_signal
from workflows.compiled import compiled_version
from workflows.definition.compiled import SignalConfig

PER_PAGE = 50
STATES = {
    SignalState.KEPT: "Kept",
    SignalState.OFFERED: "Given to a step",
    SignalState.CONSUMED: "Consumed",
    SignalState.REFUSED: "Refused",
}


class SignalPage(PageAdmin):
    """The page of an execution on which the signal that it waits for is sent."""

    def signal_page(self, request: HttpRequest, *, pk: int) -> HttpResponseBase:
        """A form out of the schema of the step that waits; sends on POST."""
        execution: Execution = found(
            Execution.objects.filter(pk=pk).first() if pk < 2**63 else None
        )
        wait = SignalWait.objects.filter(execution=execution).first()
        if wait is None:
            messages.info(request, "It does not wait for a signal any more.")
            return HttpResponseRedirect(self.url("change", pk))
        schema = _schema(execution)
        if request.method != "POST":
            return self._show_signal(request, execution, wait, Typing.begin(schema, ""))
        typing = Typing.sent(request.POST, schema, schema)
        try:
            send_signal(
                name=wait.name,
                actor=actor_of(request.user, request),
                payload=typing.value(),
                execution=execution,
            )
        except DomainError as error:
            if error.status in {401, 403}:
                raise
            return self._show_signal(request, execution, wait, typing, error)
        messages.success(request, f"The signal {wait.name} was sent.")
        return HttpResponseRedirect(self.url("change", pk))

    def _show_signal(
        self,
        request: HttpRequest,
        execution: Execution,
        wait: SignalWait,
        typing: Typing,
        refused: DomainError | None = None,
    ) -> HttpResponseBase:
        problems = [_as_typed(each) for each in refused.details] if refused else []
        if typing.fields is not None and typing.mode == "form":
            problems = typing.fields.show_problems(problems)
        crumbs = [
            Crumb("Executions", self.url("changelist")),
            Crumb(name_of(execution), self.url("change", execution.pk)),
        ]
        return self.render(
            request,
            "signals/send.html",
            status=refused.status if refused else 200,
            title=f"Send {wait.name}",
            crumbs=crumbs,
            execution=execution,
            wait=wait,
            typing=typing,
            refused=refused,
            problems=problems,
            back_url=self.url("change", execution.pk),
        )


def _schema(execution: Execution) -> Any:
    """The schema of the step it stands at; None if it has none, or can't be read here."""
    try:
        step = compiled_version(execution.version_id).steps.get(execution.current_step)
    except DomainError:
        return None
    config = step.config if step else None
    has_schema = isinstance(config, SignalConfig) and config.schema is not None
    return config.schema.schema if has_schema else None  # type: ignore[union-attr]


def _as_typed(problem: Problem) -> Problem:
    """The fields know the value they make as `$.input`."""
    if problem.path.startswith("$.payload"):
        return replace(problem, path="$.input" + problem.path.removeprefix("$.payload"))
    return problem


@dataclass(frozen=True, slots=True)
class Asked:
    """What the address of the list asks for; unknown words are ignored."""

    state: str
    name: str
    execution: int | None

    @classmethod
    def of(cls, query: QueryDict) -> Asked:
        state = query.get("state", "")
        known = state if state in [each.value for each in STATES] else ""
        return cls(known, query.get("signal", "")[:200], _id(query.get("execution")))

    def query(self, **changes: str) -> str:
        values = {"state": self.state, "signal": self.name, "execution": self.execution}
        values |= changes
        return "?" + urlencode({name: value for name, value in values.items() if value})

    def apply(self, rows: SignalQuerySet) -> SignalQuerySet:
        if self.state:
            rows = rows.in_state(SignalState(self.state))
        if self.execution:
            rows = rows.about(self.execution)
        return rows.filter(name=self.name) if self.name else rows


class SignalAdmin(PageAdmin):
    """Signals that were received. Nothing is edited here."""

    permission = Permission.EXECUTION_VIEW

    def pages(self) -> Sequence[URLPattern]:
        return [self.page("", "changelist", self.list_page)]

    def list_page(self, request: HttpRequest) -> HttpResponseBase:
        """Newest first; the address says which."""
        asked = Asked.of(request.GET)
        rows = asked.apply(Signal.objects.visible_to(actor_of(request.user, request)))
        before = _id(request.GET.get("before"))
        if before:
            rows = rows.filter(pk__lt=before)
        rows = rows.defer("payload").select_related("workflow")
        shown = list(rows.order_by("-pk")[: PER_PAGE + 1])
        has_more, shown = len(shown) > PER_PAGE, shown[:PER_PAGE]
        return self.render(
            request,
            "signals/list.html",
            title="Signals",
            crumbs=[Crumb("Executions", reverse("admin:executions_execution_changelist"))],
            asked=asked,
            chips=[
                (each.value, name, asked.query(state=each.value)) for each, name in STATES.items()
            ],
            all_url=asked.query(state=""),
            signals=[(each, STATES[each.state]) for each in shown],
            first_url=asked.query() if before else "",
            older_url=asked.query(before=str(shown[-1].pk)) if has_more else "",
        )


def _id(text: str | None) -> int | None:
    return int(text) if text and text.isascii() and text.isdecimal() and len(text) < 19 else None
