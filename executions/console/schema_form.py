"""A form out of an input schema: a field for each value that people type, JSON for the rest.

What was typed becomes a value as well as it can: a text that is no number stays a text, and the
schema then says so at its place. The schema itself is checked by whoever starts; a form only asks.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from django.http import QueryDict

from autopilot.common import jsonpath
from autopilot.common.api.parsers import parse_json
from autopilot.common.errors import Invalid
from autopilot.common.problems import Problem

MAX_DEPTH = 5
MAX_FIELDS = 200
LONG_TEXT = 200
_LONG_NAMES = frozenset({"message", "text", "body", "comment", "notes", "description"})
_INPUTS = {"email": "email", "uri": "url", "date": "date", "date-time": "datetime-local"}
_WHOLE = re.compile(r"[+-]?[0-9]{1,400}\Z")
_NUMBER = re.compile(r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]{1,3})?\Z")
_LOCAL_MOMENT = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}(:[0-9]{2})?\Z")
_ABSENT: Any = object()


@dataclass(slots=True)
class Field:
    """One value of the input, and what was typed for it.

    kind: `text`, `long`, `number`, `check`, `choice`, `choices`, `lines`, `json`, or `section` for
    an object with fields of its own. item: what a line or a number is read as. options: JSON texts
    and what they are called. typed: the text, or the chosen options.
    """

    path: str
    key: str
    label: str
    kind: str
    is_required: bool
    help: str = ""
    item: str = "string"
    input_type: str = "text"
    placeholder: str = ""
    is_nullable: bool = False
    options: Sequence[tuple[str, str]] = ()
    fields: list[Field] = field(default_factory=list)
    typed: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)

    @property
    def name(self) -> str:
        return f"in{self.path}"

    @property
    def id(self) -> str:
        return "in-" + re.sub(r"[^A-Za-z0-9]+", "-", self.path).strip("-")

    @property
    def text(self) -> str:
        return self.typed[0] if self.typed else ""

    @property
    def shown_type(self) -> str:
        """The kind of HTML input; one for moments can't hold any other text."""
        if self.input_type == "datetime-local" and self.text and not _LOCAL_MOMENT.match(self.text):
            return "text"
        return self.input_type


