"""A comparison as the console shows it: the sentence, the cards of steps, the ghosts, the texts."""

from __future__ import annotations

from typing import Any

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
