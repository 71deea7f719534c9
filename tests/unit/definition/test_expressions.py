"""What the expression language means."""

from __future__ import annotations

import datetime as dt
import sys
import threading
from collections.abc import Iterator, Mapping
from enum import StrEnum
from typing import Any

import pytest

from workflows.definition.expressions import ExpressionError, compile_expression

NOW = dt.datetime(2026, 3, 1, 9, 30, tzinfo=dt.UTC)
SCOPE: dict[str, Any] = {
    "input": {
        "total": 100,
        "name": "Ada Byron",
        "items": [
            {"sku": "b", "price": 2.5, "count": 4},
            {"sku": "a", "price": 1, "count": 1},
        ],
        "from": "shop",
        "_id": "x1",
        "note": None,
        "paid": True,
        "due": "2026-03-02",
        "nested": {"keys": 1, "get": 2, "values": 3},
    },
    "vars": {"n": 1},
    "steps": {"step_1": {"output": {"x": 5}, "state": "completed"}, "skipped": {"output": None}},
    "index": 0,
}


def value(source: str) -> Any:
    return compile_expression(source).evaluate(SCOPE, now=NOW)


def problem(source: str) -> ExpressionError:
    with pytest.raises(ExpressionError) as caught:
        value(source)
    assert caught.value.source == source
    return caught.value


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("100 * 0.9", 90.0),
        ("99.5 * 2", 199.0),
        ("5 / 2", 2.5),
        ("4 / 2", 2.0),
        ("7 // 2", 3),
        ("-7 % 3", 2),
        ("2 ** 10", 1024),
        ("2 ** -1", 0.5),
        ("10**30 + 1", 1000000000000000000000000000001),
        ("9007199254740993 * 1", 9007199254740993),
        ("-input.total", -100),
        ("1 + 2 * 3", 7),
        ("input.total * 2", 200),
        ("true and 1", 1),
        ("0 or null", None),
        ("not input.paid", False),
        ("True == true and None is null and False is not true", True),
        ("1 < 2 < 3", True),
        ("1 < 2 > 5", False),
        ("1 == 1.0", True),
        ("'1' == 1", False),
        ("'b' > 'a'", True),
        ("'Ada' in input.name", True),
        ("'total' in input", True),
        ("3 not in [1, 2]", True),
        ("{'sku': 'a'} in [{'sku': 'a'}]", True),
        ("[1, {'a': [2]}] == [1, {'a': [2.0]}]", True),
        ("'high' if input.total > 50 else 'low'", "high"),
        ("input.items[0].sku", "b"),
        ("input.items[-1]['sku']", "a"),
        ("input.name[:3]", "Ada"),
        ("[1, 2, 3, 4][::2]", [1, 3]),
        ('input["from"]', "shop"),
        ('input["_id"]', "x1"),
        ("input.nested.keys + input.nested.get + input.nested.values", 6),
        ("steps.step_1.output.x", 5),
        ("index", 0),
        ("[i.price * i.count for i in input.items if i.count > 1]", [10.0]),
        ("{i.sku: i.count for i in input.items}", {"b": 4, "a": 1}),
        ("[[a, b] for a in [1, 2] for b in [3, 4]]", [[1, 3], [1, 4], [2, 3], [2, 4]]),
        ("[k for k, v in items({'a': 1, 'b': 2}) if v > 1]", ["b"]),
        ("[y for x in [[1], [2, 3]] for y in x]", [1, 2, 3]),
        ("[x for x in 'abc']", ["a", "b", "c"]),
        ("[key for key in {'a': 1}]", ["a"]),
        ("(1, 'a')", [1, "a"]),
        ("[*[1, 2], 3]", [1, 2, 3]),
        ("{**{'a': 1, 'b': 1}, 'b': 2}", {"a": 1, "b": 2}),
        ("[1] + [2]", [1, 2]),
        ("'ab' * 2 + 'c'", "ababc"),
        ("input.total\n  + 1", 101),
        ("[\n 1, # one\n 2]", [1, 2]),
        ("[input for input in [1]][0] + input.total", 101),
    ],
)
def test_value(source: str, expected: Any) -> None:
    result = value(source)
    assert result == expected
    assert type(result) is type(expected)


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("len('abc') + len([1]) + len({'a': 1})", 5),
        ("int('-42')", -42),
        ("int(3.9)", 3),
        ("int(true)", 1),
        ("int('123456789012345678901234567890')", 123456789012345678901234567890),
        ("float('2.5')", 2.5),
        ("float(2)", 2.0),
        ("str(1.0)", "1.0"),
        ("str(true)", "true"),
        ("str(null)", "null"),
        ("str('a')", "a"),
        ("str({'a': [1]})", '{"a": [1]}'),
        ("list('ab')", ["a", "b"]),
        ("list({'a': 1, 'b': 2})", ["a", "b"]),
        ("round(2.567, 2)", 2.57),
        ("round(2.4)", 2),
        ("abs(-3)", 3),
        ("sum([1, 2.5])", 3.5),
        ("sum(i.count for i in input.items)", 5),
        ("min(3, 1, 2)", 1),
        ("max([1, 5, 2])", 5),
        ("max([], default=0)", 0),
        ("min(input.items, key='price').sku", "a"),
        ("sorted([3, 1, 2], reverse=true)", [3, 2, 1]),
        ("[i.sku for i in sorted(input.items, key='sku')]", ["a", "b"]),
        ("any(i.count > 3 for i in input.items)", True),
        ("all(i.count > 3 for i in input.items)", False),
        ("range(3)", [0, 1, 2]),
        ("range(5, 0, -2)", [5, 3, 1]),
        ("keys({'a': 1})", ["a"]),
        ("values({'a': 1})", [1]),
        ("items({'a': 1})", [["a", 1]]),
        ("to_json({'a': [true, null, 'é']})", '{"a": [true, null, "é"]}'),
        ("from_json('{\"a\": [1, 2.5, null]}').a[1]", 2.5),
        ("regex_match('A[a-z]+', input.name)", True),
        ("regex_match('B', input.name)", False),
        ("regex_search('B', input.name)", True),
        (r"regex_search('(\\w+) (?P<last>\\w+)', input.name, 'last')", "Byron"),
        (r"regex_search('\\d+', input.name, 0)", None),
        (
            "f'{input.name}: {input.total} {input.paid} {input.note} {[1]}'",
            "Ada Byron: 100 true null [1]",
        ),
        ("f'{{{1}}}'", "{1}"),
    ],
)
def test_function(source: str, expected: Any) -> None:
    result = value(source)
    assert result == expected
    assert type(result) is type(expected)


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("' a '.strip()", "a"),
        ("'xax'.strip('x')", "a"),
        ("'a,b,c'.split(',')", ["a", "b", "c"]),
        ("'a,b,c'.split(',', 1)", ["a", "b,c"]),
        ("'a b  c'.split()", ["a", "b", "c"]),
        ("'a\\nb'.splitlines()", ["a", "b"]),
        ("'a-b'.replace('-', '+')", "a+b"),
        ("'ab'.replace('', '.')", ".a.b."),
        ("input.name.upper()", "ADA BYRON"),
        ("input.name.lower().title()", "Ada Byron"),
        ("'straße'.upper()", "STRASSE"),
        ("'abc'.startswith('ab')", True),
        ("'abc'.endswith(['x', 'c'])", True),
        ("'abc'.find('c')", 2),
        ("'aXa'.count('a')", 2),
        ("'a=b'.partition('=')", ["a", "=", "b"]),
        ("', '.join(['a', 'b'])", "a, b"),
        ("'12'.isdigit()", True),
        ("'v1.0'.removeprefix('v')", "1.0"),
    ],
)
def test_text_method(source: str, expected: Any) -> None:
    assert value(source) == expected


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("now()", "2026-03-01T09:30:00Z"),
        ("[now()]", ["2026-03-01T09:30:00Z"]),
        ("str(now())", "2026-03-01T09:30:00Z"),
        ("f'{now()}'", "2026-03-01T09:30:00Z"),
        ("date(input.due)", "2026-03-02T00:00:00Z"),
        ("date('2026-03-02T10:00:00+02:00')", "2026-03-02T10:00:00+02:00"),
        ("date(input.due) - now()", "PT14H30M"),
        ("now() + duration('1d 2h')", "2026-03-02T11:30:00Z"),
        ("now() - duration('PT30M')", "2026-03-01T09:00:00Z"),
        ("duration('P1W') + duration(1.5)", "P7DT1.5S"),
        ("duration('-PT90M')", "-PT1H30M"),
        ("duration(0)", "PT0S"),
        ("duration('250ms') * 2", "PT0.5S"),
        ("duration('1h') / duration('15m')", 4.0),
        ("duration('2h') / 4", "PT30M"),
        ("(date(input.due) - now()).total_seconds()", 52200.0),
        ("sum([duration('1h'), duration('30m')])", "PT1H30M"),
        ("date(input.due) > now()", True),
        ("date('2026-03-01T10:30:00+01:00') == now()", True),
        ("max(now(), date(input.due))", "2026-03-02T00:00:00Z"),
        ("now().year * 100 + now().month", 202603),
        ("now().isoweekday()", 7),
        ("format_date(now())", "2026-03-01"),
        ("format_date(input.due, '%d.%m.%Y')", "02.03.2026"),
        ("format_date(now(), '%H:%M %%', 'Asia/Tokyo')", "18:30 %"),
    ],
)
def test_date(source: str, expected: Any) -> None:
    assert value(source) == expected


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("default(input.total, 1)", 100),
        ("default(input.missing, 1)", 1),
        ("default(input.missing.deeper, 1)", 1),
        ("default(nowhere.at_all, 1)", 1),
        ("default(input.note.deeper, 1)", 1),
        ("default(steps.skipped.output.total, 0)", 0),
        ("default(input.items[9].sku, 'none')", "none"),
        ("default(input['no key'], [])", []),
        ("default(input.note, 1)", None),
        ("[default(x.a, 0) for x in [{}, {'a': 1}]]", [0, 1]),
        ("default(input.total, 1 / 0)", 100),
    ],
)
def test_default_looks_before_it_evaluates(source: str, expected: Any) -> None:
    assert value(source) == expected


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (
            "input.totl * 2",
            'In the expression "input.totl * 2", input.totl does not exist: '
            'input has no key "totl" (did you mean "total"?).',
        ),
        (
            "inptu.total",
            'In the expression "inptu.total", inptu does not exist: nothing is named inptu.',
        ),
        (
            "len",
            'The expression "len" does not exist: nothing is named len; '
            "a function is called: len(...).",
        ),
        (
            "input.items[7].sku",
            'In the expression "input.items[7].sku", input.items[7] does not exist: '
            "input.items has 2 items.",
        ),
        (
            "input.total.x",
            'The expression "input.total.x" does not exist: '
            "input.total is a whole number, not an object.",
        ),
        (
            "input.note.x",
            'The expression "input.note.x" does not exist: input.note is null, not an object.',
        ),
        (
            "input.note[0]",
            'The expression "input.note[0]" does not exist: '
            "input.note is null, not a list, an object or a text.",
        ),
        ("1 / 0", 'The expression "1 / 0" divides by zero.'),
        ("1 % 0", 'The expression "1 % 0" divides by zero.'),
        ("0 ** (-1)", 'The expression "0 ** (-1)" divides by zero.'),
        (
            "input.total + 'a'",
            "The expression \"input.total + 'a'\" cannot add a whole number and a text; "
            "write str(...) around it.",
        ),
        ("null < 1", 'The expression "null < 1" cannot order null.'),
        ("[1] < [2]", 'The expression "[1] < [2]" cannot order a list.'),
        (
            "now() > '2026'",
            "The expression \"now() > '2026'\" cannot compare a date with a text; "
            "write date(...) around the text.",
        ),
        (
            "now() == '2026'",
            "The expression \"now() == '2026'\" compares a date with a text; "
            "write date(...) around the text.",
        ),
        (
            "sum(input.items)",
            'The expression "sum(input.items)" needs numbers (or only durations), not an object.',
        ),
        (
            "input.total.upper()",
            'The expression "input.total.upper()" cannot be called: '
            "a whole number has no method .upper().",
        ),
        (
            "', '.join([1])",
            "The expression \"', '.join([1])\" needs texts only, "
            "not a whole number; write str(...) around it.",
        ),
        (
            "date('soon')",
            "The expression \"date('soon')\" got a text that is not an ISO 8601 date "
            "such as 2026-03-01T09:30:00Z.",
        ),
        (
            "{1: 2}",
            'The expression "{1: 2}" needs a text as the key of an object, not a whole number.',
        ),
        ("[x for x in 5]", 'The expression "[x for x in 5]" needs a list, not a whole number.'),
        (
            "default(input.total.x, 1)",
            'The expression "default(input.total.x, 1)" does not exist: '
            "input.total is a whole number, not an object.",
        ),
    ],
)
def test_what_fails_is_named(source: str, message: str) -> None:
    assert problem(source).message == message


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("", "it is empty"),
        ("  ", "it is empty"),
        ("1 +", "invalid syntax"),
        ("input.from", 'a key of that name is written ["from"]'),
        ("nope(1)", "there is no function nope()"),
        ("len()", "len() takes 1 values, not 0"),
        ("round(1, 2, 3)", "round() takes 1 to 2 values, not 3"),
        ("min()", "min() takes at least 1 values, not 0"),
        ("sorted([1], by='a')", "sorted() takes no value named by"),
        ("max(1, key='a', key='b')", "max() is given a value twice"),
        ("'a'.split(1, 2, 3)", ".split() takes 0 to 2 values, not 3"),
        ("input.items()", "there is no method .items(); write items(x)"),
        ("input.get('a')", "there is no method .get(); write default(x.key, value)"),
        ("default(input.a)", "default() takes a path and a value"),
        ("default(1, 2)", "default() looks up a path"),
        ("default(len(input), 2)", "default() looks up a path"),
        ("default(input[1:], 2)", "default() looks up one place, not a slice"),
        ("1 is 1", '"is" compares with null, true or false only'),
        ("{1, 2}", "a set is not JSON; write a list"),
        ("{x for x in [1]}", "a set is not JSON; write a list"),
        ("(x for x in [1])", "a comprehension that is a value stands in [ ]"),
        ("[true for true in [1]]", "true is a constant"),
        ("regex_match('(', 'a')", "regex_match() got a pattern that RE2 does not accept"),
        ("1 << 4", "operators on bits and matrices are not part of the language"),
        ("1) + (2", "unmatched ')'"),
        ("1)\n+ (2", "its brackets do not match"),
        ("...", "only texts, numbers, true, false and null"),
        ("1j", "only texts, numbers, true, false and null"),
        ("b'a'", "only texts, numbers, true, false and null"),
    ],
)
def test_refused_before_it_runs(source: str, reason: str) -> None:
    with pytest.raises(ExpressionError) as caught:
        compile_expression(source)
    assert reason in caught.value.message
    assert caught.value.message.endswith(".")
    assert caught.value.source == source
    assert caught.value.path == ""
    assert caught.value.code == "expression"


