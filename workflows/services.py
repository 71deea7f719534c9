"""The one door for every change of workflows and versions: permission, rules, audit, one commit."""

from __future__ import annotations

from collections.abc import Mapping

from django.db import IntegrityError, transaction

from autopilot.accounts import audit
from autopilot.accounts.actors import Actor
from autopilot.accounts.roles import Permission
from autopilot.common import clock
from autopilot.common.errors import Conflict, Invalid
from autopilot.common.problems import Problem
from workflows import documents
from workflows.definition.compiled import content_hash
from workflows.lifecycle import (
    ChangeState,
    archive_version,
    deprecate_version,
    reinstate_version,
    restore_version,
)
from workflows.models import Workflow, WorkflowVersion
from workflows.numbering import FIRST_VERSION, next_number, require_free
from workflows.publishing import SUGGEST, publish_version
from workflows.resolving import resolve_version, version_in_range
from workflows.reviewing import require_review, review_version
from workflows.rows import (
    Check,
    changelog_of,
    constraint_of,
    facts_of,
    lock,
    locked_draft,
    note_writer,
    save,
    set_number,
    touch,
)
from workflows.slugs import RESERVED, derive_slug, free_slug
from workflows.versioning.semver import Version
from workflows.versioning.states import VersionState

# A name that many people take in the same moment: each try sees what the last one lost against.
_SLUG_TRIES = 50


def validate(*, actor: Actor, document: object) -> list[Problem]:
    """Every problem of a definition; nothing is saved. For whoever may read workflows."""
    actor.require(Permission.WORKFLOW_VIEW)
    return documents.problems_of(document)


@transaction.atomic
def create_workflow(*, actor: Actor, document: object, changelog: str = "") -> WorkflowVersion:
    """A new workflow with `document` as its first draft.

    The slug comes from the document, or is derived from its name and then made unique; the version
    is the document's or 1.0.0. Raises DefinitionError with every problem, Conflict when the slug
    is taken.
    """
    actor.require(Permission.WORKFLOW_EDIT)
    parts = documents.read(document)
    if parts.slug in RESERVED:
        message = f"The slug {parts.slug!r} is a word of the API: choose another."
        raise Invalid(message, details=[Problem("$.slug", "slug.reserved", message)])
    workflow = _insert_workflow(actor, parts)
    _audit_workflow(actor, "workflow.created", workflow)
    number = parts.version or FIRST_VERSION
    return _insert_version(actor, workflow, parts, number, changelog)


@transaction.atomic
def create_version(
    *,
    actor: Actor,
    workflow: Workflow,
    document: object,
    version: str | None = None,
    changelog: str = "",
) -> WorkflowVersion:
    """A new draft of `workflow`.

    The number is `version`, or the document's, or the next minor one; it must be above every
    published one. Raises DefinitionError with every problem, Conflict when there is a draft
    already.
    """
    actor.require(Permission.WORKFLOW_EDIT)
    parts = documents.read(document, slug=workflow.slug, version=version)
    workflow = lock(workflow)
    draft = workflow.versions.filter(state=VersionState.DRAFT).first()
    if draft is not None:
        raise Conflict(
            f"The workflow {workflow.slug} has the draft {draft.version} already: change, publish "
            "or delete it first."
        )
    number = _chosen_number(workflow, parts)
    touch(workflow)
    return _insert_version(actor, workflow, parts, number, changelog)


@transaction.atomic
def update_draft(
    *,
    actor: Actor,
    version: WorkflowVersion,
    document: object,
    number: str | None = None,
    changelog: str | None = None,
    check: Check | None = None,
) -> WorkflowVersion:
    """Replace the content of a draft; its number only if `number` or the document names one.

    Raises Conflict once it is published, DefinitionError with every problem.
    """
    actor.require(Permission.WORKFLOW_EDIT)
    parts = documents.read(document, slug=version.workflow.slug, version=number)
    workflow = lock(version.workflow)
    draft = locked_draft(version, "changed", check)
    before = facts_of(draft)
    if parts.version is not None and parts.version != draft.number:
        require_free(workflow, parts.version)
        set_number(draft, parts.version)
    draft.definition = parts.definition
    draft.content_hash = content_hash(parts.definition)
    if changelog is not None:
        draft.changelog = changelog_of(changelog)
    draft.updated_at = clock.now()
    save(draft)
    note_writer(draft, actor)
    touch(workflow)
    audit.record(
        actor=actor,
        action="workflow.version_updated",
        target=draft,
        before=before,
        after=facts_of(draft),
    )
    return draft


