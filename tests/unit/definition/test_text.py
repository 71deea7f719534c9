from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from autopilot.common.problems import Problem
from workflows.definition.text import (
    MAX_TEXT,
    Place,
    TextError,
    decode,
    nearest_place,
    read_text,
    write_yaml,
)
from workflows.definition.text.scalars import is_taken_for_text

SAMPLES = Path(__file__).parents[3] / "samples"
TEXTS = st.text(st.characters(exclude_characters="\x00", exclude_categories=["Cs"]))
# fmt: off
TRICKY = st.sampled_from([
    "yes", "no", "on", "off", "y", "~", "null", "true", "=", "<<", "1e3", "012", "0o17", "0x1F",
    "1_000", "12:30:00", "2024-01-01", ".inf", "1.", "+1", "-", "- a", "...", "---", "a: b", "a:",
    "a #b", "#a", "?a", "*a", "&a", "!a", "|", ">", "%", "@a", "`a", "[", "{", "{{a}}", "a,b", '"',
    "'", "'a", '"a"', "a\\b", "a'b\"c", "a\nb", "a\nb\n", "\n", "\na", "  a\nb", "a \nb", "\ta\nb",
    "a\n\n\n", "a\u2028b", "\ufeffa", "\x85", "\r\n", "x\ty", "", " ",
])
# fmt: on
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXTS
    | TRICKY,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            TEXTS | TRICKY | st.sampled_from(["name", "steps", "type", "config", "with", "retry"]),
            inner,
            max_size=4,
        )
    ),
    max_leaves=20,
)


def refusal(text: str) -> list[tuple[str, str, str]]:
    with pytest.raises(TextError) as refused:
        read_text(text)
    return [(p.path, p.code, p.message) for p in refused.value.details]


@settings(max_examples=60, deadline=None)
@given(JSON)
def test_what_is_written_is_read_as_the_same(document: object) -> None:
    text = write_yaml(document)
    assert text.endswith("\n")
    assert read_text(text).document == document
    assert write_yaml(read_text(text).document) == text


@settings(max_examples=40, deadline=None)
@given(JSON, st.sampled_from([None, 2]), st.booleans())
def test_json_is_read_by_the_same_function(
    document: object, indent: int | None, ascii: bool
) -> None:
    text = json.dumps(document, indent=indent, ensure_ascii=ascii)
    assert read_text(f' {{"a": {text}}}').document == {"a": document}


@given(TEXTS | TRICKY | st.from_regex(r"[-+.0-9a-fxo_:TZ ]{1,12}", fullmatch=True))
def test_a_text_without_quotes_is_one_to_readers_of_yaml_1_1_too(text: str) -> None:
    written = write_yaml({"a": text}).removeprefix("a: ").rstrip("\n")
    if written == text:
        assert is_taken_for_text(text)
        assert yaml.SafeLoader(f"a: {written}").get_single_data() == {"a": text}


@given(st.text(max_size=60))
def test_any_text_is_read_or_refused_with_a_sentence(text: str) -> None:
    details: tuple[Problem, ...] = ()
    try:
        read_text(text)
    except TextError as refused:
        details = refused.details
    assert all(each.message[-1] in ".)" for each in details)


@pytest.mark.parametrize("sample", ["refund", "order", "reviews_all", "onboarding", "trip"])
def test_samples_stay_what_they_are_as_yaml(sample: str) -> None:
    document = json.loads((SAMPLES / f"{sample}.json").read_text())
    text = write_yaml(document)
    assert read_text(text).document == document
    # Also to the readers of YAML that most people have.
    assert yaml.load(text, Loader=yaml.CSafeLoader) == document


def test_fields_stand_in_the_order_of_the_language_and_values_as_they_come() -> None:
    step = {
        "config": {"with": {"url": "x", "method": "GET"}, "action": "http.request"},
        "retry": {"backoff": 2, "max_attempts": 3},
        "next": "end",
        "type": "action",
        "name": "Ask",
        "id": "ask",
    }
    document = {"steps": [step], "labels": {}, "version": "1.10.0", "name": "A: b", "slug": "a"}
    assert write_yaml(document) == (
        'name: "A: b"\n'
        "slug: a\n"
        'version: "1.10.0"\n'
        "labels: {}\n"
        "steps:\n"
        "  - id: ask\n"
        "    name: Ask\n"
        "    type: action\n"
        "    config:\n"
        "      action: http.request\n"
        "      with:\n"
        "        url: x\n"
        "        method: GET\n"
        "    retry:\n"
        "      max_attempts: 3\n"
        "      backoff: 2\n"
        "    next: end\n"
    )


def test_texts_of_several_lines_are_blocks_unless_blanks_would_be_lost() -> None:
    document = {
        "a": "one\n\ntwo\n",
        "b": ["x\ny"],
        "c": "z\n\n\n",
        "d": "blank \nend",
        "e": "'\"\n",
    }
    assert write_yaml(document) == (
        "a: |\n  one\n\n  two\nb:\n  - |-\n    x\n    y\nc: |+\n  z\n\n\n"
        'd: "blank \\nend"\ne: |\n  \'"\n'
    )


