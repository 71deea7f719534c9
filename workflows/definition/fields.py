"""The kinds of values that the models share, each with its own sentence for a wrong value."""

from __future__ import annotations

import keyword
import re
from datetime import timedelta
from enum import StrEnum
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, PlainValidator, WithJsonSchema
from pydantic_core import PydanticCustomError

from workflows.definition.codes import is_pattern
from workflows.definition.durations import DurationError, parse_duration
from workflows.definition.ids import END, RESERVED, is_identifier
from workflows.definition.paths import quote

MAX_NAME = 200
MAX_DESCRIPTION = 4000
MAX_EXPRESSION = 4096
MAX_ERROR_PATTERNS = 100
MAX_TOLERATED = 1_000_000

# The names that expressions know everywhere (some only mean something in some places).
ROOT_NAMES = ("input", "vars", "steps", "execution", "error", "secrets")

_LABEL_KEY = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._/-]{0,61}[A-Za-z0-9])?\Z")
_VARIABLE = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,62}\Z")
_SLUG = re.compile(r"[a-z0-9]+(?:-[a-z0-9]+)*\Z")
_VERSION = re.compile(r"(?:0|[1-9]\d{0,8})(?:\.(?:0|[1-9]\d{0,8})){2}(?:-[0-9A-Za-z.-]{1,64})?\Z")
_ERROR_CODE = re.compile(r"[A-Za-z][A-Za-z0-9_]*(?:\.[A-Za-z0-9_]+)*\Z")
_PERCENT = re.compile(r"(?:100(?:\.0{1,2})?|[0-9]{1,2}(?:\.[0-9]{1,2})?)%\Z")
_ACTION = re.compile(r"[a-z][a-z0-9_]*(?:\.[a-z0-9_]+)*\Z")


class StepType(StrEnum):
    """What a step does; the value is what `type` says in a document."""

    ACTION = "action"
    TRANSFORM = "transform"
    CHOICE = "choice"
    PARALLEL = "parallel"
    MAP = "map"
    WAIT = "wait"
    SIGNAL = "signal"
    APPROVAL = "approval"
    GROUP = "group"
    WORKFLOW = "workflow"
    FAIL = "fail"
    SUCCEED = "succeed"


