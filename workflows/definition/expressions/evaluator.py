"""Runs a checked tree over a scope; simpleeval's evaluator with this language's own parts.

What is taken from simpleeval as it is: the shape of the evaluator, `and`/`or`, `if`/`else`, unary
operators, slices. Names, keys, calls, operators and everything that builds a value are its
own: simpleeval reads Python attributes where a key is meant, looks through every value it meets
for forbidden ones (which costs with the size of the scope), and bounds less than is bounded here.
"""

from __future__ import annotations

import ast
import datetime as dt
from collections.abc import Callable, Mapping
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

from workflows.definition.expressions.bounds import PLAIN, Meter, adopt, iterate
from workflows.definition.expressions.dates import DATE_FIELDS, DATE_METHODS, DURATION_METHODS
from workflows.definition.expressions.errors import (
    Exhausted,
    ExpressionError,
    Missing,
    Refusal,
    kind,
    quote,
)
from workflows.definition.expressions.library import FUNCTIONS
from workflows.definition.expressions.operators import BINARY, COMPARE, UNARY
from workflows.definition.expressions.parsing import Parsed
from workflows.definition.expressions.references import CONSTANTS
from workflows.definition.expressions.results import as_text, key_text, plain, shared
from workflows.definition.expressions.texts import TEXT_METHODS

if TYPE_CHECKING:

    class InvalidExpression(Exception):
        """What simpleeval raises; it comes without types, so here is what is used of it."""

    class EvalWithCompoundTypes:
        """The parts of simpleeval's evaluator that run unchanged."""

        operators: dict[type[ast.unaryop], Callable[[Any], Any]]

        def _eval_slice(self, node: ast.Slice) -> slice: ...
        def _eval_unaryop(self, node: ast.UnaryOp) -> Any: ...
        def _eval_boolop(self, node: ast.BoolOp) -> Any: ...
        def _eval_ifexp(self, node: ast.IfExp) -> Any: ...

else:
    from simpleeval import EvalWithCompoundTypes, InvalidExpression

_FAILURES = (
    Refusal,
    InvalidExpression,
    ArithmeticError,
    LookupError,
    TypeError,
    ValueError,
    AttributeError,
)
_SHOWN_KEY = 60
_KEYS_TO_SUGGEST = 100

Handler = Callable[["Evaluator", Any], Any]


