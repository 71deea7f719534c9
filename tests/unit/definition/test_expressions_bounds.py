"""Whatever an expression tries, it ends soon, stays small and fails with a sentence."""

from __future__ import annotations

import datetime as dt
import json
import math
import resource
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.effort import takes_less_than
from workflows.definition.expressions import ExpressionError, compile_expression
from workflows.definition.expressions.bounds import (
    MAX_INTEGER_BITS,
    MAX_ITEMS,
    MAX_OPERATIONS,
    MAX_TEXT,
)
from workflows.definition.expressions.evaluator import Evaluator
from workflows.definition.expressions.expression import _compile as compiled_expressions
from workflows.definition.expressions.patterns import compile_pattern
from workflows.definition.expressions.texts import TEXT_METHODS
from workflows.definition.templates import collect_template_errors, compile_template

NOW = dt.datetime(2026, 3, 1, 9, 30, tzinfo=dt.UTC)
MAX_SECONDS = 0.1
"""Of the processor, so that a busy machine does not fail a test."""


def _deep(levels: int) -> list[Any]:
    data: list[Any] = []
    for _ in range(levels):
        data = [data]
    return data


def _multiplied(levels: int) -> str:
    source = "1"
    for _ in range(levels):
        source = f"[[x] * 9 for x in [{source}]][0]"
    return source


LARGE: dict[str, Any] = {
    "input": {
        "text": "ab" * 500_000,
        "same": "a" * 1_000_000,
        "letters": "İ" * 100_000,
        "numbers": list(range(50_000)),
        "words": [f"w{n}" for n in range(5000)],
        "alike": ["a" * 1000 + str(n) for n in range(5000)],
        "rows": [{"id": n, "text": "x" * 20} for n in range(9000)],
        "deep": _deep(900),
    }
}

TOO_LARGE = f"more than {MAX_TEXT:,} characters"
TOO_LONG = f"more than {MAX_ITEMS:,} items"
TOO_MUCH = f"needs more than {MAX_OPERATIONS:,} operations"
TOO_MANY_BITS = f"more than {MAX_INTEGER_BITS:,} bits"
TOO_DEEP = "levels deep"
NO_NUMBER = "too large"


def forget() -> None:
    """So that every try does all of the work."""
    compiled_expressions.cache_clear()
    compile_pattern.cache_clear()


