"""The models' findings, said in our own sentences with JSON paths and stable codes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from autopilot.common.problems import Problem
from workflows.definition.document import Document
from workflows.definition.paths import did_you_mean, join, join_all, quote
from workflows.definition.schemas import kind_of
from workflows.definition.steps import STEP_MODELS, BaseStep

_STEP_LISTS = ("steps", "finally")


def find_shape_problems(document: Mapping[str, Any]) -> Iterator[Problem]:
    """Missing, unknown and mistyped fields of a document, each at its path."""
    try:
        Document.model_validate(document)
    except ValidationError as errors:
        for error in errors.errors(include_url=False):
            yield _problem(document, error)


def _problem(document: Mapping[str, Any], error: ErrorDetails) -> Problem:
    keys, value = _locate(document, error["loc"])
    path = join_all("$", keys)
    key = quote(str(keys[-1])) if keys else "document"
    context = error.get("ctx", {})
    if "text" in context:
        return Problem(join_all(path, context["at"]), error["type"], context["text"])
    kind = error["type"]
    if kind == "extra_forbidden":
        fields = sorted(_fields_at(document, keys[:-1]))
        return Problem(path, "field.unknown", _unknown_field(str(keys[-1]), fields))
    if kind == "missing":
        return Problem(path, "field.missing", f'The field "{key}" is missing.')
    if kind == "union_tag_not_found":
        return Problem(
            join(path, "type"), "field.missing", f'The field "type" is missing; {_known_types()}.'
        )
    if kind == "union_tag_invalid":
        return Problem(join(path, "type"), "step.type_unknown", _unknown_type(value))
    write = _SENTENCES.get(kind)
    if write is None:
        return Problem(path, "field.invalid", f'The value of "{key}" is not allowed here.')
    code, sentence = write(context, value)
    return Problem(path, code, sentence)


def _locate(
    document: Mapping[str, Any], loc: tuple[int | str, ...]
) -> tuple[list[int | str], object]:
    """The keys of a finding without the type tags that unions add, and its value."""
    keys: list[int | str] = []
    value: object = document
    pending = list(loc)
    while pending:
        key = pending.pop(0)
        keys.append(key)
        if isinstance(value, dict):
            value = value.get(key)
        elif isinstance(value, list) and isinstance(key, int) and key < len(value):
            value = value[key]
        in_steps = isinstance(key, int) and len(keys) > 1 and keys[-2] in _STEP_LISTS
        if in_steps and pending and pending[0] in STEP_MODELS:
            pending.pop(0)
    return keys, value


def _known_types() -> str:
    return "known types are " + ", ".join(STEP_MODELS)


def _unknown_type(step: object) -> str:
    written = step.get("type") if isinstance(step, dict) else None
    if not isinstance(written, str):
        return f"A step's type must be text, got {kind_of(written)}; {_known_types()}."
    hint = did_you_mean(written, STEP_MODELS)
    return f'"{quote(written)}" is no step type; {_known_types()}.{hint}'


def _unknown_field(name: str, fields: list[str]) -> str:
    hint = did_you_mean(name, fields)
    known = f" Known here: {', '.join(fields)}." if not hint and 0 < len(fields) <= 8 else ""
    return f'There is no field "{quote(name)}" here.{hint or known}'


def _fields_at(document: Mapping[str, Any], keys: list[int | str]) -> list[str]:
    """The fields that the models know at a place, found by following the keys from the top."""
    model: type[BaseModel] | None = Document
    value: Any = document
    for key in keys:
        if isinstance(key, str):
            value = value.get(key) if isinstance(value, dict) else None
            model = model_of_field(model, key)
        elif isinstance(value, list):
            value = value[key]
        if model is BaseStep and isinstance(value, dict):
            model = STEP_MODELS.get(str(value.get("type")), BaseStep)
    return [] if model is None else [f.alias or name for name, f in model.model_fields.items()]


def model_of_field(model: type[BaseModel] | None, key: str) -> type[BaseModel] | None:
    """The model of a field's value or of its entries; BaseStep stands for any type of step."""
    for name, field in model.model_fields.items() if model is not None else ():
        if key == (field.alias or name):
            found = list(_models_in(field.annotation))
            return BaseStep if len(found) > 1 else next(iter(found), None)
    return None


def _models_in(annotation: object) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for argument in get_args(annotation):
        yield from _models_in(argument)


_Sentence = Callable[[dict[str, Any], object], tuple[str, str]]


def _expected(what: str) -> _Sentence:
    return lambda ctx, value: ("field.type", f"Expected {what}, got {kind_of(value)}.")


def _too_long(what: str) -> _Sentence:
    return lambda ctx, value: (
        "field.too_long",
        f"At most {ctx['max_length']} {what} are allowed here.",
    )


def _too_short(what: str) -> _Sentence:
    return lambda ctx, value: (
        "field.too_short",
        f"At least {ctx['min_length']} {what} must be given here.",
    )


def _range(name: str, words: str) -> _Sentence:
    return lambda ctx, value: ("field.range", f"This must be {words} {ctx[name]}.")


_SENTENCES: dict[str, _Sentence] = {
    "string_type": _expected("text"),
    "int_type": _expected("a whole number"),
    "int_from_float": _expected("a whole number"),
    "int_parsing": _expected("a whole number"),
    "float_type": _expected("a number"),
    "float_parsing": _expected("a number"),
    "bool_type": _expected("true or false"),
    "bool_parsing": _expected("true or false"),
    "list_type": _expected("a list"),
    "tuple_type": _expected("a list"),
    "dict_type": _expected("an object"),
    "model_type": _expected("an object"),
    "model_attributes_type": _expected("an object"),
    "string_too_long": _too_long("characters"),
    "string_too_short": _too_short("characters"),
    "too_long": _too_long("entries"),
    "too_short": _too_short("entries"),
    "greater_than": _range("gt", "above"),
    "greater_than_equal": _range("ge", "at least"),
    "less_than": _range("lt", "below"),
    "less_than_equal": _range("le", "at most"),
    "finite_number": lambda ctx, value: ("field.type", "Expected a finite number."),
    "literal_error": lambda ctx, value: ("field.choice", f"Expected {ctx['expected']}."),
    "string_unicode": lambda ctx, value: ("json.text", "This text cannot be stored."),
}
