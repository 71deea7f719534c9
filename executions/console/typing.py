"""How an input is being typed: as JSON, or in the fields that its schema asks for."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from django.http import QueryDict

from autopilot.common.api.parsers import parse_json
from autopilot.common.errors import DomainError, Invalid
from autopilot.common.json_html import pretty
from autopilot.common.problems import Problem
from executions.console.schema_form import SchemaForm


@dataclass(slots=True)
class Typing:
    """An input on its way.

    mode: `form` or `json`. text: the JSON. fields: None where the schema names none.
    """

    mode: str
    text: str
    fields: SchemaForm | None

    @classmethod
    def begin(cls, schema: Any, text: str) -> Typing:
        """For a new input: the fields with their defaults, where there are any."""
        fields = fields_of(schema)
        return cls("form" if fields else "json", text, fields)

    @classmethod
    def begin_with(cls, schema: Any, value: Any) -> Typing:
        """For a known input: the fields if they have a place for all of it."""
        fields = fields_of(schema)
        fits = fields is not None and fields.fill(value)
        return cls("form" if fits else "json", pretty(value), fields)

    @classmethod
    def sent(cls, data: QueryDict, schema: Any, drawn: Any) -> Typing:
        """As the page was sent. drawn: the schema that its fields were made of.

        With another schema the fields of the same names keep what was typed; without fields to go
        on with, it is JSON from then on.
        """
        text = data.get("input", "")
        fields, before = fields_of(schema), fields_of(drawn)
        if data.get("mode") != "form" or before is None:
            return cls("json", text, fields)
        before.bind(data)
        if fields is None:
            typing = cls("form", text, before)
            typing.change("json")
            return cls("json", typing.text, None)
        fields.bind(data, before)
        return cls("form", text, fields)

    def change(self, to: str) -> DomainError | None:
        """Go on in the other way with what has been typed; what speaks against it, if anything."""
        if self.fields is None or to == self.mode:
            return None
        try:
            if to == "json":
                self.text = pretty(self.fields.value())
            elif not self.fields.fill(self.value() or {}):
                message = (
                    "The form has no place for everything in this input: it has fields or kinds "
                    "of values that the schema doesn't name."
                )
                return Invalid(message, details=[Problem("$.input", "input.no_form", message)])
        except Invalid as error:
            return error
        self.mode = to
        return None

    def value(self) -> Any:
        """The input as it was typed; None for nothing. Raises Invalid with the place."""
        if self.fields is not None and self.mode == "form":
            return self.fields.value()
        return json_typed(self.text, "$.input", "The input")


def fields_of(schema: Any) -> SchemaForm | None:
    """The fields that a schema asks for; None if it asks for none."""
    form = SchemaForm(schema) if isinstance(schema, dict) else None
    return form if form and form.fields else None


def json_typed(text: str, path: str, what: str) -> Any:
    """JSON out of a box; None for an empty one. Raises Invalid with its place, below `path`."""
    if not text.strip():
        return None
    try:
        return parse_json(text.encode("utf-8", "surrogatepass"))
    except Invalid as error:
        message = error.message.replace("The body is", f"{what} is")
        details = [
            Problem(path + each.path[1:], each.code, each.message.replace("body", what.lower()[4:]))
            for each in error.details
        ]
        raise Invalid(message, details=details) from None


def same_json(one: Any, other: Any) -> bool:
    """Whether two values are the same JSON: true is not 1."""
    return json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)
