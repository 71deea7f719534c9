"""What the API reads and writes of undoing, and of the workflows that hear of failures."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers

from executions.api.bodies import FlagField
from executions.api.serializers import VerbSerializer
from executions.models import Compensation
from executions.models.undoing import UNDO_STATES


class CancelSerializer(VerbSerializer):
    """May be left out altogether."""

    compensate = FlagField(
        required=False,
        help_text="Undo the steps that have completed before it ends; default: false.",
    )


class CompensationSerializer(serializers.ModelSerializer[Compensation]):
    """What undoes one step: worked out when the step completed, called if it comes to that."""

    execution = serializers.IntegerField(
        source="execution_id",
        read_only=True,
        help_text="Whose step it undoes: this one, or one below it.",
    )
    step = serializers.CharField(source="step_id", read_only=True)
    state = serializers.ChoiceField(
        UNDO_STATES,
        read_only=True,
        help_text="pending; done; failed; left: it can't be called, or may have been.",
    )
    params: Any = serializers.JSONField(read_only=True, help_text="What it is called with.")
    error: Any = serializers.JSONField(read_only=True, help_text="Why it failed or was left.")

    class Meta:
        model = Compensation
        fields = (
            "id",
            "execution",
            "seq",
            "step",
            "name",
            "action",
            "params",
            "state",
            "attempts",
            "error",
            "created_at",
            "settled_at",
        )
        read_only_fields = fields
