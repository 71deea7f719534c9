"""Executions in the console: the list, an execution's page, its verbs, and the start."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.contrib import admin
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect, JsonResponse
from django.http.response import HttpResponseBase
from django.template.response import TemplateResponse
from django.urls import URLPattern, reverse
from django.utils.safestring import SafeString

from autopilot.accounts.actors import actor_of
from autopilot.accounts.roles import Permission
from autopilot.common import clock
from autopilot.common.admin_base import Crumb, PageAdmin, attempt, found
from executions.console.activity import ExecutionsOfWorkflows
from executions.console.approvals import ApprovalAdmin
from executions.console.bulk import TITLES, BulkPage
from executions.console.detail import (
    facts_of,
    fingerprint,
    live_context,
    name_of,
    node_of,
    step_context,
)
from executions.console.items import Items, read_items, shown_input
from executions.console.limits import LimitAdmin
from executions.console.lists import FIELDS, MOVING, SPANS, Asked, count_late, late_words, read_page
from executions.console.migrations import MigrationAdmin, version_verb
from executions.console.passes import pass_of, passes_of
from executions.console.rerunning import RerunPage
from executions.console.rollouts import RolloutAdmin
from executions.console.sentences import describe, html_of
from executions.console.signals import SignalAdmin, SignalPage
from executions.console.starting import StartPage
from executions.console.switches import HoldAdmin
from executions.console.trying import TryingPage, trying_panel
from executions.console.undoing import calls_of
from executions.console.verbs import VERBS, AskedVerb
from executions.engine.states import FINAL, State
from executions.events import records
from executions.migrating.reads import moves_of
from executions.models import (
    ActionLimit,
    Approval,
    Execution,
    Hold,
    Migration,
    Signal,
    StepExecution,
)
from executions.parts import part_words
from executions.querysets import ExecutionQuerySet
from executions.reads import error_start_of, failure_of, newest_counts, state_counts
from executions.situations import situations_of
from workflows.console import panels
from workflows.models import Rollout, Workflow

SHOWN_RERUNS = 100
SHOWN_PASSES = 100
# A rerun asks something of one execution, and starts another one.
RERUNNING = (Permission.EXECUTION_CONTROL, Permission.EXECUTION_START)
MAX_WORKFLOWS = 500

panels.register(ExecutionsOfWorkflows)
panels.register_editor_panel(trying_panel)
panels.register_version_verb(version_verb)
admin.site.register(Approval, ApprovalAdmin)
admin.site.register(Signal, SignalAdmin)
admin.site.register(Hold, HoldAdmin)
admin.site.register(ActionLimit, LimitAdmin)
admin.site.register(Migration, MigrationAdmin)
admin.site.register(Rollout, RolloutAdmin)


@admin.register(Execution)
class ExecutionAdmin(StartPage, RerunPage, BulkPage, SignalPage, TryingPage, PageAdmin):
    """What is running. Nothing is edited here: verbs go through `executions.services`."""

    permission = Permission.EXECUTION_VIEW

    def pages(self) -> Sequence[URLPattern]:
        control, start = Permission.EXECUTION_CONTROL, Permission.EXECUTION_START
        signalling = Permission.EXECUTION_SIGNAL
        return [
            self.page("", "changelist", self.list_page),
            self.page("bulk/", "bulk", self.bulk_page, permission=control),
            *self.trying_pages(),
            self.page("start/<int:pk>/", "start", self.start_page, permission=start),
            self.page("<int:pk>/", "change", self.execution_page),
            self.page("<int:pk>/live/", "live", self.live_part),
            self.page("<int:pk>/data/<slug:what>/", "data", self.data_page),
            self.page("<int:pk>/steps/<slug:step>/", "step", self.step_page),
            self.page("<int:pk>/items/<slug:step>/", "items", self.items_page),
            self.page("<int:pk>/rerun/", "rerun", self.rerun_page, permission=RERUNNING),
            self.page("<int:pk>/signal/", "signal", self.signal_page, permission=signalling),
            self.page("<int:pk>/<slug:verb>/", "verb", self.verb_page, permission=control),
        ]

    def list_page(self, request: HttpRequest) -> HttpResponseBase:
        """Executions that somebody started, newest first; the address says which."""
        here = records.here()
        asked = Asked.of(request.GET)
        rows = asked.apply(self._visible(request).roots(), clock.now())
        count = state_counts if asked.is_counted_by_state else newest_counts
        counts = count(rows)
        page = read_page(rows.filter(state=asked.state) if asked.state else rows, request.GET)
        late = 0 if asked.only else count_late(self._visible(request), clock.now())
        workflows = Workflow.objects.order_by("name").values_list("slug", "name")
        return self.render(
            request,
            "executions/list.html",
            title="Executions",
            here=here,
            asked=asked,
            chips=[
                (state.value, counts[state.value], asked.query(state=state.value))
                for state in State
                if counts[state.value] or asked.state == state
            ],
            all_url=asked.query(state=""),
            page=page,
            lines=_with_sentences(page.rows),
            may_control=self._may_control(request),
            verbs=[(verb.value, title) for verb, title in TITLES.items()],
            filters=[(name, getattr(asked, name)) for name in FIELDS if getattr(asked, name)],
            older_url=_and(asked.query(), "before", page.older),
            newer_url=_and(asked.query(), "after", page.newer),
            workflows=list(workflows[:MAX_WORKFLOWS]),
            spans=[(word, name) for word, (name, _) in SPANS.items()],
            only_sentence=MOVING.get(asked.only, ""),
            late=late_words(late),
            late_them="it" if late == 1 else "them",
            workflows_url=reverse("admin:workflows_workflow_changelist"),
        )

    def execution_page(self, request: HttpRequest, *, pk: int) -> HttpResponseBase:
        """One execution: where is it, and why isn't it moving?"""
        here = records.here()
        execution = self._execution(request, pk)
        return self.render(
            request,
            "executions/execution.html",
            title=name_of(execution),
            here=here,
            crumbs=self._way_to(execution),
            **self._live(request, execution),
        )

    def live_part(self, request: HttpRequest, *, pk: int) -> HttpResponseBase:
        """What has changed on an execution's page; 204 if nothing has."""
        execution = self._execution(request, pk)
        if request.GET.get("seen") == fingerprint(execution):
            return HttpResponse(status=204)
        return TemplateResponse(request, "executions/live.html", self._live(request, execution))

    def step_page(self, request: HttpRequest, *, pk: int, step: str) -> HttpResponseBase:
        """One step of an execution, each time it ran. As a drawer, or as a page of its own."""
        execution = self._execution(request, pk)
        context = found(step_context(execution, step))
        context["may_rerun"] = request.user.has_perms(RERUNNING)
        if request.headers.get("X-Part") == "step":
            return TemplateResponse(request, "executions/drawer.html", context)
        return self.render(
            request,
            "executions/step_page.html",
            title=context["node"]["name"],
            crumbs=[*self._way_to(execution), self._crumb(execution)],
            **context,
        )

    def items_page(self, request: HttpRequest, *, pk: int, step: str) -> HttpResponseBase:
        """The items of a map, the branches of a parallel, or the child of a step, in order."""
        here = records.here()
        execution = self._execution(request, pk)
        node = found(node_of(execution, step))
        passes = passes_of(execution, step).get(step, [])
        number, generation = (_number(request.GET.get(name)) for name in ("pass", "generation"))
        chosen = pass_of(passes, seq=number, generation=generation)
        items = chosen.items if chosen else Items({})
        tries = dict(chosen.tries) if chosen else {}
        tried = tries.get(_number(request.GET.get("try")) or 0, 0)
        first, last = (chosen.first, chosen.last) if chosen else (0, 0)
        page = read_items(execution, step, request.GET, (tried, tried) if tried else (first, last))
        state = request.GET.get("state", "")
        return self.render(
            request,
            "executions/items.html",
            title=f"{items.nouns.capitalize()} of {node['name']}",
            crumbs=[*self._way_to(execution), self._crumb(execution)],
            execution=execution,
            here=here,
            is_final=execution.state in FINAL,
            node=node,
            items=items,
            passes=passes[::-1][:SHOWN_PASSES],
            chosen=chosen,
            tried=tried,
            state=state,
            chips=[(name.value, items.counts.get(name.value, 0)) for name in State],
            page=page,
            lines=[
                (row, shown_input(row), sentence, row.generation - first + 1)
                for row, sentence in _with_sentences(page.rows)
            ],
        )

    def _crumb(self, execution: Execution) -> Crumb:
        return Crumb(name_of(execution), self.url("change", execution.pk))

    def _way_to(self, execution: Execution) -> list[Crumb]:
        """From the list of executions to this one, through those that it is a part of."""
        crumbs: list[Crumb] = []
        parent = execution.parent
        while parent is not None:
            crumbs.append(self._crumb(parent))
            parent = parent.parent
        return [Crumb("Executions", self.url("changelist")), *crumbs[::-1]]

    def verb_page(self, request: HttpRequest, *, pk: int, verb: str) -> HttpResponseBase:
        """Ask before a verb is done, then do it. As a part of a page, or as a page of its own."""
        execution = self._execution(request, pk)
        chosen = found(VERBS.get(verb))
        reason = request.POST.get("reason", "")
        if request.method == "POST" and self._do(request, execution, chosen, reason):
            return HttpResponseRedirect(self.url("change", pk))
        context: dict[str, Any] = {
            "execution": execution,
            "verb": chosen,
            "consequences": chosen.consequences(execution),
            "sentence": describe(execution),
            "reason": reason,
            "calls": calls_of(execution) if verb in {"cancel", "compensate"} else None,
            "compensate": request.POST.get("compensate", ""),
            "action": self.url("verb", pk, verb),
            "back": self.url("change", pk),
        }
        if request.headers.get("X-Part") == "ask":
            return TemplateResponse(request, "executions/ask.html", context)
        crumbs = [*self._way_to(execution), self._crumb(execution)]
        title = chosen.title
        return self.render(request, "executions/verb.html", title=title, crumbs=crumbs, **context)

    def _do(self, request: HttpRequest, execution: Execution, verb: AskedVerb, reason: str) -> bool:
        given: dict[str, Any] = {
            "execution": execution,
            "actor": actor_of(request.user, request),
            "reason": reason.strip(),
        }
        if verb.name == "cancel":
            given["compensate"] = request.POST.get("compensate") == "1"
        return attempt(request, lambda: verb.service(**given), done=verb.done)

    def data_page(self, request: HttpRequest, *, pk: int, what: str) -> HttpResponseBase:
        """One value of an execution, whole and as it is stored: `input`, `step-3-1-output`..."""
        execution = self._execution(request, pk)
        if what in {"input", "output", "variables", "error"}:
            return _json(getattr(execution, what))
        word, *numbers = what.split("-")
        if word == "step" and len(numbers) == 3 and numbers[2] in {"params", "output", "error"}:
            seq, attempt_number, name = numbers
            if len(seq) < 10 and len(attempt_number) < 10 and (seq + attempt_number).isdecimal():
                steps = StepExecution.objects.filter(execution=execution)
                step = found(steps.filter(seq=int(seq), attempt=int(attempt_number)).first())
                return _json(getattr(step, name))
        return _json(found(None))

    def _live(self, request: HttpRequest, execution: Execution) -> dict[str, Any]:
        return {
            "live_url": self.url("live", execution.pk),
            "facts": facts_of(execution),
            "name": name_of(execution),
            "part": part_words(execution) or f"step {execution.parent_step}",
            "parent_name": name_of(execution.parent) if execution.parent else "",
            "error_start": error_start_of(execution),
            "failure_of": failure_of(execution),
            "others": execution.started.order_by("pk").only("pk")[:SHOWN_RERUNS],
            "moves": moves_of(execution) if execution.step_names is not None else [],
            "reruns": execution.reruns.order_by("pk")[:SHOWN_RERUNS],
            **live_context(execution, may_control=self._may_control(request)),
        }

    def _visible(self, request: HttpRequest) -> ExecutionQuerySet:
        return Execution.objects.visible_to(actor_of(request.user, request))

    def _execution(self, request: HttpRequest, pk: int) -> Execution:
        related = ("workflow", "version", "parent", "rerun_of", "started_by", "owner")
        rows = self._visible(request).select_related(*related)
        if pk >= 2**63:
            return found(None)
        return found(rows.filter(pk=pk).first())

    def _may_control(self, request: HttpRequest) -> bool:
        return request.user.has_perm(Permission.EXECUTION_CONTROL)


def _json(value: Any) -> JsonResponse:
    return JsonResponse(value, safe=False, json_dumps_params={"indent": 2, "ensure_ascii": False})


def _with_sentences(rows: list[Execution]) -> list[tuple[Execution, SafeString | str]]:
    """Each execution with what is to be said of it; that one has completed needs no sentence."""
    situations = situations_of(rows)
    return [
        (row, "" if row.state == State.COMPLETED else html_of(situations[row.pk].why.phrase))
        for row in rows
    ]


def _number(text: str | None) -> int | None:
    return int(text) if text and text.isascii() and text.isdecimal() and len(text) < 10 else None


def _and(query: str, name: str, key: int | None) -> str:
    """The address of the page that goes on from `key`; empty where there is none."""
    if key is None:
        return ""
    return f"{query}{'' if query == '?' else '&'}{name}={key}"
