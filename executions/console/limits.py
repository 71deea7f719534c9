"""Limits of calls in the console: what each says, and what is in use and waits because of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from django import forms
from django.contrib import messages
from django.core.paginator import Paginator
from django.db import connection
from django.http import HttpRequest, HttpResponseRedirect
from django.http.response import HttpResponseBase
from django.urls import URLPattern

from autopilot.accounts.actors import actor_of
from autopilot.accounts.roles import Permission
from autopilot.common.admin_base import Crumb, PageAdmin, found
from autopilot.common.errors import DomainError
from autopilot.common.words import count_words, plural
from executions import limiting
from executions.errors import LimitConflict, LimitInvalid
from executions.limiting import MAX_NOTE_CHARS, LimitTerms
from executions.models import ActionLimit

PER_PAGE = 50
MANY = 1_000

# How many calls of each have their place, and how many wait for theirs or for their turn; nobody
# counts further than the limit, and one execution that waits for both waits once.
_USES = """
SELECT l.id,
       (SELECT count(*) FROM (
            SELECT FROM executions_limituse u
             WHERE u.limit_id = l.id AND u.kind = 'place' AND u.held LIMIT %(limit)s) AS held),
       (SELECT count(*) FROM (
            SELECT DISTINCT u.execution_id FROM executions_limituse u
             WHERE u.limit_id = l.id AND ((u.kind = 'place' AND NOT u.held)
                                          OR (u.kind = 'turn' AND u.until > now()))
             LIMIT %(limit)s) AS waiting)
  FROM unnest(%(ids)s::bigint[]) AS l(id)
"""


_READABLE: dict[str, Any] = {
    "subject": ActionLimit.Subject.ACTION.value,
    "pattern": "*",
    "max_concurrent": 1,
    "rate": 1,
}
# What is said of the API's fields, for those of the form.
_IN_A_FORM = {"Say `max_concurrent`, `rate` or both.": "Say how many at once, a rate, or both."}


@dataclass(frozen=True, slots=True)
class Use:
    """What a limit has to do at this moment, in words and as counts up to MANY + 1."""

    held: int = 0
    waiting: int = 0

    @property
    def held_words(self) -> str:
        return count_words(self.held, MANY)

    @property
    def waiting_words(self) -> str:
        return count_words(self.waiting, MANY)


def uses_of(limits: Sequence[ActionLimit]) -> dict[int, Use]:
    """By the limit's id; one query."""
    if not limits:
        return {}
    with connection.cursor() as cursor:
        cursor.execute(_USES, {"ids": [each.pk for each in limits], "limit": MANY + 1})
        return {pk: Use(held, waiting) for pk, held, waiting in cursor.fetchall()}


class LimitForm(forms.Form):
    """What a limit says; whether that makes sense is the service's to say."""

    subject = forms.CharField(required=False)
    pattern = forms.CharField(required=False)
    max_concurrent = forms.IntegerField(
        required=False, error_messages={"invalid": "A whole number was expected."}
    )
    rate = forms.IntegerField(
        required=False, error_messages={"invalid": "A whole number was expected."}
    )
    period_seconds = forms.FloatField(
        required=False, error_messages={"invalid": "A number of seconds was expected."}
    )
    note = forms.CharField(required=False)

    def clean(self) -> dict[str, Any]:
        """Beside what can't be read, what can is looked at: every problem at once."""
        data = dict(self.cleaned_data)
        if data.get("period_seconds", "") is None:
            data["period_seconds"] = 1.0
        try:
            # What can't be read counts as said, and has its own message.
            LimitTerms(**{**_READABLE, **data}).check()
        except LimitInvalid as refused:
            self.add_refusal(refused)
        return data

    def terms(self) -> LimitTerms:
        return LimitTerms(**self.cleaned_data)

    def add_refusal(self, refused: DomainError) -> None:
        """Show what the service refused, next to the fields that it is about."""
        for problem in refused.details:
            name = problem.path.removeprefix("$.")
            message = _IN_A_FORM.get(problem.message, problem.message.replace("`", ""))
            self.add_error(name if name in self.fields else None, message)
        if not refused.details:
            is_taken = isinstance(refused, LimitConflict)
            self.add_error("pattern" if is_taken else None, refused.message)


