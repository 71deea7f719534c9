"""Older spellings of JSON Schema, rewritten as 2020-12 has them.

`items` with a list, `additionalItems`, `exclusiveMinimum: true` and `dependencies` can't be saved
in a definition; they occur in schemas that come from elsewhere. Only places that hold a schema are
touched: a field called "items" stays what it is.
"""

from __future__ import annotations

from typing import Any

_SINGLE = (
    "additionalProperties",
    "additionalItems",
    "unevaluatedProperties",
    "unevaluatedItems",
    "propertyNames",
    "contains",
    "items",
    "not",
    "if",
    "then",
    "else",
)
_LISTS = ("allOf", "anyOf", "oneOf", "prefixItems", "items")
_MAPS = ("properties", "patternProperties", "dependentSchemas", "$defs", "definitions")
_BOUNDS = (("exclusiveMinimum", "minimum"), ("exclusiveMaximum", "maximum"))


def modern(schema: Any) -> Any:
    """A copy of `schema` in the words of 2020-12; what is in them already stays the same."""
    if not isinstance(schema, dict):
        return schema
    result: dict[str, Any] = {}
    for word, value in schema.items():
        if word == "$schema":
            continue
        if isinstance(value, list) and word in _LISTS:
            value = [modern(each) for each in value]
        elif isinstance(value, dict) and word in _MAPS:
            value = {name: modern(each) for name, each in value.items()}
        elif word in _SINGLE:
            value = modern(value)
        result[word] = value
    _rewrite_items(result)
    _rewrite_bounds(result)
    _rewrite_dependencies(result)
    return result


def _rewrite_items(schema: dict[str, Any]) -> None:
    rest = schema.pop("additionalItems", None)
    if isinstance(schema.get("items"), list):
        prefix = schema.pop("items")
        if prefix:
            schema["prefixItems"] = prefix
        if rest is not None:
            schema["items"] = rest


def _rewrite_bounds(schema: dict[str, Any]) -> None:
    for strict, bound in _BOUNDS:
        flag = schema.get(strict)
        if not isinstance(flag, bool):
            continue
        del schema[strict]
        if flag and bound in schema:
            schema[strict] = schema.pop(bound)


def _rewrite_dependencies(schema: dict[str, Any]) -> None:
    found = schema.pop("dependencies", None)
    if not isinstance(found, dict):
        return
    for name, value in found.items():
        word = "dependentRequired" if isinstance(value, list) else "dependentSchemas"
        schema.setdefault(word, {})[name] = value if word == "dependentRequired" else modern(value)
