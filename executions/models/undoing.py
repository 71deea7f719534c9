"""What follows when executions fail or are cancelled: what is to be undone, and what is started."""

from __future__ import annotations

from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from executions.engine.states import UndoState
from executions.models.execution import Execution
from executions.models.fields import SealedJSONField

UNDO_STATES = [state.value for state in UndoState]


class Compensation(models.Model):
    """How one completed step is undone: written with the step, changed once somebody undoes it.

    Rows are undone in the descending order of their ids, which is that of completion. `done_by`, an
    execution's id, and `done_seq` name the recorded attempt of the call.
    """

    execution = models.ForeignKey(
        Execution, on_delete=models.PROTECT, related_name="compensations", db_index=False
    )
    seq = models.PositiveIntegerField()
    step_id = models.CharField(max_length=64)
    name = models.CharField(max_length=200)
    action = models.CharField(max_length=128)
    params = SealedJSONField(null=True, blank=True)
    state = models.CharField(
        max_length=8, choices=[(v, v) for v in UNDO_STATES], default=UndoState.PENDING.value
    )
    attempts = models.PositiveIntegerField(default=0, db_default=0)
    error = SealedJSONField(null=True, blank=True)
    done_by = models.PositiveBigIntegerField(null=True, blank=True)
    done_seq = models.PositiveIntegerField(null=True, blank=True)
    created_at = models.DateTimeField(db_default=Now())
    settled_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["-id"]
        default_permissions = ()
        constraints = [
            # A step completes once, so it is undone once; also serves the foreign key and the walk
            # over a tree of executions.
            models.UniqueConstraint(fields=["execution", "seq"], name="compensation_once"),
            models.CheckConstraint(
                condition=Q(state__in=UNDO_STATES), name="compensation_state_known"
            ),
        ]

    def __str__(self) -> str:
        return f"undo {self.step_id} of execution {self.execution_id}"


class ErrorStart(models.Model):
    """A start that the failure of an execution owes: of the workflow that its document names.

    Written in the checkpoint in which it failed. The clock makes it a start, in the transaction
    that says so here; `problem` is why it could not. `started` was started, `execution` had failed.
    """

    class Status(models.TextChoices):
        OWED = "owed", "owed"
        STARTED = "started", "started"
        REFUSED = "refused", "refused"

    execution = models.ForeignKey(
        Execution, on_delete=models.PROTECT, related_name="error_starts", db_index=False
    )
    seq = models.PositiveIntegerField()
    workflow_slug = models.CharField(max_length=100)
    status = models.CharField(
        max_length=8, choices=Status, default=Status.OWED, db_default=Status.OWED
    )
    started = models.OneToOneField(
        Execution, on_delete=models.PROTECT, null=True, blank=True, related_name="error_start"
    )
    problem = models.TextField(blank=True, default="", db_default="")
    created_at = models.DateTimeField(db_default=Now())
    settled_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["id"]
        default_permissions = ()
        indexes = [
            # What is owed: as small as the work to do.
            models.Index(fields=["id"], condition=Q(status="owed"), name="error_start_owed"),
        ]
        constraints = [
            # One start for each time that it failed, `seq` of the transition; serves the key too.
            models.UniqueConstraint(fields=["execution", "seq"], name="error_start_once"),
        ]

    def __str__(self) -> str:
        return f"{self.workflow_slug} for execution {self.execution_id}"
