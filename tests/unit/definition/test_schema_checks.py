"""Schemas that are wrong, reach outside, or could hang."""

from __future__ import annotations

from typing import Any

import pytest

from workflows.definition.schema_checks import check_schema


def found(schema: object) -> list[tuple[str, str]]:
    return [(problem.path, problem.code) for problem in check_schema(schema, "$.s")]


def recursive(node: dict[str, Any]) -> dict[str, Any]:
    return {"$defs": {"n": node}, "$ref": "#/$defs/n"}


REF = {"$ref": "#/$defs/n"}


@pytest.mark.parametrize(
    "schema",
    [
        True,
        False,
        {},
        {"$schema": "https://json-schema.org/draft/2020-12/schema", "$id": "urn:x"},
        {"properties": {"$ref": {"type": "string"}, "pattern": {"type": "integer"}}},
        {"const": {"$ref": "http://example.com"}},
        {"$anchor": "top", "properties": {"a": {"properties": {"b": {"$ref": "#top"}}}}},
        {"pattern": "^\\w{1,64}$"},
        recursive({"properties": {"left": REF, "right": REF}}),
        recursive({"properties": {"a": REF}, "additionalProperties": REF}),
        recursive({"anyOf": [{"type": "string"}, {"items": REF}]}),
        recursive({"prefixItems": [REF], "items": REF}),
    ],
)
def test_schemas_that_may_be_used(schema: object) -> None:
    assert found(schema) == []


@pytest.mark.parametrize(
    ("schema", "path", "code"),
    [
        (3, "$.s", "schema.invalid"),
        ({"type": "strin"}, "$.s.type", "schema.invalid"),
        ({"properties": {"a": {"minLength": -1}}}, "$.s.properties.a.minLength", "schema.invalid"),
        ({"required": "a"}, "$.s.required", "schema.invalid"),
        (
            {"$schema": "http://json-schema.org/draft-07/schema#"},
            '$.s["$schema"]',
            "schema.dialect",
        ),
        ({"$ref": "http://example.com/x"}, '$.s["$ref"]', "schema.reference"),
        ({"items": {"$ref": "file:///x"}}, '$.s.items["$ref"]', "schema.reference"),
        ({"$ref": "#/$defs/none"}, '$.s["$ref"]', "schema.reference"),
        ({"$ref": "#none"}, '$.s["$ref"]', "schema.reference"),
        ({"$dynamicRef": "http://example.com"}, '$.s["$dynamicRef"]', "schema.reference"),
        ({"items": {"$id": "http://example.com"}}, '$.s.items["$id"]', "schema.reference"),
        ({"pattern": "("}, "$.s.pattern", "schema.pattern"),
        ({"pattern": "(?=a)b"}, "$.s.pattern", "schema.pattern"),
        ({"pattern": "(a)\\1"}, "$.s.pattern", "schema.pattern"),
        ({"pattern": "((a{100}){100}){100}"}, "$.s.pattern", "schema.pattern"),
        ({"patternProperties": {"(": {}}}, '$.s.patternProperties["("]', "schema.pattern"),
        ({"minimum": float("inf")}, "$.s.minimum", "json.number"),
    ],
)
def test_schemas_that_are_refused(schema: object, path: str, code: str) -> None:
    assert found(schema) == [(path, code)]


def test_all_bad_patterns_are_named() -> None:
    schema = {"properties": {"a": {"pattern": "("}, "b": {"pattern": "["}}}
    assert found(schema) == [
        ("$.s.properties.a.pattern", "schema.pattern"),
        ("$.s.properties.b.pattern", "schema.pattern"),
    ]


def test_references_that_multiply() -> None:
    defs: dict[str, Any] = {
        f"n{i}": {"anyOf": [{"$ref": f"#/$defs/n{i + 1}"}, {"$ref": f"#/$defs/n{i + 1}"}]}
        for i in range(25)
    }
    schema = {"$defs": {**defs, "n25": {"type": "string"}}, "$ref": "#/$defs/n0"}
    assert found(schema) == [("$.s", "schema.too_complex")]


@pytest.mark.parametrize(
    "node",
    [
        {"anyOf": [{"properties": {"c": REF}}, {"properties": {"c": REF}}]},
        {"properties": {"a": REF}, "patternProperties": {"^a": REF}},
        {"items": REF, "contains": REF},
        {
            "properties": {"a": {"properties": {"b": REF}, "items": True}, "b": REF},
            "allOf": [{"properties": {"a": REF}}],
        },
        {"unevaluatedProperties": False, "oneOf": [{"properties": {"a": REF}}]},
    ],
)
def test_recursion_that_doubles_at_every_level(node: dict[str, Any]) -> None:
    assert {code for _, code in found(recursive(node))} == {"schema.too_complex"}


@pytest.mark.parametrize(
    "schema",
    [
        {"allOf": [{"$ref": "#"}]},
        {"$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"$ref": "#/$defs/a"}}, "$ref": "#/$defs/a"},
    ],
)
def test_recursion_that_never_ends(schema: dict[str, Any]) -> None:
    assert {code for _, code in found(schema)} == {"schema.too_complex"}


def test_the_bounds_of_a_schema() -> None:
    assert found({"description": "x" * 200_000}) == [("$.s", "schema.too_large")]
    assert [c for _, c in found({"anyOf": [{} for _ in range(2500)]})] == ["schema.too_large"]
    deep: dict[str, Any] = {}
    for _ in range(40):
        deep = {"not": deep}
    assert [code for _, code in found(deep)] == ["schema.too_large"]
    many = {"allOf": [{"pattern": "a"} for _ in range(101)]}
    assert [code for _, code in found(many)] == ["schema.pattern"]
