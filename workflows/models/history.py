"""What has happened to versions: changes of state, and reviews. Written once, never changed."""

from __future__ import annotations

from django.conf import settings
from django.db import models
from django.db.models import Q

from autopilot.common import clock
from workflows.models.version import WorkflowVersion
from workflows.versioning.review import ReviewVerdict
from workflows.versioning.states import VersionState

_STATES = [(state.value, state.value) for state in VersionState]


class VersionTransition(models.Model):
    """One change of a version's state: from, to, why, by whom, when.

    The first is its publication: a draft that was never published leaves none.
    judgement: of a publication, what the guard said that day, as `comparison.Comparison.as_dict`
        has it. Where its `enough` is false, `reason` is why the guard was overridden.
    """

    version = models.ForeignKey(
        WorkflowVersion, on_delete=models.PROTECT, related_name="transitions", db_index=False
    )
    seq = models.PositiveIntegerField()
    source = models.CharField(max_length=16, choices=_STATES)
    target = models.CharField(max_length=16, choices=_STATES)
    reason = models.CharField(max_length=1_000, blank=True)
    judgement = models.JSONField(null=True, blank=True)
    actor = models.CharField(max_length=200)
    at = models.DateTimeField(default=clock.now)

    class Meta:
        ordering = ["version", "seq"]
        default_permissions = ()
        constraints = [
            # Also serves the foreign key.
            models.UniqueConstraint(
                fields=["version", "seq"], name="version_transition_recorded_once"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.source} to {self.target} of {self.version}"


class VersionReview(models.Model):
    """What one person said of a draft, pinned to the content and the number it had.

    It goes with a draft that is deleted, and stays for good with one that is published.
    """

    version = models.ForeignKey(WorkflowVersion, on_delete=models.CASCADE, related_name="reviews")
    verdict = models.CharField(
        max_length=20, choices=[(verdict.value, verdict.value) for verdict in ReviewVerdict]
    )
    comment = models.TextField(max_length=4_000, blank=True, default="")
    content_hash = models.CharField(max_length=64)
    number = models.CharField(max_length=64)
    reviewer = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+"
    )
    at = models.DateTimeField(default=clock.now)

    class Meta:
        ordering = ["version", "id"]
        default_permissions = ()
        constraints = [
            models.CheckConstraint(
                condition=Q(verdict__in=["approved", "changes_requested"]),
                name="review_verdict_known",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.verdict} for {self.version}"