class SchemaForm:
    """The fields of an input schema, filled with what its defaults say."""

    def __init__(self, schema: Mapping[str, Any]) -> None:
        self._root = schema
        self._count = 0
        self.fields = self._fields(schema, jsonpath.ROOT, 0)
        self.errors: list[str] = []

    def _fields(self, schema: Mapping[str, Any], path: str, depth: int) -> list[Field]:
        properties = schema.get("properties")
        if not isinstance(properties, dict):
            return []
        required = schema.get("required")
        needed = set(required) if isinstance(required, list) else set()
        # PostgreSQL keeps no order of keys; what is needed goes first.
        names = sorted(properties, key=lambda name: name not in needed)
        return [
            self._field(properties[name], jsonpath.child(path, name), name, name in needed, depth)
            for name in names
        ]

    def _field(self, given: Any, path: str, key: str, is_required: bool, depth: int) -> Field:
        self._count += 1
        schema = self._resolved(given)
        made = Field(
            path=path,
            key=key,
            label=_text(schema.get("title")) or label_of(key),
            kind="json",
            is_required=is_required,
            help=_text(schema.get("description")),
            placeholder=_example(schema),
        )
        if depth < MAX_DEPTH and self._count < MAX_FIELDS:
            self._shape(made, schema, depth)
        if "default" in schema or "const" in schema:
            _fill(made, schema.get("default", schema.get("const")))
        return made

    def _shape(self, made: Field, schema: Mapping[str, Any], depth: int) -> None:
        """What kind of field the schema asks for; JSON where it is none of those known."""
        kind, made.is_nullable = _kind(schema)
        options = [schema["const"]] if "const" in schema else schema.get("enum")
        if isinstance(options, list) and options:
            made.kind, made.options = "choice", _options(options)
        elif kind == "string":
            made.kind = "long" if _is_long(schema, made.key) else "text"
            made.input_type = _INPUTS.get(str(schema.get("format")), "text")
        elif kind in {"number", "integer"}:
            made.kind, made.item = "number", kind
        elif kind == "boolean":
            made.kind, made.options = "choice", [("true", "Yes"), ("false", "No")]
            if isinstance(schema.get("default"), bool):
                made.kind = "check"
        elif kind == "object" and schema.get("properties"):
            made.fields = self._fields(schema, made.path, depth + 1)
            made.kind = "section"
        elif kind == "array":
            self._shape_list(made, self._resolved(schema.get("items")))

    def _shape_list(self, made: Field, items: Mapping[str, Any]) -> None:
        kind, is_nullable = _kind(items)
        if isinstance(items.get("enum"), list):
            made.kind, made.options = "choices", _options(items["enum"])
        elif kind in {"string", "number", "integer"} and not is_nullable:
            made.kind, made.item = "lines", kind

    def _resolved(self, schema: Any) -> Mapping[str, Any]:
        """The schema itself, behind references to other places of the same document."""
        for _ in range(MAX_DEPTH):
            reference = schema.get("$ref") if isinstance(schema, dict) else None
            if not isinstance(reference, str) or not reference.startswith("#/"):
                break
            found: Any = self._root
            for part in reference[2:].split("/"):
                key = part.replace("~1", "/").replace("~0", "~")
                found = found.get(key) if isinstance(found, dict) else None
            if not isinstance(found, dict):
                break
            schema = found | {key: value for key, value in schema.items() if key != "$ref"}
        return schema if isinstance(schema, dict) else {}

    def bind(self, data: QueryDict, drawn: SchemaForm | None = None) -> None:
        """Take over what was typed, whatever it is.

        drawn: the form that was typed in, if it is another; fields that it lacks stay as they are.
        """
        known = {each.path for each in (drawn or self)._all()}
        for each in self._all():
            if each.path in known:
                each.typed = data.getlist(each.name)

    def value(self) -> Any:
        """The typed input. Raises Invalid where a part that is typed as JSON is none."""
        problems: list[Problem] = []
        value = _object(self.fields, problems)
        if problems:
            raise Invalid("The input is no valid JSON in one of its parts.", details=problems)
        return value

    def fill(self, value: Any) -> bool:
        """Show `value` in the fields; False, and nothing changes, if they can't hold all of it."""
        if not isinstance(value, dict) or not _fits(self.fields, value):
            return False
        for each in self.fields:
            each.typed = []
            _clear(each)
            if each.key in value:
                _fill(each, value[each.key])
        return True

    def show_problems(self, problems: Sequence[Problem]) -> list[Problem]:
        """Put each problem of `$.input` at the field it is about; answers those of no field."""
        fields = {each.path: each for each in self._all()}
        others = []
        for problem in problems:
            path = "$" + problem.path.removeprefix("$.input")
            while path not in fields and path != jsonpath.ROOT:
                path = _parent(path)
            if problem.path.startswith("$.input") and path in fields:
                is_missing = problem.message.endswith("is missing.") and path != jsonpath.ROOT
                fields[path].errors.append("This is needed." if is_missing else problem.message)
            else:
                others.append(problem)
        return others

    @property
    def wrong(self) -> list[Field]:
        """The fields with an error, in their order on the page."""
        return [each for each in self._all() if each.errors]

    def _all(self) -> Iterator[Field]:
        pending = list(self.fields)
        while pending:
            each = pending.pop(0)
            yield each
            pending = [*each.fields, *pending]


def _object(fields: Sequence[Field], problems: list[Problem]) -> dict[str, Any]:
    values = {each.key: _value(each, problems) for each in fields}
    return {key: value for key, value in values.items() if value is not _ABSENT}


def _value(each: Field, problems: list[Problem]) -> Any:
    """What was typed, as a value; _ABSENT where nothing was, and the schema says if that may be."""
    if each.kind == "section":
        value = _object(each.fields, problems)
        return value if value or each.is_required else _ABSENT
    if each.kind == "check":
        return bool(each.typed)
    if each.kind == "choices":
        chosen = [_json_or_text(text) for text in each.typed]
        return chosen if chosen or each.is_required else _ABSENT
    if each.kind == "lines":
        lines = [line.strip() for line in each.text.splitlines() if line.strip()]
        return [_scalar(line, each) for line in lines] if lines or each.is_required else _ABSENT
    if not each.text.strip():
        return None if each.is_nullable and each.is_required else _ABSENT
    if each.kind == "choice":
        return _json_or_text(each.text)
    if each.kind == "json":
        return _parsed(each, problems)
    return _scalar(each.text, each)


