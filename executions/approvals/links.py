"""The link in a mail: signed, for one person and one approval, until it has decided or is old."""

from __future__ import annotations

from datetime import timedelta
from enum import StrEnum

from django.conf import settings
from django.core import signing
from django.urls import reverse

from executions.approvals.errors import LinkInvalid
from executions.models import ApprovalMail

_SALT = "executions.approval-link"
MAX_TOKEN_CHARS = 200


class Links(StrEnum):
    """What the links in mails are worth: AUTOPILOT_APPROVAL_LINKS."""

    OPEN = "open"  # whoever has the link decides for the person it was made for
    LOGIN = "login"  # it leads there, and the person has to be signed in
    OFF = "off"  # mails lead to the console


def link_of(mail: ApprovalMail) -> str:
    """The address that goes into this mail."""
    if settings.AUTOPILOT_APPROVAL_LINKS == Links.OFF:
        path = reverse("admin:executions_approval_change", args=[mail.approval_id])
    else:
        path = reverse("approval-link", args=[signing.dumps(mail.pk, salt=_SALT)])
    return f"{settings.AUTOPILOT_PUBLIC_URL}{path}"


def mail_of(token: str) -> ApprovalMail:
    """The mail that the link was in. Raises LinkInvalid for what is forged, old or turned off."""
    if settings.AUTOPILOT_APPROVAL_LINKS == Links.OFF or len(token) > MAX_TOKEN_CHARS:
        raise LinkInvalid
    hours = timedelta(hours=settings.AUTOPILOT_APPROVAL_LINK_HOURS)
    try:
        pk = signing.loads(token, salt=_SALT, max_age=hours)
    except signing.SignatureExpired:
        message = "This link is too old. The question may still be open: look in the console."
        raise LinkInvalid(message) from None
    except signing.BadSignature:
        raise LinkInvalid from None
    rows = ApprovalMail.objects.select_related("approval", "user")
    mail: ApprovalMail | None = rows.filter(pk=pk).first()
    if mail is None or not getattr(mail.user, "is_active", True):
        raise LinkInvalid
    return mail
