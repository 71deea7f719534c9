"""What the workflow API reads and writes."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import OpenApiExample, extend_schema_field, extend_schema_serializer
from rest_framework import serializers

from workflows.models import Workflow, WorkflowVersion
from workflows.reviewing import review_state
from workflows.versioning.diff import ChangeKind
from workflows.versioning.states import VersionState

STATE_CHOICES = [(state.value, state.value) for state in VersionState]

SMALLEST = {
    "name": "Example Workflow",
    "description": "A sample workflow",
    "steps": [{"name": "Step 1", "type": "action", "config": {"action": "noop"}}],
}


@extend_schema_serializer(
    examples=[OpenApiExample("The smallest", value=SMALLEST, request_only=True)]
)
class DefinitionSerializer(serializers.Serializer[Any]):
    """A workflow definition. Only described here: the whole of it is at
    `/api/v1/workflows/definition-schema/`, and validation names every problem by its path."""

    name = serializers.CharField(max_length=200, help_text="What people call the workflow.")
    slug = serializers.SlugField(
        max_length=100, required=False, help_text="Default: derived from the name."
    )
    version = serializers.CharField(
        max_length=64, required=False, help_text="MAJOR.MINOR.PATCH; default: the next minor one."
    )
    description = serializers.CharField(max_length=4_000, required=False)
    labels = serializers.DictField(child=serializers.CharField(max_length=255), required=False)
    input_schema = serializers.JSONField(required=False, help_text="JSON Schema 2020-12.")
    output_schema = serializers.JSONField(required=False, help_text="JSON Schema 2020-12.")
    steps = serializers.ListField(child=serializers.DictField(), min_length=1, max_length=1_000)
    output = serializers.JSONField(required=False, help_text="Template of the result.")


@extend_schema_field(DefinitionSerializer)
class DocumentField(serializers.JSONField):
    """A version's definition as a document that stands on its own."""


class WorkflowSerializer(serializers.ModelSerializer[Workflow]):
    """A workflow, without the content of its versions."""

    live_version = serializers.CharField(
        allow_null=True,
        read_only=True,
        help_text="The highest published version: what starts run; not a rollout's candidate.",
    )
    draft_version = serializers.CharField(
        allow_null=True, read_only=True, help_text="The version that is being written."
    )
    candidate_version = serializers.CharField(
        allow_null=True, read_only=True, help_text="The version that a rollout gives some starts."
    )
    candidate_percent = serializers.FloatField(
        allow_null=True, read_only=True, help_text="To how many of them."
    )
    labels = serializers.DictField(child=serializers.CharField(), read_only=True)
    created_by = serializers.CharField(
        source="created_by.get_username",
        default=None,
        allow_null=True,
        read_only=True,
        help_text="Null for the system.",
    )

    class Meta:
        model = Workflow
        fields = (
            "slug",
            "name",
            "description",
            "labels",
            "review_required",
            "live_version",
            "draft_version",
            "candidate_version",
            "candidate_percent",
            "created_by",
            "created_at",
            "updated_at",
        )
        read_only_fields = fields


class VersionSummarySerializer(serializers.ModelSerializer[WorkflowVersion]):
    """A version, without its definition."""

    approved_by = serializers.SerializerMethodField(
        help_text="Who approved this very content; for what is published, before it was."
    )
    overridden = serializers.BooleanField(
        source="was_overridden",
        read_only=True,
        help_text="Whether it was published against the guard; its history says why.",
    )

    workflow = serializers.CharField(source="workflow.slug", read_only=True)
    state = serializers.ChoiceField(choices=STATE_CHOICES, read_only=True)
    author = serializers.CharField(
        source="author.get_username",
        default=None,
        allow_null=True,
        read_only=True,
        help_text="Null for the system.",
    )

    class Meta:
        model = WorkflowVersion
        fields: tuple[str, ...] = (
            "workflow",
            "version",
            "state",
            "content_hash",
            "changelog",
            "author",
            "approved_by",
            "overridden",
            "created_at",
            "updated_at",
            "published_at",
        )
        read_only_fields = fields

    @extend_schema_field(serializers.ListField(child=serializers.CharField()))
    def get_approved_by(self, version: WorkflowVersion) -> list[str]:
        return list(review_state(version).approved_by)


class VersionSerializer(VersionSummarySerializer):
    """A version with its definition."""

    definition = DocumentField(source="document", read_only=True)

    class Meta(VersionSummarySerializer.Meta):
        fields = (*VersionSummarySerializer.Meta.fields, "definition")
        read_only_fields = fields


class WorkflowWithVersionSerializer(WorkflowSerializer):
    """A workflow with the version that the request was about."""

    version = VersionSerializer(read_only=True)

    class Meta(WorkflowSerializer.Meta):
        fields = (*WorkflowSerializer.Meta.fields, "version")  # type: ignore[assignment]
        read_only_fields = fields  # type: ignore[assignment]


class StrictSerializer(serializers.Serializer[Any]):
    """Refuses what it doesn't know, so that a misspelt field isn't ignored in silence."""

    def to_internal_value(self, data: Any) -> Any:
        values = super().to_internal_value(data)
        unknown = sorted(set(data) - set(self.fields))
        if unknown:
            problem = serializers.ErrorDetail("There is no such field.", "field.unknown")
            raise serializers.ValidationError({name: [problem] for name in unknown})
        return values


