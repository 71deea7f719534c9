"""Rolling a version out to some of the starts: begin, change, promote, take back, stop.

Whoever decides holds the workflow's lock, as whoever publishes does: of two at once one wins, and
the other one hears that the rollout has ended. Each decision is a row with its evidence.
"""

from __future__ import annotations

import secrets
from decimal import Decimal
from typing import Any

import structlog
from django.db import transaction

from autopilot.accounts import audit
from autopilot.accounts.actors import Actor
from autopilot.accounts.roles import Permission
from autopilot.common import clock
from autopilot.common.errors import Conflict, Invalid
from autopilot.common.problems import Problem
from workflows import documents, rows
from workflows.evidence import evidence_of
from workflows.models import Rollout, RolloutDecision, Workflow, WorkflowVersion
from workflows.rollout_terms import (
    MAX_REASON_CHARS,
    RolloutInvalid,
    RolloutTerms,
    checked_percent,
    checked_reason,
)
from workflows.routing import RolloutActive, refuse_during_rollout
from workflows.services import deprecate_version, publish_version, reinstate_version
from workflows.versioning.rollouts import DecisionKind
from workflows.versioning.states import VersionState

log = structlog.get_logger(__name__)


class RolloutEnded(Conflict):
    """The rollout has ended, and what was decided stays."""

    code = "rollout.ended"


@transaction.atomic
def start_rollout(
    *,
    workflow: Workflow,
    actor: Actor,
    version: str | None = None,
    terms: RolloutTerms | None = None,
    reason: str = "",
    **publishing: Any,
) -> Rollout:
    """Let a percentage of the starts take another version than the live one.

    version: its number; None: the draft. A draft is published by the way and a deprecated version
    reinstated, in this transaction, so that there is no moment in which every start would take it;
    publishing: what `publish_version` takes besides. The live version stays what all others take.
    Raises PermissionDenied, RolloutInvalid with every problem, RolloutActive, Conflict when there
    is no live version or the candidate is it, and what `publish_version` raises.
    """
    actor.require(Permission.WORKFLOW_PUBLISH)
    reason = checked_reason(reason)
    workflow = rows.lock(workflow)
    refuse_during_rollout(workflow, "No other rollout can begin")
    baseline = workflow.versions.published().highest_first().first()
    candidate = _candidate(workflow, version, baseline)
    assert baseline is not None
    values = (terms or RolloutTerms()).values(candidate, baseline)
    was_published = candidate.state == VersionState.PUBLISHED
    if candidate.is_draft:
        candidate = publish_version(actor=actor, version=candidate, **publishing)
    elif not was_published:
        candidate = reinstate_version(actor=actor, version=candidate, reason=reason)
    rollout = Rollout(
        workflow=workflow,
        candidate=candidate,
        baseline=baseline,
        was_published=was_published,
        salt=secrets.token_hex(8),
        reason=reason,
        started_by=actor.name[:200],
        started_at=clock.now(),
        **values,
    )
    rollout.save(force_insert=True)
    rows.touch(workflow)
    _decide(rollout, DecisionKind.STARTED, actor, reason, before=None)
    return rollout


@transaction.atomic
def set_percentage(*, rollout: Rollout, actor: Actor, percent: Any, reason: str = "") -> Rollout:
    """Change how many of the starts take the candidate; a higher percentage takes nobody back.

    Raises PermissionDenied, RolloutInvalid, RolloutEnded.
    """
    actor.require(Permission.WORKFLOW_PUBLISH)
    reason, percent = checked_reason(reason), checked_percent(percent)
    row = _locked(rollout)
    before = row.percent
    if percent == before:
        return row
    row.percent = percent
    row.save(update_fields=["percent"])
    rows.touch(row.workflow)
    _decide(row, DecisionKind.PERCENT_SET, actor, reason, before=before)
    return row


@transaction.atomic
def promote_rollout(*, rollout: Rollout, actor: Actor, reason: str = "") -> Rollout:
    """Make the candidate the live version: every start takes it from now on.

    Published versions above it are deprecated, for the highest one is live. Raises
    PermissionDenied, RolloutInvalid, RolloutEnded.
    """
    actor.require(Permission.WORKFLOW_PUBLISH)
    reason = checked_reason(reason)
    row = _locked(rollout)
    before = row.percent
    row.percent = Decimal(100)
    row.promote(at=clock.now())
    row.save()
    candidate = row.candidate
    for version in row.workflow.versions.published().exclude(pk=candidate.pk):
        if version.number > candidate.number:
            _deprecate(version, actor, f"{candidate.version} was rolled out in its place.")
    rows.touch(row.workflow)
    _decide(row, DecisionKind.PROMOTED, actor, reason, before=before)
    return row


@transaction.atomic
def rollback_rollout(*, rollout: Rollout, actor: Actor, reason: str = "") -> Rollout:
    """Take the candidate back: every start takes the baseline again, which stays live.

    The candidate is deprecated, so that no range finds it either, unless it was published before
    the rollout. What runs on the candidate goes on. Raises
    PermissionDenied, RolloutInvalid, RolloutEnded.
    """
    actor.require(Permission.WORKFLOW_PUBLISH)
    reason = checked_reason(reason)
    row = _locked(rollout)
    row.roll_back(at=clock.now())
    _end(row, DecisionKind.ROLLED_BACK, actor, reason)
    return row


