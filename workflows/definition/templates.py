"""Templates: any JSON value whose texts may hold `{{ expression }}`.

A text that is nothing but one `{{ x }}` becomes the value of `x` with its type. Inside other text
each value is written out: a text as it is, numbers, true, false, null, lists and objects as JSON.
`{{` always begins an expression; to write it, let an expression say it: `{{ '{{' }}`. A `}}`
outside an expression is text. Keys of objects are never templates.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from workflows.definition.expressions import Expression, ExpressionError, compile_expression
from workflows.definition.expressions.bounds import MAX_TEXT
from workflows.definition.expressions.errors import quote
from workflows.definition.expressions.evaluator import Evaluator
from workflows.definition.expressions.scanning import end_of_expression

JSON = Any
Path = tuple[str, ...]
Render = Callable[[Evaluator], JSON]

MAX_TEMPLATE_DEPTH = 64
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


class Template:
    """A compiled template, ready to be rendered any number of times and in any thread.

    `value` is what it was compiled from; `is_literal` says that no expression is in it;
    `references` and `optional_references` are those of all its expressions together.
    """

    __slots__ = ("_render", "is_literal", "optional_references", "references", "value")

    def __init__(self, value: JSON, compiler: _Compiler, render: Render) -> None:
        self.value = value
        self._render = render
        self.is_literal = not compiler.expressions
        self.references: frozenset[Path] = frozenset().union(
            *(expression.references for expression in compiler.expressions)
        )
        self.optional_references: frozenset[Path] = frozenset().union(
            *(expression.optional_references for expression in compiler.expressions)
        )

    def __repr__(self) -> str:
        return f"Template({self.value!r})"

    def render(self, scope: Mapping[str, Any], *, now: datetime) -> JSON:
        """The value with every expression evaluated; raises `ExpressionError` with its `path`.

        All expressions of a template share one allowance of operations. Objects and lists of the
        template are made anew; parts of the scope are not, so treat those as read-only.
        """
        return self._render(Evaluator(scope, now))


def compile_template(value: JSON) -> Template:
    """The compiled form of a JSON value; raises the first `ExpressionError`, with its `path`."""
    compiler = _Compiler()
    render = compiler.compile(value, "", 0)
    if compiler.errors:
        raise compiler.errors[0]
    return Template(value, compiler, render)


def collect_template_errors(value: JSON) -> list[ExpressionError]:
    """Everything that keeps `value` from being compiled, in the order of the document."""
    compiler = _Compiler()
    compiler.compile(value, "", 0)
    return compiler.errors


class _Compiler:
    """Turns a JSON value into a function that renders it, noting expressions and errors."""

    def __init__(self) -> None:
        self.expressions: list[Expression] = []
        self.errors: list[ExpressionError] = []

    def compile(self, value: JSON, path: str, depth: int) -> Render:
        if isinstance(value, str):
            return self._compile_text(value, path)
        if value is None or isinstance(value, bool | int | float):
            return _constant(value)
        if not isinstance(value, dict | list):
            return self._refuse("A template holds JSON values only.", "", path)
        if depth >= MAX_TEMPLATE_DEPTH:
            message = f"A template is nested {MAX_TEMPLATE_DEPTH} levels deep at most."
            return self._refuse(message, "", path)
        if isinstance(value, list):
            return _list_of(
                [
                    self.compile(item, f"{path}[{index}]", depth + 1)
                    for index, item in enumerate(value)
                ]
            )
        return _object_of(
            {
                key: self.compile(item, join_path(path, key), depth + 1)
                for key, item in value.items()
                if self._is_key(key, path)
            }
        )

    def _is_key(self, key: object, path: str) -> bool:
        if not isinstance(key, str):
            self._refuse("The keys of an object are texts.", "", path)
            return False
        if "{{" in key:
            message = f"The key {quote(key)} holds {{{{, but keys are no templates; build the "
            message += "object in an expression: {{ {input.name: 1} }}."
            self._refuse(message, key, path)
            return False
        return True

    def _compile_text(self, text: str, path: str) -> Render:
        parts: list[str | Expression] = []
        position = 0
        while (start := text.find("{{", position)) >= 0:
            if start > position:
                parts.append(text[position:start])
            end = end_of_expression(text, start + 2)
            if end < 0:
                message = f"The expression {quote(text[start:])} is never closed by }}}}."
                return self._refuse(message + " To write {{ itself: {{ '{{' }}.", text, path)
            try:
                parts.append(compile_expression(text[start + 2 : end].strip()))
            except ExpressionError as error:
                self.errors.append(error.at(path))
            position = end + 2
        if position == 0:
            return _constant(text)
        if position < len(text):
            parts.append(text[position:])
        self.expressions += [part for part in parts if isinstance(part, Expression)]
        if len(parts) == 1 and isinstance(parts[0], Expression):
            return _value_of(parts[0], path)
        return _text_of(parts, path)

    def _refuse(self, message: str, source: str, path: str) -> Render:
        self.errors.append(ExpressionError(message, source=source, path=path))
        return _constant(None)


def join_path(path: str, key: str) -> str:
    """`path` with `key` after it: `.a.b`, or `.a["odd key"]` when the key is no name."""
    return f"{path}.{key}" if _NAME.fullmatch(key) else f"{path}[{json.dumps(key)}]"


def _constant(value: JSON) -> Render:
    return lambda evaluator: value


def _list_of(items: list[Render]) -> Render:
    return lambda evaluator: [render(evaluator) for render in items]


def _object_of(items: dict[str, Render]) -> Render:
    return lambda evaluator: {key: render(evaluator) for key, render in items.items()}


def _value_of(expression: Expression, path: str) -> Render:
    def render(evaluator: Evaluator) -> JSON:
        try:
            return evaluator.run(expression.parsed, expression.source)
        except ExpressionError as error:
            raise error.at(path) from None

    return render


def _text_of(parts: list[str | Expression], path: str) -> Render:
    literal = sum(len(part) for part in parts if isinstance(part, str))

    def render(evaluator: Evaluator) -> str:
        written: list[str] = []
        length = literal
        for part in parts:
            if isinstance(part, str):
                written.append(part)
                continue
            try:
                text = evaluator.run_as_text(part.parsed, part.source)
            except ExpressionError as error:
                raise error.at(path) from None
            length += len(text)
            if length > MAX_TEXT + literal:
                message = f"The text around {quote(part.source)} has more than {MAX_TEXT:,} "
                raise ExpressionError(
                    message + "characters from expressions.", source=part.source, path=path
                )
            written.append(text)
        return "".join(written)

    return render
