"""The compiled expression, and the cache of them."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from functools import lru_cache
from typing import Any

from workflows.definition.expressions.errors import ExpressionError
from workflows.definition.expressions.evaluator import Evaluator
from workflows.definition.expressions.parsing import parse

Path = tuple[str, ...]


class Expression:
    """A checked expression, ready to be evaluated any number of times and in any thread.

    `references` holds the paths that evaluating needs, each as long as its keys are written out
    (`input.items[0].name` is `("input", "items")`); `optional_references` those that are only
    looked for by `default()`.
    """

    __slots__ = ("optional_references", "parsed", "references", "source")

    def __init__(self, source: str) -> None:
        self.source = source
        self.parsed = parse(source)
        self.references: frozenset[Path] = frozenset(self.parsed.references.required)
        self.optional_references: frozenset[Path] = frozenset(self.parsed.references.optional)

    def __repr__(self) -> str:
        return f"Expression({self.source!r})"

    def evaluate(self, scope: Mapping[str, Any], *, now: datetime) -> Any:
        """The value over `scope` as plain JSON; raises `ExpressionError`.

        The result may be a part of the scope itself: treat it as read-only.
        """
        return Evaluator(scope, now).run(self.parsed, self.source)


def compile_expression(source: str) -> Expression:
    """The compiled form of `source`, from a cache when it was compiled before.

    Raises `ExpressionError` for what cannot be read, is not part of the language, is longer than
    4 KiB or nested too deep.
    """
    if not isinstance(source, str):
        raise ExpressionError("An expression is written as a text.", source="")
    return _compile(source)


@lru_cache(maxsize=1024)
def _compile(source: str) -> Expression:
    return Expression(source)