def test_a_source_that_is_no_text_is_refused() -> None:
    with pytest.raises(ExpressionError, match=r"^An expression is written as a text\.$"):
        compile_expression(["1"])  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("source", "references", "optional"),
    [
        ("input.total * vars.n", {("input", "total"), ("vars", "n")}, set()),
        ("steps.step_1.output.x", {("steps", "step_1", "output", "x")}, set()),
        ("execution.id", {("execution", "id")}, set()),
        ("input.items[0].sku", {("input", "items")}, set()),
        ("input['from'].x", {("input", "from", "x")}, set()),
        ("input[vars.key].x", {("input",), ("vars", "key")}, set()),
        ("[x.price for x in input.items if x.ok]", {("input", "items")}, set()),
        ("[x + y for x in input.a for y in x.b]", {("input", "a")}, set()),
        ("[x for x in x]", {("x",)}, set()),
        ("sum(v.n for v in values(input.m)) + index", {("input", "m"), ("index",)}, set()),
        ("input.name.upper()", {("input", "name")}, set()),
        ("f'{input.name}'", {("input", "name")}, set()),
        ("default(input.a.b, vars.c)", {("vars", "c")}, {("input", "a", "b")}),
        ("default(input.a[vars.key], 0)", {("vars", "key")}, {("input", "a")}),
        ("[default(x.a, 0) for x in input.l]", {("input", "l")}, set()),
        ("true and null", set(), set()),
        ("max(input.l, key='a')", {("input", "l")}, set()),
    ],
)
def test_references(
    source: str, references: set[tuple[str, ...]], optional: set[tuple[str, ...]]
) -> None:
    expression = compile_expression(source)
    assert expression.references == references
    assert expression.optional_references == optional
    assert expression.source == source


