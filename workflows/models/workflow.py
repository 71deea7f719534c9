"""The workflow: the name under which versions of one definition stand together."""

from __future__ import annotations

from django.conf import settings
from django.contrib.postgres.indexes import GinIndex
from django.db import models
from django.db.models import Q

from autopilot.common import clock
from workflows.querysets import WorkflowQuerySet


class Workflow(models.Model):
    """One automation, known by its slug; what it does is in its versions.

    Name, description and labels are for finding it: they start as the first document has them and
    are changed here, never by a later version. `created_by` is empty for the system.
    review_required: a version is published only after somebody else has approved it.
    """

    slug = models.CharField(max_length=100, unique=True)
    name = models.CharField(max_length=200)
    description = models.TextField(max_length=4_000, blank=True, default="")
    labels = models.JSONField(default=dict, blank=True)
    review_required = models.BooleanField(default=False, db_default=False)
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.SET_NULL, related_name="+"
    )
    created_at = models.DateTimeField(default=clock.now, editable=False)
    updated_at = models.DateTimeField(default=clock.now, editable=False)

    objects = WorkflowQuerySet.as_manager()

    class Meta:
        ordering = ["name", "id"]
        permissions = [
            ("publish_workflow", "Can publish a version of a workflow"),
            ("review_workflow", "Can approve other people's versions of a workflow"),
            ("override_guard", "Can publish a version against the guard of its number"),
            ("require_review", "Can say whether versions of a workflow need an approval"),
        ]
        constraints = [
            models.CheckConstraint(
                condition=Q(slug__regex=r"^[a-z0-9]+(-[a-z0-9]+)*$"), name="workflow_slug_form"
            ),
            models.CheckConstraint(condition=~Q(name=""), name="workflow_name_given"),
        ]
        indexes = [
            # The default order of lists.
            models.Index(fields=["name", "id"], name="workflow_name"),
            # Lists by label: `labels @> {"team": "crm"}`.
            GinIndex(fields=["labels"], name="workflow_labels", opclasses=["jsonb_path_ops"]),
        ]

    def __str__(self) -> str:
        return self.slug
