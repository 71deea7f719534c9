"""Moves of live executions to another version of their workflow."""

from __future__ import annotations

from django.conf import settings
from django.db import models
from django.db.models import Q

from executions.models.execution import Execution
from workflows.models import Workflow, WorkflowVersion


class MigrationState(models.TextChoices):
    """How far a migration is."""

    RUNNING = "running", "running"
    UNDOING = "undoing", "undoing"
    DONE = "done", "done"
    CANCELLED = "cancelled", "cancelled"


class MoveState(models.TextChoices):
    """What has come of one execution."""

    PENDING = "pending", "pending"
    MOVED = "moved", "moved"
    REFUSED = "refused", "refused"
    LEFT = "left", "left"  # the migration was cancelled before it was its turn
    UNDOING = "undoing", "undoing"
    UNDONE = "undone", "undone"
    KEPT = "kept", "kept"  # it was to be moved back and could not be


class Migration(models.Model):
    """That executions of one version are moved to another one, each with its items and branches.

    mapping: what was said about which step becomes which; the rest follows from the two versions.
    actor: who asked for it. Whoever has time does it batch by batch; `state` says how far it is,
    the items what came of each. undone_by, undo_reason: of the last time that it was undone.
    """

    State = MigrationState

    workflow = models.ForeignKey(
        Workflow, on_delete=models.PROTECT, related_name="migrations", db_index=False
    )
    source = models.ForeignKey(WorkflowVersion, on_delete=models.PROTECT, related_name="+")
    target = models.ForeignKey(WorkflowVersion, on_delete=models.PROTECT, related_name="+")
    mapping = models.JSONField(default=dict, blank=True)
    state = models.CharField(max_length=16, choices=State, default=State.RUNNING)
    reason = models.CharField(max_length=200, blank=True, default="")
    actor = models.CharField(max_length=200)
    started_by = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        on_delete=models.SET_NULL,
        null=True,
        blank=True,
        related_name="+",
        db_index=False,
    )
    undone_by = models.CharField(max_length=200, blank=True, default="")
    undo_reason = models.CharField(max_length=200, blank=True, default="")
    created_at = models.DateTimeField()
    ended_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["-id"]
        default_permissions = ()
        permissions = [("migrate_execution", "Can move live executions to another version")]
        indexes = [
            # A workflow's migrations, newest first; also serves the foreign key.
            models.Index(fields=["workflow", "-id"], name="migration_of_workflow"),
            # What there is to do: as small as that.
            models.Index(
                fields=["id"], condition=Q(state__in=["running", "undoing"]), name="migration_open"
            ),
        ]
        constraints = [
            models.CheckConstraint(
                condition=Q(state__in=["running", "undoing"], ended_at__isnull=True)
                | Q(state__in=["done", "cancelled"], ended_at__isnull=False),
                name="migration_ended_has_time",
            ),
        ]

    def __str__(self) -> str:
        return f"Migration {self.pk}"

    @property
    def is_open(self) -> bool:
        """Whether there is something left to do."""
        return self.state in (self.State.RUNNING, self.State.UNDOING)


class MigrationItem(models.Model):
    """What a migration has come to for one execution.

    code, path, message: why it was not moved, or not moved back, with the place in a definition.
    about: the item or branch of it that this is about, else empty. tries: how often it was looked
    at and found at work. before: what is needed to put it back as it was, without any of its data.
    """

    State = MoveState

    migration = models.ForeignKey(
        Migration, on_delete=models.CASCADE, related_name="items", db_index=False
    )
    execution = models.ForeignKey(Execution, on_delete=models.CASCADE, related_name="moves")
    state = models.CharField(max_length=16, choices=State, default=State.PENDING)
    code = models.CharField(max_length=100, blank=True, default="")
    path = models.CharField(max_length=500, blank=True, default="")
    message = models.TextField(blank=True, default="")
    about = models.BigIntegerField(null=True, blank=True)
    tries = models.PositiveSmallIntegerField(default=0)
    before = models.JSONField(null=True, blank=True, editable=False)
    moved_at = models.DateTimeField(null=True, blank=True)
    undone_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["migration", "execution_id"]
        default_permissions = ()
        indexes = [
            # The next batch, results by outcome, and the counts.
            models.Index(fields=["migration", "state", "execution"], name="migration_item_state"),
        ]
        constraints = [
            # Each execution once; also the order of the list.
            models.UniqueConstraint(fields=["migration", "execution"], name="migration_item_once"),
        ]

    def __str__(self) -> str:
        return f"Execution {self.execution_id} in migration {self.migration_id}"
