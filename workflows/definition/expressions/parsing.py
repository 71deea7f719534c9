"""From source to a tree that is known to hold only this language, and what it refers to."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from workflows.definition.expressions.bounds import (
    MAX_GENERATORS,
    MAX_NESTING,
    MAX_SOURCE_BYTES,
    number,
)
from workflows.definition.expressions.calls import check_call
from workflows.definition.expressions.errors import ExpressionError, Refusal, quote
from workflows.definition.expressions.operators import BINARY, COMPARE, UNARY
from workflows.definition.expressions.references import CONSTANTS, References, collect
from workflows.definition.expressions.scanning import is_balanced

_KEYWORD_AS_KEY = re.compile(
    r"\.\s*(False|None|True|and|as|assert|async|await|break|class|continue|def|del|elif|else|except"
    r"|finally|for|from|global|if|import|in|is|lambda|nonlocal|not|or|pass|raise|return|try|while"
    r"|with|yield)\b"
)
_FORBIDDEN: dict[type[ast.AST], str] = {
    ast.Lambda: "functions cannot be defined",
    ast.NamedExpr: "values cannot be assigned with :=",
    ast.Set: "a set is not JSON; write a list",
    ast.SetComp: "a set is not JSON; write a list",
    ast.Await: "nothing can be awaited",
    ast.Yield: "nothing can be yielded",
    ast.YieldFrom: "nothing can be yielded",
}
_ALLOWED: tuple[type[ast.AST], ...] = (
    ast.BoolOp,
    ast.BinOp,
    ast.UnaryOp,
    ast.Compare,
    ast.IfExp,
    ast.Call,
    ast.keyword,
    ast.Subscript,
    ast.Slice,
    ast.Attribute,
    ast.Name,
    ast.Constant,
    ast.List,
    ast.Tuple,
    ast.Dict,
    ast.ListComp,
    ast.DictComp,
    ast.GeneratorExp,
    ast.comprehension,
    ast.JoinedStr,
    ast.FormattedValue,
    ast.Starred,
    ast.expr_context,
    ast.boolop,
    *BINARY,
    *COMPARE,
    *UNARY,
)


@dataclass(frozen=True, slots=True)
class Parsed:
    """A checked tree; `shares` says that its value is always one that the scope already held."""

    body: ast.expr
    references: References
    shares: bool


def parse(source: str) -> Parsed:
    """The checked tree of `source`, or `ExpressionError`."""
    try:
        body = _parse(source)
        _check_nesting(body)
        for node in ast.walk(body):
            _check_node(node)
        _check_generator_places(body)
        return Parsed(body, collect(body), _shares(body))
    except Refusal as refusal:
        raise ExpressionError(
            f"The expression {quote(source)} is not allowed: {refusal}.", source=source
        ) from None


def _parse(source: str) -> ast.expr:
    size = len(source.encode("utf-8", "surrogatepass"))
    if size > MAX_SOURCE_BYTES:
        raise Refusal(f"it has {size:,} bytes, {MAX_SOURCE_BYTES:,} are the most")
    text = source.strip()
    if not text:
        raise Refusal("it is empty")
    if "\n" in text or "\r" in text:
        # Python goes on to the next line only inside brackets; these must not pair with others.
        if not is_balanced(text):
            raise Refusal("its brackets do not match")
        text = f"({text}\n)"
    try:
        return ast.parse(text, mode="eval").body
    except SyntaxError as error:
        raise Refusal(_syntax_problem(text, error)) from None
    except ValueError:
        raise Refusal("it holds characters that no expression can hold") from None
    except (RecursionError, MemoryError):
        raise Refusal(_TOO_DEEP) from None


_TOO_DEEP = f"it is nested more than {MAX_NESTING} levels deep"


def _syntax_problem(text: str, error: SyntaxError) -> str:
    keyword = _KEYWORD_AS_KEY.search(text)
    if keyword:
        word = keyword[1]
        return f'"{word}" is a word of the language; a key of that name is written ["{word}"]'
    reason = (error.msg or "invalid syntax").split(" (")[0]
    where = f" at character {error.offset}" if error.offset and error.lineno == 1 else ""
    return f"{reason}{where}"


def _check_nesting(body: ast.expr) -> None:
    """Refuse a tree that the recursive parts could not walk; without recursion itself."""
    level: list[ast.AST] = [body]
    for _ in range(MAX_NESTING):
        level = [child for node in level for child in ast.iter_child_nodes(node)]
        if not level:
            return
    raise Refusal(_TOO_DEEP)


def _check_node(node: ast.AST) -> None:
    for forbidden, reason in _FORBIDDEN.items():
        if isinstance(node, forbidden):
            raise Refusal(reason)
    if isinstance(node, ast.operator | ast.unaryop) and not isinstance(node, _ALLOWED):
        raise Refusal("operators on bits and matrices are not part of the language")
    if not isinstance(node, _ALLOWED):
        raise Refusal(f"{type(node).__name__} is not part of the language")
    check = _CHECKS.get(type(node))
    if check is not None:
        check(node)


def _check_constant(node: ast.Constant) -> None:
    if isinstance(node.value, int | float):
        try:
            number(node.value)
        except Refusal:
            raise Refusal("it holds a number that is too large") from None
    elif node.value is not None and not isinstance(node.value, str):
        raise Refusal("only texts, numbers, true, false and null can be written out")


def _check_name(node: ast.Name) -> None:
    if node.id.startswith("__"):
        raise Refusal("names cannot begin with two underscores")
    if node.id in CONSTANTS and not isinstance(node.ctx, ast.Load):
        raise Refusal(f"{node.id} is a constant and cannot be the name of an item")


def _check_attribute(node: ast.Attribute) -> None:
    if node.attr.startswith("_"):
        raise Refusal(
            f'a key that begins with an underscore is written ["{node.attr[:60]}"], after no dot'
        )


def _check_formatted(node: ast.FormattedValue) -> None:
    if node.format_spec is not None or node.conversion != -1:
        raise Refusal("an f-string takes no format after : or !; use round() or format_date()")


def _check_compare(node: ast.Compare) -> None:
    sides = [node.left, *node.comparators]
    for position, operator in enumerate(node.ops):
        if isinstance(operator, ast.Is | ast.IsNot) and not any(
            _is_singleton(side) for side in sides[position : position + 2]
        ):
            raise Refusal('"is" compares with null, true or false only; use ==')


def _is_singleton(node: ast.expr) -> bool:
    if isinstance(node, ast.Constant):
        return node.value is None or type(node.value) is bool
    return isinstance(node, ast.Name) and node.id in CONSTANTS


def _check_comprehension(node: ast.ListComp | ast.DictComp | ast.GeneratorExp) -> None:
    if len(node.generators) > MAX_GENERATORS:
        raise Refusal(f"a comprehension has at most {MAX_GENERATORS} for clauses")
    for generator in node.generators:
        if generator.is_async:
            raise Refusal("nothing can be awaited")
        for name in ast.walk(generator.target):
            if not isinstance(name, ast.Name | ast.Tuple | ast.List | ast.expr_context):
                raise Refusal("an item of a comprehension is given a plain name, or several")


_CHECKS: dict[type[ast.AST], Callable[[Any], None]] = {
    ast.Constant: _check_constant,
    ast.Name: _check_name,
    ast.Attribute: _check_attribute,
    ast.FormattedValue: _check_formatted,
    ast.Compare: _check_compare,
    ast.Call: check_call,
    ast.ListComp: _check_comprehension,
    ast.DictComp: _check_comprehension,
    ast.GeneratorExp: _check_comprehension,
}


def _check_generator_places(body: ast.expr) -> None:
    """A generator is handed to a function, `*` spreads into a list; neither is a value itself."""
    allowed: set[int] = set()
    for node in ast.walk(body):
        if isinstance(node, ast.Call):
            allowed.update(id(argument) for argument in node.args)
        elif isinstance(node, ast.List | ast.Tuple) and isinstance(node.ctx, ast.Load):
            allowed.update(id(item) for item in node.elts if isinstance(item, ast.Starred))
    for node in ast.walk(body):
        if isinstance(node, ast.GeneratorExp) and id(node) not in allowed:
            raise Refusal("a comprehension that is a value stands in [ ]")
        if isinstance(node, ast.Starred) and id(node) not in allowed:
            raise Refusal("* spreads a list only inside another list")


def _shares(node: ast.expr) -> bool:
    """Whether the value of `node` is part of the scope or a scalar: nothing it built itself."""
    return all(_is_pointer(part) for part in _outcomes(node))


def _outcomes(node: ast.expr) -> Iterator[ast.expr]:
    """The parts of `node` of which one becomes its value."""
    if isinstance(node, ast.IfExp):
        yield from _outcomes(node.body)
        yield from _outcomes(node.orelse)
    elif isinstance(node, ast.BoolOp):
        for value in node.values:
            yield from _outcomes(value)
    elif (
        isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "default"
    ):
        for argument in node.args:
            yield from _outcomes(argument)
    else:
        yield node


def _is_pointer(node: ast.expr) -> bool:
    if isinstance(node, ast.Constant):
        return True
    if isinstance(node, ast.List):
        return not node.elts
    if isinstance(node, ast.Dict):
        return not node.keys
    while isinstance(node, ast.Attribute | ast.Subscript):
        node = node.value
    return isinstance(node, ast.Name)
