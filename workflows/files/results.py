"""What an import does or would do, file by file."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from autopilot.common.problems import Problem
from workflows.versioning.diff import Change
from workflows.versioning.guard import Judgement


class Outcome(StrEnum):
    """What becomes of a file."""

    CREATED = "created"
    VERSION = "version"
    REPLACED = "replaced"
    PUBLISHED = "published"
    SETTINGS = "settings"
    UNCHANGED = "unchanged"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class FileResult:
    """One file.

    version: the number it has or gets. state: of that version afterwards, `draft` or `published`.
    against: the version it is compared with; empty for the first one.
    changes: what is different from that, by meaning. judgement, suggested: what the guard says.
    head: fields of the workflow itself that change, each with its value before and after.
    notes: sentences on what one could wonder about.
    was: what the outcome depends on and nothing else shows, for the fingerprint.
    """

    name: str
    slug: str
    outcome: Outcome
    title: str = ""
    version: str = ""
    state: str = ""
    against: str = ""
    changes: tuple[Change, ...] = ()
    judgement: Judgement | None = None
    suggested: str = ""
    head: Mapping[str, tuple[Any, Any]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    problems: tuple[Problem, ...] = ()
    was: str = ""

    @property
    def changes_something(self) -> bool:
        return self.outcome not in (Outcome.UNCHANGED, Outcome.REFUSED)

    def as_dict(self) -> dict[str, Any]:
        guard = None
        if self.judgement is not None:
            guard = {**self.judgement.as_dict(), "suggested": self.suggested}
        return {
            "name": self.name,
            "slug": self.slug,
            "outcome": str(self.outcome),
            "version": self.version or None,
            "state": self.state or None,
            "against": self.against or None,
            "changes": [each.as_dict() for each in self.changes],
            "guard": guard,
            "workflow": {
                key: {"before": before, "after": after}
                for key, (before, after) in self.head.items()
            },
            "notes": list(self.notes),
            "problems": [each.as_dict() for each in self.problems],
        }


@dataclass(frozen=True, slots=True)
class ImportResult:
    """All files of an import. saved: whether it was done."""

    files: tuple[FileResult, ...]
    saved: bool = False

    @property
    def is_refused(self) -> bool:
        return any(each.problems for each in self.files)

    @property
    def changes_something(self) -> bool:
        return any(each.changes_something for each in self.files)

    @property
    def fingerprint(self) -> str:
        """The same as long as the files say the same and would do the same."""
        facts = [
            [each.name, each.slug, each.outcome, each.version, each.state, each.against]
            for each in self.files
        ]
        unseen = [[each.was, each.head] for each in self.files]
        text = json.dumps([facts, unseen], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:32]

    def as_dict(self) -> dict[str, Any]:
        return {
            "saved": self.saved,
            "valid": not self.is_refused,
            "fingerprint": self.fingerprint,
            "files": [each.as_dict() for each in self.files],
        }
