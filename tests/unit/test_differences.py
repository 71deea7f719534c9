"""A comparison as the console shows it: the sentence, the cards of steps, the ghosts, the texts."""

from __future__ import annotations

import time
from typing import Any

from workflows.console.aligning import aligned
from workflows.console.differences import Piece, cards_of, marks_of, summary, text_rows
from workflows.console.ghosts import compared_drawing
from workflows.versioning.diff import compare


def step(id: str, **more: Any) -> dict[str, Any]:
    return {"id": id, "type": "transform", "config": {"output": id}, **more}


def document(*steps: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return {"name": "Returns", "steps": list(steps), **fields}


def group(id: str, *steps: dict[str, Any]) -> dict[str, Any]:
    return {"id": id, "type": "group", "config": {"steps": list(steps)}}


LONG = "Look at the parcel and write down its state."
OLD = document(step("look", name=LONG), step("weigh"), step("label"), step("close"))
NEW = document(
    step("look", name=LONG.replace("parcel", "box")),
    step("label", when="input.ok"),
    step("refund"),
    step("finish", config={"output": "close"}),
    labels={"team": "returns"},
)


def test_a_comparison_begins_with_a_sentence() -> None:
    assert summary(compare(OLD, NEW)) == (
        "1 step added, 1 removed, 2 renamed, 1 changed, the labels changed."
    )
    assert summary(compare(OLD, OLD)) == "Nothing is different: both do the same."
    assert summary(compare(OLD, {**OLD, "timeout": "5m", "output": 1})) == (
        "The timeout and the output changed."
    )


def test_changes_are_told_step_by_step() -> None:
    cards = cards_of(compare(OLD, NEW), OLD, NEW)
    assert [(card.id, card.words, card.note) for card in cards] == [
        ("labels", ("added",), ""),
        ("look", ("renamed",), ""),
        ("label", ("changed",), ""),
        ("refund", ("added",), ""),
        ("finish", ("renamed",), "Its id was close."),
        ("weigh", ("removed",), ""),
    ]
    name, when = cards[1].fields[0], cards[2].fields[0]
    assert [piece for piece in name.pieces if piece.kind != "same"] == [
        Piece("gone", "parcel"),
        Piece("new", "box"),
    ]
    assert (when.name, when.before, when.after, when.pieces) == ("when", None, "input.ok", ())
    assert '"id": "weigh"' in cards[5].content
    assert marks_of(cards)["weigh"] == {"words": "removed", "look": "removed"}
    assert "labels" not in marks_of(cards)


def test_what_is_gone_stands_as_a_ghost_where_it_stood() -> None:
    drawing = compared_drawing(OLD, NEW)
    assert [node["id"] for node in drawing["nodes"]] == [
        *("look", "label", "refund", "finish"),
        "weigh",
    ]
    gone = [edge for edge in drawing["edges"] if edge["kind"] == "gone"]
    assert [(edge["source"], edge["target"]) for edge in gone] == [
        ("look", "weigh"),
        ("weigh", "label"),
    ]


def test_ghosts_stay_in_their_group_and_bring_their_own_along() -> None:
    old = document(group("pay", step("ask"), step("book")), group("gone", step("deep")))
    new = document(group("charge", step("book")), step("end_of_it"))
    scopes = {node["id"]: node["scope"] for node in compared_drawing(old, new)["nodes"]}
    # The group that has another id is not the same one: its steps are where it stood.
    assert scopes == {
        "charge": "",
        "book": "charge",
        "end_of_it": "",
        "pay": "",
        "ask": "pay",
        "gone": "",
        "deep": "gone",
    }


def test_no_ghostly_way_leads_against_the_flow() -> None:
    old = document(step("a"), step("x"), step("b"))
    new = document(step("b"), step("a"))
    gone = [edge for edge in compared_drawing(old, new)["edges"] if edge["kind"] == "gone"]
    assert [(edge["source"], edge["target"]) for edge in gone] == [("a", "x")]


def test_both_texts_stand_side_by_side() -> None:
    old = [str(number) for number in range(20)]
    new = [*old[:10], "new", *old[11:]]
    rows = text_rows("\n".join(old), "\n".join(new)) or []
    assert [(row.kind, row.old or row.new) for row in rows] == [
        ("skipped", "7 lines"),
        *(("same", text) for text in old[7:10]),
        ("changed", "10"),
        *(("same", text) for text in old[11:14]),
        ("skipped", "6 lines"),
    ]
    assert (rows[4].old_line, rows[4].new_line, rows[4].new) == (11, 11, "new")
    assert text_rows("x\n" * 30_001, "x\n" * 30_001) is None


def test_texts_made_to_be_slow_are_compared_as_fast_as_others() -> None:
    old = [f"k{number}: 1" for number in range(20_000)]
    new = [line for at, each in enumerate(old) for line in (each, f"y{at}: 2")]
    began = time.process_time()
    rows = text_rows("\n".join(old), "\n".join(new)) or []
    # The standard library's matcher alone takes minutes for these.
    assert time.process_time() - began < 5
    assert [(row.kind, row.new) for row in rows[:3]] == [
        ("same", "k0: 1"),
        ("changed", "y0: 2"),
        ("same", "k1: 1"),
    ]
    assert len(rows) == 40_000
    # Nothing in them occurs once: what is between is changed, whatever it says.
    odd, even = "a\nb\n" * 10_000, "b\na\na\n" * 7_000
    assert {row.kind for row in text_rows(odd, f"{even}c") or []} == {"changed"}


def test_what_stayed_is_found_between_what_occurs_once() -> None:
    old, new = list("axbxcxd"), list("xaxcxbxd")
    pairs = aligned(old, new)
    assert [old[at] for at, _ in pairs] == [new[at] for _, at in pairs]
    assert "".join(old[at] for at, _ in pairs) in {"axbxd", "axcxd"}
    assert aligned([], new) == aligned(old, []) == []


def test_a_long_text_shows_its_changes_inside() -> None:
    before = document(step("look", name="The order is older than thirty days."))
    after = document(step("look", name="The order is older than sixty days, sorry."))
    (card,) = cards_of(compare(before, after), before, after)
    assert card.fields[0].pieces == (
        Piece("same", "The order is older than "),
        Piece("gone", "thirty"),
        Piece("new", "sixty"),
        Piece("same", " days"),
        Piece("new", ", sorry"),
        Piece("same", "."),
    )
