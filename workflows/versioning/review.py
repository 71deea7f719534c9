"""Whether the reviews of a draft add up to an approval of what it says now."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol


class ReviewVerdict(StrEnum):
    """What a reviewer says of a draft."""

    APPROVED = "approved"
    CHANGES_REQUESTED = "changes_requested"


class Review(Protocol):
    """One review: who, what, and of which content under which number."""

    @property
    def reviewer_id(self) -> int: ...
    @property
    def verdict(self) -> str: ...
    @property
    def content_hash(self) -> str: ...
    @property
    def number(self) -> str: ...


@dataclass(frozen=True, slots=True)
class Standing:
    """Who approves the content as it is now, and who wants it changed; ids of people."""

    approving: tuple[int, ...] = ()
    objecting: tuple[int, ...] = ()

    @property
    def is_approved(self) -> bool:
        """Somebody approves and nobody objects."""
        return bool(self.approving) and not self.objecting


def standing_of(
    reviews: Iterable[Review], *, content_hash: str, number: str, writers: Collection[int]
) -> Standing:
    """What `reviews` (oldest first) say of this content under this number.

    Of each person the last word counts, and none of those who wrote the draft: an approval is
    another person's. A review of other content or of another number is history.
    """
    last: dict[int, str] = {}
    for review in reviews:
        is_of_this = (review.content_hash, review.number) == (content_hash, number)
        if is_of_this and review.reviewer_id not in writers:
            last[review.reviewer_id] = review.verdict
    return Standing(
        approving=tuple(who for who, said in last.items() if said == ReviewVerdict.APPROVED),
        objecting=tuple(who for who, said in last.items() if said != ReviewVerdict.APPROVED),
    )
