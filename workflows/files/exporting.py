"""Workflows as files: what each of them says, the same bytes whenever nothing has changed."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from autopilot.accounts.actors import Actor
from autopilot.accounts.roles import Permission
from autopilot.common.errors import NotFound
from autopilot.common.problems import Problem
from workflows.definition.compiled import content_hash
from workflows.files.contents import HEAD, FileContent, file_text
from workflows.models import Workflow, WorkflowVersion

_AT_ONCE = 100
# A zip file stamps what is in it; with one moment for all of them it stays the same too.
_NO_TIME = (1980, 1, 1, 0, 0, 0)


@dataclass(frozen=True, slots=True)
class ExportedFile:
    """A workflow as a file: `<slug>.yaml`, and which version is in it.

    The fields after `text` are what it says, for comparing.
    """

    slug: str
    version: str
    state: str
    text: str
    content_hash: str
    changelog: str
    head: Mapping[str, Any]
    review_required: bool

    @property
    def name(self) -> str:
        return f"{self.slug}.yaml"

    def is_said_by(self, content: FileContent) -> bool:
        """Whether a file says the same: importing it would change nothing."""
        parts = content.parts
        return (
            parts is not None
            and content_hash(parts.definition) == self.content_hash
            and (parts.version is None or str(parts.version) == self.version)
            and content.changelog in (None, self.changelog)
            and content.head == self.head
            and content.review_required in (None, self.review_required)
        )


@dataclass(frozen=True, slots=True)
class Export:
    """The files, and the slugs of those who have no version to be written."""

    files: list[ExportedFile] = field(default_factory=list)
    without: list[str] = field(default_factory=list)


def export_workflows(
    *, actor: Actor, slugs: Sequence[str] | None = None, drafts: bool = False
) -> Export:
    """Every workflow, or those with these slugs, by its live version.

    drafts: a draft goes before the live version. Raises NotFound for slugs that nobody has.
    """
    actor.require(Permission.WORKFLOW_VIEW)
    rows = Workflow.objects.visible_to(actor).with_live_version().order_by("slug")
    if slugs is not None:
        rows = rows.filter(slug__in=list(slugs))
    workflows = list(rows)
    _require_all(workflows, slugs or ())
    export = Export()
    for at in range(0, len(workflows), _AT_ONCE):
        for workflow, version in _with_versions(workflows[at : at + _AT_ONCE], drafts):
            if version is None:
                export.without.append(workflow.slug)
            else:
                export.files.append(exported(version, workflow))
    return export


def exported(version: WorkflowVersion, workflow: Workflow) -> ExportedFile:
    """The file that a workflow is with this version."""
    return ExportedFile(
        workflow.slug,
        version.version,
        str(version.state),
        file_text(version, workflow),
        version.content_hash,
        version.changelog,
        {key: getattr(workflow, key) for key in HEAD},
        workflow.review_required,
    )


def zipped(files: Iterable[ExportedFile]) -> bytes:
    """All files in one, equal bytes for equal files."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for each in files:
            entry = zipfile.ZipInfo(each.name, date_time=_NO_TIME)
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.external_attr = 0o644 << 16
            archive.writestr(entry, each.text.encode())
    return buffer.getvalue()


def _require_all(workflows: Iterable[Workflow], slugs: Iterable[str]) -> None:
    missing = sorted(set(slugs) - {workflow.slug for workflow in workflows})
    if missing:
        message = f"There is no workflow {', '.join(missing)}."
        raise NotFound(message, details=[Problem("$.workflow", "workflow.unknown", message)])


def _with_versions(
    workflows: Sequence[Workflow], drafts: bool
) -> Iterator[tuple[Workflow, WorkflowVersion | None]]:
    numbers = {
        row.pk: (drafts and row.draft_version) or row.live_version  # type: ignore[attr-defined]
        for row in workflows
    }
    rows = WorkflowVersion.objects.filter(
        workflow__in=workflows, version__in={each for each in numbers.values() if each}
    )
    found = {(row.workflow_id, row.version): row for row in rows}
    for workflow in workflows:
        yield workflow, found.get((workflow.pk, numbers[workflow.pk] or ""))
