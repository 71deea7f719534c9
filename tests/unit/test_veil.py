"""How what is hidden is found again, and what becomes of it where it is written."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from executions.engine.payload import NULL, Payload, encode
from executions.hidden.marks import KEY, MASK, SIGN, Hidden, kept, masked, reveal, seal, wrap
from executions.hidden.traces import FEW, Traces
from executions.hidden.veil import MAX_MARKS, Veil
from workflows.definition.redaction import Place, compile_redaction

SECRET = "4111-2222-3333"


def payload(value: Any) -> Payload:
    return encode(value, limit=10_000_000, what="It")


def knowing(*values: Any) -> Veil:
    veil = Veil()
    for value in values:
        veil.learn(value)
    return veil


def shown(veil: Veil, value: Any, place: Place | None = None) -> Any:
    """What people see of the value; that the engine gets it back as it was is checked too."""
    text = veil.payload(payload(value), place)
    assert Veil().load(text.decode()) == value
    assert shown_of_document(veil, value, place) == masked(json.loads(text))
    return masked(json.loads(text))


def shown_of_document(veil: Veil, value: Any, place: Place | None) -> Any:
    concealed = veil.conceal(value, place)
    assert reveal(concealed) == value
    return concealed


@pytest.mark.parametrize(
    ("text", "seen"),
    [
        (SECRET, MASK),
        (f"card {SECRET}.", "card •••."),
        (f"{SECRET},{SECRET}", "•••,•••"),
        (json.dumps([SECRET]), '["•••"]'),
        ("another card", "another card"),
        ("4111-2222", "4111-2222"),
        ("", ""),
    ],
)
def test_texts_that_hold_a_hidden_text(text: str, seen: str) -> None:
    assert shown(knowing(SECRET), text) == seen
    assert knowing(SECRET).mask(text) == seen


@pytest.mark.parametrize(
    ("hidden", "text", "seen"),
    [
        ("Ada", "DEAR ADA!", "DEAR •••!"),
        ("ÄÖß straße", "Äöß STRASSE ÄÖß STRaßE", "Äöß STRASSE •••"),
        ("Σοφός", "ο ΣΟΦΌΣ και", "ο ••• και"),
        ("İpek", "an İpek, ada", "an •••, ada"),
        ("a b&c", "https://x.example/?q=a+b%26c and a%20b%26c", "https://x.example/?q=••• and •••"),
        ('say "so"\n', json.dumps({"t": 'say "so"\n'}), '{"t": "•••"}'),
        ("it's\ta tab", "Error: " + repr("it's\ta tab"), 'Error: "•••"'),
        ("müller", '{"n": "m\\u00fcller"}', '{"n": "•••"}'),
        ("x" * 20 + "y" * 80, "cut: " + "x" * 20 + "y" * 10 + "...", "cut: •••..."),
        ("a" * 30 + "b" * 30, "tail: ..." + "b" * 20, "tail: ...•••"),
        (1234.5, "1234.5 EUR", "••• EUR"),
        (2**60, f"{2**60} and {2**60:#x}", "••• and •••"),
    ],
)  # fmt: skip
def test_other_spellings_of_a_hidden_value(hidden: Any, text: str, seen: str) -> None:
    assert knowing(hidden).mask(text) == seen
    assert shown(knowing(hidden), {"t": text}) == {"t": seen}


@pytest.mark.parametrize("value", [None, True, False, "", "ab", 0, 12, 999, -1.5, [], {}])
def test_what_is_too_short_is_hidden_only_where_it_is_pointed_at(value: Any) -> None:
    place = compile_redaction(["/input/a"]).input
    veil = Veil()
    veil.learn_at({"a": value}, place)
    assert shown(veil, {"a": value, "b": value}, place) == {"a": MASK, "b": value}


def test_numbers_and_objects_are_followed_as_they_are() -> None:
    veil = knowing({"no": 12, "in": [7, 8]}, 98765)
    assert shown(veil, [98765, 98765.0, 9876, {"in": [7, 8], "no": 12}, [7, 8], [8, 7], 12]) == [
        MASK,
        MASK,
        9876,
        MASK,
        MASK,
        [8, 7],
        12,
    ]
    assert veil.hides_list([7, 8])
    assert veil.hides_list([[7], [8]])
    assert not veil.hides_list([7])
    assert not veil.hides_list([])


def test_an_object_whose_keys_say_it_is_hidden_whole() -> None:
    assert shown(knowing(SECRET), {"by": {f"k-{SECRET}": 1}, "n": 1}) == {"by": MASK, "n": 1}


def test_parts_of_a_text_are_known_where_the_text_goes() -> None:
    first = knowing("Ada").payload(payload({"t": "Dear Ada, hello"}))
    second = Veil()
    assert second.load(first.decode()) == {"t": "Dear Ada, hello"}
    assert shown(second, ["Ada!", "hello", ["Ada"]]) == ["•••!", "hello", [MASK]]


def test_what_is_only_wrapped_on_its_way_is_not_followed() -> None:
    veil = Veil()
    real = {"a": SECRET, "b": {KEY: "forged"}, "c": "inside"}
    wrapped = wrap({"a": SECRET, "b": {KEY: "forged"}, "c": seal("inside")})
    assert reveal({"output": wrapped}) == {"output": real}
    assert veil.reveal({"output": wrapped}) == {"output": real}
    assert shown(veil, [SECRET, "inside"]) == [SECRET, MASK]


def test_pointers() -> None:
    redaction = compile_redaction(
        ["/input/a~1b/0", "/input/a~1b/1/c", "/input/a~1b/1/c/d", "/output", "/steps/s/output/x",
         "/steps/m/output/2/x", "/steps/t/output"]
    )  # fmt: skip
    veil = Veil()
    value = {"a/b": ["first", {"c": {"d": 1, "e": "second"}, "f": 2}, "third"], "0": "first?"}
    veil.learn_at(value, redaction.input)
    assert shown(veil, value, redaction.input) == {
        "a/b": [MASK, {"c": MASK, "f": 2}, "third"],
        "0": "•••?",
    }
    assert redaction.output == redaction.steps["t"] == Place(is_here=True)
    assert redaction.of_part("m", "2") == redaction.steps["s"]
    assert redaction.of_part("m", "1") is None
    assert redaction.of_part("t", "5") == Place(is_here=True)
    assert redaction.of_part("nothing", "0") is None
    assert redaction
    assert not compile_redaction([])


def test_pointers_to_what_is_not_there_hide_nothing() -> None:
    place = compile_redaction([f"/input{each}" for each in ("/a/b", "/l/01", "/l/9", "/l/-")]).input
    veil = Veil()
    for value in ({"a": 1, "l": ["one"]}, {"a": [2], "l": {"0": 1}}, [], "text", None):
        veil.learn_at(value, place)
        assert shown(veil, value, place) == value
    assert not veil


def test_what_is_kept_and_what_is_replaced_in_an_edited_value() -> None:
    before = {"a": seal(1), "b": [seal(2), 3], "c": seal("x", shown="y •••"), "d": "•••"}
    edited = {"a": MASK, "b": [MASK, MASK], "c": "y", "d": "•••", "e": MASK}
    found = kept(edited, before)
    assert reveal(found) == {"a": 1, "b": [2, MASK], "c": "y", "d": "•••", "e": MASK}
    assert reveal(kept(MASK, seal([1]))) == [1]
    assert kept([1, 2], [seal(0)]) == [1, 2]


def test_a_value_with_very_many_hidden_parts_is_sealed_as_a_whole() -> None:
    names = [f"name-{n}" for n in range(MAX_MARKS + 1)]
    veil = knowing(names)
    rows = [{"n": name, "i": 1} for name in names]
    assert shown(veil, rows) == MASK
    assert shown(veil, {"rows": rows, "one": ["name-1"], "open": 1}) == {
        "rows": MASK,
        "one": MASK,
        "open": 1,
    }


def test_what_is_known_around_is_known_inside_and_not_copied() -> None:
    around = knowing(*[f"name-{n}" for n in range(FEW * 4)])
    inside = Veil()
    inside.include(around)
    inside.learn("own one")
    assert inside.mask("name-77 is my OWN ONE, name-999") == "••• is my •••, •••9"
    assert not around.mask("own one").startswith(MASK)


@given(
    st.lists(st.text(min_size=3, max_size=30), min_size=1, max_size=FEW * 3),
    st.lists(st.text(max_size=8), min_size=2, max_size=6),
    st.data(),
)
def test_few_and_many_hidden_texts_are_all_found(
    hidden: list[str], around: list[str], data: st.DataObject
) -> None:
    traces = Traces()
    for each in hidden:
        traces.learn(each)
    chosen = data.draw(st.sampled_from(hidden))
    text = chosen.join(around)
    start = len(around[0])
    spans = list(traces.matches(text))
    assert any(s <= start and e >= start + len(chosen) for s, e, _ in spans)


def test_an_execution_that_hides_nothing_writes_the_very_same() -> None:
    veil = Veil()
    value = payload({"a": [1, "•••"], "b": "sealed"})
    assert veil.payload(value) is value.text
    assert veil.masked_payload(value) is value.text
    assert veil.payload(NULL) is NULL.text
    fields = {"a": 1}
    assert veil.document(fields) is fields
    assert veil.masked(fields) is fields
    assert veil.conceal(fields) is fields
    assert not veil.is_needed


def test_lookalikes_are_escaped_whether_or_not_something_is_hidden() -> None:
    forged = {KEY: seal("x").token, "n": [{"$$sealed": SECRET}]}
    for veil in (Veil(), knowing(SECRET)):
        text = veil.payload(payload(forged)).decode()
        assert SIGN in text
        assert Veil().load(text) == forged
    assert Veil().document(forged) == {f"${KEY}": forged[KEY], "n": [{"$$$sealed": SECRET}]}
    huge = {KEY: 2**80}
    assert Veil().load(json.dumps(Veil().document(huge))) == huge


def test_masks_for_what_is_never_read_again_hold_no_token() -> None:
    veil = knowing(SECRET, {"n": 1})
    assert veil.masked({"t": SECRET, "o": [{"n": 1}], "i": 1}) == {"t": MASK, "o": [MASK], "i": 1}
    value = payload([f"a {SECRET}", seal("other")])
    assert json.loads(veil.masked_payload(value)) == ["a •••", MASK]


def test_a_hidden_value_stays_what_it_is_when_more_is_hidden_around_it() -> None:
    document = {"a": seal("one"), "b": {"c": seal("two"), "d": SECRET}}
    veil = Veil()
    assert veil.reveal(document) == {"a": "one", "b": {"c": "two", "d": SECRET}}
    place = compile_redaction(["/input/b"]).input
    concealed = veil.conceal(document, place)
    assert concealed == {"a": MASK, "b": MASK}
    assert isinstance(concealed["b"], Hidden)
    assert concealed["a"] is document["a"]
    assert reveal(concealed) == {"a": "one", "b": {"c": "two", "d": SECRET}}


def test_finding_takes_time_with_the_text_and_not_with_what_is_hidden() -> None:
    text = "The quick brown fox jumps over the lazy dog. " * 200

    def seconds(count: int) -> float:
        traces = Traces()
        for n in range(count):
            traces.learn(f"mail-{n:06}@example.com")
        began = time.perf_counter()
        assert list(traces.matches(text)) == []
        return time.perf_counter() - began

    few, many = min(seconds(100) for _ in range(3)), min(seconds(5_000) for _ in range(3))
    assert many < 5 * few + 0.01