def refused(source: str) -> str:
    """The message of the error, which comes soon."""
    messages = []

    def evaluate() -> None:
        forget()
        with pytest.raises(ExpressionError) as caught:
            compile_expression(source).evaluate(LARGE, now=NOW)
        assert caught.value.source == source
        messages.append(caught.value.message)

    assert takes_less_than(MAX_SECONDS, evaluate)
    return messages[-1]


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        # Texts
        ("'a' * 10**9", TOO_LARGE),
        ("10**9 * 'a'", TOO_LARGE),
        ("'a' * 10**1000", TOO_LARGE),
        ("'a'*200000 + 'a'*200000", TOO_LARGE),
        ("[e for a in ['a'*99999] for b in [a+a] for c in [b+b] for e in [c+c]]", TOO_LARGE),
        ("('a'*99999).replace('', 'b'*10000)", TOO_LARGE),
        ("('a'*200000).replace('a', 'bb')", TOO_LARGE),
        ("('x'*1000).join(['a']*9999)", TOO_LARGE),
        ("f'{input.text}{input.text}'", TOO_LARGE),
        ("f'" + "{input.text[:9999]}" * 200 + "'", TOO_LARGE),
        ("to_json(input.rows)", TOO_LARGE),
        ("str(input.numbers)", TOO_LARGE),
        ("input.text.upper()", TOO_LARGE),
        # Lists and objects
        ("[0] * 10**9", TOO_LONG),
        ("range(10**9)", TOO_LONG),
        ("range(-10**30, 10**30)", TOO_LONG),
        ("[0 for a in range(10000) for b in range(10000)]", TOO_LONG),
        ("{str(a) + str(b): 0 for a in range(200) for b in range(200)}", TOO_MUCH),
        ("[keys({**input, **{str(n): n for n in range(9999)}})]", TOO_LONG),
        ("[a + a for a in [range(9000)]]", TOO_LONG),
        ("[*input.numbers]", TOO_LONG),
        ("input.numbers[1:]", TOO_LONG),
        ("list(input.text)", TOO_LONG),
        ("sorted(input.numbers)", TOO_LONG),
        ("input.text.split('b')", TOO_LONG),
        ("input.text.split('b', 10**9)", TOO_LONG),
        ("('\\n' * 200000).splitlines()", TOO_LONG),
        # Whole numbers
        ("9**3999999", TOO_MANY_BITS),
        ("2**2**100", TOO_MANY_BITS),
        ("str(9**99999)", TOO_MANY_BITS),
        ("(9**1200) * (9**1200)", TOO_MANY_BITS),
        ("[c for a in [9**1000] for b in [a*a] for c in [b*b]]", TOO_MANY_BITS),
        ("sum([9**1290] * 9000)", TOO_MANY_BITS),
        ("1" * 4000, "too large"),
        ("0x" + "f" * 4000, "too large"),
        ("int('9' * 5000)", "not a whole number"),
        ("from_json('9' * 5000)", "not a whole number"),
        ("1 << 10**9", "not part of the language"),
        ("round(1, 10**9)", "between -100 and 100"),
        ("round(1, -10**9)", "between -100 and 100"),
        ("round(1.5, -10**9)", "between -100 and 100"),
        # Numbers that are none
        ("1e308 * 10", NO_NUMBER),
        ("1e308 + 1e308", NO_NUMBER),
        ("sum([1e308, 1e308])", NO_NUMBER),
        ("1e999", NO_NUMBER),
        ("2.0 ** 10**9", NO_NUMBER),
        ("10**400 / 3", NO_NUMBER),
        ("float(10**400)", NO_NUMBER),
        ("float('1e999')", NO_NUMBER),
        ("float('inf')", "not a number"),
        ("float('nan')", "not a number"),
        ("from_json('NaN')", "NaN or Infinity"),
        ("from_json('[-Infinity]')", "NaN or Infinity"),
        ("from_json('[1e999]')", NO_NUMBER),
        ("(-8) ** 0.5", "no real number"),
        ("(-8.0) ** (1 / 3)", "no real number"),
        # Dates
        ("duration(1e300)", NO_NUMBER),
        ("duration(10**1000)", NO_NUMBER),
        ("duration('1s') * 10**1000", NO_NUMBER),
        ("now() + duration('P999999999D')", NO_NUMBER),
        ("format_date(now(), '%100000000d')", "unknown letter after %"),
        ("format_date(now(), '%-d')", "unknown letter after %"),
        ("format_date(now(), 'a' * 1000)", "more than 200 characters"),
        ("format_date(now(), '%Y', '../../etc/passwd')", "unknown time zone"),
        ("format_date(now(), '%Y', 'Europe')", "unknown time zone"),
        # Depth
        ("from_json('[' * 9999)", "not JSON"),
        ("from_json('[' * 150 + ']' * 150)", TOO_DEEP),
        ("to_json(input.deep)", TOO_DEEP),
        ("[input.deep]", TOO_DEEP),
        ("input.deep == input.deep[0]", TOO_DEEP),
    ],
)
def test_too_large(source: str, reason: str) -> None:
    assert reason in refused(source)


