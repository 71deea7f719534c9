"""The JSON Schema of definitions, for editors: exported from the models, never written by hand."""

from __future__ import annotations

from typing import Any

from workflows.definition.document import Document
from workflows.definition.schema_checks import DIALECT

SCHEMA_ID = "urn:autopilotcx:definition"


def definition_json_schema() -> dict[str, Any]:
    """A fresh copy of the schema: 2020-12, a title and a description for every field."""
    return {
        "$schema": DIALECT,
        "$id": SCHEMA_ID,
        **Document.model_json_schema(by_alias=True, mode="validation"),
    }
