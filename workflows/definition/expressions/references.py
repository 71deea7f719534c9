"""Which places of the scope an expression reads, as far as the source alone says."""

from __future__ import annotations

import ast
from dataclasses import dataclass, field
from typing import Any

Path = tuple[str, ...]

CONSTANTS: dict[str, Any] = {"true": True, "false": False, "null": None}
"""JSON's own spelling of the constants; to Python these are names, so they are bound as such."""


@dataclass(slots=True)
class References:
    """Paths that must exist, and those that `default()` only looks for."""

    required: set[Path] = field(default_factory=set)
    optional: set[Path] = field(default_factory=set)


def collect(body: ast.expr) -> References:
    """The paths in `body`, each as long as its keys are written out.

    A path ends before an index, a slice or a computed key: `input.items[0].name` is
    `("input", "items")`. Names bound by a comprehension are left out, what they are drawn from
    is not.
    """
    found = References()
    _visit(body, frozenset(), found)
    return found


def _visit(node: ast.AST, bound: frozenset[str], found: References) -> None:
    if isinstance(node, ast.Name | ast.Attribute | ast.Subscript):
        _visit_path(node, bound, found, found.required)
    elif isinstance(node, ast.ListComp | ast.GeneratorExp | ast.DictComp):
        _visit_comprehension(node, bound, found)
    elif isinstance(node, ast.Call):
        _visit_call(node, bound, found)
    else:
        for child in ast.iter_child_nodes(node):
            _visit(child, bound, found)


def _visit_path(node: ast.expr, bound: frozenset[str], found: References, into: set[Path]) -> None:
    keys: list[str | None] = []
    while isinstance(node, ast.Attribute | ast.Subscript):
        if isinstance(node, ast.Attribute):
            keys.append(node.attr)
        else:
            key = node.slice.value if isinstance(node.slice, ast.Constant) else None
            keys.append(key if isinstance(key, str) else None)
            _visit(node.slice, bound, found)
        node = node.value
    if not isinstance(node, ast.Name):
        _visit(node, bound, found)
        return
    if node.id in bound or node.id in CONSTANTS:
        return
    path = [node.id]
    for written in reversed(keys):
        if written is None:
            break
        path.append(written)
    into.add(tuple(path))


def _visit_call(node: ast.Call, bound: frozenset[str], found: References) -> None:
    arguments: list[ast.AST] = [*node.args, *node.keywords]
    if isinstance(node.func, ast.Attribute):
        _visit(node.func.value, bound, found)
    elif isinstance(node.func, ast.Name) and node.func.id == "default":
        _visit_path(node.args[0], bound, found, found.optional)
        arguments = [node.args[1]]
    for argument in arguments:
        _visit(argument, bound, found)


def _visit_comprehension(
    node: ast.ListComp | ast.GeneratorExp | ast.DictComp, bound: frozenset[str], found: References
) -> None:
    for generator in node.generators:
        _visit(generator.iter, bound, found)
        bound |= {name.id for name in ast.walk(generator.target) if isinstance(name, ast.Name)}
        for condition in generator.ifs:
            _visit(condition, bound, found)
    parts = [node.key, node.value] if isinstance(node, ast.DictComp) else [node.elt]
    for part in parts:
        _visit(part, bound, found)