@pytest.mark.parametrize(
    "source",
    [
        "[x for a in range(1000) for b in range(1000) for c in range(1000) for x in []]",
        "[0 for a in range(9999) if [0 for b in range(9999) if b < 0]]",
        "sum(sum(b for b in range(9999)) for a in range(9999))",
        "[[0] * 10000 for x in range(9999)]",
        "['a' * 260000 for x in range(9999)]",
        "[range(10000) for x in range(9999)]",
        "[a + a for a in [range(5000)] for x in range(9999)]",
        "[{**a, **a} for a in [{str(i): i for i in range(3000)}] for x in range(9999)]",
        "[input.letters.lower() for x in range(9999)]",
        "[input.letters.title() for x in range(9999)]",
        "[input.text.splitlines() for x in range(9999)]",
        "[input.same.count('a') for x in range(9999)]",
        "[input.same.count('a' * 49 + 'b' + 'a' * 49) for x in range(9999)]",
        "[input.same.find('a' * 99 + 'b') for x in range(9999)]",
        "[input.same.rfind('b' + 'a' * 99) for x in range(9999)]",
        "['a' * 5000 + 'b' in input.same for x in range(9999)]",
        "[input.same.startswith(['a' * 9999] * 100) for x in range(9999)]",
        "[input.same.partition('b') for x in range(9999)]",
        "[input.same[:200000].strip('b' * 90 + 'a') for x in range(9999)]",
        "[input.same[1:200000] for x in range(9999)]",
        "[sorted(input.words) for x in range(9999)]",
        "[sorted(input.alike) for x in range(9999)]",
        "[sorted(input.rows, key='id') for x in range(9999)]",
        "[sorted([a, b] * 5000) for a in ['a' * 99999 + 'b'] for b in ['a' * 99999 + 'c']]",
        "[a < b for a in ['a'*99999 + 'b'] for b in ['a'*99999 + 'c'] for x in range(9999)]",
        "[a == b for a in ['a'*99999 + 'b'] for b in ['a'*99999 + 'c'] for x in range(9999)]",
        "[a in [b] * 9999 for a in ['a'*99999 + 'b'] for b in ['a'*99999 + 'c']]",
        "[-1 in input.numbers for x in range(9999)]",
        "[{'id': -1} in input.rows for x in range(9999)]",
        "[input.rows == input.rows[:] for x in range(9999)]",
        "[any([0] * 9999) for x in range(9999)]",
        "[max(input.words) for x in range(9999)]",
        "[''.join(input.words) for x in range(9999)]",
        "[str(input.words) for x in range(9999)]",
        "[to_json({'a': 1}) for x in range(9999)] + [input.numbers, input.numbers, input.numbers]",
        "[from_json('[1, 2, 3]') for x in range(9999)]",
        "from_json('[' + '[],' * 80000 + '1]')",
        "[format_date(now(), '%A' * 100, 'Europe/Berlin') for x in range(9999)]",
        "[regex_match(str(i) + 'a{1000}', 'x') for i in range(9999)]",
        r"[regex_search('\\pL{5}' + str(i), 'x') for i in range(9999)]",
        "regex_search('(a|b)*a(a|b){13}', input.text)",
        "regex_search('(a|b)*a(a|b){200}c', input.text)",
        "regex_search('(.*)(.*)(.*)(.*)(.*)x', input.text)",
        "[regex_search('(x+x+)+y', input.text) for x in range(9999)]",
        # The same list twice, in a list, twice, in a list...: small to hold, endless to write.
        _multiplied(6),
        f"to_json({_multiplied(6)})",
        f"{_multiplied(6)} == {_multiplied(6)}",
        f"[{_multiplied(6)}] == [{_multiplied(6)}]",
        "to_json([d for a in [[1]*99] for b in [[a]*99] for c in [[b]*99] for d in [[c]*99]])",
        "f'{[d for a in [[1]*99] for b in [[a]*99] for c in [[b]*99] for d in [[c]*99]]}'",
        "[[b]*99 for a in [[1]*99] for b in [[a]*99]] * 99"
        " == [[b]*99 for a in [[1]*99] for b in [[a]*99]] * 99",
    ],
)
def test_too_much_work(source: str) -> None:
    assert TOO_MUCH in refused(source)


