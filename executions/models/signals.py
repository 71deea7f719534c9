"""Signals that were received, and the steps that wait for one."""

from __future__ import annotations

from django.db import models
from django.db.models import Q

from executions.engine.signals import SignalState
from executions.models.execution import Execution
from executions.models.fields import SealedJSONField
from executions.querysets import SignalQuerySet
from workflows.models import Workflow

# Neither offered to a step nor refused by one: the next step that suits gets it.
FREE = Q(execution__isnull=True)


class Signal(models.Model):
    """Something that happened outside, for a step that waits for it or will before `expires_at`.

    target: only for this execution and the branches and items inside it; otherwise whoever waits
    for this name and correlation gets it, of one workflow if that is given.
    execution, seq, attempt: the step it was given to. It belongs to that step from then on, unless
    the step ends without it; `consumed_at` says that it has become its output, `refused_at` that it
    broke its schema. The payload is emptied when it is consumed: it is the step's output then.
    """

    name = models.CharField(max_length=200)
    correlation = models.CharField(max_length=200, blank=True, default="")
    target = models.ForeignKey(
        Execution,
        on_delete=models.PROTECT,
        null=True,
        blank=True,
        related_name="+",
        db_index=False,
    )
    workflow = models.ForeignKey(
        Workflow, on_delete=models.PROTECT, null=True, blank=True, related_name="+", db_index=False
    )
    payload = SealedJSONField(null=True)
    sender = models.CharField(max_length=200)
    principal = models.CharField(max_length=150)
    idempotency_key = models.CharField(max_length=200, blank=True, default="")
    request_hash = models.CharField(max_length=64, blank=True, default="")
    created_at = models.DateTimeField()
    expires_at = models.DateTimeField()
    # When it was received, or last given back: the clock looks at what has changed lately.
    free_since = models.DateTimeField()
    execution = models.ForeignKey(
        Execution,
        on_delete=models.PROTECT,
        null=True,
        blank=True,
        related_name="signals",
        db_index=False,
    )
    seq = models.PositiveIntegerField(default=0)
    attempt = models.PositiveIntegerField(default=0)
    consumed_at = models.DateTimeField(null=True, blank=True)
    refused_at = models.DateTimeField(null=True, blank=True)
    refusal = models.CharField(max_length=500, blank=True, default="")

    objects = SignalQuerySet.as_manager()

    class Meta:
        ordering = ["-id"]
        default_permissions = ()
        indexes = [
            # Matching: what is kept for a name and correlation, the oldest first.
            models.Index(fields=["name", "correlation", "id"], condition=FREE, name="signal_kept"),
            # Matching by target, and what was sent to one execution.
            models.Index(
                fields=["target", "id"], condition=Q(target__isnull=False), name="signal_to"
            ),
            # What an execution was given, for its page.
            models.Index(
                fields=["execution", "id"], condition=Q(execution__isnull=False), name="signal_of"
            ),
            # The clock: what has come or been given back lately.
            models.Index(fields=["free_since"], condition=FREE, name="signal_free"),
            # The clock: what has been kept long enough.
            models.Index(fields=["expires_at"], name="signal_expiry"),
        ]
        constraints = [
            # One signal per key and sender, whoever comes first.
            models.UniqueConstraint(
                fields=["principal", "idempotency_key"],
                condition=~Q(idempotency_key=""),
                name="signal_idempotency",
            ),
            # For nobody in particular it would be for anybody.
            models.CheckConstraint(
                condition=Q(target__isnull=False) | ~Q(correlation=""), name="signal_is_for_some"
            ),
        ]

    def __str__(self) -> str:
        return f"Signal {self.name} ({self.pk})"

    @property
    def state(self) -> SignalState:
        if self.refused_at is not None:
            return SignalState.REFUSED
        if self.consumed_at is not None:
            return SignalState.CONSUMED
        return SignalState.KEPT if self.execution_id is None else SignalState.OFFERED


class SignalWait(models.Model):
    """A step that waits for a signal. There from the checkpoint in which the wait begins to the one
    in which it ends.

    document: the execution that the outside knows it by; not the branch or item itself.
    signal: what it has been given and not yet looked at.
    """

    execution = models.OneToOneField(
        Execution, on_delete=models.PROTECT, primary_key=True, related_name="signal_wait"
    )
    # Also serves signals that are sent to an execution by its id.
    document = models.ForeignKey(Execution, on_delete=models.PROTECT, related_name="+")
    workflow = models.ForeignKey(
        Workflow, on_delete=models.PROTECT, related_name="+", db_index=False
    )
    seq = models.PositiveIntegerField()
    attempt = models.PositiveIntegerField()
    name = models.CharField(max_length=200)
    correlation = models.CharField(max_length=200, blank=True, default="")
    since = models.DateTimeField()
    signal = models.OneToOneField(
        Signal, on_delete=models.PROTECT, null=True, blank=True, related_name="wait"
    )

    class Meta:
        ordering = ["since", "execution"]
        default_permissions = ()
        indexes = [
            # Matching: who waits for a name and correlation, the longest first.
            models.Index(
                fields=["name", "correlation", "since"],
                condition=Q(signal__isnull=True),
                name="signal_wait_key",
            ),
            # The clock: who has begun to wait lately.
            models.Index(
                fields=["since"], condition=Q(signal__isnull=True), name="signal_wait_since"
            ),
        ]

    def __str__(self) -> str:
        return f"Execution {self.execution_id} waits for {self.name}"
