"""Changes of schemas: verdicts made by others, single cases, pairs by chance, hostile schemas."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from workflows.definition.schemas import compile_validator
from workflows.versioning.schema_compatibility import (
    Answer,
    contained,
    input_change,
    output_change,
)
from workflows.versioning.scoring import score

DATA = Path(__file__).resolve().parents[2] / "data" / "schema-compatibility"
TEXT: dict[str, Any] = {"type": "string"}
NUMBER: dict[str, Any] = {"type": "number"}


def rows(name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (DATA / name).read_text("utf-8").splitlines()]


@pytest.mark.parametrize(
    ("name", "total", "right"), [("jsonsubschema.jsonl", 254, 250), ("jsoncompat.jsonl", 56, 50)]
)
def test_the_verdicts_of_others(name: str, total: int, right: int) -> None:
    found = score(rows(name))
    assert (found.total, found.right, found.wrongly_compatible) == (total, right, 0)


CLOSED = {"type": "object", "properties": {"a": TEXT}, "additionalProperties": False}
TREE = {
    "$defs": {
        "node": {
            "type": "object",
            "properties": {
                "value": {"type": "integer"},
                "kids": {"type": "array", "items": {"$ref": "#/$defs/node"}},
            },
            "required": ["value"],
        }
    },
    "$ref": "#/$defs/node",
}
WIDER_TREE = json.loads(json.dumps(TREE).replace("integer", "number").replace("node", "knot"))


def union(count: int, **more: Any) -> dict[str, Any]:
    """Objects told apart by their kind."""
    return {
        "oneOf": [
            {
                "type": "object",
                "properties": {"kind": {"const": f"kind {number}"}, f"field{number}": TEXT, **more},
                "required": ["kind"],
                "additionalProperties": False,
            }
            for number in range(count)
        ]
    }


@pytest.mark.parametrize(
    ("narrow", "wide"),
    [
        ({"type": "integer", "minimum": 2}, {"type": "number", "exclusiveMinimum": 1}),
        ({"type": "integer", "exclusiveMinimum": 0}, {"minimum": 1}),
        ({"multipleOf": 6, "type": "number"}, {"multipleOf": 1.5}),
        ({"const": 1.0}, {"type": "integer"}),
        ({**CLOSED, "required": ["a"]}, {"type": "object", "minProperties": 1}),
        (CLOSED, {"type": "object", "maxProperties": 1}),
        ({"items": {"enum": [1, 2]}}, {"items": {"type": "integer"}}),
        ({"type": "string", "pattern": "^a+$", "maxLength": 3}, {"pattern": "^a+$"}),
        ({"type": "string", "format": "date"}, {"format": "date"}),
        ({"anyOf": [TEXT, {"type": "integer"}]}, {"type": ["number", "string"]}),
        ({"not": TEXT}, {"not": {"type": "string", "minLength": 3}}),
        (
            {"if": {"required": ["a"]}, "then": {"required": ["b"]}, "type": "object"},
            {"dependentRequired": {"a": ["b"]}},
        ),
        (union(6), union(7)),
        (union(15), union(15, more=NUMBER)),
        (TREE, WIDER_TREE),
        ({"title": "One", "type": "string"}, {"title": "Another", "type": "string"}),
        ({"unevaluatedProperties": False, "title": "x"}, {"unevaluatedProperties": False}),
        (False, TEXT),
    ],
)
def test_compatible(narrow: Any, wide: Any) -> None:
    assert contained(narrow, wide).answer == Answer.COMPATIBLE


@pytest.mark.parametrize(
    ("narrow", "wide", "path", "message", "example"),
    [
        (TEXT, False, "$", "A value is refused: Nothing may be given here.", '""'),
        (
            {"type": "integer", "maxLength": 1},
            TEXT,
            "$.type",
            "A value is refused: Expected text, got a number.",
            "0",
        ),
        (
            {"type": "object", "properties": {"port": {"type": "integer"}}},
            {"type": "object", "properties": {"port": {"type": "integer", "minimum": 1024}}},
            "$.properties.port.minimum",
            "A value is refused at $.port: This must be 1024 at least.",
            '{"port": 1023}',
        ),
        (
            {"type": "object"},
            {"type": "object", "required": ["a"]},
            "$.required",
            'A value is refused: The field "a" is missing.',
            "{}",
        ),
        (
            {"type": "string", "pattern": "^[A-Z]{3}$"},
            {"type": "string", "pattern": "^[A-Z]{4}$"},
            "$.pattern",
            'A value is refused: This text must match the pattern "^[A-Z]{4}$".',
            '"AAA"',
        ),
        (
            WIDER_TREE,
            TREE,
            "$.$defs.node.properties.value.type",
            "A value is refused at $.value: Expected a whole number, got a number.",
            '{"value": 0.5}',
        ),
    ],
)
def test_breaking_is_shown_by_a_value(
    narrow: Any, wide: Any, path: str, message: str, example: str
) -> None:
    verdict = contained(narrow, wide)
    found = {each.path.replace('["$defs"]', ".$defs"): each for each in verdict.reasons}
    assert verdict.answer == Answer.BREAKING
    assert path in found
    assert (found[path].message, found[path].example) == (message, example)


@pytest.mark.parametrize(
    ("narrow", "wide", "message"),
    [
        ({"$ref": "#"}, TEXT, "A definition refers to itself without going into a value."),
        (
            {"type": "string", "pattern": "^ab$"},
            {"type": "string", "pattern": "^a"},
            "It could not be proven that everything that fitted before still does.",
        ),
        (
            {"enum": list(range(3000))},
            {"enum": list(range(3001))},
            "A list of more than 2,000 values is not compared.",
        ),
    ],
)
def test_what_is_not_known_is_said_to_be_unknown(narrow: Any, wide: Any, message: str) -> None:
    verdict = contained(narrow, wide)
    assert verdict.answer == Answer.UNKNOWN
    assert [each.message for each in verdict.reasons] == [message]


@pytest.mark.parametrize("schema", [5, {"type": "strng"}, {"properties": []}, {"pattern": "(?=a)"}])
def test_what_is_no_schema_is_unknown(schema: Any) -> None:
    assert contained(schema, schema).answer == Answer.UNKNOWN


def test_inputs_may_take_more_and_outputs_may_give_less() -> None:
    assert input_change({"type": "integer"}, NUMBER).answer == Answer.COMPATIBLE
    assert input_change(NUMBER, {"type": "integer"}).answer == Answer.BREAKING
    assert output_change({"type": "integer"}, NUMBER).answer == Answer.BREAKING
    assert output_change(NUMBER, {"type": "integer"}).answer == Answer.COMPATIBLE


def doubling(word: str) -> dict[str, Any]:
    """A short schema that stands for a billion alternatives."""
    ways = {f"d{at}": {word: [{"$ref": f"#/$defs/d{at + 1}"}] * 2} for at in range(30)}
    return {"$defs": {**ways, "d30": TEXT}, "$ref": "#/$defs/d0"}


def nested(depth: int) -> dict[str, Any]:
    schema: dict[str, Any] = TEXT
    for _ in range(depth):
        schema = {"not": schema}
    return schema


@pytest.mark.parametrize(
    ("narrow", "wide"),
    [
        (doubling("anyOf"), NUMBER),
        (NUMBER, doubling("anyOf")),
        (doubling("oneOf"), doubling("anyOf")),
        (nested(3000), {}),
        ({"oneOf": [{"minimum": at} for at in range(60)]}, doubling("oneOf")),
        ({"minimum": 10**5000}, {"minimum": 1}),
        ({"type": "array", "minItems": 10**9}, {"type": "array", "minItems": 10**9 + 1}),
        ({"multipleOf": 1e-300}, {"multipleOf": 1e300}),
    ],
)
def test_hostile_schemas_end_soon_and_are_never_called_compatible(narrow: Any, wide: Any) -> None:
    start = time.process_time()
    assert contained(narrow, wide).answer != Answer.COMPATIBLE
    assert time.process_time() - start < 5


def test_a_large_schema_is_compared_as_a_whole() -> None:
    one = {f"p{at}": {"properties": {f"q{in_}": TEXT for in_ in range(15)}} for at in range(100)}
    other = json.loads(json.dumps(one))
    other["p50"]["properties"]["q3"] = NUMBER
    assert contained({"properties": one}, {"properties": one}).answer == Answer.COMPATIBLE
    verdict = contained({"properties": one}, {"properties": other})
    assert [each.path for each in verdict.reasons] == ["$.properties.p50.properties.q3.type"]


_SMALL = st.sampled_from([0, 1, 2, 3])
_VALUES = st.recursive(
    st.sampled_from([None, True, False, 0, 1, 1.5, 2, -1, "", "a", "ab"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abc"), inner),
    max_leaves=5,
)
_TYPES = st.sampled_from(["null", "boolean", "number", "integer", "string", "array", "object"])


def _larger(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    pairs = st.lists(inner, min_size=1, max_size=2)
    named = st.dictionaries(st.sampled_from("ab"), inner, max_size=2)
    words = {
        "type": _TYPES,
        "enum": st.lists(_VALUES, min_size=1, max_size=2),
        "minimum": _SMALL,
        "maximum": _SMALL,
        "multipleOf": st.sampled_from([1, 2, 0.5]),
        "maxLength": _SMALL,
        "items": inner,
        "minItems": _SMALL,
        "maxItems": _SMALL,
        "uniqueItems": st.booleans(),
        "properties": named,
        "required": st.lists(st.sampled_from("ab"), max_size=2, unique=True),
        "additionalProperties": inner,
        "maxProperties": _SMALL,
        "anyOf": pairs,
        "oneOf": pairs,
        "not": inner,
    }
    chosen = st.lists(st.sampled_from(sorted(words)), max_size=4, unique=True)
    return chosen.flatmap(
        lambda names: st.fixed_dictionaries({each: words[each] for each in names})
    )


_SCHEMAS = st.recursive(st.booleans(), _larger, max_leaves=6)


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(_SCHEMAS, _SCHEMAS, st.lists(_VALUES, min_size=20, max_size=20))
def test_no_value_contradicts_compatible(narrow: Any, wide: Any, values: list[Any]) -> None:
    if contained(narrow, wide).answer == Answer.COMPATIBLE:
        taken, refused = compile_validator(narrow), compile_validator(wide)
        assert [
            each for each in values if taken.is_valid(each) and not refused.is_valid(each)
        ] == []