def test_the_largest_allowed_regular_expressions_end_soon() -> None:
    source = "regex_search('(a|b)*a(a|b){13}$', input.text[:200000])"

    def search() -> None:
        forget()
        assert compile_expression(source).evaluate(LARGE, now=NOW) is True

    assert takes_less_than(MAX_SECONDS, search)
    assert "RE2 does not accept" in refused("regex_search('a{1001}', 'a')")
    assert "RE2 does not accept" in refused(r"regex_search('\\pL{50}' * 9, 'a')")
    assert "more than 1,000 characters" in refused("regex_search('a' * 1001, 'a')")
    assert "RE2 does not accept" in refused(r"regex_search('(a)\\1', 'a')")


@pytest.mark.parametrize(
    "source",
    [
        "'" + "x" * 4095 + "'",
        "é" * 2049,
        "(" * 5000,
        "(" * 2000,
        "(" * 150 + "1" + ")" * 150 + "+",
        "[" * 150 + "]" * 150,
        "[" * 2000 + "]" * 2000,
        "-" * 4000,
        "-" * 4000 + "1",
        "not " * 1000 + "1",
        "2" + "**2" * 1300,
        "1" + "+1" * 2000,
        "a" + ".a" * 2000,
        "a" + "[0]" * 1300,
        "a" + ".strip()" * 500,
        "len(" * 150 + "[]" + ")" * 150,
        "lambda:" * 500 + "1",
        "1 if 1 else " * 300 + "1",
        "{'a':" * 100 + "1" + "}" * 100,
        "f'{" * 100,
        "[x for x in " * 100 + "[]" + "]" * 100,
        "[0" + " for a in [1]" * 200 + "]",
        "[0 for a in [1] for b in [1] for c in [1] for d in [1] for e in [1]]",
        "'" + "\\'" * 2000,
        '"""' + "\\" * 4000,
        "\n" + "'\\'" * 1300,
        "\0",
        "1\0",
        "\ud800",
        "'\ud800'",
        "\ufeff1",
        "\\",
        "#",
        "1;2",
    ],
)
def test_sources_that_would_break_a_parser(source: str) -> None:
    def refuse() -> None:
        with pytest.raises(ExpressionError, match="is not allowed: "):
            compile_expression(source)
        with pytest.raises(ExpressionError):
            compile_template("{{ " + source + " }}")

    assert takes_less_than(MAX_SECONDS, refuse)


@pytest.mark.parametrize(
    "source",
    [
        "().__class__",
        "[].__class__.__base__.__subclasses__()",
        "input.__class__",
        "input._private",
        "''.join.__self__",
        "'{0.__class__}'.format(1)",
        "'a'.format_map({})",
        "'a'.ljust(10**9)",
        "'a'.rjust(9)",
        "'a'.center(9)",
        "'a'.zfill(9)",
        "'a'.expandtabs(9)",
        "'a'.encode()",
        "'a'.translate({})",
        "f'{1:300000000}'",
        "f'{1!r}'",
        "'%1000000000d' % 1",
        "'%s' % [1]",
        "lambda: 1",
        "(lambda: 1)()",
        "(x := 5)",
        "[y := 1, y]",
        "[x async for x in y]",
        "await x",
        "(yield)",
        "__import__('os')",
        "__builtins__",
        "[__x for __x in [1]]",
        "eval('1')",
        "exec('1')",
        "open('/etc/passwd')",
        "globals()",
        "getattr(input, 'x')",
        "type(1)",
        "print(1)",
        "input()",
        "input.items.append(1)",
        "input.pop('a')",
        "[0][0]()",
        "len(input)(1)",
        "max(*[1, 2])",
        "max(**input)",
        "'a'.replace(*['a', 'b'])",
        "[*a for a in [[1]]]",
        "[0 for x.y in [1]]",
        "[0 for x[0] in [1]]",
        "[0 for *x in [[1]]]",
        "1 @ 2",
        "1 & 2",
        "~1",
        "import os",
        "a = 1",
        "del a",
    ],
)
def test_what_is_not_in_the_language(source: str) -> None:
    with pytest.raises(ExpressionError):
        compile_expression(source).evaluate({"input": {"items": [], "x": 1}}, now=NOW)