# Text stays text: a CharField would take a number too. The services have the rules, which for name,
# description and labels are the definition's own; here the fields only say what they look like.
@extend_schema_field(serializers.CharField(max_length=200))
class _NameField(serializers.JSONField):
    pass


@extend_schema_field(serializers.CharField(max_length=4_000, allow_blank=True))
class LongTextField(serializers.JSONField):
    pass


@extend_schema_field(serializers.DictField(child=serializers.CharField(max_length=255)))
class _LabelsField(serializers.JSONField):
    pass


class WorkflowChangeSerializer(StrictSerializer):
    """What of a workflow may be changed; what is left out stays. Content is changed by versions."""

    name = _NameField(required=False)
    description = LongTextField(required=False)
    labels = _LabelsField(required=False)


# Text that is no text is a sentence of the service's, as with the fields above.
@extend_schema_field(serializers.CharField(max_length=64))
class _NumberField(serializers.JSONField):
    pass


class PublishSerializer(StrictSerializer):
    """May be left out altogether."""

    version = _NumberField(
        required=False,
        help_text="The number to publish it under; `suggest`: the lowest honest one. Default: the "
        "draft's.",
    )
    override_reason = LongTextField(
        required=False,
        help_text="Why it is published although its number is too small; needs the permission "
        "`workflows.override_guard`. Kept with the guard's judgement.",
    )
    changelog = LongTextField(
        required=False, help_text="What is new in this version; default: the draft's."
    )


class AgainstSerializer(StrictSerializer):
    """May be left out altogether."""

    against = serializers.CharField(
        required=False,
        max_length=64,
        help_text="The version it is compared with; default: the highest one below it that can be "
        "started.",
    )


class ReasonSerializer(serializers.Serializer[Any]):
    """Why a version has to go up."""

    path = serializers.CharField(help_text="JSON path; of what is gone, in the earlier definition.")
    kind = serializers.CharField(help_text="Stable, such as `input.narrowed`.")
    sentence = serializers.CharField()
    bump = serializers.ChoiceField(choices=["patch", "minor", "major"])
    example = serializers.CharField(
        required=False, help_text="A value that shows it, as JSON, perhaps shortened."
    )


class CompatibilitySerializer(serializers.Serializer[Any]):
    """The smallest honest bump of a version, with the reasons for it."""

    version = serializers.CharField(
        allow_null=True, help_text="Its own number; null: a document that names none."
    )
    against = serializers.CharField(allow_null=True, help_text="Null: nothing was published yet.")
    bump = serializers.ChoiceField(choices=["none", "patch", "minor", "major"])
    suggested = serializers.CharField(help_text="The lowest honest number that is free.")
    enough = serializers.BooleanField(
        help_text="Whether its own number is honest; true where it has none."
    )
    reasons = ReasonSerializer(many=True, help_text="The strongest first, 100 at most.")
    more = serializers.IntegerField(help_text="How many reasons there are beyond those.")


class FieldChangeSerializer(serializers.Serializer[Any]):
    path = serializers.CharField()
    text = serializers.BooleanField(help_text="Only people read it; nothing runs differently.")
    before = serializers.JSONField(required=False, help_text="Left out: there was nothing.")
    after = serializers.JSONField(required=False, help_text="Left out: nothing is left.")


class ChangeSerializer(serializers.Serializer[Any]):
    """One difference; a step that is moved and changed too is listed once for each."""

    kind = serializers.CharField(help_text=f"One of {', '.join(ChangeKind)}.")
    path = serializers.CharField(allow_blank=True, help_text="In the later one; empty: gone.")
    was = serializers.CharField(allow_blank=True, help_text="In the earlier one; empty: new.")
    step = serializers.CharField(allow_blank=True)
    old_step = serializers.CharField(allow_blank=True)
    type = serializers.CharField(allow_blank=True)
    name = serializers.CharField(allow_blank=True)
    field_changes = FieldChangeSerializer(many=True)


class DiffSerializer(serializers.Serializer[Any]):
    """What is different between two versions, in the order of the later document."""

    old = serializers.CharField()
    new = serializers.CharField(
        allow_null=True, help_text="Null: a document that was sent and has no number."
    )
    changes = ChangeSerializer(many=True)


class DiffDocumentSerializer(StrictSerializer):
    """A document that is not saved, and the version to compare it with."""

    old = serializers.CharField(
        max_length=64, required=False, help_text="The version; default: the live one."
    )
    document = serializers.JSONField(help_text="The definition.")


class ProblemSerializer(serializers.Serializer[Any]):
    """One finding: where, which rule, and a sentence for people."""

    path = serializers.CharField(help_text="JSON path, `$` for the whole document.")
    code = serializers.CharField()
    message = serializers.CharField()
    line = serializers.IntegerField(required=False, help_text="In a text that was sent.")
    column = serializers.IntegerField(required=False)


class ValidationSerializer(serializers.Serializer[Any]):
    valid = serializers.BooleanField()
    problems = ProblemSerializer(many=True)


class ActionSerializer(serializers.Serializer[Any]):
    """An action that a definition may call."""

    name = serializers.CharField()
    description = serializers.CharField()
    idempotent = serializers.BooleanField(
        allow_null=True,
        help_text="Calling it twice does no harm; null: it depends on the parameters.",
    )
    params_schema = serializers.JSONField(help_text="JSON Schema of the parameters.")
