"""The inbox: what is asked, by whom, until when; and the page on which it is decided."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from django.contrib import messages
from django.http import HttpRequest, HttpResponseRedirect, QueryDict
from django.http.response import HttpResponseBase
from django.urls import URLPattern, reverse

from autopilot.accounts.actors import Actor, actor_of
from autopilot.accounts.roles import Permission
from autopilot.common.admin_base import Crumb, PageAdmin, attempt, found
from autopilot.common.database_time import database_now
from autopilot.common.errors import DomainError
from autopilot.common.words import count_words
from executions import services
from executions.approvals.deciding import refusal_of
from executions.approvals.people import may_manage
from executions.approvals.querysets import ApprovalQuerySet
from executions.approvals.reads import view_of, views_of, with_execution
from executions.console.decision_form import DecisionForm
from executions.console.tree import tree_of
from executions.events import records
from executions.models import Approval, ApprovalState

PER_PAGE = 50
# Counted no further than this, on every page of the console.
MANY = 99

TABS = {"waiting": "Waiting for me", "mine": "Mine", "groups": "My groups", "all": "All"}
SHOWN = {"open": "Open", "settled": "Settled", "any": "Both"}


def count_waiting(actor: Actor) -> int:
    """How many approvals await this person's word; at most MANY + 1."""
    rows = Approval.objects.decidable_by(actor).order_by()
    return rows.values("pk")[: MANY + 1].count()


def badge(request: HttpRequest) -> str:
    """For the navigation; nothing where nothing waits."""
    if not request.user.is_authenticated:
        return ""
    count = count_waiting(actor_of(request.user))
    return count_words(count, MANY) if count else ""


@dataclass(frozen=True, slots=True)
class Asked:
    """What the address of the inbox asks for; unknown words are ignored."""

    tab: str
    show: str
    execution: int | None

    @classmethod
    def of(cls, query: QueryDict) -> Asked:
        tab, show = query.get("tab", ""), query.get("show", "")
        execution = _id(query.get("execution"))
        if tab not in TABS:
            tab = "all" if execution else "waiting"
        default = "any" if execution else "open"
        return cls(tab, show if show in SHOWN else default, execution)

    def query(self, **changes: str) -> str:
        values = {"tab": self.tab, "show": self.show, "execution": self.execution} | changes
        return "?" + urlencode({name: value for name, value in values.items() if value})

    def apply(self, rows: ApprovalQuerySet, actor: Actor) -> ApprovalQuerySet:
        if self.execution:
            rows = rows.filter(execution_id=self.execution)
        if self.tab == "waiting":
            return rows.decidable_by(actor)
        lists = {"mine": rows.mine, "groups": rows.of_groups}
        rows = lists[self.tab](actor) if self.tab in lists else rows
        if self.show == "open":
            return rows.open()
        return rows.exclude(state=ApprovalState.OPEN) if self.show == "settled" else rows


