"""The one door for every change of workflows and versions: permission, rules, audit, one commit."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from django.db import IntegrityError, models, transaction

from autopilot.accounts import audit
from autopilot.accounts.actors import Actor
from autopilot.accounts.roles import Permission
from autopilot.common import clock
from autopilot.common.crypto import NoEncryptionKey, has_key
from autopilot.common.errors import Conflict, Invalid
from autopilot.common.problems import Problem
from workflows import documents
from workflows.definition.compiled import content_hash
from workflows.models import Workflow, WorkflowVersion
from workflows.querysets import WorkflowVersionQuerySet
from workflows.routing import refuse_during_rollout
from workflows.slugs import RESERVED, derive_slug, free_slug
from workflows.versioning import semver
from workflows.versioning.ranges import Range
from workflows.versioning.semver import Version
from workflows.versioning.states import VersionState

FIRST_VERSION = Version(1, 0, 0)

# Given the row, locked and read anew, before anything is changed; raises to stop the change.
Check = Callable[[models.Model], None]
MAX_CHANGELOG = 4_000

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
    workflow = _lock(workflow)
    draft = workflow.versions.filter(state=VersionState.DRAFT).first()
    if draft is not None:
        raise Conflict(
            f"The workflow {workflow.slug} has the draft {draft.version} already: change, publish "
            "or delete it first."
        )
    number = _next_number(workflow, parts)
    _touch(workflow)
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
    workflow = _lock(version.workflow)
    draft = _locked_draft(version, "changed", check)
    before = _facts(draft)
    if parts.version is not None and parts.version != draft.number:
        _require_higher(workflow, parts.version)
        _set_number(draft, parts.version)
    draft.definition = parts.definition
    draft.content_hash = content_hash(parts.definition)
    if changelog is not None:
        draft.changelog = _changelog(changelog)
    draft.updated_at = clock.now()
    _save(draft)
    _touch(workflow)
    audit.record(
        actor=actor,
        action="workflow.version_updated",
        target=draft,
        before=before,
        after=_facts(draft),
    )
    return draft


@transaction.atomic
def delete_draft(*, actor: Actor, version: WorkflowVersion, check: Check | None = None) -> None:
    """Remove a draft for good. Raises Conflict once it is published."""
    actor.require(Permission.WORKFLOW_EDIT)
    workflow = _lock(version.workflow)
    draft = _locked_draft(version, "deleted", check)
    audit.record(actor=actor, action="workflow.version_deleted", target=draft, before=_facts(draft))
    draft.delete()
    _touch(workflow)


@transaction.atomic
def publish_version(
    *,
    actor: Actor,
    version: WorkflowVersion,
    changelog: str | None = None,
    check: Check | None = None,
) -> WorkflowVersion:
    """Freeze a draft and let executions pin it.

    changelog: what is new; None keeps the draft's. The definition is validated again: actions may
    have gone since it was saved. Raises Conflict when it is no draft, DefinitionError with every
    problem, NoEncryptionKey when it hides values and can't.
    """
    actor.require(Permission.WORKFLOW_PUBLISH)
    workflow = _lock(version.workflow)
    draft = _locked_draft(version, "published", check)
    refuse_during_rollout(workflow, f"Version {draft.version} can't be published")
    documents.require_valid(draft.definition)
    _require_key(draft)
    _require_higher(workflow, draft.number)
    now = clock.now()
    draft.content_hash = content_hash(draft.definition)
    if changelog is not None:
        draft.changelog = _changelog(changelog)
    draft.updated_at = now
    draft.publish(at=now)
    _save(draft)
    _touch(workflow)
    audit.record(
        actor=actor,
        action="workflow.published",
        target=draft,
        before={"state": VersionState.DRAFT},
        after=_facts(draft),
    )
    return draft


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
    row = _lock(workflow)
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


def resolve_version(
    *, workflow: Workflow, version: str | None = None, candidate: int | None = None
) -> WorkflowVersion:
    """The version that a start runs: the live one, or the one it names.

    candidate: what `Route.choose` gave this start; it takes that instead of the live one. Raises
    Conflict when nothing is published or the named one can't be started, Invalid (path
    `$.version`) when there is no such number.
    """
    if version is None:
        live = version_in_range(workflow=workflow, range=None, candidate=candidate)
        if live is None:
            message = f"The workflow {workflow.slug} has no published version to start."
            problem = Problem("$.workflow", "workflow.not_published", message)
            raise Conflict(message, details=[problem])
        return live
    number = documents.parse_number(version, path="$.version")
    row = workflow.versions.filter(version=str(number)).first()
    if row is None:
        message = f"The workflow {workflow.slug} has no version {number}."
        raise Invalid(message, details=[Problem("$.version", "version.unknown", message)])
    if row.state == VersionState.DRAFT:
        raise _not_startable(row, "is a draft: publish it before it is started")
    if row.state == VersionState.ARCHIVED:
        raise _not_startable(row, "is archived and can't be started any more")
    return row


def version_in_range(
    *, workflow: Workflow, range: Range | None, candidate: int | None = None
) -> WorkflowVersion | None:
    """The highest published version in `range` (None: of all); None if there is none.

    A rollout's candidate that is in the range is for those that it was given to (see
    `resolve_version`), and for all if nothing else is in the range. A range that names exactly one
    version is also content with a deprecated one, as a start is.
    """
    if range is not None and range.exact is not None:
        return workflow.versions.startable().filter(version=str(range.exact)).first()
    published = workflow.versions.published()
    if candidate is not None:
        chosen = published.filter(pk=candidate).first()
        if chosen is not None and (range is None or chosen.number in range):
            return chosen
    established = workflow.versions.established()
    return _highest(established, range) or _highest(published, range)


def _highest(rows: WorkflowVersionQuerySet, range: Range | None) -> WorkflowVersion | None:
    if range is None:
        return rows.highest_first().first()
    numbers = {semver.parse(text): text for text in rows.values_list("version", flat=True)}
    highest = range.highest(numbers)
    return rows.get(version=numbers[highest]) if highest is not None else None


def _not_startable(version: WorkflowVersion, why: str) -> Conflict:
    message = f"Version {version.version} of the workflow {version.workflow.slug} {why}."
    return Conflict(message, details=[Problem("$.version", "version.not_startable", message)])


def _lock(workflow: Workflow) -> Workflow:
    """Two people who change versions of one workflow wait for each other here.

    NO KEY: an execution that starts only refers to the row and must not wait.
    """
    return Workflow.objects.select_for_update(no_key=True).get(pk=workflow.pk)


def _touch(workflow: Workflow) -> None:
    """What is shown of a workflow includes its live version and its draft: its time moves too."""
    workflow.updated_at = clock.now()
    workflow.save(update_fields=["updated_at"])


def _locked_draft(version: WorkflowVersion, verb: str, check: Check | None) -> WorkflowVersion:
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
    if row.state != VersionState.DRAFT:
        message = (
            f"Version {row.version} of the workflow {row.workflow.slug} is {row.state} and can't "
            f"be {verb}: only a draft can."
        )
        raise Conflict(message, details=[Problem("$.state", "version.not_draft", message)])
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
    if _constraint(error).startswith("workflows_workflow_slug"):
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
        changelog=_changelog(changelog),
        author_id=actor.id,
        created_at=now,
        updated_at=now,
    )
    _set_number(row, number)
    _save(row)
    audit.record(actor=actor, action="workflow.version_created", target=row, after=_facts(row))
    return row


def _save(row: WorkflowVersion) -> None:
    """Save; what the locks of this module can't exclude is still a Conflict, not an error page."""
    try:
        with transaction.atomic():
            row.save()
    except IntegrityError as error:
        if _constraint(error) == "version_unique":
            raise _number_taken(row.workflow, row.number) from error
        if _constraint(error) == "version_one_draft":
            raise Conflict(f"The workflow {row.workflow.slug} has a draft already.") from error
        raise


