"""What the API reads and writes of expressions that are tried."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers

from executions.api.bodies import StrictSerializer, TextField


class EvaluateSerializer(StrictSerializer):
    """One of `expression` and `template`."""

    expression = TextField(required=False, max_length=4096, help_text="Such as `input.total * 2`.")
    template: Any = serializers.JSONField(
        required=False, help_text="Any value; its texts may hold `{{ expressions }}`."
    )
    step = TextField(
        required=False,
        allow_blank=True,
        max_length=63,
        help_text="Only what was there when it came to this step; default: everything.",
    )

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        if ("expression" in attrs) == ("template" in attrs):
            message = "Either an expression or a template was expected."
            raise serializers.ValidationError({"expression": [message]}, "field.choice")
        return attrs


class EvaluatedSerializer(serializers.Serializer[Any]):
    value: Any = serializers.JSONField(help_text="What it comes to.")
    step = serializers.CharField(
        help_text="The step whose view was taken; empty: all that the execution came to."
    )