def _scalar(text: str, each: Field) -> Any:
    typed = text.strip()
    if each.item == "integer" or (each.item == "number" and _WHOLE.match(typed)):
        return int(typed) if _WHOLE.match(typed) else _number(typed, text)
    if each.item == "number":
        return _number(typed, text)
    if each.input_type == "datetime-local" and _LOCAL_MOMENT.match(typed):
        return f"{typed}:00Z" if len(typed) == 16 else f"{typed}Z"
    # Browsers send every line end as two characters.
    return text.replace("\r\n", "\n")


def _number(typed: str, text: str) -> Any:
    if not _NUMBER.match(typed):
        return text
    number = float(typed)
    return number if abs(number) != float("inf") else text


def _json_or_text(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def _parsed(each: Field, problems: list[Problem]) -> Any:
    try:
        return parse_json(each.text.encode("utf-8", "surrogatepass"))
    except Invalid as error:
        message = error.message.replace("The body is", "This is")
        problems.append(Problem(f"$.input{each.path[1:]}", error.code, message))
        return _ABSENT


def _fits(fields: Sequence[Field], value: Mapping[str, Any]) -> bool:
    known = {each.key: each for each in fields}
    return all(key in known and _fits_field(known[key], value[key]) for key in value)


def _fits_field(each: Field, value: Any) -> bool:
    if each.kind == "section":
        return isinstance(value, dict) and _fits(each.fields, value)
    if each.kind in {"choice", "json"}:
        return True
    if each.kind == "check":
        return isinstance(value, bool)
    if each.kind == "choices":
        known = {option for option, _ in each.options}
        return isinstance(value, list) and {_dumped(one) for one in value} <= known
    if each.kind == "lines":
        return isinstance(value, list) and all(_fits_line(one, each) for one in value)
    if value is None:
        return each.is_nullable and each.is_required
    if each.item == "string":
        return isinstance(value, str) and bool(value.strip())
    return isinstance(value, str | int | float) and not isinstance(value, bool)


def _fits_line(value: Any, each: Field) -> bool:
    if each.item == "string":
        return isinstance(value, str) and value == value.strip() != "" and "\n" not in value
    return isinstance(value, int | float) and not isinstance(value, bool)


def _fill(each: Field, value: Any) -> None:
    if each.kind == "section":
        for inner in each.fields:
            if isinstance(value, dict) and inner.key in value:
                _fill(inner, value[inner.key])
    elif each.kind == "check":
        each.typed = ["on"] if value is True else []
    elif each.kind == "choices":
        each.typed = [_dumped(one) for one in value] if isinstance(value, list) else []
    elif each.kind == "lines":
        each.typed = ["\n".join(map(str, value))] if isinstance(value, list) else []
    elif each.kind == "choice":
        each.typed = [_dumped(value)]
    elif each.kind == "json":
        each.typed = [json.dumps(value, indent=2, ensure_ascii=False)]
    else:
        text = "" if value is None else str(value)
        is_moment = each.input_type == "datetime-local" and text.endswith("Z")
        each.typed = [text[:-1] if is_moment else text]


def _clear(each: Field) -> None:
    for inner in each.fields:
        inner.typed = []
        _clear(inner)


def _kind(schema: Mapping[str, Any]) -> tuple[str, bool]:
    """The one type of value that the schema allows, and whether null is allowed beside it."""
    given = schema.get("type")
    types = given if isinstance(given, list) else [given]
    others = [name for name in types if name != "null"]
    if len(others) == 1 and isinstance(others[0], str):
        return others[0], len(others) < len(types)
    return ("object" if given is None and schema.get("properties") else ""), False


def _options(values: Sequence[Any]) -> list[tuple[str, str]]:
    return [(_dumped(one), one if isinstance(one, str) else _dumped(one)) for one in values]


def _dumped(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, sort_keys=True)


def _is_long(schema: Mapping[str, Any], key: str) -> bool:
    limit = schema.get("maxLength")
    return (isinstance(limit, int) and limit > LONG_TEXT) or (
        key in _LONG_NAMES and limit is None and "format" not in schema
    )


def label_of(key: str) -> str:
    words = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|[_-]+", " ", key).strip()
    return words[:1].upper() + words[1:] if words else key


def _example(schema: Mapping[str, Any]) -> str:
    examples = schema.get("examples")
    first = examples[0] if isinstance(examples, list) and examples else None
    return str(first) if isinstance(first, str | int | float) else ""


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _parent(path: str) -> str:
    """The path of what holds the value at `path`."""
    if path.endswith("]"):
        return path[: path.rindex("[")]
    return path[: path.rindex(".")] if "." in path else jsonpath.ROOT
