"""The form that starts an execution. It keeps every character, whatever is wrong with it."""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping, Sequence
from datetime import UTC
from typing import Any

from django import forms
from django.conf import settings

from executions.models import Priority
from workflows.models import WorkflowVersion

MAX_SKELETON_DEPTH = 5


class StartForm(forms.Form):
    """What `start_execution` takes. The input is typed as JSON, or field by field."""

    mode = forms.ChoiceField(choices=[("json", "JSON"), ("form", "Form")], required=False)
    input = forms.CharField(required=False, strip=False)
    version = forms.ChoiceField(required=False)
    version_range = forms.CharField(required=False, max_length=256)
    priority = forms.TypedChoiceField(
        choices=Priority.choices, coerce=int, required=False, empty_value=None
    )
    queue = forms.ChoiceField(required=False)
    correlation_id = forms.CharField(required=False)
    labels = forms.CharField(required=False)
    start_at = forms.DateTimeField(required=False)
    idempotency_key = forms.CharField(required=False, max_length=200)

    def __init__(
        self,
        *args: Any,
        versions: Sequence[WorkflowVersion],
        rollout: str = "",
        **kwargs: Any,
    ) -> None:
        """rollout: what is said of the choice that leaves it to one; empty: there is none."""
        super().__init__(*args, **kwargs)
        named = [(row.version, row.version) for row in versions]
        self._choices("version", [("", rollout), *named] if rollout else named)
        self._choices("queue", [(name, name) for name in settings.AUTOPILOT_QUEUES])

    def _choices(self, name: str, choices: list[tuple[str, str]]) -> None:
        field = self.fields[name]
        assert isinstance(field, forms.ChoiceField)
        field.choices = choices

    @property
    def text(self) -> str:
        return str(self["input"].value() or "")

    @property
    def options_are_open(self) -> bool:
        """Whether something beside the input was typed or is wrong."""
        names = ("version_range", "correlation_id", "labels", "start_at")
        if any(self[name].value() for name in names):
            return True
        return any(name in self.errors for name in (*names, "priority", "queue"))

    def arguments(self, value: Any) -> dict[str, Any]:
        """What to call the service with; value: the input."""
        data = self.cleaned_data
        start_at = data["start_at"]
        return {
            "input": value,
            "version": data["version_range"] or data["version"] or None,
            "priority": Priority.NORMAL if data["priority"] is None else data["priority"],
            "queue": data["queue"] or None,
            "correlation_id": data["correlation_id"],
            "labels": _labels(data["labels"]),
            "start_at": start_at.astimezone(UTC) if start_at else None,
            "idempotency_key": data["idempotency_key"],
        }


def _labels(text: str) -> dict[str, str]:
    """`team=crm, tier=1` as a mapping; a word without `=` is a label without a value."""
    pairs = [part.strip() for part in text.replace("\n", ",").split(",")]
    return {
        key.strip(): value.strip()
        for key, _, value in (pair.partition("=") for pair in pairs if pair)
    }


def initial(version: WorkflowVersion) -> dict[str, Any]:
    """An input that has the shape the version asks for, and a key against starting twice."""
    schema = version.definition.get("input_schema")
    data = skeleton(schema) if isinstance(schema, dict) else {}
    return {
        "input": json.dumps(data, indent=2, ensure_ascii=False),
        "version": version.version,
        "priority": Priority.NORMAL.value,
        "queue": settings.AUTOPILOT_QUEUES[0],
        "idempotency_key": f"console-{uuid.uuid4()}",
    }


def skeleton(schema: Mapping[str, Any], depth: int = 0) -> Any:
    """A value to begin with: defaults, constants and examples where a schema has them, else blanks.

    It need not be valid: blanks are there to be filled in.
    """
    for key in ("default", "const"):
        if key in schema:
            return schema[key]
    for key in ("examples", "enum"):
        if isinstance(schema.get(key), list) and schema[key]:
            return schema[key][0]
    kind = schema.get("type")
    if isinstance(kind, list):
        kind = kind[0] if kind else None
    properties = schema.get("properties")
    if (kind == "object" or isinstance(properties, dict)) and depth < MAX_SKELETON_DEPTH:
        known = properties if isinstance(properties, dict) else {}
        required = schema.get("required")
        first = [name for name in required if name in known] if isinstance(required, list) else []
        return {
            name: skeleton(known[name] if isinstance(known[name], dict) else {}, depth + 1)
            for name in dict.fromkeys([*first, *known])
        }
    blanks: dict[Any, Any] = {"string": "", "integer": 0, "number": 0, "boolean": False}
    return blanks.get(kind, [] if kind == "array" else {} if kind == "object" else None)
