"""Where a version is in its life: deprecated, taken back, archived. Its content stays frozen."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from django.db import transaction

from autopilot.accounts import audit
from autopilot.accounts.actors import Actor
from autopilot.accounts.roles import Permission
from autopilot.common import clock
from autopilot.common.problems import Problem
from workflows import rows
from workflows.errors import MoveRefused
from workflows.models import VersionTransition, WorkflowVersion
from workflows.routing import refuse_during_rollout
from workflows.rows import Check
from workflows.versioning.states import MOVES, Move, VersionState

# `deprecate_version` and its like.
ChangeState = Callable[..., WorkflowVersion]

_BY_NAME = {move.name: move for move in MOVES}
# What the audit trail calls them.
_ACTIONS = {
    "deprecate": "workflow.deprecated",
    "reinstate": "workflow.reinstated",
    "archive": "workflow.archived",
    "restore": "workflow.restored",
}


def deprecate_version(
    *, actor: Actor, version: WorkflowVersion, reason: str = "", check: Check | None = None
) -> WorkflowVersion:
    """Let a published version start only for those who name this very number.

    What runs on it goes on. Starts without a number take the next highest published version, if
    there is one. Raises PermissionDenied, MoveRefused, Invalid for a reason that can't be kept.
    """
    return _move(actor, version, "deprecate", reason, check)


def reinstate_version(
    *, actor: Actor, version: WorkflowVersion, reason: str = "", check: Check | None = None
) -> WorkflowVersion:
    """Publish a deprecated version again, as it was. Raises like `deprecate_version`."""
    return _move(actor, version, "reinstate", reason, check)


def archive_version(
    *, actor: Actor, version: WorkflowVersion, reason: str = "", check: Check | None = None
) -> WorkflowVersion:
    """Let a deprecated version start for nobody; what runs on it goes on.

    Raises like `deprecate_version`.
    """
    return _move(actor, version, "archive", reason, check)


def restore_version(
    *, actor: Actor, version: WorkflowVersion, reason: str = "", check: Check | None = None
) -> WorkflowVersion:
    """Make an archived version a deprecated one again. Raises like `deprecate_version`."""
    return _move(actor, version, "restore", reason, check)


def note_transition(
    version: WorkflowVersion,
    *,
    source: VersionState,
    actor: Actor,
    reason: str = "",
    judgement: Mapping[str, Any] | None = None,
) -> VersionTransition:
    """Write down how a version, locked by the caller, came from `source` into its state."""
    last = version.transitions.order_by("-seq").values_list("seq", flat=True).first()
    return VersionTransition.objects.create(
        version=version,
        seq=(last or 0) + 1,
        source=source,
        target=version.state,
        reason=reason,
        judgement=judgement,
        actor=actor.name[:200],
        at=version.updated_at,
    )


@transaction.atomic
def _move(
    actor: Actor, version: WorkflowVersion, verb: str, reason: str, check: Check | None
) -> WorkflowVersion:
    actor.require(Permission.WORKFLOW_PUBLISH)
    reason = rows.kept_text(reason, path="$.reason", limit=rows.MAX_REASON)
    move = _BY_NAME[verb]
    workflow = rows.lock(version.workflow)
    row = rows.locked_version(version, check)
    if row.state != move.source:
        raise _refused(row, move)
    if VersionState.PUBLISHED in (move.source, move.target):
        # What the starts take is the rollout's to say until it has ended.
        refuse_during_rollout(workflow, f"Version {row.version} can't be {_DONE[verb]}")
    row.updated_at = clock.now()
    getattr(row, verb)()
    rows.save(row)
    rows.touch(workflow)
    note_transition(row, source=move.source, actor=actor, reason=reason)
    audit.record(
        actor=actor,
        action=_ACTIONS[verb],
        target=row,
        before={"state": move.source},
        after={"state": row.state, "reason": reason},
    )
    return row


def _refused(row: WorkflowVersion, move: Move) -> MoveRefused:
    message = (
        f"Version {row.version} of the workflow {row.workflow.slug} is {row.state}: only a "
        f"{move.source} version can be {_DONE[move.name]}."
    )
    return MoveRefused(message, details=[Problem("$.state", MoveRefused.code, message)])


_DONE = {
    "deprecate": "deprecated",
    "reinstate": "reinstated",
    "archive": "archived",
    "restore": "restored",
}