class Evaluator(EvalWithCompoundTypes, Meter):
    """Evaluations over one scope that share what they may spend."""

    def __init__(self, scope: Mapping[str, Any], now: dt.datetime) -> None:
        # Not simpleeval's own: building its tables anew takes longer than most expressions do.
        Meter.__init__(self, now if now.tzinfo else now.replace(tzinfo=dt.UTC))
        self.operators = UNARY
        self.scope = scope
        self.bound = CONSTANTS
        self.source = ""

    def run(self, parsed: Parsed, source: str) -> Any:
        """The value of `parsed` as plain JSON, or `ExpressionError`."""
        self.source = source
        self.bound = CONSTANTS
        try:
            value = self._eval(parsed.body)
            return shared(self, value) if parsed.shares else plain(self, value)
        except _FAILURES as failure:
            raise self._located(failure, parsed.body) from None
        except (RecursionError, MemoryError):
            raise ExpressionError(
                f"The expression {quote(source)} needs more memory or depth than there is.",
                source=source,
            ) from None

    def run_as_text(self, parsed: Parsed, source: str) -> str:
        """The value of `parsed` written out as text, or `ExpressionError`."""
        value = self.run(parsed, source)
        try:
            return as_text(self, value)
        except _FAILURES as failure:
            raise self._located(failure, parsed.body) from None

    def _eval(self, node: ast.AST) -> Any:
        self.left -= 1
        if self.left < 0:
            self.charge(0)
        try:
            return _HANDLERS[type(node)](self, node)
        except _FAILURES as failure:
            raise self._located(failure, node) from None

    def _located(self, failure: Exception, node: ast.AST) -> ExpressionError:
        """The failure of `node` as a sentence; values are never shown, they may be secret."""
        reason = str(failure) if isinstance(failure, Refusal) else _reason(failure)
        whole = quote(self.source)
        part = " ".join(ast.unparse(node).split())
        part = part if len(part) <= 100 else f"{part[:100]}…"
        if isinstance(failure, Exhausted) or part == " ".join(self.source.split()):
            message = f"The expression {whole} {reason}."
        else:
            message = f"In the expression {whole}, {part} {reason}."
        return ExpressionError(message, source=self.source)

    def _eval_name(self, node: ast.Name) -> Any:
        name = node.id
        if name in self.bound:
            return self.bound[name]
        try:
            value = self.scope[name]
        except KeyError:
            raise Missing(lambda: _no_name(name)) from None
        return value if type(value) in PLAIN else adopt(value)

    def _eval_attribute(self, node: ast.Attribute) -> Any:
        value = self._eval(node.value)
        # The usual case without a second call: a key of an object.
        if type(value) is dict and node.attr in value:
            found = value[node.attr]
            return found if type(found) in PLAIN else adopt(found)
        return _attribute(value, node)

    def _eval_subscript(self, node: ast.Subscript) -> Any:
        return self._item(self._eval(node.value), node)

    def _item(self, container: Any, node: ast.Subscript) -> Any:
        key = self._eval(node.slice)
        if isinstance(container, Mapping):
            if type(key) is not str:
                raise Refusal(f"needs a text as its key, not {kind(key)}")
            return _member(container, key, node.value)
        if not isinstance(container, list | str):
            raise Refusal(
                f"does not exist: {_shown(node.value)} is {kind(container)}, "
                "not a list, an object or a text"
            )
        if isinstance(key, slice):
            return self._cut(container, key)
        if type(key) is not int:
            raise Refusal(f"needs a whole number as its index, not {kind(key)}")
        if not -len(container) <= key < len(container):
            raise Missing(
                lambda: f"does not exist: {_shown(node.value)} has {len(container):,} items"
            )
        return adopt(container[key])

    def _cut(self, container: Any, key: slice) -> Any:
        for limit in (key.start, key.stop, key.step):
            if limit is not None and type(limit) is not int:
                raise Refusal(f"needs whole numbers as its limits, not {kind(limit)}")
        if key.step == 0:
            raise Refusal("cannot go on in steps of 0")
        length = len(range(*key.indices(len(container))))
        if isinstance(container, str):
            self.room_for_text(length)
        else:
            self.room_for_items(length)
        return container[key]

    def _eval_call(self, node: ast.Call) -> Any:
        function = node.func
        if isinstance(function, ast.Name):
            if function.id == "default":
                return self._default(*node.args)
            call = FUNCTIONS[function.id].call
            arguments = [self._eval(argument) for argument in node.args]
            if not node.keywords:
                return call(self, *arguments)
            named = {word.arg: self._eval(word.value) for word in node.keywords if word.arg}
            return call(self, *arguments, **named)
        assert isinstance(function, ast.Attribute)  # parsing lets nothing else be called
        return self._method(self._eval(function.value), function.attr, node)

    def _method(self, target: Any, name: str, node: ast.Call) -> Any:
        arguments = [self._eval(argument) for argument in node.args]
        if type(target) is str and name in TEXT_METHODS:
            return TEXT_METHODS[name][0](self, target, *arguments)
        if type(target) is dt.datetime and name in DATE_METHODS:
            return DATE_METHODS[name](target)
        if type(target) is dt.timedelta and name in DURATION_METHODS:
            return DURATION_METHODS[name](target)
        raise Refusal(f"cannot be called: {kind(target)} has no method .{name}()")

    def _default(self, path: ast.expr, value: ast.expr) -> Any:
        try:
            return self._look(path)
        except Missing:
            return self._eval(value)

    def _look(self, path: ast.expr) -> Any:
        """The value at `path`; `Missing` when one of its keys is not there or follows null."""
        self.charge(1)
        if isinstance(path, ast.Name):
            return self._eval_name(path)
        assert isinstance(path, ast.Attribute | ast.Subscript)  # parsing lets nothing else pass
        container = self._look(path.value)
        if container is None:
            raise Missing(lambda: "does not exist")
        if isinstance(path, ast.Attribute):
            return _attribute(container, path)
        return self._item(container, path)

    def _eval_binop(self, node: ast.BinOp) -> Any:
        left = self._eval(node.left)
        return BINARY[type(node.op)](self, left, self._eval(node.right))

    def _eval_compare(self, node: ast.Compare) -> Any:
        left = self._eval(node.left)
        for operator, comparator in zip(node.ops, node.comparators, strict=True):
            right = self._eval(comparator)
            if not COMPARE[type(operator)](self, left, right):
                return False
            left = right
        return True

    def _eval_constant(self, node: ast.Constant) -> Any:
        return node.value

    def _eval_joinedstr(self, node: ast.JoinedStr) -> str:
        parts: list[str] = []
        length = 0
        for value in node.values:
            inner = value.value if isinstance(value, ast.FormattedValue) else value
            parts.append(as_text(self, self._eval(inner)))
            length += len(parts[-1])
            self.room_for_text(length)
        return "".join(parts)

    def _eval_list(self, node: ast.List | ast.Tuple) -> list[Any]:
        result: list[Any] = []
        for item in node.elts:
            if isinstance(item, ast.Starred):
                spread = iterate(self, self._eval(item.value))
                self.room_for_items(len(result) + len(spread))
                result.extend(spread)
            else:
                result.append(self._eval(item))
        return result

    def _eval_dict(self, node: ast.Dict) -> dict[str, Any]:
        result: dict[str, Any] = {}
        for key, value in zip(node.keys, node.values, strict=True):
            if key is not None:
                result[key_text(self, self._eval(key))] = self._eval(value)
                continue
            spread = self._eval(value)
            if not isinstance(spread, Mapping):
                raise Refusal(f"spreads {kind(spread)} with **; expected an object")
            self.room_for_items(len(result) + len(spread))
            for name in spread:
                result[key_text(self, name)] = adopt(spread[name])
        return result

    def _eval_comprehension(self, node: ast.ListComp | ast.GeneratorExp | ast.DictComp) -> Any:
        outer = self.bound
        result: Any = {} if isinstance(node, ast.DictComp) else []
        self._fill(node, 0, result)
        self.bound = outer
        return result

    def _fill(self, node: Any, position: int, result: Any) -> None:
        """Run the `for` clauses of a comprehension from `position` on."""
        clause = node.generators[position]
        items = iterate(self, self._eval(clause.iter))
        bound = dict(self.bound)
        for item in items:
            self.charge(1)
            self.bound = bound
            _bind(bound, clause.target, item)
            if not all(self._eval(condition) for condition in clause.ifs):
                continue
            if position + 1 < len(node.generators):
                self._fill(node, position + 1, result)
                continue
            if type(result) is dict:
                result[key_text(self, self._eval(node.key))] = self._eval(node.value)
            else:
                result.append(self._eval(node.elt))
            if len(result) % 1000 == 0:
                self.room_for_items(len(result) + 1)