def test_words_mean_what_the_core_schema_of_yaml_1_2_says() -> None:
    words = ["yes", "No", "on", "OFF", "y", "2024-01-01", "12:30:00", "1_000", "0b1", "="]
    text = (
        f"a: [{', '.join(words)}]\n"
        "b: [0o17, 0x1F, 1e3, -.5, +12, 1., 123456789012345678901234567890]\n"
        "c: [True, FALSE, ~, Null]\n"
        "d:\n"
        "e: 'null'\n"
    )
    assert read_text(text).document == {
        "a": words,
        "b": [15, 31, 1000.0, -0.5, 12, 1.0, 123456789012345678901234567890],
        "c": [True, False, None, None],
        "d": None,
        "e": "null",
    }


def test_byte_order_marks_and_windows_line_ends_are_fine() -> None:
    assert read_text("\ufeffa: 1\r\nb: |\r\n  x\r\n  y\r\n").document == {"a": 1, "b": "x\ny\n"}
    assert decode(b"\xef\xbb\xbfa: \xc3\xbc") == "a: ü"


def test_every_value_and_key_has_its_place_in_yaml() -> None:
    read = read_text("name: Ü 😀 x\nsteps:\n  - id: a\n    config: {with: [1, 'two']}\n\n# end\n")
    assert read.places == {
        "$": Place(1, 1, 4, 31),
        "$.name": Place(1, 7, 1, 12),
        "$.steps": Place(3, 3, 4, 31),
        "$.steps[0]": Place(3, 5, 4, 31),
        "$.steps[0].id": Place(3, 9, 3, 10),
        "$.steps[0].config": Place(4, 13, 4, 31),
        "$.steps[0].config.with": Place(4, 20, 4, 30),
        "$.steps[0].config.with[0]": Place(4, 21, 4, 22),
        "$.steps[0].config.with[1]": Place(4, 24, 4, 29),
    }
    assert read.keys["$.steps[0].config"] == Place(4, 5, 4, 11)


def test_every_value_and_key_has_its_place_in_json() -> None:
    read = read_text('{"a b": [1,\r\n "😀", {}],\n"c": true}')
    assert read.places == {
        "$": Place(1, 1, 3, 11),
        '$["a b"]': Place(1, 9, 2, 10),
        '$["a b"][0]': Place(1, 10, 1, 11),
        '$["a b"][1]': Place(2, 2, 2, 5),
        '$["a b"][2]': Place(2, 7, 2, 9),
        "$.c": Place(3, 6, 3, 10),
    }
    assert read.keys == {'$["a b"]': Place(1, 2, 1, 7), "$.c": Place(3, 1, 3, 4)}


def test_what_is_missing_is_shown_at_what_should_have_it() -> None:
    places = read_text('{"steps": [{"with": {"a.b]\\"[": 1}}]}').places
    with_path = "$.steps[0].with"
    assert nearest_place(places, "$.steps[0].config.action") == places["$.steps[0]"]
    assert nearest_place(places, with_path + '["a.b]\\"["].x') == places[with_path + '["a.b]\\"["]']
    assert nearest_place(places, with_path + '["odd [\\"key"]') == places[with_path]
    assert nearest_place(places, "$.steps[7]") == places["$.steps"]
    assert nearest_place(places, "$.name") == places["$"]
    assert nearest_place({}, "$.name") is None


