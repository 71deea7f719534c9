"""Ids that steps get from their names."""

from __future__ import annotations

import pytest

from tests.unit.definition.catalogs import document, noop
from workflows.definition.compiled import content_hash, normalize_definition
from workflows.definition.ids import IdAllocator, is_identifier


@pytest.mark.parametrize(
    ("name", "id_"),
    [
        ("Step 1", "step_1"),
        ("  Send e-mail!  ", "send_e_mail"),
        ("Überweisung prüfen", "uberweisung_prufen"),
        ("2nd try", "step_2nd_try"),
        ("确认订单", "step_7"),
        ("", "step_7"),
        (None, "step_7"),
        ("End", "step_end"),
        ("If", "step_if"),
        ("x" * 100, "x" * 63),
        ("\ud800", "step_7"),
    ],
)
def test_an_id_from_a_name(name: str | None, id_: str) -> None:
    derived = IdAllocator([]).derive(name, 7)
    assert derived == id_
    assert is_identifier(derived)


def test_derived_ids_never_collide() -> None:
    allocator = IdAllocator(["step", "step_3"])
    assert [allocator.derive("Step", n) for n in range(1, 4)] == ["step_2", "step_4", "step_5"]
    long = [IdAllocator(["x" * 63]).derive("x" * 100, 1)]
    assert long == ["x" * 61 + "_2"]


def test_explicit_ids_win_wherever_they_stand() -> None:
    doc = document(noop(name="Pay"), noop(name="Pay"), noop(id="pay"))
    normal = normalize_definition(doc)
    assert [step["id"] for step in normal["steps"]] == ["pay_2", "pay_3", "pay"]
    assert list(normal["steps"][0]) == ["id", "name", "type", "config"]


def test_normalizing_again_changes_nothing_and_leaves_the_original_alone() -> None:
    doc = document(noop(), {"type": "group", "config": {"steps": [noop()]}})
    before = repr(doc)
    normal = normalize_definition(doc)
    assert repr(doc) == before
    assert normal["steps"][1]["config"]["steps"][0]["id"] == "step_3"
    assert normalize_definition(normal) == normal


def test_steps_of_one_list_object_get_ids_of_their_own() -> None:
    shared = noop()
    normal = normalize_definition(document(shared, shared))
    assert [step["id"] for step in normal["steps"]] == ["step", "step_2"]


def test_the_hash_is_of_the_content_not_of_its_spelling() -> None:
    one = content_hash({"name": "a", "steps": [{"x": 1e2, "y": 1.5}]})
    assert one == content_hash({"steps": [{"y": 1.5, "x": 100}], "name": "a"})
    assert one != content_hash({"steps": [{"y": 1.5, "x": 101}], "name": "a"})
    assert content_hash({}) == "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"