_HANDLERS: dict[type[ast.AST], Handler] = {
    ast.Name: Evaluator._eval_name,
    ast.Constant: Evaluator._eval_constant,
    ast.Attribute: Evaluator._eval_attribute,
    ast.Subscript: Evaluator._eval_subscript,
    ast.Slice: Evaluator._eval_slice,
    ast.Call: Evaluator._eval_call,
    ast.BinOp: Evaluator._eval_binop,
    ast.UnaryOp: Evaluator._eval_unaryop,
    ast.BoolOp: Evaluator._eval_boolop,
    ast.Compare: Evaluator._eval_compare,
    ast.IfExp: Evaluator._eval_ifexp,
    ast.JoinedStr: Evaluator._eval_joinedstr,
    ast.List: Evaluator._eval_list,
    ast.Tuple: Evaluator._eval_list,
    ast.Dict: Evaluator._eval_dict,
    ast.ListComp: Evaluator._eval_comprehension,
    ast.GeneratorExp: Evaluator._eval_comprehension,
    ast.DictComp: Evaluator._eval_comprehension,
}


def _attribute(value: Any, node: ast.Attribute) -> Any:
    name = node.attr
    if isinstance(value, Mapping):
        return _member(value, name, node.value)
    if type(value) is dt.datetime and name in DATE_FIELDS:
        return getattr(value, name)
    raise Refusal(f"does not exist: {_shown(node.value)} is {kind(value)}, not an object")


def _member(container: Mapping[str, Any], key: str, node: ast.expr) -> Any:
    try:
        return adopt(container[key])
    except KeyError:
        raise Missing(lambda: _no_key(container, key, node)) from None


def _no_name(name: str) -> str:
    hint = f"; a function is called: {name}(...)" if name in FUNCTIONS else ""
    return f"does not exist: nothing is named {name[:_SHOWN_KEY]}{hint}"


def _no_key(container: Mapping[str, Any], key: str, node: ast.expr) -> str:
    shown = key[:_SHOWN_KEY]
    hint = ""
    # Only a plain object tells its keys without work; a lazy one might have to fetch them.
    if type(container) is dict and len(container) <= _KEYS_TO_SUGGEST:
        names = [name for name in container if isinstance(name, str) and len(name) <= _SHOWN_KEY]
        close = get_close_matches(shown, names, n=1)
        hint = f' (did you mean "{close[0]}"?)' if close else ""
    return f'does not exist: {_shown(node)} has no key "{shown}"{hint}'


def _bind(bound: dict[str, Any], target: ast.expr, value: Any) -> None:
    if isinstance(target, ast.Name):
        bound[target.id] = adopt(value)
        return
    names = target.elts if isinstance(target, ast.Tuple | ast.List) else []
    if not isinstance(value, list | tuple) or len(value) != len(names):
        raise Refusal(f"needs items that are lists of {len(names)}")
    for name, part in zip(names, value, strict=True):
        _bind(bound, name, part)


def _shown(node: ast.expr) -> str:
    text = " ".join(ast.unparse(node).split())
    return text if len(text) <= _SHOWN_KEY else f"{text[:_SHOWN_KEY]}…"


def _reason(failure: Exception) -> str:
    if isinstance(failure, ZeroDivisionError):
        return "divides by zero"
    if isinstance(failure, ArithmeticError):
        return "makes a number or date that is too large"
    return "does not work with values of these types"