@pytest.mark.parametrize(
    ("text", "path", "code", "message"),
    [
        ("a: &x 1", "$.a", "yaml.anchor", "Line 1, column 4: Anchors (&) are not read here"),
        ("a: *x", "$.a", "yaml.alias", "Line 1, column 4: Aliases (*) are not read here"),
        ("<<: {a: 1}", "$", "yaml.merge", "Line 1, column 1: Merge keys (<<) are not read here"),
        ("a: !!str 1", "$.a", "yaml.tag", "Line 1, column 4: Tags (!) are not read here"),
        ("a: !x {}", "$.a", "yaml.tag", "Line 1, column 4: Tags (!) are not read here"),
        ("a: 1\n---\nb: 2", "$", "yaml.documents", "Line 2, column 1: A second document"),
        ("%YAML 1.1\n---\na: 1", "$", "yaml.version", "Line 1, column 1: The text says"),
        ("1: a", "$", "yaml.key", 'Line 1, column 1: A key is a text: write "1", with the quotes.'),
        ("? [a]\n: b", "$", "yaml.key", "Line 1, column 3: A key is a text, not an object"),
        ("a: {{ b }}", "$.a", "yaml.key", "Line 1, column 5: A text that begins with {{ must"),
        ("- {{ b }} c", "$[0]", "yaml.key", "Line 1, column 4: A text that begins with {{ must"),
        ("a: 010", "$.a", "text.number", "Line 1, column 4: 010 is octal to some readers"),
        ("a: .nan", "$.a", "text.number", "Line 1, column 4: .nan is not a value that JSON has."),
        ("a: 1e999", "$.a", "text.number", "Line 1, column 4: The number is beyond"),
        (f"a: {'9' * 4001}", "$.a", "text.number", "Line 1, column 4: A whole number may have"),
        ("a:\n\tb: 1", "$.a", "yaml.malformed", "Line 2, column 1: A tab can not be used"),
        ("a: b: c", "$", "yaml.malformed", 'Line 1, column 5: A ": " can not stand here'),
        ("a: 'b", "$.a", "yaml.malformed", "Line 1, column 4: The quotes that open here"),
        ("a: @b", "$.a", "yaml.malformed", 'Line 1, column 4: A text can not begin with "@"'),
        ("a: [1, 2", "$.a[2]", "yaml.malformed", 'Line 2, column 1: The list that begins with "['),
        ("a: \x07", "$", "yaml.malformed", "Line 1, column 4: The character U+0007 can not stand"),
        ('a: "\\0"', "$.a", "text.character", "Line 1, column 4: The text has a NUL character"),
        ("x: 1\na: b\u2028c", "$", "yaml.character", "Line 2, column 5: The character U+2028"),
        ("# nothing", "$", "text.empty", "Line 1, column 1: The text has nothing but comments."),
        (" \n", "$", "text.empty", "The text is empty."),
        ("{'a': 1}", "$", "json.malformed", "Line 1, column 2: This is not valid JSON: a key in"),
        ('{"a": 1', "$", "json.malformed", 'Line 1, column 8: This is not valid JSON: "," or "}"'),
        ('{"a": 01}', "$", "json.malformed", 'Line 1, column 8: This is not valid JSON: "," or "}'),
        ("[1, NaN]", "$[1]", "text.number", "Line 1, column 5: NaN is not a value that JSON has."),
        ('["\\ud800"]', "$[0]", "text.character", "Line 1, column 2: The text has half of a"),
        ("[1] x", "$", "json.malformed", "Line 1, column 5: This is not valid JSON: nothing more"),
        ('{"a": 1, "a": 2}', "$.a", "text.duplicate_key", 'Line 1, column 10: The key "a" appears'),
        ("[" * 101, "$" + "[0]" * 100, "text.too_deep", "Line 1, column 101: The nesting is"),
        ("- " * 101, "$" + "[0]" * 100, "text.too_deep", "Line 1, column 201: The nesting is"),
        ("a" * (MAX_TEXT + 1), "$", "text.too_large", "The text has 2,097,153 characters; at most"),
    ],
)
def test_what_can_not_be_meant_is_refused_with_its_place(
    text: str, path: str, code: str, message: str
) -> None:
    ((found_path, found_code, found),) = refusal(text)
    assert (found_path, found_code) == (path, code)
    assert found.startswith(message)


def test_a_key_that_stands_twice_names_both_lines() -> None:
    assert refusal("a: 1\nb:\n  c: 1\n  d: 2\n  c: 3\n") == [
        (
            "$.b.c",
            "text.duplicate_key",
            'Line 5, column 3: The key "c" appears more than once. It was there at line 3 already.',
        )
    ]


def test_anchors_by_the_thousand_end_at_fifty_problems() -> None:
    bomb = "a0: &a0 [x]\n" + "".join(
        f"a{at}: &a{at} [{', '.join([f'*a{at - 1}'] * 9)}]\n" for at in range(1, 5000)
    )
    with pytest.raises(TextError) as refused:
        read_text(bomb)
    assert len(refused.value.details) == 50
    assert refused.value.message.endswith(" There are 49 problems more.")


def test_problems_have_line_and_column_as_fields_too() -> None:
    with pytest.raises(TextError) as refused:
        read_text("a: 1\nb: &x 1\nc: .inf\n")
    assert [problem.as_dict() for problem in refused.value.details] == [
        {
            "path": "$.b",
            "code": "yaml.anchor",
            "message": "Line 2, column 4: Anchors (&) are not read here: write out what is meant.",
            "line": 2,
            "column": 4,
        },
        {
            "path": "$.c",
            "code": "text.number",
            "message": "Line 3, column 4: .inf is not a value that JSON has.",
            "line": 3,
            "column": 4,
        },
    ]


def test_bytes_that_are_no_text_are_told_with_their_place() -> None:
    with pytest.raises(TextError) as refused:
        decode(b"a: 1\nb: \xff\n")
    assert refused.value.message == (
        "Line 2: this is no text in UTF-8: byte 8 (0xff) does not belong there."
    )


def test_more_values_than_a_definition_can_have_are_refused() -> None:
    ((_, code, _),) = refusal("[" + "0," * 200_000 + "0]")
    assert code == "text.too_many"
