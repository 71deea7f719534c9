"""Worker processes, as far as the work is concerned."""

from __future__ import annotations

from django.db import models


class Worker(models.Model):
    """A process that owns executions as long as it keeps its lease.

    The row is deleted when the worker stops or its lease is over, and everything it owned is freed
    in the same transaction; a worker whose row is gone can claim and write nothing. No index holds
    what a heartbeat rewrites.
    """

    name = models.CharField(max_length=200)
    host = models.CharField(max_length=200)
    pid = models.PositiveIntegerField()
    queues = models.JSONField(default=list)
    started_at = models.DateTimeField()
    lease_until = models.DateTimeField()
    slots = models.PositiveIntegerField(default=0)
    busy = models.PositiveIntegerField(default=0)

    class Meta:
        ordering = ["id"]
        default_permissions = ("view",)

    def __str__(self) -> str:
        return self.name
