"""Which number may follow which, what a start may ask for, and whose word counts in a review."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from autopilot.common.errors import Invalid
from workflows.numbering import lowest_honest
from workflows.resolving import parse_wanted
from workflows.versioning.contract import Bump
from workflows.versioning.guard import Judgement
from workflows.versioning.ranges import Range
from workflows.versioning.review import ReviewVerdict, Standing, standing_of
from workflows.versioning.semver import Version, parse

APPROVED, CHANGES = ReviewVerdict.APPROVED, ReviewVerdict.CHANGES_REQUESTED


@pytest.mark.parametrize(
    ("bump", "previous", "published", "expected"),
    [
        (Bump.PATCH, "1.2.3", ["1.2.3"], "1.2.4"),
        (Bump.NONE, "1.2.3", ["1.2.3"], "1.2.4"),
        (Bump.MINOR, "1.2.3", ["1.0.0", "1.2.3"], "1.3.0"),
        (Bump.MAJOR, "1.2.3", ["1.2.3"], "2.0.0"),
        # An older line goes on in itself, and breaks into a new one above everything.
        (Bump.MINOR, "1.2.3", ["1.2.3", "2.4.0"], "1.3.0"),
        (Bump.MAJOR, "1.2.3", ["1.2.3", "2.4.0"], "3.0.0"),
        (Bump.MAJOR, "1.2.3", ["1.2.3", "3.0.0"], "4.0.0"),
        # What is archived has had its number all the same.
        (Bump.PATCH, "1.2.3", ["1.2.3", "1.5.0"], "1.5.1"),
        (Bump.MINOR, "1.2.3", ["1.2.3", "1.3.0"], "1.3.1"),
    ],
)
def test_the_lowest_honest_number_that_is_free(
    bump: Bump, previous: str, published: list[str], expected: str
) -> None:
    found = lowest_honest(Judgement(bump), parse(previous), [parse(each) for each in published])
    assert str(found) == expected


@pytest.mark.parametrize("text", ["1.2.3", "=1.2.3", "= 1.2.3"])
def test_a_start_asks_for_one_version(text: str) -> None:
    assert parse_wanted(text) == Version(1, 2, 3)


@pytest.mark.parametrize(
    "text", ["^1.2", "~1.2.3", "1.x", "1.2.*", ">=1 <3", "1.0.0 - 2", "^1 || ^3", "*", "=1.2"]
)
def test_a_start_asks_for_a_range(text: str) -> None:
    found = parse_wanted(text)
    assert isinstance(found, Range)
    assert found.text == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "1",
        "1.2",
        "v1.2.3",
        "01.2.3",
        " 1.2.3",
        "1.2.3-rc.1",
        "1.2.3+b",
        "x" * 300,
        7,
        None,
    ],
)
def test_what_a_start_can_not_ask_for(text: object) -> None:
    with pytest.raises(Invalid) as caught:
        parse_wanted(text)
    assert [each.path for each in caught.value.details] == ["$.version"]


@dataclass(frozen=True)
class Said:
    reviewer_id: int
    verdict: str
    content_hash: str = "now"
    number: str = "1.1.0"


@pytest.mark.parametrize(
    ("reviews", "writers", "expected"),
    [
        ([], [], Standing()),
        ([Said(2, APPROVED)], [1], Standing(approving=(2,))),
        ([Said(1, APPROVED)], [1], Standing()),
        ([Said(2, APPROVED, content_hash="before")], [1], Standing()),
        ([Said(2, APPROVED, number="1.0.1")], [1], Standing()),
        ([Said(2, APPROVED), Said(2, CHANGES)], [1], Standing(objecting=(2,))),
        ([Said(2, CHANGES), Said(2, APPROVED)], [1], Standing(approving=(2,))),
        ([Said(2, APPROVED), Said(3, CHANGES)], [1], Standing(approving=(2,), objecting=(3,))),
    ],
)
def test_whose_word_counts(reviews: list[Said], writers: list[int], expected: Standing) -> None:
    found = standing_of(reviews, content_hash="now", number="1.1.0", writers=writers)
    assert found == expected
    assert found.is_approved == (expected.approving == (2,) and not expected.objecting)
