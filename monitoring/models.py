"""No tables yet: a home for the permission to look at how it is going."""

from __future__ import annotations

from django.db import models


class Monitoring(models.Model):
    """Never a row: Django keeps permissions on models, and this one belongs to none of them."""

    class Meta:
        managed = False
        default_permissions = ()
        permissions = [("view_monitoring", "Can see health, rates, queues and workers")]

    def __str__(self) -> str:
        return "monitoring"
