from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from autopilot.common.json_html import highlighted
from autopilot.common.words import ago_words, count_words, duration_words, passed_words, plural
from workflows.console.lines import lines_of

NOW = datetime(2030, 1, 31, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (None, ""),
        (0, "< 1 ms"),
        (0.34, "340 ms"),
        (3.21, "3.2 s"),
        (59.4, "59 s"),
        (60, "1 min"),
        (245, "4 min 5 s"),
        (7_500, "2 h 5 min"),
        (183_600, "2 d 3 h"),
        (timedelta(seconds=2), "2.0 s"),
        (-5, "< 1 ms"),
    ],
)
def test_durations(seconds: float | timedelta | None, words: str) -> None:
    assert duration_words(seconds) == words


@pytest.mark.parametrize(("seconds", "words"), [(0.9, "0 s"), (61.9, "1 min 1 s"), (-3, "0 s")])
def test_what_is_still_going_on_is_told_in_whole_seconds(seconds: float, words: str) -> None:
    assert passed_words(seconds) == words


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0, "just now"),
        (30, "30 s ago"),
        (119, "1 min ago"),
        (7_300, "2 h ago"),
        (-2, "in a moment"),
        (-90, "in 1 min 30 s"),
        (-200_000, "in 2 d 7 h"),
    ],
)
def test_moments(seconds: int, words: str) -> None:
    assert ago_words(NOW - timedelta(seconds=seconds), NOW) == words


def test_counts() -> None:
    assert (count_words(999, 1_000), count_words(1_001, 1_000)) == ("999", "1,000+")
    assert (plural(1, "query", "queries"), plural(2, "query", "queries")) == (
        "1 query",
        "2 queries",
    )


def test_json_is_escaped_and_colored() -> None:
    assert highlighted('{\n  "<b>": [true, -1.5e3, "\\"x"]\n}') == (
        '{\n  <span class="cx-j-key">&quot;&lt;b&gt;&quot;</span>: '
        '[<span class="cx-j-word">true</span>, <span class="cx-j-number">-1.5e3</span>, '
        '<span class="cx-j-text">&quot;\\&quot;x&quot;</span>]\n}'
    )


def test_every_value_of_a_document_has_its_line() -> None:
    text = '{\n  "a": [\n    1,\n    {"odd key": "x, ]}\\n"}\n  ],\n  "b": {}\n}'
    assert lines_of(text) == {
        "$": 1,
        "$.a": 2,
        "$.a[0]": 3,
        "$.a[1]": 4,
        '$.a[1]["odd key"]': 4,
        "$.b": 6,
    }


@pytest.mark.parametrize("text", ["", "{", "[1,]", "[" * 5_000 + "]" * 5_000])
def test_what_is_no_json_or_too_deep_has_no_lines(text: str) -> None:
    assert lines_of(text) == {}
