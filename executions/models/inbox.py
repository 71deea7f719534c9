"""Messages to executions: everything that happens to one from outside."""

from __future__ import annotations

from django.db import models

from executions.models.execution import Execution
from executions.models.fields import SealedJSONField


class InboxMessage(models.Model):
    """Something that was asked of an execution, or that it was told.

    Its owner has seen it once the execution's `seen_seq` has reached `seq`.
    """

    execution = models.ForeignKey(
        Execution, on_delete=models.PROTECT, related_name="inbox", db_index=False
    )
    seq = models.BigIntegerField()
    kind = models.CharField(max_length=16)
    payload = SealedJSONField(default=dict, blank=True)
    actor = models.CharField(max_length=200)
    created_at = models.DateTimeField()

    class Meta:
        ordering = ["execution", "seq"]
        default_permissions = ()
        constraints = [
            # The owner reads what came after what it has seen; also serves the foreign key.
            models.UniqueConstraint(fields=["execution", "seq"], name="inbox_order"),
        ]

    def __str__(self) -> str:
        return f"{self.kind} to execution {self.execution_id}"
