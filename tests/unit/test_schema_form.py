"""The form that an input schema asks for, without a browser."""

from __future__ import annotations

from typing import Any

import pytest
from django.http import QueryDict

from autopilot.common.errors import Invalid
from autopilot.common.problems import Problem
from executions.console.schema_form import SchemaForm


def form_of(**properties: Any) -> SchemaForm:
    return SchemaForm({"type": "object", "properties": properties, "required": ["needed"]})


def typed(form: SchemaForm, **values: str | list[str]) -> Any:
    data = QueryDict(mutable=True)
    for name, value in values.items():
        data.setlist(f"in$.{name}", value if isinstance(value, list) else [value])
    form.bind(data)
    return form.value()


@pytest.mark.parametrize(
    ("schema", "kind"),
    [
        ({"type": "string"}, "text"),
        ({"type": "string", "maxLength": 201}, "long"),
        ({"type": ["string", "null"]}, "text"),
        ({"type": "number"}, "number"),
        ({"type": "integer"}, "number"),
        ({"type": "boolean"}, "choice"),
        ({"type": "boolean", "default": False}, "check"),
        ({"enum": [1, "a", None]}, "choice"),
        ({"const": 7}, "choice"),
        ({"type": "object", "properties": {"a": {"type": "string"}}}, "section"),
        ({"$ref": "#/properties/other"}, "section"),
        ({"type": "array", "items": {"type": "integer"}}, "lines"),
        ({"type": "array", "items": {"enum": ["a", "b"]}}, "choices"),
        ({"type": "array", "items": {"type": "object"}}, "json"),
        ({"type": "object"}, "json"),
        ({"type": ["string", "number"]}, "json"),
        ({"anyOf": [{"type": "string"}]}, "json"),
        ({"$ref": "#/nowhere"}, "json"),
        (True, "json"),
    ],
)
def test_every_schema_has_its_field(schema: Any, kind: str) -> None:
    form = form_of(one=schema, other={"properties": {"b": {"type": "string"}}})
    assert next(each for each in form.fields if each.key == "one").kind == kind


@pytest.mark.parametrize(
    ("schema", "text", "value"),
    [
        ({"type": "integer"}, " 12 ", 12),
        ({"type": "integer"}, "123456789012345678901234567890", 123456789012345678901234567890),
        ({"type": "integer"}, "1.5", 1.5),
        ({"type": "number"}, "12", 12),
        ({"type": "number"}, "1e3", 1000.0),
        ({"type": "number"}, "12,50", "12,50"),
        ({"type": "number"}, "1e999", "1e999"),
        ({"type": "number"}, "NaN", "NaN"),
        ({"type": "string"}, " kept as it is ", " kept as it is "),
        ({"type": "string"}, "two\r\nlines", "two\nlines"),
        ({"type": "string", "format": "date-time"}, "2026-01-31T12:00", "2026-01-31T12:00:00Z"),
        ({"type": "string", "format": "date-time"}, "2026-01-31T12:00:05", "2026-01-31T12:00:05Z"),
        ({"type": "boolean"}, "true", True),
        ({"enum": [1, "a"]}, "1", 1),
        ({"enum": [1, "a"]}, '"a"', "a"),
        ({"type": "array", "items": {"type": "number"}}, "1\r\n\r\n 2.5 \r\nx", [1, 2.5, "x"]),
        ({"type": "object"}, '{"a": 1}', {"a": 1}),
    ],
)
def test_what_is_typed_becomes_a_value(schema: dict[str, Any], text: str, value: Any) -> None:
    assert typed(form_of(needed=schema), needed=text) == {"needed": value}


def test_what_is_left_blank_is_left_out() -> None:
    properties = {
        "needed": {"type": ["string", "null"]},
        "text": {"type": "string"},
        "lines": {"type": "array", "items": {"type": "string"}},
        "inner": {"type": "object", "properties": {"a": {"type": "string"}}},
        "flag": {"type": "boolean", "default": True},
    }
    value = typed(
        form_of(**properties), **{"needed": "", "text": " ", "lines": "\n", "inner.a": ""}
    )
    assert value == {"needed": None, "flag": False}


def test_a_part_that_is_no_json_is_said_at_its_place() -> None:
    form = form_of(any=True)
    with pytest.raises(Invalid) as caught:
        typed(form, any="{")
    assert form.show_problems(caught.value.details) == []
    assert [each.path for each in form.wrong] == ["$.any"]
    assert form.fields[0].text == "{"


def test_problems_go_to_the_nearest_field() -> None:
    form = form_of(
        needed={"type": "array", "items": {"type": "string"}},
        inner={"type": "object", "properties": {"a": {"type": "string"}}},
    )
    elsewhere = Problem("$.queue", "x", "No such queue.")
    whole = Problem("$.input", "x", "Unknown fields.")
    left = form.show_problems(
        [
            Problem("$.input.needed[2]", "x", "Wrong."),
            Problem("$.input.inner.b", "x", "Unknown."),
            elsewhere,
            whole,
        ]
    )
    assert left == [elsewhere, whole]
    assert {each.path: each.errors for each in form.wrong} == {
        "$.needed": ["Wrong."],
        "$.inner": ["Unknown."],
    }


@pytest.mark.parametrize(
    ("value", "fits"),
    [
        ({"needed": "a", "many": [1, 2]}, True),
        ({"needed": "a", "flag": True, "when": "2026-01-31T12:00:00Z"}, True),
        ({"needed": 7}, False),
        ({"needed": ""}, False),
        ({"needed": "a", "many": ["x"]}, False),
        ({"needed": "a", "unknown": 1}, False),
        ([], False),
    ],
)
def test_a_form_takes_over_only_what_it_gives_back(value: Any, fits: bool) -> None:
    form = form_of(
        needed={"type": "string"},
        many={"type": "array", "items": {"type": "integer"}},
        flag={"type": "boolean"},
        when={"type": "string", "format": "date-time"},
    )
    assert form.fill(value) is fits
    if fits:
        assert form.value() == value


def test_a_schema_that_contains_itself_ends_in_json() -> None:
    schema = {
        "type": "object",
        "properties": {"more": {"$ref": "#"}, "tree": {"$ref": "#/$defs/tree"}},
        "$defs": {"tree": {"type": "object", "properties": {"next": {"$ref": "#/$defs/tree"}}}},
    }
    form = SchemaForm(schema)
    depth, field = 0, form.fields[1]
    while field.kind == "section":
        depth, field = depth + 1, field.fields[0]
    assert (depth, field.kind) == (5, "json")
    assert form.fields[0].kind == "json"
