"""Small values that outlive an execution."""

from __future__ import annotations

from django.db import models
from django.db.models import Q

from executions.models.fields import SealedJSONField


class DurableValue(models.Model):
    """A value that the executions of one workflow (or all of them) keep under a key.

    `version` counts the writes, from 1. `written_by` is the idempotency key of the last write, so
    that one which is repeated is recognised.
    """

    scope = models.CharField(max_length=64)
    key = models.CharField(max_length=200)
    value = SealedJSONField(null=True)
    version = models.PositiveBigIntegerField(default=1)
    written_by = models.CharField(max_length=200, blank=True)
    created_at = models.DateTimeField()
    updated_at = models.DateTimeField()

    class Meta:
        ordering = ["scope", "key"]
        default_permissions = ()
        constraints = [
            # One row a key, however many write at once; also serves every read.
            models.UniqueConstraint(fields=["scope", "key"], name="durable_value_key"),
            models.CheckConstraint(condition=Q(version__gte=1), name="durable_value_version"),
        ]

    def __str__(self) -> str:
        return f"{self.key} of {self.scope}"
