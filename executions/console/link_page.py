"""The page behind the link in a mail. Looking at it changes nothing; its buttons decide."""

from __future__ import annotations

from django.conf import settings
from django.contrib.auth.views import redirect_to_login
from django.db import transaction
from django.http import HttpRequest, HttpResponseRedirect
from django.http.response import HttpResponseBase
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.cache import add_never_cache_headers
from django.views.decorators.csrf import csrf_protect
from django.views.decorators.http import require_http_methods

from autopilot.accounts.actors import actor_of
from autopilot.common.database_time import database_now
from autopilot.common.errors import PermissionDenied
from executions.approvals.deciding import refusal_of
from executions.approvals.links import Links, mail_of
from executions.approvals.reads import view_of, with_execution
from executions.console.decision_form import DecisionForm
from executions.console.tree import tree_of
from executions.models import Approval, ApprovalMail


@csrf_protect
@require_http_methods(["GET", "HEAD", "POST"])
def approval_link(request: HttpRequest, token: str) -> HttpResponseBase:
    """What is asked, as the person the link was made for sees it; POST decides on their behalf."""
    mail = mail_of(token)
    if settings.AUTOPILOT_APPROVAL_LINKS == Links.LOGIN:
        if not request.user.is_authenticated:
            return redirect_to_login(request.get_full_path())
        if request.user.pk != mail.user_id:
            raise PermissionDenied("This link was made for somebody else. Sign in as that person.")
    response = _decide(request, mail) if request.method == "POST" else None
    if response is None:
        response = _page(request, mail, DecisionForm.of(mail.approval))
    add_never_cache_headers(response)
    response["X-Robots-Tag"] = "noindex, nofollow"
    return response


def _decide(request: HttpRequest, mail: ApprovalMail) -> HttpResponseBase | None:
    """Decide, once; None = the link has decided before."""
    if mail.used_at is not None:
        return None
    form = DecisionForm.of(mail.approval, request.POST)
    actor = actor_of(mail.user, request)
    with transaction.atomic():
        word = request.POST.get("decision", "")
        if form.decide(mail.approval, actor, word, via="link"):
            ApprovalMail.objects.filter(pk=mail.pk).update(used_at=database_now())
            return HttpResponseRedirect(request.path)
    return _page(request, mail, form)


def _page(request: HttpRequest, mail: ApprovalMail, form: DecisionForm) -> TemplateResponse:
    actor = actor_of(mail.user, request)
    approval: Approval = with_execution(Approval.objects.all()).get(pk=mail.approval_id)
    view = view_of(approval, actor)
    own = next((each for each in view.decisions if each.person_id == mail.user_id), None)
    refusal = refusal_of(approval, actor, database_now()) if own is None else None
    closed = refusal.message if refusal else ""
    status = form.refused.status if form.refused and not closed else 200
    return TemplateResponse(
        request,
        "approvals/link.html",
        {
            "view": view,
            "approval": approval,
            "person": mail.user,
            "own": own,
            "closed": closed,
            "form": form,
            "context": tree_of(approval.context) if approval.context is not None else "",
            "console_url": reverse("admin:executions_approval_change", args=[approval.pk]),
        },
        status=status,
    )
