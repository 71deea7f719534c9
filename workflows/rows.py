"""What the services of this app share: locks, stamps, and rows that are saved with a sentence."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.db import IntegrityError, models, transaction

from autopilot.accounts.actors import Actor
from autopilot.common import clock
from autopilot.common.errors import Conflict, Invalid
from autopilot.common.problems import Problem
from workflows import documents
from workflows.models import Workflow, WorkflowVersion
from workflows.versioning.semver import Version
from workflows.versioning.states import VersionState

# Given the row, locked and read anew, before anything is changed; raises to stop the change.
Check = Callable[[models.Model], None]

MAX_CHANGELOG = 4_000
MAX_COMMENT = 4_000
MAX_REASON = 1_000


def lock(workflow: Workflow) -> Workflow:
    """Two people who change versions of one workflow wait for each other here.

    NO KEY: an execution that starts only refers to the row and must not wait.
    """
    return Workflow.objects.select_for_update(no_key=True).get(pk=workflow.pk)


def touch(workflow: Workflow) -> None:
    """What is shown of a workflow includes its live version and its draft: its time moves too."""
    workflow.updated_at = clock.now()
    workflow.save(update_fields=["updated_at"])


def locked_version(version: WorkflowVersion, check: Check | None) -> WorkflowVersion:
    """The row as it is now, held; raises Conflict if it is gone, and what `check` raises."""
    row = (
        WorkflowVersion.objects.select_for_update(no_key=True, of=("self",))
        .select_related("workflow")
        .filter(pk=version.pk)
        .first()
    )
    if row is None:
        raise Conflict(f"Version {version.version} is gone: somebody deleted the draft.")
    if check is not None:
        check(row)
    return row


def locked_draft(version: WorkflowVersion, verb: str, check: Check | None) -> WorkflowVersion:
    """`locked_version` of a draft; `verb` (such as `published`) says what only a draft can be."""
    row = locked_version(version, check)
    if row.state != VersionState.DRAFT:
        message = (
            f"Version {row.version} of the workflow {row.workflow.slug} is {row.state} and can't "
            f"be {verb}: only a draft can."
        )
        raise Conflict(message, details=[Problem("$.state", "version.not_draft", message)])
    return row


def save(row: WorkflowVersion) -> None:
    """Save; what the locks of this module can't exclude is still a Conflict, not an error page."""
    try:
        with transaction.atomic():
            row.save()
    except IntegrityError as error:
        if constraint_of(error) == "version_unique":
            raise number_taken(row.workflow, row.number) from error
        if constraint_of(error) == "version_one_draft":
            raise Conflict(f"The workflow {row.workflow.slug} has a draft already.") from error
        raise


def constraint_of(error: IntegrityError) -> str:
    diagnostics = getattr(error.__cause__, "diag", None)
    return str(getattr(diagnostics, "constraint_name", None) or "")


def number_taken(workflow: Workflow, number: Version) -> Conflict:
    message = f"The workflow {workflow.slug} has a version {number} already."
    return Conflict(message, details=[Problem("$.version", "version.taken", message)])


def set_number(row: WorkflowVersion, number: Version) -> None:
    row.version = str(number)
    row.major, row.minor, row.patch = number.numbers


def note_writer(draft: WorkflowVersion, actor: Actor) -> None:
    """`actor` has a hand in the draft: another person has to approve it."""
    if actor.id is not None:
        draft.writers.add(actor.id)


def changelog_of(text: str) -> str:
    return kept_text(text, path="$.changelog", limit=MAX_CHANGELOG)


def kept_text(text: str, *, path: str, limit: int) -> str:
    """`text`, if it can be kept; raises Invalid at `path` for anything else."""
    problem = documents.text_problem(text, path=path, limit=limit)
    if problem is not None:
        raise Invalid(problem.message, details=[problem])
    return text


def facts_of(version: WorkflowVersion) -> dict[str, Any]:
    """What the audit trail says of a version."""
    return {
        "version": version.version,
        "state": version.state,
        "content_hash": version.content_hash,
        "changelog": version.changelog,
    }
