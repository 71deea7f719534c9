"""What holds executions up on purpose: limits of calls, and switches of workflows and queues."""

from __future__ import annotations

from django.core.validators import MinValueValidator
from django.db import models
from django.db.models import Q

from workflows.models import Workflow


class ActionLimit(models.Model):
    """How many calls of some actions, or to some hosts, may be under way or begin in a while.

    It holds for all workers together. `next_at` is when the next call would be due if calls came
    evenly; kept by whoever takes a turn, under this row's lock.
    """

    class Subject(models.TextChoices):
        """What the pattern is compared with."""

        ACTION = "action", "action"
        HOST = "host", "host"

    subject = models.CharField(max_length=8, choices=Subject)
    pattern = models.CharField(max_length=253)
    max_concurrent = models.PositiveIntegerField(
        null=True, blank=True, validators=[MinValueValidator(1)]
    )
    rate = models.PositiveIntegerField(null=True, blank=True, validators=[MinValueValidator(1)])
    period_seconds = models.FloatField(default=1.0)
    note = models.CharField(max_length=500, blank=True, default="")
    next_at = models.DateTimeField(null=True, blank=True, editable=False)
    created_at = models.DateTimeField(editable=False)
    updated_at = models.DateTimeField(editable=False)

    class Meta:
        ordering = ["subject", "pattern"]
        default_permissions = ("view",)
        permissions = [
            ("manage_limits", "Can limit calls, and pause and resume workflows and queues")
        ]
        constraints = [
            models.UniqueConstraint(fields=["subject", "pattern"], name="action_limit_once"),
            models.CheckConstraint(
                condition=Q(max_concurrent__gte=1) | Q(rate__gte=1), name="action_limit_says_one"
            ),
            models.CheckConstraint(
                condition=Q(period_seconds__gt=0, period_seconds__lte=86_400),
                name="action_limit_period",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.subject} {self.pattern}"


class LimitUse(models.Model):
    """One execution's place in a limit, or its turn in a rate, for the call that it stands at.

    Of a place `held` says whether it has it or waits for it; a turn comes at `until`. The row goes
    with the checkpoint in which the execution leaves the call, so a worker that dies takes nothing
    with it: whoever takes the execution over finds the place.
    """

    class Kind(models.TextChoices):
        PLACE = "place", "place"
        TURN = "turn", "turn"

    limit = models.ForeignKey(ActionLimit, on_delete=models.CASCADE, related_name="uses")
    execution = models.ForeignKey(
        "executions.Execution", on_delete=models.CASCADE, related_name="limit_uses"
    )
    kind = models.CharField(max_length=8, choices=Kind)
    held = models.BooleanField(default=False)
    until = models.DateTimeField(null=True, blank=True)
    priority = models.PositiveSmallIntegerField(default=0)

    class Meta:
        default_permissions = ()
        constraints = [
            models.UniqueConstraint(fields=["limit", "execution", "kind"], name="limit_use_once"),
        ]
        indexes = [
            # How many have a place, and who is next for one.
            models.Index(
                fields=["limit", "held", "-priority", "id"],
                condition=Q(kind="place"),
                name="limit_use_line",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.kind} of {self.execution_id}"


class Hold(models.Model):
    """A workflow or a queue is switched off, by somebody, for a reason, perhaps for a while.

    Mode `starts`: nothing new is accepted. Mode `all`: nothing of it runs; what is under way stops
    at its next step, what is started waits. One that is over is as good as gone; the clock takes
    it away.
    """

    class Mode(models.TextChoices):
        STARTS = "starts", "no new starts"
        ALL = "all", "nothing runs"

    workflow = models.OneToOneField(
        Workflow, on_delete=models.CASCADE, null=True, blank=True, related_name="hold"
    )
    queue = models.CharField(max_length=64, blank=True, default="")
    mode = models.CharField(max_length=8, choices=Mode)
    reason = models.CharField(max_length=200, blank=True, default="")
    until = models.DateTimeField(null=True, blank=True)
    actor = models.CharField(max_length=200)
    created_at = models.DateTimeField()

    class Meta:
        ordering = ["id"]
        default_permissions = ("view",)
        constraints = [
            models.CheckConstraint(
                condition=Q(workflow__isnull=True) ^ Q(queue=""), name="hold_is_of_one"
            ),
            models.UniqueConstraint(
                fields=["queue"], condition=~Q(queue=""), name="hold_of_queue_once"
            ),
        ]

    def __str__(self) -> str:
        return f"queue {self.queue}" if self.queue else f"workflow {self.workflow}"
