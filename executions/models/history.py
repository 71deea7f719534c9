"""What has happened: steps, transitions and log lines. Written once, never changed."""

from __future__ import annotations

from django.db import models
from django.db.models import Q

from executions.engine.states import STEP_ENDED, State
from executions.models.execution import Execution
from executions.models.fields import SealedJSONField, TransactionIdField
from executions.querysets import SettledQuerySet

STEP_ENDED_VALUES = sorted(state.value for state in STEP_ENDED)


class StepExecution(models.Model):
    """One attempt of one step that has ended. The step that is under way is in the execution."""

    execution = models.ForeignKey(
        Execution, on_delete=models.PROTECT, related_name="steps", db_index=False
    )
    seq = models.PositiveIntegerField()
    attempt = models.PositiveIntegerField(default=1)
    step_id = models.CharField(max_length=64)
    name = models.CharField(max_length=200)
    type = models.CharField(max_length=16)
    state = models.CharField(max_length=16, choices=[(v, v) for v in STEP_ENDED_VALUES])
    params = SealedJSONField(null=True, blank=True)
    output = SealedJSONField(null=True, blank=True)
    error = SealedJSONField(null=True, blank=True)
    started_at = models.DateTimeField()
    ended_at = models.DateTimeField()
    # Copied from the execution that this one is a rerun of: here it did not run.
    taken_over = models.BooleanField(default=False, db_default=False)
    xid = TransactionIdField()

    objects = SettledQuerySet.as_manager()

    class Meta:
        ordering = ["execution", "seq", "attempt"]
        default_permissions = ()
        indexes = [
            # Readers across executions, in an order that never skips a late commit.
            models.Index(fields=["xid", "id"], name="step_settled"),
        ]
        constraints = [
            # No step is recorded twice, whatever goes wrong; also serves the foreign key.
            models.UniqueConstraint(
                fields=["execution", "seq", "attempt"], name="step_recorded_once"
            ),
            models.CheckConstraint(
                condition=Q(state__in=STEP_ENDED_VALUES), name="step_state_known"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.step_id} of execution {self.execution_id}"

    @property
    def duration_seconds(self) -> float:
        return (self.ended_at - self.started_at).total_seconds()


class StateTransition(models.Model):
    """One change of an execution's state: from, to, why, by whom, when."""

    execution = models.ForeignKey(
        Execution, on_delete=models.PROTECT, related_name="transitions", db_index=False
    )
    seq = models.PositiveIntegerField()
    source = models.CharField(max_length=16, blank=True)
    target = models.CharField(max_length=16, choices=[(v.value, v.value) for v in State])
    reason = models.CharField(max_length=200, blank=True)
    actor = models.CharField(max_length=200)
    at = models.DateTimeField()
    xid = TransactionIdField()

    objects = SettledQuerySet.as_manager()

    class Meta:
        ordering = ["execution", "seq"]
        default_permissions = ()
        indexes = [models.Index(fields=["xid", "id"], name="transition_settled")]
        constraints = [
            models.UniqueConstraint(fields=["execution", "seq"], name="transition_recorded_once"),
        ]

    def __str__(self) -> str:
        return f"{self.source} to {self.target} of execution {self.execution_id}"


class LogLine(models.Model):
    """One line that an action logged."""

    execution = models.ForeignKey(
        Execution, on_delete=models.PROTECT, related_name="log_lines", db_index=False
    )
    seq = models.PositiveIntegerField()
    step_id = models.CharField(max_length=64)
    attempt = models.PositiveIntegerField(default=1)
    level = models.CharField(max_length=16)
    event = models.TextField()
    fields = SealedJSONField(default=dict, blank=True)
    at = models.DateTimeField()
    xid = TransactionIdField()

    objects = SettledQuerySet.as_manager()

    class Meta:
        ordering = ["execution", "seq"]
        default_permissions = ()
        indexes = [models.Index(fields=["xid", "id"], name="log_line_settled")]
        constraints = [
            models.UniqueConstraint(fields=["execution", "seq"], name="log_line_recorded_once"),
        ]

    def __str__(self) -> str:
        return self.event