def test_an_expression_is_compiled_once() -> None:
    assert compile_expression("input.total + 41") is compile_expression("input.total + 41")


class Unwalkable(Mapping[str, Any]):
    """A scope that tells its keys one by one and nothing about all of them."""

    def __init__(self, data: dict[str, Any]) -> None:
        self.data = data
        self.asked: list[str] = []

    def __getitem__(self, key: str) -> Any:
        self.asked.append(key)
        return self.data[key]

    def __iter__(self) -> Iterator[str]:
        raise AssertionError("the scope was walked")

    def __len__(self) -> int:
        raise AssertionError("the scope was counted")


def test_only_what_is_named_is_read() -> None:
    steps = Unwalkable({"a": Unwalkable({"output": {"n": 2}})})
    scope = Unwalkable({"input": Unwalkable({"total": 10}), "steps": steps})
    assert compile_expression("input.total * steps.a.output.n").evaluate(scope, now=NOW) == 20
    assert scope.asked == ["input", "steps"]
    assert steps.asked == ["a"]
    assert compile_expression("default(steps.b.output, 'no')").evaluate(scope, now=NOW) == "no"
    with pytest.raises(ExpressionError, match='steps has no key "b"'):
        compile_expression("steps.b").evaluate(scope, now=NOW)


def test_a_part_of_the_scope_is_returned_without_reading_it() -> None:
    rows = [{"n": n} for n in range(200_000)]
    scope = {"input": {"rows": rows}}
    assert compile_expression("input.rows").evaluate(scope, now=NOW) is rows
    assert compile_expression("default(input.rows, [])").evaluate(scope, now=NOW) is rows
    assert compile_expression("input.rows[199999].n").evaluate(scope, now=NOW) == 199_999


