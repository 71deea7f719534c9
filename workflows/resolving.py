"""Which version a start runs: the highest published one, the one it names, or one in its range."""

from __future__ import annotations

import re

from autopilot.common.errors import Conflict, Invalid
from autopilot.common.problems import Problem
from workflows.errors import RangeUnsatisfied
from workflows.models import Workflow, WorkflowVersion
from workflows.querysets import WorkflowVersionQuerySet
from workflows.versioning import semver
from workflows.versioning.ranges import Range, RangeError, parse_range
from workflows.versioning.semver import Version, VersionError
from workflows.versioning.states import VersionState

# In a start these are numbers that somebody got wrong, rather than ranges: what `1.2` means, and
# whether `01.2.3` or `v1.2.3` means anything, is not ours to guess.
_LIKE_A_NUMBER = re.compile(r"[v\s]*[0-9]+(\.[0-9]+)*(-[0-9A-Za-z.-]*)?(\+[0-9A-Za-z.-]*)?\s*")
_SHOWN = 10


def resolve_version(
    *, workflow: Workflow, version: str | None = None, candidate: int | None = None
) -> WorkflowVersion:
    """The version that a start runs: the live one, or the one it asks for.

    version: an exact number, which may be a deprecated one's, or a range such as `^1.2`, of which
        the highest published version is taken.
    candidate: what `Route.choose` gave this start; it takes that instead of the live one, or of
        another one in its range.
    Raises Conflict when nothing is published or the named one can't be started, Invalid (path
    `$.version`) when there is no such number, RangeUnsatisfied when the range holds no version.
    """
    asked = None if version is None else parse_wanted(version)
    if isinstance(asked, Version):
        return _named(workflow, asked)
    row = version_in_range(workflow=workflow, range=asked, candidate=candidate)
    if row is not None:
        return row
    raise _nothing_published(workflow) if asked is None else _unsatisfied(workflow, asked)


def parse_wanted(text: object) -> Version | Range:
    """What a start asks for: an exact number, or a range. Raises Invalid with path `$.version`."""
    try:
        return semver.parse_release(text)
    except VersionError as error:
        message = str(error)
    if isinstance(text, str) and text.strip() and not _LIKE_A_NUMBER.fullmatch(text):
        try:
            found = parse_range(text)
        except RangeError as error:
            message = str(error)
        else:
            return found.exact if found.exact is not None and not found.exact.pre else found
    elif isinstance(text, str):
        message += " A range of versions is such as ^1.2, ~1.2.3 or 1.2.x."
    raise Invalid(message, details=[Problem("$.version", "field.version", message)])


def version_in_range(
    *, workflow: Workflow, range: Range | None, candidate: int | None = None
) -> WorkflowVersion | None:
    """The highest published version in `range` (None: of all); None if there is none.

    A rollout's candidate that is in the range is for those that it was given to (see
    `resolve_version`), and for all if nothing else is in the range. A range that names exactly one
    version is also content with a deprecated one, as a start is.
    """
    if range is not None and range.exact is not None:
        rows = _lean(workflow.versions.startable())
        return rows.filter(version=str(range.exact)).first()
    published = _lean(workflow.versions.published())
    if candidate is not None:
        chosen = published.filter(pk=candidate).first()
        if chosen is not None and (range is None or chosen.number in range):
            return chosen
    established = _lean(workflow.versions.established())
    return _highest(established, range) or _highest(published, range)


def _highest(rows: WorkflowVersionQuerySet, range: Range | None) -> WorkflowVersion | None:
    if range is None:
        return rows.highest_first().first()
    return next((row for row in rows.highest_first() if row.number in range), None)


def _named(workflow: Workflow, number: Version) -> WorkflowVersion:
    row = _lean(workflow.versions.all()).filter(version=str(number)).first()
    if row is None:
        message = f"The workflow {workflow.slug} has no version {number}."
        raise Invalid(message, details=[Problem("$.version", "version.unknown", message)])
    if row.state == VersionState.DRAFT:
        raise _not_startable(row, "is a draft: publish it before it is started")
    if row.state == VersionState.ARCHIVED:
        raise _not_startable(row, "is archived and can't be started any more")
    return row


def _lean(rows: WorkflowVersionQuerySet) -> WorkflowVersionQuerySet:
    """Without the content: what runs has it compiled, and everybody else reads it when asked."""
    return rows.defer("definition", "changelog")


def _not_startable(version: WorkflowVersion, why: str) -> Conflict:
    message = f"Version {version.version} of the workflow {version.workflow.slug} {why}."
    return Conflict(message, details=[Problem("$.version", "version.not_startable", message)])


def _nothing_published(workflow: Workflow) -> Conflict:
    message = f"The workflow {workflow.slug} has no published version to start."
    return Conflict(message, details=[Problem("$.workflow", "workflow.not_published", message)])


def _unsatisfied(workflow: Workflow, wanted: Range) -> Conflict | RangeUnsatisfied:
    published = workflow.versions.published().highest_first()
    numbers = list(published.values_list("version", flat=True))
    if not numbers:
        return _nothing_published(workflow)
    there = ", ".join(numbers[:_SHOWN])
    more = f" and {len(numbers) - _SHOWN} more" if len(numbers) > _SHOWN else ""
    message = (
        f"No published version of the workflow {workflow.slug} is in the range "
        f"{wanted.text.strip()}: there is {there}{more}."
    )
    return RangeUnsatisfied(message, details=[Problem("$.version", RangeUnsatisfied.code, message)])
