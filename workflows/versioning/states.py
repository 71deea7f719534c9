"""The states of a workflow version and the moves between them.

This table is the source: a test compares it with the model's transitions and with the database
trigger that refuses every other move. Content is frozen by the first move; the state stays free.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class VersionState(StrEnum):
    """Where a version is in its life."""

    DRAFT = "draft"
    PUBLISHED = "published"
    DEPRECATED = "deprecated"
    ARCHIVED = "archived"


@dataclass(frozen=True, slots=True)
class Move:
    """One allowed change of state; `name` is the verb that does it."""

    name: str
    source: VersionState
    target: VersionState


MOVES = (
    Move("publish", VersionState.DRAFT, VersionState.PUBLISHED),
    Move("deprecate", VersionState.PUBLISHED, VersionState.DEPRECATED),
    Move("reinstate", VersionState.DEPRECATED, VersionState.PUBLISHED),
    Move("archive", VersionState.DEPRECATED, VersionState.ARCHIVED),
    Move("restore", VersionState.ARCHIVED, VersionState.DEPRECATED),
)

# New executions may pin these; a deprecated version only when it is asked for by number.
STARTABLE = frozenset({VersionState.PUBLISHED, VersionState.DEPRECATED})
