"""Payload schemas: JSON Schema 2020-12, compiled once, offline, with a linear-time regex engine."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any

import jsonschema_rs

from autopilot.common.problems import Problem
from workflows.definition.json_values import find_unstorable
from workflows.definition.paths import join, join_all, quote

MAX_PROBLEMS = 50
_REGEX_BYTES = 1 << 20

CODE = "validation.schema"


class PayloadSchema:
    """A JSON Schema that values are checked against.

    The schema has been checked by `schema_checks.check_schema`; nothing is ever fetched for it.
    `pattern` runs on an engine without backtracking, so no value can make it hang. `format` is
    asserted. Raises ValueError when the schema cannot be compiled after all.
    """

    __slots__ = ("_validator", "schema")

    def __init__(self, schema: dict[str, Any] | bool) -> None:
        self.schema = schema
        self._validator = compile_validator(schema)

    def problems(self, value: object, *, root: str = "$") -> list[Problem]:
        """What keeps `value` from satisfying the schema: at most 50 findings, none when it does.

        Each has the JSON path below `root`, the code `validation.schema` and a sentence that says
        what was expected. The value itself is not repeated: it may be confidential. It must be
        plain JSON; whether all of it can be stored is for `find_unstorable` to say.
        """
        try:
            errors = self._validator.iter_errors(value)
            found = [_problem(error, root) for error in islice(errors, MAX_PROBLEMS)]
        except (ValueError, TypeError, OverflowError) as error:
            return list(_no_json(value, root, error))
        return list(dict.fromkeys(found))


def compile_validator(schema: dict[str, Any] | bool) -> jsonschema_rs.Validator:
    """The validator of a schema; raises ValueError (jsonschema_rs.ValidationError is one)."""
    return jsonschema_rs.Draft202012Validator(
        schema,
        validate_formats=True,
        offline=True,
        pattern_options=jsonschema_rs.RegexOptions(
            size_limit=_REGEX_BYTES, dfa_size_limit=_REGEX_BYTES
        ),
    )


def _no_json(value: object, root: str, error: Exception) -> Iterator[Problem]:
    found = list(islice(find_unstorable(value, root), MAX_PROBLEMS))
    if found:
        yield from found
    else:
        yield Problem(root, "validation.json", f"This value is no plain JSON: {quote(str(error))}.")


def _problem(error: jsonschema_rs.ValidationError, root: str) -> Problem:
    path = join_all(root, error.instance_path)
    kind = error.kind
    if isinstance(kind, jsonschema_rs.ValidationErrorKind.Required):
        path = join(path, kind.property)
    return Problem(path, CODE, describe(error))


def describe(error: jsonschema_rs.ValidationError) -> str:
    """The sentence for one finding of the schema library."""
    name = type(error.kind).__name__
    if name in ("AnyOf", "OneOfNotValid"):
        return _nested(error)
    sentence = _SENTENCES.get(name)
    return sentence(error.kind, error.instance) if sentence else "This value is not allowed here."


def kind_of(value: object) -> str:
    """What people call the kind of a JSON value."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true or false"
    names = {str: "text", int: "a number", float: "a number", list: "a list", dict: "an object"}
    return names.get(type(value), "another kind of value")


_TYPE_NAMES = {
    "string": "text",
    "integer": "a whole number",
    "number": "a number",
    "boolean": "true or false",
    "array": "a list",
    "object": "an object",
    "null": "null",
}


def _json(value: object) -> str:
    return f'"{quote(value)}"' if isinstance(value, str) else quote(_shown(value))


def _shown(value: object) -> str:
    words = {None: "null", True: "true", False: "false"}
    if value is None or isinstance(value, bool):
        return words[value]
    return str(value) if isinstance(value, int | float) else kind_of(value)


def _names(values: list[Any]) -> str:
    shown = ", ".join(_json(value) for value in values[:10])
    return shown + (" and more" if len(values) > 10 else "")


def _type_names(types: list[str]) -> str:
    null_last = sorted(types, key=lambda name: name == "null")
    return " or ".join(_TYPE_NAMES.get(name, name) for name in null_last)


def _plural(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def _nested(error: jsonschema_rs.ValidationError) -> str:
    """A failed `anyOf` or `oneOf`: the alternative that came nearest explains it best."""
    kind: Any = error.kind
    findings = [found[0] for found in kind.context if found]
    said = f"This value fits none of the {len(kind.context)} allowed alternatives."
    if not findings:
        return said
    nearest = max(findings, key=_nearness)
    below = nearest.instance_path[len(error.instance_path) :]
    where = f", at {join_all('', below).lstrip('.')}" if below else ""
    return f"{said} Nearest{where}: {quote(describe(nearest), 200)}"


def _nearness(error: jsonschema_rs.ValidationError) -> tuple[int, bool]:
    """Deeper is nearer, and a value of the right type is nearer than one of another."""
    return len(error.instance_path), type(error.kind).__name__ != "Type"


_SENTENCES: dict[str, Callable[[Any, object], str]] = {
    "AdditionalItems": lambda k, v: f"At most {_plural(k.limit, 'item')} may be here.",
    "AdditionalProperties": lambda k, v: f"Unknown fields: {_names(k.unexpected)}.",
    "OneOfMultipleValid": lambda k, v: "This value must fit exactly one of the alternatives.",
    "Constant": lambda k, v: f"This must be {_json(k.expected_value)}.",
    "Contains": lambda k, v: "No item of this list is of the required kind, or too many are.",
    "Enum": lambda k, v: f"This must be one of {_names(k.options)}.",
    "ExclusiveMaximum": lambda k, v: f"This must be below {k.limit}.",
    "ExclusiveMinimum": lambda k, v: f"This must be above {k.limit}.",
    "Maximum": lambda k, v: f"This must be {k.limit} at most.",
    "Minimum": lambda k, v: f"This must be {k.limit} at least.",
    "MultipleOf": lambda k, v: f"This must be a multiple of {k.multiple_of}.",
    "FalseSchema": lambda k, v: "Nothing may be given here.",
    "Format": lambda k, v: f'This text must have the format "{quote(k.format)}".',
    "MaxItems": lambda k, v: f"This list may have {_plural(k.limit, 'item')} at most.",
    "MinItems": lambda k, v: f"This list must have {_plural(k.limit, 'item')} at least.",
    "MaxLength": lambda k, v: f"This text may have {_plural(k.limit, 'character')} at most.",
    "MinLength": lambda k, v: f"This text must have {_plural(k.limit, 'character')} at least.",
    "MaxProperties": lambda k, v: f"This object may have {_plural(k.limit, 'field')} at most.",
    "MinProperties": lambda k, v: f"This object must have {_plural(k.limit, 'field')} at least.",
    "Not": lambda k, v: "This value is of a kind that is not allowed here.",
    "Pattern": lambda k, v: f'This text must match the pattern "{quote(k.pattern)}".',
    "PropertyNames": lambda k, v: f"A field's name is not allowed: {describe(k.error)}",
    "Required": lambda k, v: f'The field "{quote(k.property)}" is missing.',
    "Type": lambda k, v: f"Expected {_type_names(k.types)}, got {kind_of(v)}.",
    "UnevaluatedItems": lambda k, v: "This list has items that are not allowed.",
    "UnevaluatedProperties": lambda k, v: f"Unknown fields: {_names(k.unexpected)}.",
    "UniqueItems": lambda k, v: "The items of this list must differ from each other.",
}
