"""Which numbers a workflow's next version may have, apart from what it changes.

A major line may be continued while there is a higher one: 1.4.0 can follow 1.3.0 beside 2.0.0, for
those who start `^1`. A new line begins above everything.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

from autopilot.common.errors import Conflict
from autopilot.common.problems import Problem
from workflows.models import Workflow
from workflows.rows import number_taken
from workflows.versioning.contract import Bump
from workflows.versioning.guard import Judgement
from workflows.versioning.semver import Version

FIRST_VERSION = Version(1, 0, 0)


def frozen_numbers(workflow: Workflow) -> list[Version]:
    """Every number that was ever published."""
    rows = workflow.versions.frozen().values_list("major", "minor", "patch")
    return [Version(*row) for row in rows]


def next_number(workflow: Workflow) -> Version:
    """What a draft gets whose number nobody has chosen: the next minor one."""
    highest = max(frozen_numbers(workflow), default=None)
    return FIRST_VERSION if highest is None else highest.bump_minor()


def require_free(workflow: Workflow, number: Version) -> None:
    """Raise Conflict for a number that may not follow what is published."""
    numbers = frozen_numbers(workflow)
    if number in numbers:
        raise number_taken(workflow, number)
    ahead = above_which(numbers, number)
    if ahead is None or number > ahead:
        return
    message = (
        f"Version {number} is below {ahead}, which is published: a number above it was expected."
    )
    raise Conflict(message, details=[Problem("$.version", "version.too_low", message)])


def is_free(workflow: Workflow, number: Version) -> bool:
    """Whether `number` may follow what is published; `require_free` says why not."""
    ahead = above_which(frozen_numbers(workflow), number)
    return ahead is None or number > ahead


def above_which(numbers: Collection[Version], number: Version) -> Version | None:
    """The published number that `number` has to be above: the top of its line, or of all."""
    return _top(numbers, number.major) or max(numbers, default=None)


def lowest_honest(
    judgement: Judgement, previous: Version, published: Collection[Version]
) -> Version:
    """The lowest number that is honest after `previous` and free beside `published`."""
    honest = judgement.number(previous)
    ahead = above_which(published, honest)
    if ahead is None or honest > ahead:
        return honest
    # What breaks begins a line of its own; what doesn't stays in the line of those it is for.
    return max(published).bump_major() if judgement.bump == Bump.MAJOR else ahead.bump_patch()


def _top(numbers: Iterable[Version], major: int) -> Version | None:
    return max((each for each in numbers if each.major == major), default=None)
