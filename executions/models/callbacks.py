"""Calls that end elsewhere, and the tasks that workers of any language take from queues."""

from __future__ import annotations

from django.db import models
from django.db.models import Q

from executions.models.execution import Execution
from executions.models.fields import SealedJSONField

# A task that may be taken by whoever comes, once `available_at` has passed.
OPEN_TASK = Q(opened_at__isnull=False, closed_at__isnull=True, answered_at__isnull=True) & ~Q(
    queue=""
)


class Callback(models.Model):
    """One attempt at a step whose call ends elsewhere; with a `queue` also a task there.

    opened_at: since when the step waits; before that, somebody was faster than the action that
    gave the token away. answered_at: when the token was used up. answer: what was said then, until
    the step has taken it in. closed_at, outcome: when and how the wait ended.
    available_at: from when on the task may be taken: at first at once, then after the lease of whom
    it was given to. leases: to how many it was given.
    """

    execution = models.ForeignKey(
        Execution, on_delete=models.PROTECT, related_name="callbacks", db_index=False
    )
    step_id = models.CharField(max_length=64)
    seq = models.PositiveIntegerField()
    attempt = models.PositiveIntegerField()
    created_at = models.DateTimeField()
    opened_at = models.DateTimeField(null=True, blank=True)
    heard_at = models.DateTimeField(null=True, blank=True)
    details = SealedJSONField(null=True)
    answered_at = models.DateTimeField(null=True, blank=True)
    answer = SealedJSONField(null=True)
    closed_at = models.DateTimeField(null=True, blank=True)
    outcome = models.CharField(max_length=16, blank=True, default="")

    queue = models.CharField(max_length=64, blank=True, default="")
    payload = SealedJSONField(null=True)
    available_at = models.DateTimeField(null=True, blank=True)
    leases = models.PositiveIntegerField(default=0)
    worker = models.CharField(max_length=200, blank=True, default="")

    class Meta:
        ordering = ["-id"]
        default_permissions = ()
        indexes = [
            # Taking tasks: those of one queue that may be taken, the longest first.
            models.Index(
                fields=["queue", "available_at", "id"], condition=OPEN_TASK, name="callback_task"
            ),
            # The clock: what was over long enough ago.
            models.Index(fields=["created_at"], name="callback_age"),
        ]
        constraints = [
            # One row an attempt: of two who use its token at once only one can; serves every read.
            models.UniqueConstraint(
                fields=["execution", "seq", "attempt"], name="callback_attempt"
            ),
        ]

    def __str__(self) -> str:
        return f"Call of step {self.step_id} of execution {self.execution_id}"