class ApprovalAdmin(PageAdmin):
    """Questions to people. Whoever may come into the console finds those that are theirs here."""

    permission = ""

    def pages(self) -> Sequence[URLPattern]:
        return [
            self.page("", "changelist", self.list_page),
            self.page("<int:pk>/", "change", self.approval_page),
            self.page("<int:pk>/claim/", "claim", self.claim_page),
            self.page("<int:pk>/release/", "release", self.release_page),
            self.page("<int:pk>/reassign/", "reassign", self.reassign_page),
        ]

    def list_page(self, request: HttpRequest) -> HttpResponseBase:
        """The inbox, newest first."""
        actor = actor_of(request.user, request)
        asked = Asked.of(request.GET)
        here = records.here()
        visible = Approval.objects.visible_to(actor)
        rows = with_execution(asked.apply(visible, actor)).defer("context", "form", "description")
        page = _page(rows, request.GET)
        waiting = count_waiting(actor)
        return self.render(
            request,
            "approvals/inbox.html",
            title="Approvals",
            here=here,
            asked=asked,
            tabs=[(word, name, asked.query(tab=word, show="")) for word, name in TABS.items()],
            shown=[(word, name, asked.query(show=word)) for word, name in SHOWN.items()],
            waiting=waiting,
            waiting_words=count_words(waiting, MANY) if waiting else "",
            views=views_of(page.rows, actor),
            newer_url=asked.query(after=str(page.newer)) if page.newer else "",
            older_url=asked.query(before=str(page.older)) if page.older else "",
            all_url=asked.query(tab="all", show="any"),
            sees_all=actor.may(Permission.EXECUTION_VIEW),
        )

    def approval_page(self, request: HttpRequest, *, pk: int) -> HttpResponseBase:
        """One question: look at it on GET, decide it on POST."""
        approval, actor = self._approval(request, pk)
        if request.method != "POST":
            return self._show(request, approval, actor, DecisionForm.of(approval))
        form = DecisionForm.of(approval, request.POST)
        word = request.POST.get("decision", "")
        if not form.decide(approval, actor, word, via="console"):
            if form.refused is not None and form.refused.status in {401, 403}:
                raise form.refused
            return self._show(request, approval, actor, form)
        said = "approved" if word == "approve" else "rejected"
        messages.success(request, f"You have {said} “{approval.title}”.")
        return HttpResponseRedirect(self.url("changelist"))

    def claim_page(self, request: HttpRequest, *, pk: int) -> HttpResponseBase:
        """Take it."""
        approval, actor = self._approval(request, pk)
        if request.method == "POST":
            attempt(request, lambda: services.claim(approval=approval, actor=actor))
        return HttpResponseRedirect(self.url("change", pk))

    def release_page(self, request: HttpRequest, *, pk: int) -> HttpResponseBase:
        """Give it back."""
        approval, actor = self._approval(request, pk)
        if request.method == "POST":
            attempt(request, lambda: services.release(approval=approval, actor=actor))
        return HttpResponseRedirect(self.url("change", pk))

    def reassign_page(self, request: HttpRequest, *, pk: int) -> HttpResponseBase:
        """Ask others instead; what was typed stays where it was wrong."""
        approval, actor = self._approval(request, pk)
        if request.method != "POST":
            return HttpResponseRedirect(self.url("change", pk))
        typed = {name: request.POST.get(name, "") for name in ("users", "groups", "reason")}
        try:
            services.reassign(
                approval=approval,
                actor=actor,
                users=_names(typed["users"]),
                groups=_names(typed["groups"]),
                reason=typed["reason"].strip(),
            )
        except DomainError as error:
            if error.status in {401, 403}:
                raise
            form = DecisionForm.of(approval)
            return self._show(request, approval, actor, form, {**typed, "refused": error})
        messages.success(request, f"“{approval.title}” now asks others.")
        if Approval.objects.visible_to(actor).filter(pk=pk).exists():
            return HttpResponseRedirect(self.url("change", pk))
        return HttpResponseRedirect(self.url("changelist"))

    def _approval(self, request: HttpRequest, pk: int) -> tuple[Approval, Actor]:
        actor = actor_of(request.user, request)
        if pk >= 2**63:
            return found(None)
        rows = with_execution(Approval.objects.visible_to(actor))
        approval: Approval | None = rows.filter(pk=pk).first()
        return found(approval), actor

    def _show(
        self,
        request: HttpRequest,
        approval: Approval,
        actor: Actor,
        form: DecisionForm,
        reassigning: dict[str, Any] | None = None,
    ) -> HttpResponseBase:
        approval = with_execution(Approval.objects.all()).get(pk=approval.pk)
        view = view_of(approval, actor)
        own = next((each for each in view.decisions if each.person_id == actor.id), None)
        refusal = refusal_of(approval, actor, database_now())
        wrong = form.refused or (reassigning or {}).get("refused")
        has_taken = approval.claimed_by_id is not None and approval.claimed_by_id == actor.id
        return self.render(
            request,
            "approvals/approval.html",
            status=wrong.status if wrong else 200,
            title=approval.title,
            crumbs=[Crumb("Approvals", self.url("changelist"))],
            view=view,
            approval=approval,
            own=own,
            form=form,
            closed=refusal.message if refusal and own is None else "",
            may_decide=refusal is None and own is None,
            may_manage=approval.is_open and may_manage(approval, actor),
            has_taken=has_taken,
            may_release=has_taken or actor.may(Permission.APPROVAL_DECIDE),
            reassigning=reassigning or {},
            tree=tree_of(approval.context) if approval.context is not None else "",
            answers=[(each, tree_of(each.answer)) for each in view.decisions],
            sees_execution=actor.may(Permission.EXECUTION_VIEW),
            inbox_url=self.url("changelist"),
            execution_url=reverse(
                "admin:executions_execution_change", args=[approval.execution_id]
            ),
        )


@dataclass(frozen=True, slots=True)
class _Page:
    rows: list[Approval]
    older: int | None
    newer: int | None


def _page(rows: ApprovalQuerySet, query: QueryDict) -> _Page:
    """By id, not by number: nothing is counted, and a page keeps its place while more arrive."""
    before, after = _id(query.get("before")), _id(query.get("after"))
    if after is not None:
        found_rows = list(rows.filter(pk__gt=after).order_by("pk")[: PER_PAGE + 1])
        shown = found_rows[:PER_PAGE][::-1]
        has_newer = len(found_rows) > PER_PAGE
        return _Page(shown, shown[-1].pk if shown else None, shown[0].pk if has_newer else None)
    if before is not None:
        rows = rows.filter(pk__lt=before)
    found_rows = list(rows.order_by("-pk")[: PER_PAGE + 1])
    shown = found_rows[:PER_PAGE]
    return _Page(
        shown,
        shown[-1].pk if len(found_rows) > PER_PAGE else None,
        shown[0].pk if before is not None and shown else None,
    )


def _id(text: str | None) -> int | None:
    return int(text) if text and text.isascii() and text.isdecimal() and len(text) < 19 else None


def _names(text: str) -> list[str]:
    """Names with commas or line ends between them."""
    return [name.strip() for name in text.replace("\n", ",").split(",") if name.strip()]


__all__ = ["ApprovalAdmin", "badge", "count_waiting"]
