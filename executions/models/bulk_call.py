"""Calls that ask something of many executions, kept so that the same call again does nothing."""

from __future__ import annotations

from django.contrib.postgres.fields import ArrayField
from django.db import models


class BulkCall(models.Model):
    """One call with an idempotency key: whose, what was asked (as a hash), and of which executions.

    A filter would match others when the call is repeated, so what it matched at first is kept.
    """

    principal = models.CharField(max_length=150)
    idempotency_key = models.CharField(max_length=200)
    request_hash = models.CharField(max_length=64)
    executions = ArrayField(models.BigIntegerField())
    created_at = models.DateTimeField()

    class Meta:
        ordering = ["-id"]
        default_permissions = ()
        constraints = [
            # One call a key and asker, whoever comes first; also serves every read.
            models.UniqueConstraint(
                fields=["principal", "idempotency_key"], name="bulk_call_idempotency"
            ),
        ]

    def __str__(self) -> str:
        return f"Bulk call {self.pk}"
