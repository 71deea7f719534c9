"""What falls due of approvals: telling people that they are asked, reminding them, escalating.

Set by the clock's leader and safe to be done by several at once: rows are taken with SKIP LOCKED,
and a mail can exist only once for one person and one moment. What has to be sent is a row before
it is sent; `mail.py` sends it.
"""

from __future__ import annotations

from datetime import datetime

import structlog
from django.conf import settings
from django.db import transaction
from django.db.models import Q

from autopilot.accounts import audit
from autopilot.accounts.actors import Actor
from executions.approvals.people import recipients
from executions.approvals.querysets import ApprovalQuerySet
from executions.models import Approval, ApprovalMail, MailKind

log = structlog.get_logger(__name__)

PER_TURN = 50
# Of one question at one moment; who is asked as one of more finds it in the inbox.
MAX_RECIPIENTS = 100


def do_due(now: datetime) -> int:
    """Announce, remind and escalate what is due; answers how many approvals were due."""
    return _announce(now) + _remind(now)


def _announce(now: datetime) -> int:
    """Those who are asked from now on hear of it."""
    with transaction.atomic():
        due = Approval.objects.open().filter(announce_at__lte=now)
        rows = _taken(due.order_by("announce_at"))
        for row in rows:
            assert row.announce_at is not None
            _write(row, MailKind.ASKED, row.announce_at)
        Approval.objects.filter(pk__in=[row.pk for row in rows]).update(announce_at=None)
    return len(rows)


def _remind(now: datetime) -> int:
    """Once for each question; from then on the second line may decide as well."""
    with transaction.atomic():
        due = Approval.objects.open().filter(remind_at__lte=now, reminded_at__isnull=True)
        rows = _taken(due.filter(Q(expires_at__isnull=True) | Q(expires_at__gt=now)))
        for row in rows:
            row.reminded_at = now
            if row.assignees.filter(is_later=True).exists():
                row.escalated_at = now
                audit.record(actor=Actor.system("clock"), action="approval.escalated", target=row)
            row.save(update_fields=["reminded_at", "escalated_at"])
            assert row.remind_at is not None
            _write(row, MailKind.REMINDER, row.remind_at)
    if rows:
        log.info("approvals.reminded", approvals=[row.pk for row in rows])
    return len(rows)


def _taken(rows: ApprovalQuerySet) -> list[Approval]:
    locked = rows.select_for_update(no_key=True, skip_locked=True)
    return list(locked.defer("context", "form")[:PER_TURN])


def _write(approval: Approval, kind: MailKind, due_at: datetime) -> None:
    """The mails for one moment; twice the same is one."""
    if not settings.AUTOPILOT_APPROVAL_MAILS:
        return
    people = recipients(approval, MAX_RECIPIENTS + 1)
    if len(people) > MAX_RECIPIENTS:
        log.warning("approvals.too_many_recipients", approval=approval.pk, most=MAX_RECIPIENTS)
    ApprovalMail.objects.bulk_create(
        [
            ApprovalMail(approval=approval, user=person, kind=kind, due_at=due_at)
            for person in people[:MAX_RECIPIENTS]
        ],
        ignore_conflicts=True,
    )