def stop_rollout(*, rollout: Rollout, evidence: dict[str, Any], reason: str) -> Rollout | None:
    """The same by the clock, because of this evidence. None if somebody else decided first, or is
    deciding right now."""
    with transaction.atomic():
        locks = Workflow.objects.select_for_update(no_key=True, skip_locked=True)
        if locks.filter(pk=rollout.workflow_id).first() is None:
            return None
        row = _read(rollout)
        if not row.is_active:
            return None
        row.stop(at=clock.now())
        _end(row, DecisionKind.STOPPED, Actor.system("clock"), reason, evidence)
    log.warning("rollout.stopped", rollout_id=row.pk, workflow=row.workflow.slug, reason=reason)
    return row


def active_rollout(workflow: Workflow) -> Rollout | None:
    """The rollout that is under way."""
    active = Rollout.objects.active().select_related("workflow", "candidate", "baseline")
    return active.filter(workflow=workflow).first()


def _candidate(
    workflow: Workflow, number: str | None, baseline: WorkflowVersion | None
) -> WorkflowVersion:
    if baseline is None:
        message = (
            f"The workflow {workflow.slug} has no live version that the others could take: "
            "publish a first one."
        )
        raise Conflict(message, details=[Problem("$.workflow", "workflow.not_published", message)])
    versions = workflow.versions.all()
    if number is None:
        row = versions.filter(state=VersionState.DRAFT).first()
        if row is None:
            message = f"The workflow {workflow.slug} has no draft: name a version."
            raise Conflict(message, details=[Problem("$.version", "version.missing", message)])
        return row
    asked = documents.parse_number(number, path="$.version")
    row = versions.filter(version=str(asked)).first()
    if row is None:
        message = f"The workflow {workflow.slug} has no version {asked}."
        raise Invalid(message, details=[Problem("$.version", "version.unknown", message)])
    if row.pk == baseline.pk:
        why = "is live already: every start takes it"
    elif row.state == VersionState.ARCHIVED:
        why = "is archived: restore it first"
    else:
        return row
    message = f"Version {row.version} of the workflow {workflow.slug} {why}."
    raise Conflict(message, details=[Problem("$.version", "rollout.not_a_candidate", message)])


def _read(rollout: Rollout) -> Rollout:
    known = Rollout.objects.select_related("workflow", "candidate__workflow", "baseline")
    return known.get(pk=rollout.pk)


def _locked(rollout: Rollout) -> Rollout:
    """The rollout as it is now, which nobody else changes any more. Raises RolloutEnded."""
    rows.lock(rollout.workflow)
    row = _read(rollout)
    refuse_ended(row)
    return row


def refuse_ended(row: Rollout) -> None:
    """Raise RolloutEnded if nothing can be decided about it any more."""
    if not row.is_active:
        word = row.state.replace("_", " ")
        message = f"The rollout of {row.candidate.version} has ended: it was {word}."
        raise RolloutEnded(message, details=[Problem("$", RolloutEnded.code, message)])


def _end(
    row: Rollout,
    kind: DecisionKind,
    actor: Actor,
    reason: str,
    evidence: dict[str, Any] | None = None,
) -> None:
    """Nobody takes the candidate any more."""
    before = row.percent
    row.percent = Decimal(0)
    row.save()
    if not row.was_published:
        _deprecate(row.candidate, actor, reason or f"Its rollout was {kind.replace('_', ' ')}.")
    rows.touch(row.workflow)
    _decide(row, kind, actor, reason, before=before, evidence=evidence)


def _deprecate(version: WorkflowVersion, actor: Actor, reason: str) -> None:
    if version.state != VersionState.PUBLISHED:
        return
    deprecate_version(actor=actor, version=version, reason=reason)


def _decide(
    row: Rollout,
    kind: DecisionKind,
    actor: Actor,
    reason: str,
    *,
    before: Decimal | None,
    evidence: dict[str, Any] | None = None,
) -> None:
    now = clock.now()
    if evidence is None and kind is not DecisionKind.STARTED:
        evidence = evidence_of(row, now)
    RolloutDecision.objects.create(
        rollout=row,
        kind=kind.value,
        percent_before=before,
        percent_after=row.percent,
        actor=actor.name[:200],
        reason=reason,
        evidence=evidence,
        at=now,
    )
    audit.record(
        actor=actor,
        action=f"workflow.rollout_{kind.value}",
        target=row,
        before=None if before is None else {"percent": before},
        after={
            "workflow": row.workflow.slug,
            "candidate": row.candidate.version,
            "baseline": row.baseline.version,
            "percent": row.percent,
            "state": row.state,
            "reason": reason,
        },
    )


__all__ = [
    "MAX_REASON_CHARS",
    "RolloutActive",
    "RolloutEnded",
    "RolloutInvalid",
    "RolloutTerms",
    "active_rollout",
    "promote_rollout",
    "refuse_ended",
    "rollback_rollout",
    "set_percentage",
    "start_rollout",
    "stop_rollout",
]
