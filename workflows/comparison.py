"""Reads that compare the versions of one workflow; nothing is changed here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from autopilot.accounts.actors import Actor
from autopilot.accounts.roles import Permission
from autopilot.common.errors import NotFound
from autopilot.common.problems import Problem
from workflows import documents
from workflows.models import Workflow, WorkflowVersion
from workflows.versioning.diff import Change, compare
from workflows.versioning.guard import Judgement, judge
from workflows.versioning.semver import Version


@dataclass(frozen=True, slots=True)
class Comparison:
    """What a version changes against an earlier one.

    against: None for the first version, which breaks nobody.
    suggested: the lowest honest number. enough: whether the version's own is not below that.
    """

    version: WorkflowVersion
    against: WorkflowVersion | None
    judgement: Judgement
    suggested: Version
    enough: bool


def judge_version(
    *, actor: Actor, version: WorkflowVersion, against: WorkflowVersion | None = None
) -> Comparison:
    """What `version` means for those who rely on `against`: by default what stood before it."""
    actor.require(Permission.WORKFLOW_VIEW)
    before = against or previous_of(version)
    if before is None:
        nothing = judge(version.definition, version.definition)
        return Comparison(version, None, nothing, version.number, True)
    found = judge(before.definition, version.definition)
    enough = found.allows(before.number, version.number)
    return Comparison(version, before, found, found.number(before.number), enough)


def previous_of(version: WorkflowVersion) -> WorkflowVersion | None:
    """The highest version below this one that was ever published."""
    rows = version.workflow.versions.frozen().exclude(pk=version.pk)
    numbers = {
        Version(*row[1:]): row[0] for row in rows.values_list("pk", "major", "minor", "patch")
    }
    highest = max((each for each in numbers if each < version.number), default=None)
    return rows.get(pk=numbers[highest]) if highest is not None else None


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


def judge_document(
    *, actor: Actor, against: WorkflowVersion, document: Mapping[str, Any]
) -> Judgement:
    """What a valid document that is not saved means for those who rely on `against`."""
    actor.require(Permission.WORKFLOW_VIEW)
    return judge(against.definition, documents.content_of(document))


def version_named(workflow: Workflow, number: str, *, path: str) -> WorkflowVersion:
    """The version of this number, drafts too; raises NotFound at `path`."""
    row = workflow.versions.filter(version=number).first()
    if row is None:
        message = f"The workflow {workflow.slug} has no version {number[:64]}."
        raise NotFound(message, details=[Problem(path, "version.unknown", message)])
    return row
