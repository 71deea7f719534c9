"""Questions to people: what is asked, who may decide, who has, and the mails about it."""

from __future__ import annotations

from django.conf import settings
from django.contrib.auth.models import Group
from django.db import models
from django.db.models import Q

from executions.approvals.querysets import ApprovalQuerySet
from executions.engine.approvals import MAX_TITLE_CHARS
from executions.models.execution import Execution
from executions.models.fields import SealedJSONField


class ApprovalState(models.TextChoices):
    """How a question stands. Approved and rejected are decisions of people."""

    OPEN = "open", "open"
    APPROVED = "approved", "approved"
    REJECTED = "rejected", "rejected"
    EXPIRED = "expired", "expired"
    WITHDRAWN = "withdrawn", "withdrawn"  # the execution went on or ended without an answer


class Approval(models.Model):
    """One question that one attempt of an approval step asks.

    Opened and closed by the ledger with the step; in between the services of
    `executions.approvals` write it, under the execution's lock. is_open_to_all: everybody with the
    permission may decide, nobody in particular. missing: names of assignees that were not found.
    remind_at: when there is something to remind of; reminded_at: when that was done. escalated_at:
    since when those of the second line may decide too. settled_at: when it left `open`.
    """

    execution = models.ForeignKey(
        Execution, on_delete=models.PROTECT, related_name="approvals", db_index=False
    )
    seq = models.PositiveIntegerField()
    attempt = models.PositiveIntegerField()
    step_id = models.CharField(max_length=64)
    step_name = models.CharField(max_length=200)
    title = models.CharField(max_length=MAX_TITLE_CHARS)
    description = models.TextField(blank=True)
    context = SealedJSONField(null=True, blank=True)
    form = models.JSONField(null=True, blank=True)
    state = models.CharField(max_length=16, choices=ApprovalState, default=ApprovalState.OPEN)
    quorum = models.PositiveSmallIntegerField(default=1)
    allow_requester = models.BooleanField(default=False)
    is_open_to_all = models.BooleanField(default=False)
    missing = models.JSONField(default=list, blank=True)
    requester = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        on_delete=models.SET_NULL,
        null=True,
        blank=True,
        related_name="+",
        db_index=False,
    )
    claimed_by = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        on_delete=models.SET_NULL,
        null=True,
        blank=True,
        related_name="+",
        db_index=False,
    )
    claimed_at = models.DateTimeField(null=True, blank=True)
    opened_at = models.DateTimeField()
    expires_at = models.DateTimeField(null=True, blank=True)
    remind_at = models.DateTimeField(null=True, blank=True)
    reminded_at = models.DateTimeField(null=True, blank=True)
    escalated_at = models.DateTimeField(null=True, blank=True)
    announce_at = models.DateTimeField(null=True, blank=True)
    settled_at = models.DateTimeField(null=True, blank=True)

    objects = ApprovalQuerySet.as_manager()

    class Meta:
        ordering = ["-id"]
        default_permissions = ()
        permissions = [("decide_approval", "Can decide approvals that ask nobody in particular")]
        indexes = [
            # The inbox: what is open, newest first. Decided ones stay out of it.
            models.Index(fields=["-id"], condition=Q(state="open"), name="approval_open"),
            # The clock: what is to be announced or reminded of next.
            models.Index(
                fields=["announce_at"],
                condition=Q(state="open", announce_at__isnull=False),
                name="approval_to_announce",
            ),
            models.Index(
                fields=["remind_at"],
                condition=Q(state="open", reminded_at__isnull=True, remind_at__isnull=False),
                name="approval_to_remind",
            ),
        ]
        constraints = [
            # A step asks once each attempt; also serves the foreign key.
            models.UniqueConstraint(
                fields=["execution", "seq", "attempt"], name="approval_asked_once"
            ),
            models.CheckConstraint(
                condition=Q(state__in=ApprovalState.values), name="approval_state_known"
            ),
            models.CheckConstraint(
                condition=Q(state="open", settled_at__isnull=True)
                | (~Q(state="open") & Q(settled_at__isnull=False)),
                name="approval_settled_has_time",
            ),
        ]

    def __str__(self) -> str:
        return f"Approval {self.pk}: {self.title}"

    @property
    def is_open(self) -> bool:
        return self.state == ApprovalState.OPEN


