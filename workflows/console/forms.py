"""The form in which a definition is typed. It keeps every character, whatever is wrong with it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from django import forms

from workflows.definition.text import write_yaml
from workflows.models import WorkflowVersion

_DOCUMENT_FIELDS = (
    *("name", "slug", "version", "description", "labels", "input_schema", "output_schema"),
    *("timeout", "defaults", "concurrency", "on_failure", "redact", "steps", "output"),
)
_STEP_FIELDS = ("id", "name", "type", "description", "when", "config", "assign", "next")
_SCHEMA_FIELDS = ("type", "properties", "required", "additionalProperties")

TEMPLATE: dict[str, Any] = {
    "name": "Answer a ticket",
    "description": "What it is for, in a sentence.",
    "input_schema": {
        "type": "object",
        "properties": {"subject": {"type": "string"}},
        "required": ["subject"],
    },
    "steps": [
        {
            "id": "note",
            "name": "Note the ticket",
            "type": "action",
            "config": {"action": "log", "with": {"message": "New ticket: {{ input.subject }}"}},
        },
        {
            "id": "answer",
            "name": "Answer",
            "type": "succeed",
            "config": {"output": {"answer": "We have received: {{ input.subject }}"}},
        },
    ],
}


class DefinitionForm(forms.Form):
    """A document and what changed in it.

    stamp: what the draft was when it was opened. over: the same of what somebody else has saved
    since, to be written over.
    """

    definition = forms.CharField(strip=False, required=False)
    changelog = forms.CharField(required=False, max_length=4_000)
    language = forms.ChoiceField(choices=[("json", "JSON"), ("yaml", "YAML")], required=False)
    stamp = forms.CharField(required=False, max_length=64)
    over = forms.CharField(required=False, max_length=64)

    @property
    def text(self) -> str:
        return str(self["definition"].value() or "")

    @property
    def typed_language(self) -> str:
        return "yaml" if self["language"].value() == "yaml" else "json"

    def all_errors(self) -> list[str]:
        return [str(error) for errors in self.errors.values() for error in errors]


def blank() -> dict[str, str]:
    """Something small that runs, to start from."""
    return {"definition": as_text(TEMPLATE), "changelog": ""}


def from_version(version: WorkflowVersion, *, keep_number: bool) -> dict[str, str]:
    """The document of a version, to go on from."""
    document = arranged(version.document)
    if not keep_number:
        del document["version"]
    return {
        "definition": as_text(document),
        "changelog": version.changelog if keep_number else "",
    }


def in_language(initial: Mapping[str, str], language: str | None) -> dict[str, str]:
    """What to begin with, its document as YAML if that is asked for."""
    if language != "yaml":
        return {**initial, "language": "json"}
    text = write_yaml(json.loads(initial["definition"]))
    return {**initial, "definition": text, "language": "yaml"}


def arranged(document: Mapping[str, Any]) -> dict[str, Any]:
    """The document with its fields in the order people write them; PostgreSQL keeps none."""
    ordered = _in_order(document, _DOCUMENT_FIELDS)
    steps = ordered.get("steps")
    if isinstance(steps, list):
        ordered["steps"] = [_in_order(step, _STEP_FIELDS) for step in steps]
    for name in ("input_schema", "output_schema"):
        if isinstance(ordered.get(name), dict):
            ordered[name] = _in_order(ordered[name], _SCHEMA_FIELDS)
    return ordered


def _in_order(fields: Mapping[str, Any], order: Sequence[str]) -> dict[str, Any]:
    first = {name: fields[name] for name in order if name in fields}
    return {**first, **fields}


def as_text(document: object) -> str:
    return json.dumps(document, indent=2, ensure_ascii=False)