class Lazy(Mapping[str, Any]):
    def __init__(self, data: dict[str, Any]) -> None:
        self.data = data

    def __getitem__(self, key: str) -> Any:
        return self.data[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self.data)

    def __len__(self) -> int:
        return len(self.data)


class State(StrEnum):
    DONE = "done"


def test_a_result_is_plain_json_whatever_the_scope_is_made_of() -> None:
    step = Lazy({"output": {"n": 1}, "state": State.DONE, "at": NOW, "pair": (1, 2)})
    plain = {
        "output": {"n": 1},
        "state": "done",
        "at": "2026-03-01T09:30:00Z",
        "pair": [1, 2],
    }
    for steps in ({"a": step}, Lazy({"a": step})):
        scope = {"steps": steps}
        result = compile_expression("steps").evaluate(scope, now=NOW)
        assert result == {"a": plain}
        assert type(result) is dict
        assert type(result["a"]) is dict
        assert type(result["a"]["state"]) is str
        assert compile_expression("steps.a.state == 'done'").evaluate(scope, now=NOW) is True
        assert compile_expression("steps.a.at < now()").evaluate(scope, now=NOW) is False
    with pytest.raises(ExpressionError, match="something that is not JSON"):
        compile_expression("x").evaluate({"x": {1, 2}}, now=NOW)
    with pytest.raises(ExpressionError, match="too large"):
        compile_expression("x").evaluate({"x": float("nan")}, now=NOW)


