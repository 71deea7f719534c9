"""What the API of migrations reads and writes."""

from __future__ import annotations

from typing import Any

import django_filters
from drf_spectacular.utils import (
    OpenApiExample,
    extend_schema_field,
    extend_schema_serializer,
)
from rest_framework import serializers

from executions.api.bodies import AnyField, StrictSerializer, TextField
from executions.api.bulk import FilterField, IdsField
from executions.api.filters import StrictFilterSet
from executions.asking import MAX_REASON_CHARS
from executions.migrating.routes import shown
from executions.models import Migration, MigrationItem
from workflows.versioning.migration import MigrationPlan, Pair

STATES = Migration.State.values
ITEM_STATES = MigrationItem.State.values
_PROBLEM = {"$ref": "#/components/schemas/ErrorDetail"}
_EXAMPLE = {"from": "1.2.0", "to": "1.3.0", "mapping": {"check": "verify"}}


@extend_schema_field(
    {
        "type": "object",
        "additionalProperties": {"type": "string", "nullable": True},
        "example": {"check": "verify", "old_wait": None},
    }
)
class MappingField(AnyField):
    """Ids of old steps, and the ids of the new steps that they become; null for none."""


class RouteSerializer(StrictSerializer):
    """From which version to which, and which step becomes which where that isn't plain."""

    mapping = MappingField(
        required=False,
        help_text="Only what differs from the suggestion: the same id, or the same content.",
    )

    def get_fields(self) -> dict[str, Any]:
        # `from` is a word of Python.
        numbers = {
            "from": TextField(max_length=64, help_text="The number of the version they run."),
            "to": TextField(max_length=64, help_text="The number of the one to go on by."),
        }
        return {**numbers, **super().get_fields()}


@extend_schema_serializer(
    examples=[OpenApiExample("A renamed step", value=_EXAMPLE, request_only=True)]
)
class PlanBodySerializer(RouteSerializer):
    """What a plan is asked for with."""


@extend_schema_serializer(
    examples=[
        OpenApiExample("All that is under way", value=_EXAMPLE, request_only=True),
        OpenApiExample(
            "Some", value={**_EXAMPLE, "filter": {"label": "team:crm"}}, request_only=True
        ),
    ]
)
class DryRunBodySerializer(RouteSerializer):
    """Which executions are meant: `ids`, `filter`, or without both all that are under way."""

    ids = IdsField(required=False, help_text="Each gets a result; also failed ones can be moved.")
    filter = FilterField(
        required=False,
        help_text="The filters of the list. Without `state` only what has not ended is meant.",
    )


class MigrationBodySerializer(DryRunBodySerializer):
    """The same, with the reason that is kept with it."""

    reason = TextField(max_length=MAX_REASON_CHARS, required=False, allow_blank=True)


class UndoBodySerializer(StrictSerializer):
    """May be left out altogether."""

    ids = IdsField(required=False, help_text="Only these executions; without it all.")
    reason = TextField(max_length=MAX_REASON_CHARS, required=False, allow_blank=True)


class ObstacleSerializer(serializers.Serializer[Any]):
    """Why an execution that stands at a step can't be moved."""

    code = serializers.CharField()
    path = serializers.CharField(help_text="JSON path in the new definition, or in the old one.")
    message = serializers.CharField()
    if_begun = serializers.BooleanField(
        help_text="Only if something of the step has happened, such as a wait others know of."
    )


class PlanStepSerializer(serializers.Serializer[Any]):
    id = serializers.CharField()
    name = serializers.CharField()
    type = serializers.CharField()
    path = serializers.CharField()


class PairSerializer(serializers.Serializer[Any]):
    """An old step and what becomes of it."""

    old = PlanStepSerializer()
    new = PlanStepSerializer(allow_null=True, help_text="Null: none; what stands there stays.")
    is_given = serializers.BooleanField(help_text="By the mapping; otherwise suggested.")
    standing = serializers.IntegerField(
        help_text="How many executions, items and branches stand there now."
    )
    obstacles = ObstacleSerializer(many=True)


class FindingSerializer(serializers.Serializer[Any]):
    path = serializers.CharField()
    code = serializers.CharField()
    message = serializers.CharField()


class PlanSerializer(serializers.Serializer[Any]):
    """Which step becomes which, and what to know about it."""

    steps = PairSerializer(many=True, help_text="Every step of the old version.")
    added = PlanStepSerializer(many=True, help_text="New steps that none becomes.")
    mapping = MappingField(help_text="What the plan comes to, as it can be sent again.")
    problems = FindingSerializer(many=True, help_text="With any of them it can't be used.")
    notices = FindingSerializer(many=True)


