"""Reads that compare the versions of one workflow; nothing is changed here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from autopilot.accounts.actors import Actor
from autopilot.accounts.roles import Permission
from autopilot.common.errors import NotFound
from autopilot.common.problems import Problem
from workflows import documents
from workflows.models import Workflow, WorkflowVersion
from workflows.numbering import FIRST_VERSION, frozen_numbers, is_free, lowest_honest
from workflows.versioning.contract import Bump, Reason
from workflows.versioning.diff import Change, compare
from workflows.versioning.guard import Judgement, judge
from workflows.versioning.semver import Version
from workflows.versioning.states import STARTABLE

_NOTHING = Judgement(Bump.NONE)


@dataclass(frozen=True, slots=True)
class Comparison:
    """What a definition changes against an earlier version.

    number: its own; None while nobody has chosen one.
    against: None for the first version, which breaks nobody.
    suggested: the lowest honest number that is free. enough: whether its own is not below what is
        honest; without a number of its own it is.
    """

    number: Version | None
    against: WorkflowVersion | None
    judgement: Judgement
    suggested: Version
    enough: bool

    @property
    def granted(self) -> Bump:
        """What its own number tells those who rely on the earlier version."""
        if self.number is None or self.against is None:
            return Bump.MAJOR
        before = self.against.number
        if self.number.major != before.major:
            return Bump.MAJOR
        return Bump.MINOR if self.number.minor != before.minor else Bump.PATCH

    @property
    def blocking(self) -> list[Reason]:
        """The reasons for which its own number is too small."""
        return [each for each in self.judgement.reasons if each.bump > self.granted]

    def as_dict(self) -> dict[str, Any]:
        return {
            "version": str(self.number) if self.number else None,
            "against": self.against.version if self.against else None,
            "suggested": str(self.suggested),
            "enough": self.enough,
            **self.judgement.as_dict(),
        }


def judge_version(
    *, actor: Actor, version: WorkflowVersion, against: WorkflowVersion | None = None
) -> Comparison:
    """What `version` means for those who rely on `against`: by default what stood before it."""
    actor.require(Permission.WORKFLOW_VIEW)
    if against is None:
        return judge_at(version, version.number)
    found = judge(against.definition, version.definition)
    suggested = found.number(against.number)
    enough = version.number >= suggested
    return Comparison(version.number, against, found, suggested, enough)


def judge_next(*, actor: Actor, workflow: Workflow, document: object) -> Comparison:
    """What a definition that is not saved would mean as the next version of `workflow`.

    Raises DefinitionError with every problem of the document.
    """
    actor.require(Permission.WORKFLOW_VIEW)
    parts = documents.read(document, slug=workflow.slug)
    return _judge_content(workflow, parts.definition, parts.version)


def judge_document(
    *, actor: Actor, workflow: Workflow, document: Mapping[str, Any], number: Version | None
) -> Comparison:
    """The same of a document that is valid already, under `number` where that may be taken.

    A number that may not follow what is published is not enough, whatever the document changes.
    """
    actor.require(Permission.WORKFLOW_VIEW)
    content = documents.content_of(document)
    if number is None or is_free(workflow, number):
        return _judge_content(workflow, content, number)
    return replace(_judge_content(workflow, content, None), number=number, enough=False)


def _judge_content(
    workflow: Workflow, content: dict[str, Any], number: Version | None
) -> Comparison:
    return judge_at(WorkflowVersion(workflow=workflow, definition=content), number)


def judge_at(version: WorkflowVersion, number: Version | None) -> Comparison:
    """What `version` would mean under `number`; None: as what follows the highest version."""
    before = basis_of(version.workflow, number)
    if before is None:
        return Comparison(number, None, _NOTHING, number or FIRST_VERSION, True)
    found = judge(before.definition, version.definition)
    published = frozen_numbers(version.workflow)
    if version.pk and not version.is_draft:
        published = [each for each in published if each < version.number]
    suggested = lowest_honest(found, before.number, published)
    enough = number is None or found.allows(before.number, number)
    return Comparison(number, before, found, suggested, enough)


def previous_of(version: WorkflowVersion) -> WorkflowVersion | None:
    """The version whose users got, or would get, this one next."""
    return basis_of(version.workflow, version.number)


def basis_of(workflow: Workflow, number: Version | None) -> WorkflowVersion | None:
    """The version whose users would get `number` next (None: the highest number of all).

    The highest one below it that can be started. Where none can be any more, the highest archived
    one: others may still name a range that it was in.
    """
    rows = workflow.versions.frozen().values_list("pk", "state", "major", "minor", "patch")
    every = [(row[1] in STARTABLE, Version(*row[2:]), row[0]) for row in rows]
    below = [each for each in every if number is None or each[1] < number]
    return workflow.versions.get(pk=max(below)[2]) if below else None


def differences(*, actor: Actor, old: WorkflowVersion, new: WorkflowVersion) -> list[Change]:
    """Every difference between two versions, by meaning."""
    actor.require(Permission.WORKFLOW_VIEW)
    return compare(old.definition, new.definition)


def document_differences(
    *, actor: Actor, old: WorkflowVersion, document: object
) -> tuple[str | None, list[Change]]:
    """Every difference between a version and a document that is not saved, and its number if it
    names one. Raises DefinitionError with every problem of the document.
    """
    actor.require(Permission.WORKFLOW_VIEW)
    parts = documents.read(document, slug=old.workflow.slug)
    number = str(parts.version) if parts.version else None
    return number, compare(old.definition, parts.definition)


def version_named(workflow: Workflow, number: str, *, path: str) -> WorkflowVersion:
    """The version of this number, drafts too; raises NotFound at `path`."""
    row = workflow.versions.filter(version=number).first()
    if row is None:
        message = f"The workflow {workflow.slug} has no version {number[:64]}."
        raise NotFound(message, details=[Problem(path, "version.unknown", message)])
    return row
