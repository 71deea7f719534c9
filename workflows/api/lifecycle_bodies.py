"""What the API reads and writes about the life of a version: its states, reviews, consequences."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from workflows.api.serializers import STATE_CHOICES, CompatibilitySerializer, StrictSerializer
from workflows.api.serializers import LongTextField as TextField
from workflows.models import VersionReview, VersionTransition
from workflows.versioning.review import ReviewVerdict
from workflows.versioning.states import MOVES

VERDICT_CHOICES = [verdict.value for verdict in ReviewVerdict]
VERB_CHOICES = [move.name for move in MOVES if move.name != "publish"]


class MoveSerializer(StrictSerializer):
    """May be left out altogether."""

    reason = TextField(required=False, help_text="Kept in the version's history.")


class ReviewBodySerializer(StrictSerializer):
    """What somebody says of a draft."""

    verdict = serializers.ChoiceField(choices=VERDICT_CHOICES)
    content_hash = serializers.CharField(
        max_length=64,
        help_text="Of the draft that was read: another content is not what this is about.",
    )
    comment = TextField(required=False, help_text="Needed where changes are requested.")


class RequireReviewSerializer(StrictSerializer):
    """Whether a version is published only after another person's approval."""

    required = serializers.BooleanField()  # type: ignore[assignment]


@extend_schema_field(CompatibilitySerializer(allow_null=True))
class _JudgementField(serializers.JSONField):
    """As it was kept."""


class VersionTransitionSerializer(serializers.ModelSerializer[VersionTransition]):
    """One change of a version's state."""

    source = serializers.ChoiceField(  # type: ignore[assignment]
        choices=STATE_CHOICES, read_only=True
    )
    target = serializers.ChoiceField(choices=STATE_CHOICES, read_only=True)
    reason = serializers.CharField(
        read_only=True, help_text="Of a publication: why the guard was overridden, if it was."
    )
    judgement = _JudgementField(
        read_only=True, help_text="Of a publication: what the guard said that day."
    )

    class Meta:
        model = VersionTransition
        fields = ("seq", "source", "target", "reason", "actor", "at", "judgement")
        read_only_fields = fields


class VersionReviewSerializer(serializers.ModelSerializer[VersionReview]):
    """What one person said of one content under one number."""

    verdict = serializers.ChoiceField(choices=VERDICT_CHOICES, read_only=True)
    reviewer = serializers.CharField(source="reviewer.get_username", read_only=True)
    version = serializers.CharField(source="number", read_only=True)

    class Meta:
        model = VersionReview
        fields = ("id", "verdict", "comment", "reviewer", "version", "content_hash", "at")
        read_only_fields = fields


class VersionReviewsSerializer(serializers.Serializer[Any]):
    """How the reviews of a version stand, and all of them, the oldest first."""

    required = serializers.BooleanField(  # type: ignore[assignment]
        help_text="Whether it is published only when approved."
    )
    approved = serializers.BooleanField(help_text="Of what it says now; nobody wants it changed.")
    approved_by = serializers.ListField(child=serializers.CharField())
    wanted_by = serializers.ListField(
        child=serializers.CharField(), help_text="Who asked for changes in what it says now."
    )
    writers = serializers.ListField(
        child=serializers.CharField(), help_text="Who wrote it, and so can't approve it."
    )
    reviews = VersionReviewSerializer(many=True)


class CallerSerializer(serializers.Serializer[Any]):
    """A step of another workflow's version that would start another version than now."""

    workflow = serializers.CharField()
    version = serializers.CharField()
    step = serializers.CharField()
    path = serializers.CharField(help_text="JSON path in that version.")
    range = serializers.CharField(allow_blank=True, help_text="Empty: whatever is live.")
    takes = serializers.CharField(allow_null=True)
    takes_then = serializers.CharField(allow_null=True)


class ImpactSerializer(serializers.Serializer[Any]):
    """What changes for whom."""

    verb = serializers.ChoiceField(choices=VERB_CHOICES)
    live = serializers.CharField(allow_null=True, help_text="What starts take now.")
    live_then = serializers.CharField(allow_null=True, help_text="What starts would take then.")
    callers = CallerSerializer(many=True)
    more_callers = serializers.IntegerField(help_text="How many there are beyond those.")
    executions = serializers.IntegerField(help_text="Under way on this version; they go on.")
    more = serializers.BooleanField(help_text="Whether there are more executions than that.")
