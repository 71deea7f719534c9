"""What the API of files reads and writes."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from workflows.api.serializers import (
    ChangeSerializer,
    ProblemSerializer,
    ReasonSerializer,
    StrictSerializer,
)
from workflows.files.results import Outcome


@extend_schema_field(serializers.DictField(child=serializers.CharField()))
class _FilesField(serializers.JSONField):
    """Texts by the names of their files."""

    def to_internal_value(self, data: Any) -> Any:
        if not isinstance(data, dict) or not all(isinstance(text, str) for text in data.values()):
            raise serializers.ValidationError("Expected an object: a text for each file's name.")
        return data


class _WishesSerializer(StrictSerializer):
    dry_run = serializers.BooleanField(
        default=False, help_text="Do it, undo it, and answer what happened, problems included."
    )
    publish = serializers.BooleanField(
        default=False, help_text="Publish what is imported, and drafts that say the same."
    )
    replace_drafts = serializers.BooleanField(
        default=False, help_text="Let drafts that say something else give way."
    )
    expected = serializers.CharField(
        required=False,
        max_length=64,
        help_text="The fingerprint of a dry run: refused if something else would happen by now.",
    )


class ImportSerializer(_WishesSerializer):
    """Files of workflows, as an export has them."""

    files = _FilesField(help_text='`{"refund.yaml": "name: Refund\\n..."}`')


class UploadSerializer(_WishesSerializer):
    """The same as a form with files."""

    files = serializers.ListField(child=serializers.FileField(allow_empty_file=True))


class FilesSerializer(serializers.Serializer[Any]):
    """Workflows as files."""

    files = serializers.DictField(
        child=serializers.CharField(), help_text="YAML by the names of the files."
    )
    without = serializers.ListField(
        child=serializers.CharField(),
        help_text="Slugs of workflows that have no version to be written.",
    )


class GuardSerializer(serializers.Serializer[Any]):
    """What the content changes for those who rely on the version before it."""

    bump = serializers.CharField(help_text="none, patch, minor or major.")
    suggested = serializers.CharField(help_text="The lowest honest number.")
    reasons = ReasonSerializer(many=True)
    more = serializers.IntegerField(help_text="How many reasons there are beyond those.")


class ImportedFileSerializer(serializers.Serializer[Any]):
    """One file of an import."""

    name = serializers.CharField()
    slug = serializers.CharField(allow_blank=True)
    outcome = serializers.ChoiceField(choices=[(each.value, each.value) for each in Outcome])
    version = serializers.CharField(allow_null=True)
    state = serializers.CharField(
        allow_null=True, help_text="Of the version afterwards; null for what is refused."
    )
    against = serializers.CharField(
        allow_null=True, help_text="The version it is compared with; null for a first one."
    )
    changes = ChangeSerializer(many=True)
    guard = GuardSerializer(allow_null=True)
    workflow = serializers.DictField(
        child=serializers.DictField(),
        help_text="Fields of the workflow itself that change: `before` and `after`.",
    )
    notes = serializers.ListField(child=serializers.CharField())
    problems = ProblemSerializer(many=True)


class ImportResultSerializer(serializers.Serializer[Any]):
    """What an import has done, or would do."""

    saved = serializers.BooleanField()
    valid = serializers.BooleanField(help_text="Whether no file has a problem.")
    fingerprint = serializers.CharField(help_text="To be sent as `expected` after a dry run.")
    files = ImportedFileSerializer(many=True)
