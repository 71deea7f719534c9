"""Permissions to look at how it is going, and what was deleted when its time was over."""

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


class Purge(models.Model):
    """One deletion of executions that had ended long ago: on whose order, of what, how far it came.

    The counts are written in the transactions that delete, so they hold whatever it dies of.
    before: what had ended earlier was due. workflow: a slug; empty = all. trees: of executions with
    all their parts; executions, steps: rows. kept: how many trees were due and had to stay.
    archive: the file that got them before; empty = none. ended_at: null while it runs, and for good
    if it was broken off.
    """

    actor = models.CharField(max_length=200)
    before = models.DateTimeField()
    states = models.JSONField()
    workflow = models.CharField(max_length=100, blank=True, default="")
    archive = models.CharField(max_length=500, blank=True, default="")
    trees = models.PositiveBigIntegerField(default=0)
    executions = models.PositiveBigIntegerField(default=0)
    steps = models.PositiveBigIntegerField(default=0)
    kept = models.PositiveBigIntegerField(default=0)
    started_at = models.DateTimeField()
    ended_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["-id"]
        default_permissions = ()
        permissions = [("purge_executions", "Can delete executions that have ended long ago")]

    def __str__(self) -> str:
        return f"Purge {self.pk}"
