"""Which calls may be written, checked before anything runs."""

from __future__ import annotations

import ast
import math

from workflows.definition.expressions.dates import DATE_METHODS, DURATION_METHODS
from workflows.definition.expressions.errors import Refusal
from workflows.definition.expressions.library import FUNCTIONS
from workflows.definition.expressions.patterns import compile_pattern
from workflows.definition.expressions.references import CONSTANTS
from workflows.definition.expressions.texts import TEXT_METHODS

METHODS = TEXT_METHODS.keys() | DATE_METHODS.keys() | DURATION_METHODS.keys()
_OBJECT_METHODS = {
    "keys": "write keys(x)",
    "values": "write values(x)",
    "items": "write items(x)",
    "get": "write default(x.key, value)",
}


def check_call(node: ast.Call) -> None:
    """Refuse what is not a function of the library or a method of texts, or takes other values."""
    if any(isinstance(argument, ast.Starred) for argument in node.args) or any(
        keyword.arg is None for keyword in node.keywords
    ):
        raise Refusal("values are handed to a function one by one, without * and **")
    if isinstance(node.func, ast.Name):
        _check_function(node, node.func.id)
    elif isinstance(node.func, ast.Attribute):
        _check_method(node, node.func.attr)
    else:
        raise Refusal("only functions of the library and methods of texts can be called")


def _check_function(node: ast.Call, name: str) -> None:
    if name == "default":
        _check_default(node)
        return
    function = FUNCTIONS.get(name)
    if function is None:
        raise Refusal(f"there is no function {name[:60]}()")
    _check_count(f"{name}()", len(node.args), function.least, function.most)
    named = [keyword.arg or "" for keyword in node.keywords]
    for keyword in named:
        if keyword not in function.keywords:
            raise Refusal(f"{name}() takes no value named {keyword[:60]}")
    if len(set(named)) < len(named):
        raise Refusal(f"{name}() is given a value twice")
    if name in ("regex_match", "regex_search"):
        pattern = node.args[0]
        if isinstance(pattern, ast.Constant) and isinstance(pattern.value, str):
            try:
                compile_pattern(pattern.value)
            except Refusal as refusal:
                raise Refusal(f"{name}() {refusal}") from None


def _check_method(node: ast.Call, name: str) -> None:
    if name not in METHODS:
        hint = _OBJECT_METHODS.get(name)
        raise Refusal(f"there is no method .{name[:60]}()" + (f"; {hint}" if hint else ""))
    if node.keywords:
        raise Refusal(f".{name}() takes no values by name")
    if name in TEXT_METHODS:
        _, least, most = TEXT_METHODS[name]
        _check_count(f".{name}()", len(node.args), least, most)
    else:
        _check_count(f".{name}()", len(node.args), 0, 0)


def _check_count(name: str, given: int, least: int, most: float) -> None:
    if least <= given <= most:
        return
    if math.isinf(most):
        expected = f"at least {least}"
    else:
        expected = str(least) if least == most else f"{least} to {most}"
    raise Refusal(f"{name} takes {expected} values, not {given}")


def _check_default(node: ast.Call) -> None:
    if len(node.args) != 2 or node.keywords:
        raise Refusal("default() takes a path and a value, such as default(input.note, '')")
    path = node.args[0]
    if isinstance(path, ast.Constant):
        raise Refusal("default() looks up a path such as input.note, not a constant")
    while isinstance(path, ast.Attribute | ast.Subscript):
        if isinstance(path, ast.Subscript) and isinstance(path.slice, ast.Slice):
            raise Refusal("default() looks up one place, not a slice")
        path = path.value
    if not isinstance(path, ast.Name) or path.id in CONSTANTS:
        raise Refusal("default() looks up a path such as input.note, not a computed value")
