"""The version: one definition of a workflow, frozen when it is published."""

from __future__ import annotations

from datetime import datetime

from django.conf import settings
from django.db import models
from django.db.models import F, Q, Value
from django.db.models.functions import Cast, Concat
from django_fsm import FSMField, transition

from autopilot.common import clock
from workflows.models.workflow import Workflow
from workflows.querysets import WorkflowVersionQuerySet
from workflows.versioning.semver import Version
from workflows.versioning.states import VersionState


class WorkflowVersion(models.Model):
    """One definition of a workflow under one semantic version.

    definition: the validated, normalized document without its `slug` and `version`, which are
        columns, so that no two places can disagree.
    content_hash: hex SHA-256 of `definition`; equal hashes run alike.
    author: who began it; empty for the system. People who wrote a version are deactivated, not
        deleted. writers: everybody who had a hand in it while it was a draft.

    While it is a draft it may be edited or deleted; from then on a database trigger keeps number,
    definition, hash, author and changelog as they are, and lets the state move only as
    `versioning/states.py` says. What has happened to it is in its transitions and reviews.
    """

    # `version_by_precedence` begins with this column: an index of its own would only cost.
    workflow = models.ForeignKey(
        Workflow, on_delete=models.PROTECT, related_name="versions", db_index=False
    )
    version = models.CharField(max_length=64, editable=False)
    major = models.PositiveBigIntegerField(editable=False)
    minor = models.PositiveBigIntegerField(editable=False)
    patch = models.PositiveBigIntegerField(editable=False)
    state = FSMField(
        default=VersionState.DRAFT.value,
        protected=True,
        choices=[(state.value, state.value) for state in VersionState],
        max_length=16,
    )
    definition = models.JSONField()
    content_hash = models.CharField(max_length=64, editable=False)
    changelog = models.TextField(max_length=4_000, blank=True, default="")
    author = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.PROTECT, related_name="+"
    )
    writers = models.ManyToManyField(settings.AUTH_USER_MODEL, related_name="+", blank=True)
    created_at = models.DateTimeField(default=clock.now, editable=False)
    updated_at = models.DateTimeField(default=clock.now, editable=False)
    published_at = models.DateTimeField(null=True, blank=True, editable=False)

    objects = WorkflowVersionQuerySet.as_manager()

    class Meta:
        ordering = ["workflow_id", "-major", "-minor", "-patch"]
        # Who may do what with a version is a permission of its workflow.
        default_permissions = ()
        constraints = [
            models.UniqueConstraint(fields=["workflow", "version"], name="version_unique"),
            # Two drafts would race for the next number; the edit that is under way is one.
            models.UniqueConstraint(
                fields=["workflow"], condition=Q(state="draft"), name="version_one_draft"
            ),
            models.CheckConstraint(
                condition=Q(state__in=["draft", "published", "deprecated", "archived"]),
                name="version_state_known",
            ),
            models.CheckConstraint(
                condition=Q(
                    version=Concat(
                        Cast(F("major"), models.TextField()),
                        Value("."),
                        Cast(F("minor"), models.TextField()),
                        Value("."),
                        Cast(F("patch"), models.TextField()),
                        output_field=models.TextField(),
                    )
                ),
                name="version_numbers_agree",
            ),
            models.CheckConstraint(
                condition=Q(state="draft", published_at__isnull=True)
                | (~Q(state="draft") & Q(published_at__isnull=False)),
                name="version_published_at_set",
            ),
            models.CheckConstraint(
                condition=Q(content_hash__regex=r"^[0-9a-f]{64}$"), name="version_hash_form"
            ),
        ]
        indexes = [
            # The live version of a workflow: the highest published one.
            models.Index(
                fields=["workflow", "-major", "-minor", "-patch"],
                condition=Q(state="published"),
                name="version_live",
            ),
            # A workflow's versions, highest first.
            models.Index(
                fields=["workflow", "-major", "-minor", "-patch"], name="version_by_precedence"
            ),
            # Whether anything is hidden at all: asked for each signal and each call from elsewhere.
            models.Index(
                fields=["id"], condition=Q(definition__has_key="redact"), name="version_hides"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.workflow} {self.version}"

    @property
    def number(self) -> Version:
        """The version as something that compares by precedence."""
        return Version(self.major, self.minor, self.patch)

    @property
    def is_draft(self) -> bool:
        return bool(self.state == VersionState.DRAFT)

    @property
    def document(self) -> dict[str, object]:
        """The definition as a document that stands on its own, with its slug and version."""
        head = {"name": self.definition.get("name"), "slug": self.workflow.slug}
        return {**head, "version": self.version, **self.definition}

    @transition(field=state, source=VersionState.DRAFT.value, target=VersionState.PUBLISHED.value)
    def publish(self, *, at: datetime) -> None:
        """Freeze the content and let executions pin it."""
        self.published_at = at

    @transition(
        field=state, source=VersionState.PUBLISHED.value, target=VersionState.DEPRECATED.value
    )
    def deprecate(self) -> None:
        """Start only for those who ask for this very number."""

    @transition(
        field=state, source=VersionState.DEPRECATED.value, target=VersionState.PUBLISHED.value
    )
    def reinstate(self) -> None:
        """Be chosen again by starts that name no number."""

    @transition(
        field=state, source=VersionState.DEPRECATED.value, target=VersionState.ARCHIVED.value
    )
    def archive(self) -> None:
        """Start for nobody; what runs goes on."""

    @transition(
        field=state, source=VersionState.ARCHIVED.value, target=VersionState.DEPRECATED.value
    )
    def restore(self) -> None:
        """Start again for those who ask for this very number."""