def test_keys_named_like_attributes_are_keys() -> None:
    names = ["items", "keys", "get", "format", "real", "upper", "append", "year", "mro"]
    scope = {"input": {name: f"the {name}" for name in names}, "n": 1, "s": "a", "l": [1]}
    for name in names:
        found = compile_expression(f"input.{name}").evaluate(scope, now=NOW)
        assert found == f"the {name}"
        for other in ("n", "s", "l"):
            with pytest.raises(ExpressionError, match="not an object"):
                compile_expression(f"{other}.{name}").evaluate(scope, now=NOW)


def test_text_methods_take_no_widths() -> None:
    assert not {"ljust", "rjust", "center", "zfill", "expandtabs", "format"} & TEXT_METHODS.keys()


def test_operations_do_not_grow_with_the_scope() -> None:
    expression = compile_expression("input.total * 2 + len(input.rows)")
    used = []
    for size in (1, 100_000):
        scope = {"input": {"total": 1, "rows": [{"n": n} for n in range(size)]}, "other": size}
        evaluator = Evaluator(scope, NOW)
        assert evaluator.run(expression.parsed, expression.source) == 2 + size
        used.append(MAX_OPERATIONS - evaluator.left)
    assert used == [9, 9]


def test_a_simple_expression_takes_microseconds() -> None:
    expression = compile_expression("input.total * 2")

    def evaluate() -> None:
        for _ in range(2000):
            expression.evaluate({"input": {"total": 21}}, now=NOW)

    assert takes_less_than(2000 * 20e-6, evaluate)


def test_looking_for_what_is_missing_costs_no_more_than_finding_it() -> None:
    row = {f"some_rather_long_key_{n}": n for n in range(100)}
    scope = {"rows": [row] * 5000}
    source = "[default(row.some_rather_long_key, 0) for row in rows]"
    assert compile_expression(source).evaluate(scope, now=NOW) == [0] * 5000
    assert takes_less_than(MAX_SECONDS, lambda: compile_expression(source).evaluate(scope, now=NOW))


def test_memory_stays_small() -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for source in (
        "[['a' * 250000 for x in range(9999)] for y in range(9999)]",
        "[['é' * 1000 for x in range(9999)] for y in range(9999)]",
        "[range(10000) for x in range(9999)]",
        "[{str(i): i for i in range(9999)} for x in range(9999)]",
        "from_json('[' + '[],' * 80000 + '1]')",
        "[input.letters.upper() for x in range(9999)]",
    ):
        assert "more than" in refused(source)
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert after - before < 100 * 1024  # KiB


def test_hostile_templates_end_soon() -> None:
    assert takes_less_than(10 * MAX_SECONDS, hostile_templates)


def hostile_templates() -> None:
    assert len(collect_template_errors("{{ '" + "\\'" * 200_000)) == 1
    assert len(collect_template_errors("{{ " + "(" * 200_000)) == 1
    assert len(collect_template_errors("{{" * 200_000)) == 1
    assert len(collect_template_errors("{{ " + "x" * 200_000 + " }}")) == 1
    assert collect_template_errors("}" * 200_000) == []
    assert collect_template_errors("{ " * 100_000) == []