def test_a_message_never_shows_a_value() -> None:
    scope = {"secret": "hunter2", "n": 4711}
    for source in (
        "int(secret)",
        "float(secret)",
        "date(secret)",
        "duration(secret)",
        "from_json(secret)",
        "secret + n",
        "secret.x",
        "[1][n]",
        "secret < n",
        "regex_match(secret + '(', 'a')",
        "format_date(now(), secret + '%!')",
    ):
        with pytest.raises(ExpressionError) as caught:
            compile_expression(source).evaluate(scope, now=NOW)
        assert "hunter2" not in str(caught.value)
        assert "4711" not in str(caught.value)


def test_a_message_can_be_stored_whatever_the_key() -> None:
    message = problem(r"input['\ud800\x00']").message
    assert message.encode() == message.encode("utf-8")
    assert message.isprintable()


def test_now_without_an_offset_is_utc() -> None:
    naive = dt.datetime(2026, 3, 1)  # noqa: DTZ001
    assert compile_expression("now()").evaluate({}, now=naive) == "2026-03-01T00:00:00Z"


def test_evaluating_in_many_threads_at_once() -> None:
    expression = compile_expression("sum(a * b for a in range(n) for b in range(n))")
    found: dict[int, int] = {}

    def run(n: int) -> None:
        found[n] = expression.evaluate({"n": n}, now=NOW)

    threads = [threading.Thread(target=run, args=(n,)) for n in range(20, 60)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == {n: sum(range(n)) ** 2 for n in range(20, 60)}


def test_a_caller_deep_in_the_stack_gets_the_same_error() -> None:
    expression = compile_expression("(" * 70 + "1" + "+1)" * 70)

    def dive(levels: int) -> Any:
        return dive(levels - 1) if levels else expression.evaluate({}, now=NOW)

    assert dive(0) == 71
    depth = len(_frames())
    with pytest.raises(ExpressionError, match="needs more memory or depth than there is"):
        dive(sys.getrecursionlimit() - depth - 60)


def _frames() -> list[Any]:
    frame: Any = sys._getframe()
    frames = []
    while frame:
        frames.append(frame)
        frame = frame.f_back
    return frames