class ApprovalAssignee(models.Model):
    """Somebody, or a group, who may decide; of the second line only once it was escalated."""

    approval = models.ForeignKey(
        Approval, on_delete=models.CASCADE, related_name="assignees", db_index=False
    )
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        on_delete=models.CASCADE,
        null=True,
        blank=True,
        related_name="+",
        db_index=False,
    )
    group = models.ForeignKey(
        Group, on_delete=models.CASCADE, null=True, blank=True, related_name="+", db_index=False
    )
    is_later = models.BooleanField(default=False)

    class Meta:
        ordering = ["id"]
        default_permissions = ()
        constraints = [
            models.CheckConstraint(
                condition=Q(user__isnull=True) ^ Q(group__isnull=True),
                name="approval_assignee_one",
            ),
            # Also serve "mine" and "my groups", and the foreign keys.
            models.UniqueConstraint(
                fields=["user", "approval", "is_later"],
                condition=Q(user__isnull=False),
                name="approval_assignee_user",
            ),
            models.UniqueConstraint(
                fields=["group", "approval", "is_later"],
                condition=Q(group__isnull=False),
                name="approval_assignee_group",
            ),
        ]
        indexes = [models.Index(fields=["approval"], name="approval_assignees")]

    def __str__(self) -> str:
        return str(self.user or self.group)


class ApprovalDecision(models.Model):
    """What one person said, once. principal: who that is, also when the user is gone.

    via: `console`, `api`, `link`, `command` or `python`.
    """

    approval = models.ForeignKey(
        Approval, on_delete=models.CASCADE, related_name="decisions", db_index=False
    )
    principal = models.CharField(max_length=150)
    person = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        on_delete=models.SET_NULL,
        null=True,
        blank=True,
        related_name="+",
    )
    by = models.CharField(max_length=200)
    approved = models.BooleanField()
    comment = models.TextField(blank=True)
    answer = SealedJSONField(null=True, blank=True)
    via = models.CharField(max_length=16)
    at = models.DateTimeField()

    class Meta:
        ordering = ["id"]
        default_permissions = ()
        constraints = [
            # Nobody counts twice, however often a request comes; also serves the foreign key.
            models.UniqueConstraint(fields=["approval", "principal"], name="approval_decided_once"),
        ]

    def __str__(self) -> str:
        return f"{'Approved' if self.approved else 'Rejected'} by {self.by}"


class MailKind(models.TextChoices):
    """What a mail about an approval says."""

    ASKED = "asked", "asked"
    REMINDER = "reminder", "reminder"


class ApprovalMail(models.Model):
    """One mail to one person about one approval, and the link in it.

    The row exists before the mail is sent and is taken before that is tried: whatever dies, it goes
    out once or not at all. due_at: for which moment; two for the same one can't exist. taken_at: a
    sender has begun. used_at: its link has decided.
    """

    approval = models.ForeignKey(
        Approval, on_delete=models.CASCADE, related_name="mails", db_index=False
    )
    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="+")
    kind = models.CharField(max_length=16, choices=MailKind)
    due_at = models.DateTimeField()
    taken_at = models.DateTimeField(null=True, blank=True)
    sent_at = models.DateTimeField(null=True, blank=True)
    failure = models.CharField(max_length=200, blank=True)
    used_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["id"]
        default_permissions = ()
        constraints = [
            models.UniqueConstraint(
                fields=["approval", "user", "kind", "due_at"], name="approval_mail_once"
            ),
        ]
        indexes = [
            models.Index(fields=["id"], condition=Q(taken_at__isnull=True), name="approval_unsent")
        ]

    def __str__(self) -> str:
        return f"{self.kind} of approval {self.approval_id}"