class Model(BaseModel):
    """Base of all definition models: nothing unknown, nothing converted, nothing changed."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


def refuse(code: str, message: str, *at: str | int) -> PydanticCustomError:
    """An error whose sentence is shown as it is; braces in it are text, not placeholders.

    at: keys from the value to the part of it that is wrong.
    """
    return PydanticCustomError(code, "{text}", {"text": message, "at": at})


def is_template(value: object) -> bool:
    """True for text that holds an expression in double braces."""
    return isinstance(value, str) and "{{" in value


def is_error_code(text: str) -> bool:
    """True for a dotted code such as `http.404` or `action.Refused`."""
    return len(text) <= 128 and _ERROR_CODE.match(text) is not None


def is_variable(text: str) -> bool:
    """True for a name that `vars` can have: a letter, then letters, digits, underscores."""
    if _VARIABLE.match(text) is None or keyword.iskeyword(text):
        return False
    return text == END or text not in RESERVED


def _text(value: object, what: str) -> str:
    if not isinstance(value, str):
        raise refuse("field.type", f"{what} must be text.")
    return value


def _duration(value: object) -> timedelta:
    try:
        return parse_duration(value)
    except DurationError as error:
        raise refuse("field.duration", str(error)) from None


def _step_id(value: object) -> str:
    text = _text(value, "A step id")
    if text in RESERVED:
        raise refuse(
            "step.id_reserved",
            f'"{quote(text)}" is a reserved word and cannot be a step id; '
            f'choose another, such as "step_{quote(text)}".',
        )
    if not is_identifier(text):
        raise refuse(
            "step.id_invalid",
            f'"{quote(text)}" cannot be a step id: expected a lower-case letter, then lower-case '
            "letters, digits or underscores, at most 63 in all.",
        )
    return text


def _target(value: object) -> str:
    text = _text(value, "A target")
    if text != END and not is_identifier(text):
        raise refuse(
            "step.next_invalid",
            f'"{quote(text)}" cannot be a step id: expected the id of a step in the same scope, '
            'or "end".',
        )
    return text


def _slug(value: object) -> str:
    text = _text(value, "A slug")
    if len(text) > 100 or not _SLUG.match(text):
        raise refuse(
            "field.slug",
            f'"{quote(text)}" is no slug: expected lower-case letters, digits and single '
            'hyphens, at most 100, such as "order-refund".',
        )
    return text


def _version(value: object) -> str:
    text = _text(value, "A version")
    if not _VERSION.match(text):
        raise refuse(
            "field.version",
            f'"{quote(text)}" is no version: expected three numbers such as "1.4.0".',
        )
    return text


def _labels(value: object) -> dict[str, str]:
    if not isinstance(value, dict):
        raise refuse("field.type", "Labels must be an object of texts.")
    if len(value) > 64:
        raise refuse("field.too_long", f"There are {len(value)} labels; at most 64 are allowed.")
    for key, text in value.items():
        if not isinstance(key, str) or not _LABEL_KEY.match(key):
            raise refuse(
                "field.label",
                f'"{quote(str(key))}" cannot be a label: expected letters, digits, ".", "_", "/" '
                'or "-", at most 63.',
                key,
            )
        if not isinstance(text, str) or len(text) > 255:
            raise refuse(
                "field.label",
                f'The label "{quote(key)}" must have text of at most 255 characters.',
                key,
            )
    return value


def _variable(value: object, *at: str) -> str:
    text = _text(value, "A variable's name")
    if not is_variable(text):
        raise refuse(
            "field.variable",
            f'"{quote(text)}" cannot be a variable: expected a letter, then letters, digits or '
            "underscores, at most 63, and no reserved word.",
            *at,
        )
    return text


def _local_name(value: object) -> str:
    text = _variable(value)
    if text in ROOT_NAMES or text == "index":
        raise refuse(
            "field.variable", f'"{text}" means something else in expressions; choose another name.'
        )
    return text


def _assignments(value: object) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise refuse("field.type", "This must be an object of variable names and templates.")
    for name in value:
        _variable(name, name)
    return value


def _schema(value: object) -> dict[str, Any] | bool:
    if not isinstance(value, dict | bool):
        raise refuse("field.type", "A JSON Schema must be an object, true or false.")
    return value


def _error_globs(value: object) -> tuple[str, ...]:
    if not isinstance(value, list) or not value:
        raise refuse("field.type", "This must be a list of at least one error code or pattern.")
    if len(value) > MAX_ERROR_PATTERNS:
        message = f"At most {MAX_ERROR_PATTERNS} error codes or patterns are allowed here."
        raise refuse("field.too_long", message)
    for index, glob in enumerate(value):
        if not isinstance(glob, str) or not is_pattern(glob):
            raise refuse(
                "field.error_pattern",
                f'"{quote(str(glob))}" is no error pattern: expected a dotted code such as '
                '"http.404", where "*" stands for anything ("action.*"), or "http.4xx" or '
                '"http.5xx".',
                index,
            )
    return tuple(value)


def _action_name(value: object) -> str:
    text = _text(value, "An action's name")
    if len(text) > 128 or not _ACTION.match(text):
        raise refuse(
            "action.name_invalid",
            f'"{quote(text)}" cannot be an action: expected a dotted lower-case name such as '
            '"http.request".',
        )
    return text


def _wait_for(value: object) -> str | int:
    if value in ("all", "any") or (type(value) is int and value >= 1):
        return value
    raise refuse(
        "field.wait_for", 'Expected "all", "any" or the number of branches to wait for, from 1.'
    )


def _tolerance(value: object) -> str | int:
    if type(value) is int and 0 <= value <= MAX_TOLERATED:
        return value
    if isinstance(value, str) and _PERCENT.match(value):
        return value
    raise refuse(
        "field.tolerated_failures",
        f'Expected a count from 0 to {MAX_TOLERATED:,}, or a share from "0%" to "100%".',
    )


def _wait_duration(value: object) -> timedelta | str:
    return str(value) if is_template(value) else _duration(value)


_END = r"\Z"
_ID_SCHEMA = {"type": "string", "pattern": "^[a-z][a-z0-9_]{0,62}$"}
_DURATION_SCHEMA = {
    "anyOf": [
        {"type": "number", "exclusiveMinimum": 0},
        {"type": "string", "pattern": "^(P[0-9.WDTHMS]+|([0-9.]+[wdhms])+)$"},
    ],
    "examples": ["30s", "5m", "PT1H", 90],
}
_TEMPLATE_DURATION_SCHEMA = {
    "anyOf": [*_DURATION_SCHEMA["anyOf"], {"type": "string", "pattern": "\\{\\{"}]
}

Duration = Annotated[timedelta, PlainValidator(_duration), WithJsonSchema(_DURATION_SCHEMA)]
WaitDuration = Annotated[
    timedelta | str, PlainValidator(_wait_duration), WithJsonSchema(_TEMPLATE_DURATION_SCHEMA)
]
StepId = Annotated[str, PlainValidator(_step_id), WithJsonSchema(_ID_SCHEMA)]
Target = Annotated[str, PlainValidator(_target), WithJsonSchema(_ID_SCHEMA)]
Slug = Annotated[
    str,
    PlainValidator(_slug),
    WithJsonSchema({"type": "string", "pattern": _SLUG.pattern.replace(r"\Z", "$")}),
]
Version = Annotated[
    str, PlainValidator(_version), WithJsonSchema({"type": "string", "examples": ["1.4.0"]})
]
Labels = Annotated[
    dict[str, str],
    PlainValidator(_labels),
    WithJsonSchema(
        {
            "type": "object",
            "maxProperties": 64,
            "additionalProperties": {"type": "string", "maxLength": 255},
        }
    ),
]
LocalName = Annotated[str, PlainValidator(_local_name), WithJsonSchema({"type": "string"})]
Assignments = Annotated[
    dict[str, Any],
    PlainValidator(_assignments),
    WithJsonSchema({"type": "object", "additionalProperties": True}),
]
PayloadSchemaJson = Annotated[
    dict[str, Any] | bool,
    PlainValidator(_schema),
    WithJsonSchema({"$ref": "https://json-schema.org/draft/2020-12/schema"}),
]
ErrorGlobs = Annotated[
    tuple[str, ...],
    PlainValidator(_error_globs),
    WithJsonSchema(
        {
            "type": "array",
            "minItems": 1,
            "maxItems": MAX_ERROR_PATTERNS,
            "items": {"type": "string", "examples": ["http.5xx", "action.*", "timeout.step"]},
        }
    ),
]
ActionName = Annotated[
    str,
    PlainValidator(_action_name),
    WithJsonSchema({"type": "string", "pattern": _ACTION.pattern.replace(r"\Z", "$")}),
]
WaitFor = Annotated[
    str | int,
    PlainValidator(_wait_for),
    WithJsonSchema({"anyOf": [{"enum": ["all", "any"]}, {"type": "integer", "minimum": 1}]}),
]
Tolerance = Annotated[
    str | int,
    PlainValidator(_tolerance),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "integer", "minimum": 0, "maximum": MAX_TOLERATED},
                {"type": "string", "pattern": f"^{_PERCENT.pattern.removesuffix(_END)}$"},
            ]
        }
    ),
]
# A template is any JSON; expressions in its texts are checked where the names are known.
TemplateJson = Annotated[Any, WithJsonSchema({})]
ExpressionText = Annotated[str, Field(min_length=1, max_length=MAX_EXPRESSION)]
Name = Annotated[str, Field(min_length=1, max_length=MAX_NAME)]
Description = Annotated[str, Field(max_length=MAX_DESCRIPTION)]