class LimitAdmin(PageAdmin):
    """Limits of calls. Rows are changed by `executions.limiting` only."""

    permission = Permission.EXECUTION_VIEW

    def pages(self) -> Sequence[URLPattern]:
        manage = Permission.LIMITS_MANAGE
        return [
            self.page("", "changelist", self.list_page),
            self.page("add/", "add", self.edit_page, permission=manage),
            self.page("<int:pk>/", "change", self.edit_page, permission=manage),
            self.page("<int:pk>/delete/", "delete", self.delete_page, permission=manage),
        ]

    def list_page(self, request: HttpRequest) -> HttpResponseBase:
        """Every limit, with what it has to do now."""
        page = Paginator(ActionLimit.objects.all(), PER_PAGE).get_page(request.GET.get("page"))
        limits = list(page.object_list)
        uses = uses_of(limits)
        return self.render(
            request,
            "limits/list.html",
            title="Limits of calls",
            page=page,
            rows=[(each, f"{each.period_seconds:g}", uses.get(each.pk, Use())) for each in limits],
            lead=_lead(uses),
            may_manage=request.user.has_perm(Permission.LIMITS_MANAGE),
        )

    def edit_page(self, request: HttpRequest, *, pk: int | None = None) -> HttpResponseBase:
        """A new limit, or another word in an old one."""
        limit = None if pk is None else self._limit(pk)
        sent = request.POST if request.method == "POST" else None
        form = LimitForm(sent, initial=_initial(limit))
        if form.is_valid():
            try:
                self._save(request, limit, form.terms())
            except DomainError as error:
                if error.status in {401, 403}:
                    raise
                form.add_refusal(error)
            else:
                return HttpResponseRedirect(self.url("changelist"))
        return self.render(
            request,
            "limits/edit.html",
            status=400 if form.errors else 200,
            title=str(limit) if limit else "New limit",
            crumbs=self._crumbs(),
            limit=limit,
            use=uses_of([limit])[limit.pk] if limit else None,
            form=form,
            subjects=ActionLimit.Subject.choices,
            max_note=MAX_NOTE_CHARS,
            back=self.url("changelist"),
        )

    def _save(self, request: HttpRequest, limit: ActionLimit | None, terms: LimitTerms) -> None:
        actor = actor_of(request.user, request)
        if limit is None:
            made = limiting.create_limit(actor=actor, terms=terms)
            messages.success(request, f"Calls are limited: {made}.")
        else:
            changed = limiting.update_limit(limit=limit, actor=actor, terms=terms)
            messages.success(request, f"Changed the limit: {changed}.")

    def delete_page(self, request: HttpRequest, *, pk: int) -> HttpResponseBase:
        """Say who goes on then; take it away on POST."""
        limit = self._limit(pk)
        if request.method == "POST":
            limiting.delete_limit(limit=limit, actor=actor_of(request.user, request))
            messages.success(request, f"The limit is gone: {limit}.")
            return HttpResponseRedirect(self.url("changelist"))
        return self.render(
            request,
            "limits/delete.html",
            title="Delete",
            crumbs=[*self._crumbs(), Crumb("Change", self.url("change", pk))],
            limit=limit,
            use=uses_of([limit])[limit.pk],
            back=self.url("changelist"),
        )

    def _limit(self, pk: int) -> ActionLimit:
        rows = ActionLimit.objects.filter(pk=pk) if pk < 2**63 else ActionLimit.objects.none()
        return found(rows.first())

    def _crumbs(self) -> list[Crumb]:
        return [Crumb("Limits of calls", self.url("changelist"))]


def _initial(limit: ActionLimit | None) -> dict[str, Any]:
    if limit is None:
        return {"subject": ActionLimit.Subject.ACTION.value, "period_seconds": "1"}
    return {
        "subject": limit.subject,
        "pattern": limit.pattern,
        "max_concurrent": limit.max_concurrent,
        "rate": limit.rate,
        "period_seconds": f"{limit.period_seconds:g}",
        "note": limit.note,
    }


def _lead(uses: dict[int, Use]) -> str:
    """The answer before the table: does any limit hold something up?"""
    if not uses:
        return ""
    holding = [use for use in uses.values() if use.waiting]
    if not holding:
        return "No call waits because of a limit."
    waiting = sum(use.waiting for use in holding)
    some = "1 call waits" if waiting == 1 else f"{count_words(waiting, MANY)} calls wait"
    return f"{some} because of {plural(len(holding), 'limit')}."
