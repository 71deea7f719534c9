"""The JSON Schema that editors get."""

from __future__ import annotations

import json
from typing import Any

import jsonschema_rs

from tests.unit.definition.catalogs import SEED, document, noop
from workflows.definition.schema import definition_json_schema


def without_descriptions(schema: dict[str, Any]) -> list[str]:
    found = []
    for name, model in {"Document": schema, **schema["$defs"]}.items():
        found += [
            f"{name}.{field}"
            for field, value in model.get("properties", {}).items()
            if not value.get("description")
        ]
    return found


def test_it_is_plain_json_schema_with_a_description_for_every_field() -> None:
    schema = definition_json_schema()
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    jsonschema_rs.meta.validate(schema)
    assert json.loads(json.dumps(schema)) == schema
    assert without_descriptions(schema) == []
    assert set(schema["$defs"]["ActionCall"]["properties"]) == {"action", "with"}


def test_it_accepts_and_refuses_what_the_models_do() -> None:
    validator = jsonschema_rs.Draft202012Validator(definition_json_schema(), offline=True)
    assert validator.is_valid(SEED)
    assert validator.is_valid(document(noop(timeout="5m"), input_schema={"type": "object"}))
    assert not validator.is_valid(document(noop(tiemout="5m")))
    assert not validator.is_valid(document({"type": "unknown", "config": {}}))
    assert not validator.is_valid(document(noop(), input_schema={"type": "strin"}))


def test_each_call_gives_a_copy() -> None:
    definition_json_schema()["title"] = "changed"
    assert definition_json_schema()["title"] == "Document"
