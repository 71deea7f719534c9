"""Sending the mails about approvals: each at most once, by a thread that keeps nobody waiting."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import structlog
from django.core.mail import EmailMessage, get_connection
from django.db import Error, connection, transaction

from autopilot.common.beside import Beside
from autopilot.common.database_time import database_now
from executions.approvals.due import do_due
from executions.approvals.links import link_of
from executions.models import Approval, ApprovalMail, MailKind
from executions.runtime.faults import fault

log = structlog.get_logger(__name__)

PER_TURN = 20
# Between two looks for what is due, and after the mail server did not answer.
EVERY_SECONDS = 1.0
AFTER_FAILURE_SECONDS = 60.0


def send_mails() -> int:
    """Send what has been written; answers how many went out.

    A mail is taken, durably, before it is tried: if everything dies in between, it never comes, but
    it never comes twice. Only when there is no mail server to talk to at all, nothing is taken.
    Raises OSError where the server can't be reached.
    """
    if not ApprovalMail.objects.filter(taken_at__isnull=True).exists():
        return 0
    server = get_connection()
    server.open()
    sent = 0
    try:
        while mails := _take():
            sent += sum(_send(mail, server) for mail in mails)
    finally:
        server.close()
    return sent


def _take() -> list[ApprovalMail]:
    with transaction.atomic():
        free = ApprovalMail.objects.filter(taken_at__isnull=True).order_by("pk")
        keys = list(
            free.select_for_update(no_key=True, skip_locked=True).values_list("pk", flat=True)[
                :PER_TURN
            ]
        )
        ApprovalMail.objects.filter(pk__in=keys).update(taken_at=database_now())
    if keys:
        fault("mails.after_taking")
    rows = ApprovalMail.objects.filter(pk__in=keys).order_by("pk")
    return list(rows.select_related("approval__execution__workflow", "user"))


def _send(mail: ApprovalMail, server: Any) -> bool:
    now = database_now()
    failure = ""
    if not _is_awaited(mail.approval, now):
        failure = "settled before it was sent"
    else:
        try:
            message_of(mail, server).send()
        except Exception as error:  # noqa: BLE001 - one bad address must not keep the others
            failure = f"{type(error).__name__}: {error}"[:200].replace("\x00", "")
            log.warning("approvals.mail_failed", mail=mail.pk, error=failure)
    sent_at = None if failure else now
    ApprovalMail.objects.filter(pk=mail.pk).update(sent_at=sent_at, failure=failure)
    return not failure


def _is_awaited(approval: Approval, now: datetime) -> bool:
    return approval.is_open and (approval.expires_at is None or approval.expires_at > now)


def message_of(mail: ApprovalMail, server: Any = None) -> EmailMessage:
    """The mail as it is sent: what is asked, until when, and where to answer."""
    approval = mail.approval
    title = " ".join(approval.title.split())
    is_reminder = mail.kind == MailKind.REMINDER
    due = approval.expires_at
    lines = [
        f"{mail.user.get_username()},",
        "",
        "this still waits for a decision:" if is_reminder else "a decision is asked of you:",
        "",
        f"    {title}",
        "",
        *([approval.description, ""] if approval.description else []),
        f"Workflow: {approval.execution.workflow.name}, execution {approval.execution_id}",
        *([f"Due: {due:%Y-%m-%d %H:%M} UTC"] if due else []),
        "",
        "See it and decide:",
        link_of(mail),
        "",
        "The link is meant for you alone: don't pass it on.",
    ]
    user: Any = mail.user
    address = getattr(user, user.get_email_field_name())
    return EmailMessage(
        subject=f"{'Reminder: ' if is_reminder else ''}{title}",
        body="\n".join(lines),
        to=[address],
        headers={"Auto-Submitted": "auto-generated"},
        connection=server,
    )


class Postman(Beside):
    """Beside the clock: does what is due of approvals whenever the leader says so.

    A mail server that doesn't answer is not waited for at the end.
    """

    name = "approvals"

    def turn(self) -> float:
        try:
            while do_due(database_now()):
                pass
            send_mails()
        except Error as error:
            log.warning("approvals.database_unavailable", error=str(error).strip())
            connection.close()
        except OSError as error:
            log.warning("approvals.mail_server_unreachable", error=str(error))
            return AFTER_FAILURE_SECONDS
        except Exception:
            log.exception("approvals.failed")
            return AFTER_FAILURE_SECONDS
        return EVERY_SECONDS


__all__: Sequence[str] = ["Postman", "message_of", "send_mails"]
