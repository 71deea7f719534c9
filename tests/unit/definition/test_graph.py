"""Ways between steps."""

from __future__ import annotations

from typing import Any

from tests.effort import takes_less_than
from tests.unit.definition.catalogs import document, noop
from workflows.definition.graph import Edge, EdgeKind, ScopeGraph, to_graph
from workflows.definition.outline import read_outline


def graph(*steps: dict[str, Any]) -> ScopeGraph:
    return ScopeGraph(read_outline(document(*steps)).root)


def choice(id_: str, *targets: str, default: str = "end") -> dict[str, Any]:
    ways = [{"when": f"input.n == {n}", "next": target} for n, target in enumerate(targets)]
    return {"id": id_, "type": "choice", "config": {"choices": ways, "default": default}}


def test_kinds_of_edges() -> None:
    built = graph(noop(id="a"), choice("b", "a", "c", default="end"), noop(id="c", next="c"))
    assert built.edges() == [
        Edge("a", "b", EdgeKind.FLOW),
        Edge("b", "a", EdgeKind.LOOP, "input.n == 0"),
        Edge("b", "c", EdgeKind.CHOICE, "input.n == 1"),
        Edge("b", None, EdgeKind.CHOICE, "default"),
        Edge("c", "c", EdgeKind.LOOP),
    ]


def test_a_step_further_up_is_no_loop_when_nothing_leads_back() -> None:
    built = graph(noop(id="a", next="c"), noop(id="b", next="end"), noop(id="c", next="b"))
    assert [edge.kind for edge in built.edges()] == [EdgeKind.FLOW] * 3


def test_what_can_have_run_before() -> None:
    built = graph(choice("a", "b", default="c"), noop(id="b", next="d"), noop(id="c"), noop(id="d"))
    assert built.ancestors() == [0b0000, 0b0001, 0b0001, 0b0111]
    assert built.reachable() == {0, 1, 2, 3}


def test_the_steps_of_a_loop_precede_each_other() -> None:
    built = graph(noop(id="a"), noop(id="b"), choice("c", "b"), noop(id="d"))
    assert built.ancestors() == [0b0000, 0b0111, 0b0111, 0b0000]
    assert built.reachable() == {0, 1, 2}


def test_a_thousand_steps_that_all_lead_back_are_quick() -> None:
    steps = [choice(f"s{n}", "s0", f"s{max(0, n - 1)}", default=f"s{n + 1}") for n in range(999)]
    built = read_outline(document(*steps, noop(id="s999"))).root
    masks = ScopeGraph(built).ancestors()
    assert takes_less_than(1, lambda: ScopeGraph(built).ancestors())
    assert masks[0] == (1 << 999) - 1
    assert masks[999] == (1 << 999) - 1


def test_the_drawing_has_all_scopes() -> None:
    doc = document(
        noop(id="a", name="First"),
        {"id": "g", "type": "group", "config": {"steps": [noop(id="b")]}},
    )
    assert to_graph(doc) == {
        "nodes": [
            {
                "id": "a",
                "name": "First",
                "type": "action",
                "path": "$.steps[0]",
                "parent": None,
                "scope": "$.steps",
            },
            {
                "id": "g",
                "name": "g",
                "type": "group",
                "path": "$.steps[1]",
                "parent": None,
                "scope": "$.steps",
            },
            {
                "id": "b",
                "name": "Step",
                "type": "action",
                "path": "$.steps[1].config.steps[0]",
                "parent": "g",
                "scope": "$.steps[1].config.steps",
            },
        ],
        "edges": [
            {"source": "a", "target": "g", "kind": "flow", "label": ""},
            {"source": "g", "target": None, "kind": "flow", "label": ""},
            {"source": "b", "target": None, "kind": "flow", "label": ""},
        ],
    }
    assert to_graph({"steps": [3, None, {}]})["nodes"][0]["id"] == "step_1"


def test_a_catch_is_a_way_labelled_with_what_it_catches() -> None:
    entries = [
        {"errors": ["http.5xx", "timeout.step"], "next": "c", "as": "problem"},
        {"errors": ["*"], "next": "end"},
        {"errors": ["limit.*"], "next": "a"},
    ]
    built = graph(noop(id="a", catch=entries), noop(id="b", next="end"), noop(id="c"))
    assert built.edges() == [
        Edge("a", "b", EdgeKind.FLOW),
        Edge("a", "c", EdgeKind.CATCH, "http.5xx, timeout.step"),
        Edge("a", None, EdgeKind.CATCH, "*"),
        Edge("a", "a", EdgeKind.LOOP, "limit.*"),
        Edge("b", None, EdgeKind.FLOW),
        Edge("c", None, EdgeKind.FLOW),
    ]
    assert built.reachable() == {0, 1, 2}
