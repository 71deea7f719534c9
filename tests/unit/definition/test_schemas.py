"""Values against payload schemas: paths, sentences, bounds."""

from __future__ import annotations

from typing import Any

from tests.effort import takes_less_than
from workflows.definition.schemas import PayloadSchema

ORDER: dict[str, Any] = {
    "type": "object",
    "properties": {
        "id": {"type": "string", "pattern": "^[a-z]+$"},
        "lines": {"type": "array", "minItems": 1, "items": {"type": ["integer", "null"]}},
        "kind": {"enum": ["new", "old"]},
        "share": {"minimum": 0, "exclusiveMaximum": 1},
    },
    "required": ["id"],
    "additionalProperties": False,
}


def found(schema: dict[str, Any] | bool, value: object) -> list[tuple[str, str]]:
    problems = PayloadSchema(schema).problems(value)
    assert {problem.code for problem in problems} <= {"validation.schema"}
    return sorted((problem.path, problem.message) for problem in problems)


def test_a_value_that_fits() -> None:
    assert found(ORDER, {"id": "abc", "lines": [1, None], "kind": "new", "share": 0}) == []


def test_every_misfit_has_its_path_and_what_was_expected() -> None:
    value = {"lines": [1, "x", 2.5], "kind": 3, "share": 1, "odd key": 1}
    assert found(ORDER, value) == [
        ("$", 'Unknown fields: "odd key".'),
        ("$.id", 'The field "id" is missing.'),
        ("$.kind", 'This must be one of "new", "old".'),
        ("$.lines[1]", "Expected a whole number or null, got text."),
        ("$.lines[2]", "Expected a whole number or null, got a number."),
        ("$.share", "This must be below 1."),
    ]


def test_the_root_can_be_named() -> None:
    (problem,) = PayloadSchema(ORDER).problems({}, root="$.input")
    assert problem.path == "$.input.id"


def test_values_are_not_repeated_in_sentences() -> None:
    for schema in ({"type": "integer"}, {"pattern": "^x$"}, {"const": 1}, {"maxLength": 2}):
        for problem in PayloadSchema(schema).problems("hunter2"):
            assert "hunter2" not in problem.message


def test_the_number_of_findings_is_bounded() -> None:
    problems = PayloadSchema({"items": {"type": "string"}}).problems(list(range(1000)))
    assert len(problems) == 50


def test_boolean_schemas() -> None:
    assert found(True, {"anything": 1}) == []
    assert found(False, 1) == [("$", "Nothing may be given here.")]


def test_a_pattern_that_would_make_a_backtracking_engine_hang() -> None:
    schema = PayloadSchema({"pattern": "^(a+)+$"})
    assert len(schema.problems("a" * 200_000 + "b")) == 1
    assert takes_less_than(1, lambda: schema.problems("a" * 200_000 + "b"))


def test_formats_are_asserted() -> None:
    assert found({"format": "email"}, "nobody") == [
        ("$", 'This text must have the format "email".')
    ]


def test_alternatives_name_the_nearest() -> None:
    schema = {"anyOf": [{"type": "string"}, {"type": "object", "required": ["x"]}]}
    assert found(schema, {}) == [
        (
            "$",
            "This value fits none of the 2 allowed alternatives. "
            'Nearest: The field "x" is missing.',
        )
    ]


def test_values_that_are_no_plain_json() -> None:
    schema = PayloadSchema({"properties": {"a": {"enum": [[1], [[2]]]}}})
    (problem,) = schema.problems({"a": ["\ud800"]})
    assert (problem.path, problem.code) == ("$.a[0]", "json.text")
    (problem,) = schema.problems({"a": object()})
    assert (problem.path, problem.code) == ("$.a", "json.type")
    deep: Any = 1
    for _ in range(3000):
        deep = [deep]
    (problem,) = schema.problems({"a": deep})
    assert problem.code == "json.depth"


def test_recursive_schemas_stay_linear_in_the_value() -> None:
    node = {"type": "object", "properties": {"a": {"$ref": "#/$defs/n"}}}
    schema = {"$defs": {"n": {"oneOf": [node, {"type": "null"}]}}, "$ref": "#/$defs/n"}
    value: Any = 1
    for _ in range(60):
        value = {"a": value}
    assert len(PayloadSchema(schema).problems(value)) == 1
    assert takes_less_than(1, lambda: PayloadSchema(schema).problems(value))