def _constraint(error: IntegrityError) -> str:
    diagnostics = getattr(error.__cause__, "diag", None)
    return str(getattr(diagnostics, "constraint_name", None) or "")


def _set_number(row: WorkflowVersion, number: Version) -> None:
    row.version = str(number)
    row.major, row.minor, row.patch = number.numbers


def _next_number(workflow: Workflow, parts: documents.Parts) -> Version:
    highest = workflow.versions.highest_first().first()
    if parts.version is None:
        return FIRST_VERSION if highest is None else highest.number.bump_minor()
    _require_higher(workflow, parts.version)
    return parts.version


def _require_key(draft: WorkflowVersion) -> None:
    if draft.definition.get("redact") and not has_key():
        message = (
            "It hides values, and there is no key to encrypt them with; set "
            "AUTOPILOT_ENCRYPTION_KEYS."
        )
        raise NoEncryptionKey(message, details=[Problem("$.redact", NoEncryptionKey.code, message)])


def _require_higher(workflow: Workflow, number: Version) -> None:
    highest = workflow.versions.frozen().highest_first().first()
    if highest is None or number > highest.number:
        return
    if workflow.versions.frozen().filter(version=str(number)).exists():
        raise _number_taken(workflow, number)
    message = (
        f"Version {number} is below {highest.version}, which is published: a number above it was "
        "expected."
    )
    raise Conflict(message, details=[Problem("$.version", "version.too_low", message)])


def _number_taken(workflow: Workflow, number: Version) -> Conflict:
    message = f"The workflow {workflow.slug} has a version {number} already."
    return Conflict(message, details=[Problem("$.version", "version.taken", message)])


def _changelog(text: str) -> str:
    problem = documents.text_problem(text, path="$.changelog", limit=MAX_CHANGELOG)
    if problem is not None:
        raise Invalid(problem.message, details=[problem])
    return text


def _facts(version: WorkflowVersion) -> dict[str, Any]:
    return {
        "version": version.version,
        "state": version.state,
        "content_hash": version.content_hash,
        "changelog": version.changelog,
    }


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
