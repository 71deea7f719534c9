from __future__ import annotations

import io
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autopilot.common.api.parsers import StrictJSONParser, parse_json
from autopilot.common.errors import Invalid, RequestTooLarge


def refusal(body: bytes) -> list[tuple[str, str, str]]:
    with pytest.raises(Invalid) as refused:
        parse_json(body)
    return [(p.path, p.code, p.message) for p in refused.value.details]


def test_a_document_comes_through_unchanged() -> None:
    body = '{"a": [1, -2.5, 1e3, true, null, "ü€😀"], "b": {"c": {}}}'.encode()
    assert parse_json(body) == {"a": [1, -2.5, 1000.0, True, None, "ü€😀"], "b": {"c": {}}}


def test_a_byte_order_mark_is_passed_over() -> None:
    assert parse_json(b"\xef\xbb\xbf[1]") == [1]


def test_malformed_json_is_told_with_its_place() -> None:
    assert refusal(b'{"a": 1,\n "b" 2}') == [
        (
            "$",
            "json.malformed",
            "The body is not valid JSON: Expecting ':' delimiter at line 2, column 6 "
            "(character 14).",
        )
    ]


def test_bytes_that_are_no_utf8_are_told_with_their_place() -> None:
    assert refusal(b'["\xff"]') == [
        (
            "$",
            "json.malformed",
            "The body is not valid UTF-8: byte 2 (0xff) does not belong there.",
        )
    ]


@pytest.mark.parametrize("word", ["NaN", "Infinity", "-Infinity"])
def test_constants_that_json_lacks_are_refused(word: str) -> None:
    assert refusal(b'{"steps": [{"wait": %s}]}' % word.encode()) == [
        ("$.steps[0].wait", "json.not_a_number", f"{word} is not a value that JSON has.")
    ]


def test_a_number_beyond_a_double_is_refused() -> None:
    assert refusal(b"[1e999]") == [
        ("$[0]", "json.number_too_large", "The number is beyond what can be stored.")
    ]


def test_a_whole_number_may_have_4000_digits_and_no_more() -> None:
    assert parse_json(b"[-" + b"9" * 4000 + b"]") == [-int("9" * 4000)]
    assert refusal(b"[" + b"9" * 4001 + b"]") == [
        ("$[0]", "json.number_too_long", "A whole number may have at most 4,000 digits.")
    ]


def test_nul_characters_are_refused_in_texts_and_keys() -> None:
    assert refusal(rb'{"a": ["x\u0000y"], "k\u0000": 1}') == [
        ('$["k\\u0000"]', "text.nul", "The text contains a NUL character (\\u0000)."),
        ("$.a[0]", "text.nul", "The text contains a NUL character (\\u0000)."),
    ]


def test_half_a_surrogate_pair_is_refused_and_a_whole_one_is_not() -> None:
    assert parse_json(rb'["\ud83d\ude00"]') == ["😀"]
    assert refusal(rb'["\ud83d", "\uDE00"]') == [
        ("$[0]", "text.surrogate", "The text contains half of a surrogate pair (\\ud83d)."),
        ("$[1]", "text.surrogate", "The text contains half of a surrogate pair (\\ude00)."),
    ]


def test_an_escaped_backslash_before_u0000_is_no_nul() -> None:
    assert parse_json(rb'["\\u0000"]') == ["\\u0000"]


def test_the_same_key_twice_is_refused_where_it_is() -> None:
    assert refusal(b'{"steps": [{"id": 1, "x": {"y": NaN}, "id": 2}]}') == [
        ("$.steps[0]", "json.duplicate_key", 'The key "id" appears more than once.'),
        ("$.steps[0].x.y", "json.not_a_number", "NaN is not a value that JSON has."),
    ]


def test_nesting_may_be_100_deep_and_no_deeper() -> None:
    assert parse_json(b"[" * 100 + b"]" * 100)
    (problem,) = refusal(b"[" * 101 + b"]" * 101)
    assert problem == ("$" + "[0]" * 100, "json.too_deep", "The nesting is deeper than 100 levels.")


@pytest.mark.parametrize("opening", [b"[", b'{"a":'])
def test_nesting_beyond_the_stack_is_refused_and_not_a_crash(opening: bytes) -> None:
    (problem,) = refusal(opening * 200_000)
    assert problem == ("$", "json.too_deep", "The nesting is deeper than 100 levels.")


def test_many_brackets_side_by_side_are_not_deep() -> None:
    assert parse_json(b"[" + b"[]," * 500 + b"[]]") == [[]] * 501


def test_problems_are_named_up_to_fifty() -> None:
    assert len(refusal(b"[" + b"NaN," * 80 + b"1]")) == 50


def test_a_body_of_the_limit_is_read_and_one_byte_more_is_not(settings) -> None:
    settings.DATA_UPLOAD_MAX_MEMORY_SIZE = 1000
    body = b'"' + b"x" * 998 + b'"'
    assert StrictJSONParser().parse(io.BytesIO(body)) == "x" * 998
    with pytest.raises(RequestTooLarge) as refused:
        StrictJSONParser().parse(io.BytesIO(body + b" "))
    assert refused.value.message == (
        "The request's body is larger than 1,000 bytes, the most this server accepts."
    )


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(body: bytes) -> None:
    try:
        parse_json(body)
    except Invalid as refused:
        codes = {problem.code.split(".")[0] for problem in refused.details}
        if codes - {"json", "text"}:
            raise


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_characters="\x00", exclude_categories=["Cs"])),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(st.sampled_from("abc_ü")), inner),
)


@given(JSON)
def test_what_json_can_say_comes_through_unchanged(value: object) -> None:
    assert parse_json(json.dumps(value).encode()) == value