_NAMES = st.sampled_from(["input", "vars", "items", "x", "total", "steps", "index", "keys"])
_JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(_NAMES | st.text(max_size=5), inner, max_size=4)
    ),
    max_leaves=12,
)
_ATOMS = st.sampled_from(
    [
        "input", "input.items", "input.x", "vars['x']", "index", "x", "0", "1", "-1", "2.5",
        "9**99", "1e300", "''", "'a'", "'İ'", "true", "null", "[]", "{}", "[1, 2]", "{'x': 1}",
        "now()", "duration('1h')", "date('2026-01-01')", "range(5)", "from_json('[1, {}]')",
    ]
)  # fmt: skip
_SHAPES = st.sampled_from(
    [
        "({0} + {1})", "({0} - {1})", "({0} * {1})", "({0} / {1})", "({0} // {1})",
        "({0} % {1})", "({0} ** {1})", "({0} == {1})", "({0} < {1})", "({0} in {1})",
        "({0} and {1})", "({0} or {1})", "(not {0})", "(-{0})", "({0} if {1} else {0})",
        "{0}[{1}]", "{0}[{1}:]", "{0}[::{1}]", "{0}.x", "[{0}, {1}]", "{{'a': {0}, **{1}}}",
        "[*{0}, {1}]", "[x for x in {0} if {1}]", "{{str(x): x for x in {0}}}",
        "[a for a, b in {0}]", "len({0})", "int({0})", "float({0})", "str({0})", "list({0})",
        "round({0}, {1})", "sum({0})", "min({0}, {1})", "max({0}, key={1})", "abs({0})",
        "sorted({0}, reverse={1})", "sorted({0}, key={1})", "any({0})", "all({0})",
        "range({0}, {1})", "keys({0})", "values({0})", "items({0})", "date({0})",
        "duration({0})", "format_date({0}, {1})", "format_date({0}, '%c', {1})",
        "regex_match({0}, {1})", "regex_search({0}, {1}, {0})", "to_json({0})",
        "from_json({0})", "default(input[{0}], {1})", "{0}.upper()", "{0}.split({1})",
        "{0}.split({1}, {0})", "{0}.replace({1}, {0})", "{0}.join({1})", "{0}.count({1})",
        "{0}.startswith({1})", "{0}.strip({1})", "{0}.partition({1})", "{0}.total_seconds()",
        "{0}.isoweekday()", "{0}.year",
    ]
)  # fmt: skip


def _composed(atoms: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.builds(lambda shape, one, other: shape.format(one, other), _SHAPES, atoms, atoms)


_SOURCES = st.text(max_size=60) | st.recursive(_ATOMS, _composed, max_leaves=8)


def _outcome(call: Callable[[], Any]) -> tuple[Any, ExpressionError | None]:
    try:
        return call(), None
    except ExpressionError as error:
        return None, error


def _assert_json(value: Any) -> None:
    if isinstance(value, dict):
        assert type(value) is dict
        for key, item in value.items():
            assert type(key) is str
            _assert_json(item)
    elif isinstance(value, list):
        assert type(value) is list
        for item in value:
            _assert_json(item)
    else:
        assert value is None or type(value) in (bool, int, float, str)
        assert type(value) is not float or math.isfinite(value)


@settings(max_examples=1000, deadline=None)
@given(source=_SOURCES, scope=st.dictionaries(_NAMES, _JSON, max_size=5))
def test_only_json_or_an_expression_error_comes_out(source: str, scope: dict[str, Any]) -> None:
    before = json.dumps(scope)
    result, error = _outcome(lambda: compile_expression(source).evaluate(scope, now=NOW))
    if error is not None:
        assert error.message.isprintable()
        assert error.message.endswith(".")
    _assert_json(result)
    json.dumps(result, allow_nan=False)
    assert json.dumps(scope) == before


@settings(max_examples=300, deadline=None)
@given(
    template=st.recursive(
        _JSON
        | _SOURCES.map(lambda source: "{{ " + source + " }}")
        | st.text("{}'\"\\x ", max_size=20),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_NAMES, inner, max_size=3),
        max_leaves=6,
    ),
    scope=st.dictionaries(_NAMES, _JSON, max_size=5),
)
def test_templates_give_json_or_an_expression_error(template: Any, scope: dict[str, Any]) -> None:
    errors = collect_template_errors(template)
    result, error = _outcome(lambda: compile_template(template).render(scope, now=NOW))
    _assert_json(result)
    if error is not None:
        assert error.message.isprintable()
    if errors:
        assert error is not None
        assert (error.path, error.message) == (errors[0].path, errors[0].message)
