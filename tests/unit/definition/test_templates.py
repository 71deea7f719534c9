"""Templates: JSON values with expressions in their texts."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest

from workflows.definition.expressions import ExpressionError
from workflows.definition.templates import collect_template_errors, compile_template

NOW = dt.datetime(2026, 3, 1, 9, 30, tzinfo=dt.UTC)
SCOPE: dict[str, Any] = {
    "input": {
        "total": 100,
        "rate": 0.5,
        "name": "Ada",
        "paid": True,
        "note": None,
        "tags": ["a", "é"],
        "o": {"k": 1},
    }
}


def render(template: Any) -> Any:
    return compile_template(template).render(SCOPE, now=NOW)


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ("{{ input.total }}", 100),
        ("{{input.total*input.rate}}", 50.0),
        ("{{ input.note }}", None),
        ("{{ input.paid }}", True),
        ("{{ input.tags }}", ["a", "é"]),
        ("{{ input.o }}", {"k": 1}),
        ("{{ now() }}", "2026-03-01T09:30:00Z"),
        ("Dear {{ input.name }}!", "Dear Ada!"),
        ("{{ input.name }}{{ input.total }}", "Ada100"),
        (" {{ input.total }}", " 100"),
        ("{{ input.total * input.rate }} EUR", "50.0 EUR"),
        ("{{ input.paid }}, {{ input.note }}", "true, null"),
        ("{{ input.tags }} {{ input.o }}", '["a", "é"] {"k": 1}'),
        ("at {{ now() + duration('1h') }}", "at 2026-03-01T10:30:00Z"),
        ("plain", "plain"),
        ("", ""),
        ("a } b }} c { d", "a } b }} c { d"),
        ("{{ '{{' }}", "{{"),
        ("{{ '{{ x }}' }}", "{{ x }}"),
        ("write {{ '{{' }} name }}", "write {{ name }}"),
        ("{{ {'a': {'b': 1}} }}", {"a": {"b": 1}}),
        ("{{ {'a': {'b': 1}}}}", {"a": {"b": 1}}),
        ("{{ '}}' + \"}}\" }}", "}}}}"),
        ("{{ f'{input.name}' }}.", "Ada."),
        ("{{\n input.total\n + 1\n}}", 101),
        ("it's {{ input.name }}'s", "it's Ada's"),
        (5, 5),
        (None, None),
        (True, True),
        ([], []),
        (
            {"a": ["{{ input.total }}", {"b": "x{{ input.rate }}"}], "c": 1.5},
            {"a": [100, {"b": "x0.5"}], "c": 1.5},
        ),
    ],
)
def test_render(template: Any, expected: Any) -> None:
    result = render(template)
    assert result == expected
    assert type(result) is type(expected)


def test_what_a_template_says_about_itself() -> None:
    value = {"a": "{{ input.a }} {{ default(vars.b, 1) }}", "c": ["{{ steps.s.output }}"]}
    template = compile_template(value)
    assert template.value is value
    assert template.is_literal is False
    assert template.references == {("input", "a"), ("steps", "s", "output")}
    assert template.optional_references == {("vars", "b")}

    literal = compile_template({"a": [1, "text", None]})
    assert literal.is_literal is True
    assert literal.references == frozenset()
    assert literal.optional_references == frozenset()


@pytest.mark.parametrize(
    ("template", "path", "message"),
    [
        (
            {"items": [{"name": "{{ input.nam }}"}]},
            ".items[0].name",
            'The expression "input.nam" does not exist: '
            'input has no key "nam" (did you mean "name"?).',
        ),
        (
            {"odd key": ["x {{ 1 / 0 }}"]},
            '["odd key"][0]',
            'The expression "1 / 0" divides by zero.',
        ),
        ("{{ 1 / 0 }}", "", 'The expression "1 / 0" divides by zero.'),
    ],
)
def test_a_failure_names_its_path(template: Any, path: str, message: str) -> None:
    with pytest.raises(ExpressionError) as caught:
        render(template)
    assert caught.value.path == path
    assert caught.value.message == message
    assert str(caught.value) == (f"{path}: {message}" if path else message)


def test_all_errors_are_collected_in_order() -> None:
    value = {
        "a": "{{ 1 + }}",
        "b": ["fine {{ input.x }}", "{{ oops", "{{ }} {{ lambda: 1 }}"],
        "{{ k }}": 1,
        "d": {1, 2},
    }
    errors = collect_template_errors(value)
    assert [(error.path, error.source) for error in errors] == [
        (".a", "1 +"),
        (".b[1]", "{{ oops"),
        (".b[2]", ""),
        (".b[2]", "lambda: 1"),
        ("", "{{ k }}"),
        (".d", ""),
    ]
    assert errors[1].message == (
        "The expression \"{{ oops\" is never closed by }}. To write {{ itself: {{ '{{' }}."
    )
    assert errors[4].message == (
        'The key "{{ k }}" holds {{, but keys are no templates; '
        "build the object in an expression: {{ {input.name: 1} }}."
    )
    with pytest.raises(ExpressionError) as caught:
        compile_template(value)
    assert caught.value.path == ".a"


def test_no_errors_in_a_template_that_compiles() -> None:
    assert collect_template_errors({"a": ["{{ input.x }}", 1]}) == []


def test_what_is_rendered_can_be_changed_without_changing_the_template() -> None:
    template = compile_template({"a": [1, {"b": "{{ input.total }}"}]})
    first = template.render(SCOPE, now=NOW)
    first["a"][1]["c"] = "new"
    first["a"].append(2)
    assert template.render(SCOPE, now=NOW) == {"a": [1, {"b": 100}]}
    assert template.value == {"a": [1, {"b": "{{ input.total }}"}]}


def test_a_template_nested_without_end_is_refused() -> None:
    value: Any = "{{ 1 }}"
    for _ in range(5000):
        value = [value]
    with pytest.raises(ExpressionError, match="nested 64 levels deep at most"):
        compile_template(value)


def test_texts_made_by_expressions_are_bounded_together() -> None:
    with pytest.raises(ExpressionError, match="more than 262,144 characters"):
        render("{{ 'a' * 200000 }}{{ 'a' * 200000 }}")
    with pytest.raises(ExpressionError, match="needs more than 100,000 operations"):
        render(["{{ 'a' * 250000 }}"] * 200)


def test_the_same_large_value_many_times_is_paid_for() -> None:
    scope = {"input": {"rows": list(range(30_000))}}
    once = compile_template({"rows": "{{ input.rows }}"})
    assert once.render(scope, now=NOW)["rows"] is scope["input"]["rows"]
    with pytest.raises(ExpressionError, match="needs more than 100,000 operations"):
        compile_template(["{{ input.rows }}"] * 10).render(scope, now=NOW)
