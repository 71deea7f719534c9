"""What the API of approvals reads and writes."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers
from rest_framework.reverse import reverse

from executions.api.bodies import AnyField, StrictSerializer, TextField
from executions.approvals.deciding import MAX_COMMENT_CHARS
from executions.approvals.reads import ApprovalView
from executions.asking import MAX_REASON_CHARS
from executions.models import ApprovalState


class DecideSerializer(StrictSerializer):
    """May be left out altogether, unless the form asks for something."""

    comment = TextField(
        max_length=MAX_COMMENT_CHARS,
        required=False,
        allow_blank=True,
        help_text="Kept with the decision; those who read the execution see it.",
    )
    answer = AnyField(
        required=False,
        allow_null=True,
        help_text="What the form asks for; a rejection may leave it out.",
    )


@extend_schema_field({"type": "array", "items": {"type": "string"}})
class NamesField(serializers.ListField):
    """A list of names."""

    child = TextField(max_length=150)
    default_error_messages = {
        "null": "A list of names was expected, not null.",
        "not_a_list": "A list of names was expected.",
    }


class EmptySerializer(StrictSerializer):
    """Nothing is asked for."""


class ReassignSerializer(StrictSerializer):
    """Who is asked from now on, by name; at least one person or group."""

    users = NamesField(required=False, help_text="User names.")
    groups = NamesField(required=False, help_text="Names of groups.")
    reason = TextField(max_length=MAX_REASON_CHARS, help_text="Kept in the audit trail.")


class LineSerializer(serializers.Serializer[Any]):
    """People and groups by name."""

    users = serializers.ListField(child=serializers.CharField())
    groups = serializers.ListField(child=serializers.CharField())


class DecisionSerializer(serializers.Serializer[Any]):
    """What one person said."""

    by = serializers.CharField()
    approved = serializers.BooleanField()
    comment = serializers.CharField()
    answer = serializers.JSONField()
    at = serializers.DateTimeField()
    via = serializers.CharField(help_text="console, api, link, command, python.")


class ApprovalLinksSerializer(serializers.Serializer[Any]):
    """Where to go from an approval."""

    self = serializers.URLField()
    execution = serializers.URLField()


class ApprovalSummarySerializer(serializers.Serializer[ApprovalView]):
    """A question to people, without its texts and data."""

    id = serializers.IntegerField(source="approval.pk")
    execution = serializers.IntegerField(source="approval.execution_id")
    workflow = serializers.CharField(
        source="approval.execution.workflow.slug", help_text="The workflow's slug."
    )
    version = serializers.CharField(source="approval.execution.version.version")
    step = serializers.CharField(source="approval.step_id", help_text="The step's id.")
    seq = serializers.IntegerField(source="approval.seq")
    attempt = serializers.IntegerField(source="approval.attempt")
    title = serializers.CharField(source="approval.title")
    state = serializers.ChoiceField(choices=ApprovalState.values, source="approval.state")
    may_decide = serializers.BooleanField(
        help_text="Whether your word is asked for, and not given yet."
    )
    quorum = serializers.IntegerField(
        source="approval.quorum", help_text="How many people have to agree."
    )
    agreed = serializers.IntegerField(help_text="How many have.")
    assignees = LineSerializer(source="first")
    open_to_all = serializers.BooleanField(
        source="approval.is_open_to_all",
        help_text="Everybody with the permission to decide is asked.",
    )
    escalates_to = LineSerializer(source="later", help_text="Asked as well after the reminder.")
    requester = serializers.CharField(
        source="approval.requester.get_username",
        default=None,
        allow_null=True,
        help_text="Who started the execution; may not decide unless `allow_requester`.",
    )
    allow_requester = serializers.BooleanField(source="approval.allow_requester")
    claimed_by = serializers.CharField(
        source="approval.claimed_by.get_username", default=None, allow_null=True
    )
    claimed_at = serializers.DateTimeField(source="approval.claimed_at", allow_null=True)
    opened_at = serializers.DateTimeField(source="approval.opened_at")
    expires_at = serializers.DateTimeField(source="approval.expires_at", allow_null=True)
    remind_at = serializers.DateTimeField(source="approval.remind_at", allow_null=True)
    escalated_at = serializers.DateTimeField(source="approval.escalated_at", allow_null=True)
    settled_at = serializers.DateTimeField(source="approval.settled_at", allow_null=True)
    links = serializers.SerializerMethodField()

    @extend_schema_field(ApprovalLinksSerializer)
    def get_links(self, view: ApprovalView) -> dict[str, str]:
        request = self.context.get("request")

        def of(name: str, pk: int) -> str:
            return str(reverse(f"executions:{name}-detail", kwargs={"pk": pk}, request=request))

        return {
            "self": of("approval", view.approval.pk),
            "execution": of("execution", view.approval.execution_id),
        }


class ApprovalSerializer(ApprovalSummarySerializer):
    """A question to people, with all that they are shown and have said."""

    description = serializers.CharField(source="approval.description")
    context = serializers.JSONField(  # type: ignore[assignment]
        source="approval.context", help_text="What the designer chose to show."
    )
    form = serializers.JSONField(
        source="approval.form", help_text="JSON Schema of the answer; null: any answer will do."
    )
    missing = serializers.ListField(
        child=serializers.CharField(),
        source="approval.missing",
        help_text="Assignees that were not found when it was asked.",
    )
    decisions = DecisionSerializer(many=True)


__all__ = [
    "ApprovalSerializer",
    "ApprovalSummarySerializer",
    "DecideSerializer",
    "EmptySerializer",
    "ReassignSerializer",
]
