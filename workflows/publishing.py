"""Publishing: where a draft is held to its number, to its review, and frozen."""

from __future__ import annotations

from django.db import transaction

from autopilot.accounts import audit
from autopilot.accounts.actors import Actor
from autopilot.accounts.roles import Permission
from autopilot.common import clock
from autopilot.common.crypto import NoEncryptionKey, has_key
from autopilot.common.problems import Problem
from autopilot.common.storable import storable
from workflows import documents, rows
from workflows.comparison import Comparison, judge_at
from workflows.definition.compiled import content_hash
from workflows.errors import VersionTooSmall
from workflows.lifecycle import note_transition
from workflows.models import WorkflowVersion
from workflows.numbering import require_free
from workflows.reviewing import require_reviewed
from workflows.routing import refuse_during_rollout
from workflows.rows import Check
from workflows.versioning.states import VersionState

# In place of a number: the lowest honest one.
SUGGEST = "suggest"


@transaction.atomic
def publish_version(
    *,
    actor: Actor,
    version: WorkflowVersion,
    number: str | None = None,
    changelog: str | None = None,
    override_reason: str = "",
    check: Check | None = None,
) -> WorkflowVersion:
    """Freeze a draft and let executions pin it.

    number: publish it under this number; `suggest` is the lowest honest one; None keeps the
        draft's.
    changelog: what is new; None keeps the draft's.
    override_reason: why it is published although its number is too small, which needs a permission
        of its own; kept with the guard's judgement. Not looked at where the number is honest.
    The definition is validated again: actions may have gone since it was saved. Raises Conflict
    when it is no draft or the number is taken, DefinitionError with every problem,
    NoEncryptionKey when it hides values and can't, VersionTooSmall with every reason, NotReviewed.
    """
    actor.require(Permission.WORKFLOW_PUBLISH)
    override_reason = rows.kept_text(
        override_reason, path="$.override_reason", limit=rows.MAX_REASON
    ).strip()
    workflow = rows.lock(version.workflow)
    draft = rows.locked_draft(version, "published", check)
    refuse_during_rollout(workflow, f"Version {draft.version} can't be published")
    documents.require_valid(draft.definition)
    _require_key(draft)
    before = {"state": VersionState.DRAFT, "version": draft.version}
    found = _numbered(draft, number)
    require_free(workflow, draft.number)
    if not found.enough:
        if not override_reason:
            raise _too_small(draft, found)
        actor.require(Permission.WORKFLOW_OVERRIDE_GUARD)
    require_reviewed(draft)
    now = clock.now()
    draft.content_hash = content_hash(draft.definition)
    if changelog is not None:
        draft.changelog = rows.changelog_of(changelog)
    draft.updated_at = now
    draft.publish(at=now)
    rows.save(draft)
    rows.touch(workflow)
    overridden = {} if found.enough else {"override_reason": override_reason}
    note_transition(
        draft,
        source=VersionState.DRAFT,
        actor=actor,
        reason=overridden.get("override_reason", ""),
        judgement=storable(found.as_dict()),
    )
    audit.record(
        actor=actor,
        action="workflow.published",
        target=draft,
        before=before,
        after={**rows.facts_of(draft), **overridden},
    )
    return draft


def _numbered(draft: WorkflowVersion, number: str | None) -> Comparison:
    """Give the draft the number it is to be published under, and judge it there."""
    if number is None:
        return judge_at(draft, draft.number)
    if number != SUGGEST:
        wanted = documents.parse_number(number, path="$.version")
    else:
        wanted = judge_at(draft, draft.number).suggested
    rows.set_number(draft, wanted)
    return judge_at(draft, wanted)


def _too_small(draft: WorkflowVersion, found: Comparison) -> VersionTooSmall:
    blocking = found.blocking
    against = found.against.version if found.against else ""
    message = (
        f"Version {draft.version} of the workflow {draft.workflow.slug} is too small: after "
        f"{against} the lowest honest number is {found.suggested}. See the reasons in details."
    )
    if found.judgement.more:
        message += f" There are {found.judgement.more} more than are listed."
    details = [Problem(each.path, each.kind, each.sentence) for each in blocking]
    return VersionTooSmall(message, details=details)


def _require_key(draft: WorkflowVersion) -> None:
    if draft.definition.get("redact") and not has_key():
        message = (
            "It hides values, and there is no key to encrypt them with; set "
            "AUTOPILOT_ENCRYPTION_KEYS."
        )
        raise NoEncryptionKey(message, details=[Problem("$.redact", NoEncryptionKey.code, message)])
