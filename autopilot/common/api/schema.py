"""The error envelope in the OpenAPI document: every operation says how it refuses."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.utils.module_loading import import_string

_PROBLEM = {
    "type": "object",
    "description": "One finding: where, which rule, and a sentence for people.",
    "required": ["path", "code", "message"],
    "properties": {
        "path": {"type": "string", "description": "JSON path, `$` for the whole document."},
        "code": {"type": "string"},
        "message": {"type": "string"},
        "line": {"type": "integer", "description": "In a text that was sent."},
        "column": {"type": "integer"},
    },
}
_ERROR = {
    "type": "object",
    "description": "How every refusal and every failure is told.",
    "required": ["error"],
    "properties": {
        "error": {
            "type": "object",
            "required": ["code", "message", "details", "request_id"],
            "properties": {
                "code": {"type": "string", "description": "Stable; programs may match it."},
                "message": {"type": "string", "description": "One sentence for people."},
                "details": {"type": "array", "items": {"$ref": "#/components/schemas/Problem"}},
                "request_id": {"type": "string"},
            },
        }
    },
}
_METHODS = {"get", "post", "put", "patch", "delete"}
_WAIT = {
    "Retry-After": {"description": "Seconds to wait.", "schema": {"type": "integer", "minimum": 1}}
}


def words_of(path: str) -> Callable[[], list[str]]:
    """For ENUM_NAME_OVERRIDES: the values of the StrEnum at `path`, imported when first needed.

    drf-spectacular takes an enum's names for labels and then finds no field that has them.
    """
    return lambda: [member.value for member in import_string(path)]


def document_errors(
    result: dict[str, Any], generator: Any, request: Any, public: bool
) -> dict[str, Any]:
    """drf-spectacular's postprocessing hook: add the refusals that each operation can answer."""
    schemas = result.setdefault("components", {}).setdefault("schemas", {})
    schemas["Problem"] = _PROBLEM
    schemas["Error"] = _ERROR
    for path, operations in result.get("paths", {}).items():
        for method, operation in operations.items():
            if method in _METHODS:
                for status, response in _refusals(path, operation).items():
                    operation["responses"].setdefault(status, response)
                operation["responses"] = dict(sorted(operation["responses"].items()))
    return result


def _refusals(path: str, operation: dict[str, Any]) -> dict[str, Any]:
    body = "requestBody" in operation
    refusals: dict[str, Any] = {}
    if body or operation.get("parameters"):
        refusals["400"] = _response("The request breaks a rule; `details` names every place.")
    # An empty requirement in the list means that the operation is open.
    if operation.get("security") and {} not in operation["security"]:
        refusals["401"] = _response("No token, an expired one, or a forged one.")
        refusals["403"] = _response("The permission that this needs is missing.")
    if "{" in path:
        refusals["404"] = _response("There is no such thing, or you may not see it.")
    if body:
        refusals["413"] = _response("The body is larger than the server accepts.")
        taken = " or ".join(operation["requestBody"].get("content") or ["application/json"])
        refusals["415"] = _response(f"The body is not sent as {taken}.")
    refusals["503"] = _response("Something the server needs is not answering.", headers=_WAIT)
    refusals["default"] = _response("Any other refusal or failure, in the same shape.")
    return refusals


def _response(description: str, headers: dict[str, Any] | None = None) -> dict[str, Any]:
    response: dict[str, Any] = {
        "description": description,
        "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}},
    }
    if headers:
        response["headers"] = headers
    return response