@transaction.atomic
def delete_draft(*, actor: Actor, version: WorkflowVersion, check: Check | None = None) -> None:
    """Remove a draft for good. Raises Conflict once it is published."""
    actor.require(Permission.WORKFLOW_EDIT)
    workflow = lock(version.workflow)
    draft = locked_draft(version, "deleted", check)
    audit.record(
        actor=actor, action="workflow.version_deleted", target=draft, before=facts_of(draft)
    )
    draft.delete()
    touch(workflow)


@transaction.atomic
def update_workflow(
    *,
    actor: Actor,
    workflow: Workflow,
    name: str | None = None,
    description: str | None = None,
    labels: Mapping[str, str] | None = None,
    check: Check | None = None,
) -> Workflow:
    """Change what a workflow is found by; None leaves a field as it is.

    Versions, their documents and hashes stay as they are. Raises Invalid with every problem.
    """
    actor.require(Permission.WORKFLOW_EDIT)
    given = {"name": name, "description": description, "labels": labels}
    changes = {field: value for field, value in given.items() if value is not None}
    documents.require_valid_head(changes)
    row = lock(workflow)
    if check is not None:
        check(row)
    before = {field: getattr(row, field) for field in changes}
    changes = {field: value for field, value in changes.items() if value != before[field]}
    if not changes:
        return row
    for field, value in changes.items():
        setattr(row, field, value)
    row.updated_at = clock.now()
    row.save(update_fields=[*changes, "updated_at"])
    audit.record(
        actor=actor,
        action="workflow.updated",
        target=row,
        before={field: before[field] for field in changes},
        after=changes,
    )
    return row


def _insert_workflow(actor: Actor, parts: documents.Parts) -> Workflow:
    if parts.slug is not None:
        try:
            with transaction.atomic():
                return _workflow_row(actor, parts, parts.slug)
        except IntegrityError as error:
            raise _slug_taken(parts.slug, error) from error
    base = derive_slug(parts.name)
    for _ in range(_SLUG_TRIES):
        taken = set(
            Workflow.objects.filter(slug__startswith=base[:90]).values_list("slug", flat=True)
        )
        slug = free_slug(base, taken)
        try:
            # A savepoint: who loses the race for the name tries the next one.
            with transaction.atomic():
                return _workflow_row(actor, parts, slug)
        except IntegrityError as error:
            _slug_taken(slug, error)
    raise Conflict(f"No free slug was found for {parts.name!r}: name one in the document.")


def _workflow_row(actor: Actor, parts: documents.Parts, slug: str) -> Workflow:
    now = clock.now()
    return Workflow.objects.create(
        slug=slug,
        name=parts.name,
        description=parts.description,
        labels=parts.labels,
        created_by_id=actor.id,
        created_at=now,
        updated_at=now,
    )


def _slug_taken(slug: str, error: IntegrityError) -> Conflict:
    """The Conflict for a slug that is taken; raises `error` again if it is about anything else."""
    if constraint_of(error).startswith("workflows_workflow_slug"):
        message = f"There is a workflow with the slug {slug!r} already."
        return Conflict(message, details=[Problem("$.slug", "slug.taken", message)])
    raise error


def _insert_version(
    actor: Actor, workflow: Workflow, parts: documents.Parts, number: Version, changelog: str
) -> WorkflowVersion:
    now = clock.now()
    row = WorkflowVersion(
        workflow=workflow,
        definition=parts.definition,
        content_hash=content_hash(parts.definition),
        changelog=changelog_of(changelog),
        author_id=actor.id,
        created_at=now,
        updated_at=now,
    )
    set_number(row, number)
    save(row)
    note_writer(row, actor)
    audit.record(actor=actor, action="workflow.version_created", target=row, after=facts_of(row))
    return row


def _chosen_number(workflow: Workflow, parts: documents.Parts) -> Version:
    if parts.version is None:
        return next_number(workflow)
    require_free(workflow, parts.version)
    return parts.version


def _audit_workflow(actor: Actor, action: str, workflow: Workflow) -> None:
    audit.record(
        actor=actor,
        action=action,
        target=workflow,
        after={
            "slug": workflow.slug,
            "name": workflow.name,
            "description": workflow.description,
            "labels": workflow.labels,
        },
    )


__all__ = [
    "SUGGEST",
    "ChangeState",
    "archive_version",
    "create_version",
    "create_workflow",
    "delete_draft",
    "deprecate_version",
    "publish_version",
    "reinstate_version",
    "require_review",
    "resolve_version",
    "restore_version",
    "review_version",
    "update_draft",
    "update_workflow",
    "validate",
    "version_in_range",
]
