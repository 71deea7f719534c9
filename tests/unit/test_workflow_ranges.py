"""Ranges of versions: what others have decided about them (see tests/data/semver/README.md)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from workflows.versioning.ranges import RangeError, parse_range
from workflows.versioning.semver import VersionError, parse

DATA = Path(__file__).resolve().parent.parent / "data" / "semver"


def rows(name: str) -> list[list[Any]]:
    """The rows about strict ranges that leave pre-releases out unless they are named."""
    every = json.loads((DATA / name).read_text(encoding="utf-8"))
    return [row for row in every if not _is_optional(row)]


def _is_optional(row: list[Any]) -> bool:
    option = row[2] if len(row) > 2 else None
    if isinstance(option, dict):
        # JavaScript's idea of truth: any number but 0.
        loose = option.get("loose")
        return bool(option.get("includePrerelease")) or (
            bool(loose) and loose != {"$undefined": True}
        )
    return bool(option)


def is_in(version: Any, text: str) -> bool:
    try:
        return parse(version) in parse_range(text)
    except VersionError:
        return False


INCLUDED, EXCLUDED, READ = map(
    rows, ("range-include.json", "range-exclude.json", "range-parse.json")
)


def test_the_fixtures_are_not_empty() -> None:
    assert (len(INCLUDED), len(EXCLUDED), len(READ)) == (99, 79, 111)


@pytest.mark.parametrize("row", INCLUDED, ids=lambda row: f"{row[0]}: {row[1]}")
def test_a_version_in_a_range(row: list[Any]) -> None:
    assert is_in(row[1], row[0])


@pytest.mark.parametrize("row", EXCLUDED, ids=lambda row: f"{row[0]}: {row[1]}")
def test_a_version_outside_of_a_range(row: list[Any]) -> None:
    assert not is_in(row[1], row[0])


@pytest.mark.parametrize("row", READ, ids=lambda row: row[0][:40])
def test_a_range_is_read_into_bounds(row: list[Any]) -> None:
    text, bounds = row[:2]
    if len(text) > 256 or bounds is None:
        with pytest.raises(RangeError):
            parse_range(text)
    else:
        assert str(parse_range(text)) == bounds


@pytest.mark.parametrize(
    "text", ["one", "^", "1.2.3.4", "1..2", "latest", "{{ input.v }}", "1.2 -"]
)
def test_what_is_no_range_is_refused_with_a_sentence(text: str) -> None:
    with pytest.raises(RangeError) as caught:
        parse_range(text)
    assert str(caught.value) == (
        f"{text!r} is no range of versions: something such as ^1.2, ~1.2.3, 1.x, "
        ">=1.2 <3 or 1.2.3 was expected."
    )


def test_the_highest_version_in_a_range() -> None:
    versions = [parse(each) for each in ("1.9.0", "1.10.0", "2.0.0", "1.2.3")]
    assert parse_range("^1.2").highest(versions) == parse("1.10.0")
    assert parse_range("<1.5 || >=3").highest(versions) == parse("1.2.3")
    assert parse_range("~3").highest(versions) is None


@pytest.mark.parametrize(
    ("text", "exact"), [("1.2.3", "1.2.3"), ("=1.2.3", "1.2.3"), ("1.2", None)]
)
def test_a_range_that_names_one_version(text: str, exact: str | None) -> None:
    found = parse_range(text).exact
    assert (str(found) if found else None) == exact