def plan_body(plan: MigrationPlan, standing: dict[str, int]) -> dict[str, Any]:
    """The answer for a plan."""

    def pair_of(id: str) -> Pair | None:
        return plan.pairs.get(id)

    steps = []
    for old in plan.old.steps:
        pair = pair_of(old.id)
        steps.append(
            {
                "old": shown(old),
                "new": shown(pair.new) if pair else None,
                "is_given": bool(pair and pair.is_given),
                "standing": standing.get(old.id, 0),
                "obstacles": pair.obstacles if pair else [],
            }
        )
    return {
        "steps": steps,
        "added": [shown(step) for step in plan.added],
        "mapping": {step.id: plan.target(step.id) for step in plan.old.steps},
        "problems": plan.problems,
        "notices": plan.notices,
    }


class LookSerializer(serializers.Serializer[Any]):
    """What would come of one execution."""

    id = serializers.IntegerField()
    outcome = serializers.ChoiceField(("movable", "refused"))
    state = serializers.CharField()
    step = serializers.CharField()
    code = serializers.CharField(source="hindrance.code", default="")
    path = serializers.CharField(source="hindrance.path", default="")
    message = serializers.CharField(source="hindrance.message", default="")
    about = serializers.IntegerField(
        source="hindrance.about",
        default=None,
        allow_null=True,
        help_text="The item or branch of it that this is about.",
    )


class HindranceSerializer(serializers.Serializer[Any]):
    """Executions that can't be moved for the same reason."""

    code = serializers.CharField()
    path = serializers.CharField()
    message = serializers.CharField(help_text="Of the first of them.")
    count = serializers.IntegerField()
    sample = serializers.ListField(child=serializers.IntegerField(), help_text="A few ids.")


class DryRunSerializer(serializers.Serializer[Any]):
    """What a migration would come to right now."""

    sentence = serializers.CharField()
    total = serializers.IntegerField(help_text="How many are meant.")
    movable = serializers.IntegerField(help_text="Of those that were looked at.")
    refused = serializers.IntegerField()
    is_cut = serializers.BooleanField(help_text="There are more than were looked at.")
    reasons = HindranceSerializer(many=True, source="groups")
    results = LookSerializer(many=True, source="looks")


class CountsField(serializers.DictField):
    """How many executions are in each state."""

    child = serializers.IntegerField()


class MigrationSerializer(serializers.Serializer[Any]):
    """A migration, and how far it is."""

    id = serializers.IntegerField(source="pk")
    workflow = serializers.CharField(source="workflow.slug")
    mapping = MappingField(help_text="As it was given.")
    state = serializers.ChoiceField(STATES)
    reason = serializers.CharField()
    by = serializers.CharField(source="actor")
    undone_by = serializers.CharField(help_text="Who had it undone last; empty if nobody has.")
    undo_reason = serializers.CharField()
    created_at = serializers.DateTimeField()
    ended_at = serializers.DateTimeField(allow_null=True)
    counts = CountsField(help_text=f"By the state of the item: {', '.join(ITEM_STATES)}.")
    sentence = serializers.CharField()

    def get_fields(self) -> dict[str, Any]:
        numbers = {
            "from": serializers.CharField(source="source.version"),
            "to": serializers.CharField(source="target.version"),
        }
        return {**numbers, **super().get_fields()}


class CountedReasonSerializer(serializers.Serializer[Any]):
    """Items that were refused, or kept, for the same reason."""

    state = serializers.ChoiceField(ITEM_STATES)
    code = serializers.CharField()
    path = serializers.CharField()
    message = serializers.CharField(help_text="Of the first of them.")
    count = serializers.IntegerField()


class MigrationDetailSerializer(MigrationSerializer):
    """A migration with the reasons why some were not moved."""

    reasons = CountedReasonSerializer(many=True)


class MigrationItemSerializer(serializers.ModelSerializer[MigrationItem]):
    """What came of one execution."""

    execution = serializers.IntegerField(source="execution_id")

    class Meta:
        model = MigrationItem
        fields: tuple[str, ...] = (
            "execution",
            "state",
            "code",
            "path",
            "message",
            "about",
            "moved_at",
            "undone_at",
        )
        read_only_fields = fields


class MigrationItemFilter(StrictFilterSet):
    state = django_filters.ChoiceFilter(
        choices=MigrationItem.State.choices,
        help_text="What came of it.",
        error_messages={
            "invalid_choice": f"A state is one of {', '.join(ITEM_STATES)}; not %(value)s."
        },
    )
    code = django_filters.CharFilter(help_text="The code of the reason, exactly.", max_length=100)

    class Meta:
        model = MigrationItem
        fields: tuple[str, ...] = ()


__all__ = [
    "DryRunBodySerializer",
    "DryRunSerializer",
    "MigrationBodySerializer",
    "MigrationDetailSerializer",
    "MigrationItemFilter",
    "MigrationItemSerializer",
    "MigrationSerializer",
    "PlanBodySerializer",
    "PlanSerializer",
    "UndoBodySerializer",
    "plan_body",
]
