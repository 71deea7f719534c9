"""A JSON value as people read it."""

from __future__ import annotations

from executions.console.tree import MAX_DEPTH, tree_of


def test_plain_values_are_words_and_nothing_is_trusted() -> None:
    assert tree_of(True) == "Yes"
    assert tree_of(None) == '<span class="cx-soft">none</span>'
    assert tree_of([]) == '<span class="cx-soft">empty</span>'
    assert tree_of(0) == '<span class="cx-tree-number">0</span>'
    assert tree_of("<b>") == '<span class="cx-tree-text">&lt;b&gt;</span>'
    assert tree_of(["a", 1]) == '<span class="cx-tree-text">a, 1</span>'
    assert "&lt;i&gt;" in tree_of({"<i>": 1})


def test_what_can_be_read_at_a_glance_goes_first() -> None:
    html = tree_of({"deep": {"a": 1}, "dueDate": "2030-01-31"})
    assert html.index("<dt>Due Date</dt>") < html.index("<dt>Deep</dt>")


def test_rows_that_are_alike_are_a_table() -> None:
    html = tree_of([{"id": 1, "item_name": "Pie"}, {"id": 2}])
    assert '<th scope="col">Id</th><th scope="col">Item name</th>' in html
    assert '<td data-label="Item name"></td>' in html
    assert "<table" not in tree_of([{"id": 1}, {"id": [{}]}])


def test_what_is_too_long_or_too_deep_is_cut_and_says_so() -> None:
    assert "and 20 more" in tree_of({str(key): key for key in range(120)})
    assert "…" in tree_of("x" * 5_000)
    deep: object = 1
    for _ in range(MAX_DEPTH + 3):
        deep = {"a": deep}
    assert "{&quot;a&quot;: " in tree_of(deep)
