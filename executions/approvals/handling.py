"""Taking an approval, giving it back, and giving it to others."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.contrib.auth import get_user_model
from django.contrib.auth.models import Group
from django.db import transaction

from autopilot.accounts import audit
from autopilot.accounts.actors import Actor
from autopilot.accounts.roles import Permission
from autopilot.common.database_time import database_now
from autopilot.common.problems import Problem
from autopilot.common.storable import is_storable
from executions.approvals.deciding import check_decidable, check_open, lock
from executions.approvals.errors import ApprovalRequestInvalid, ApprovalTaken, NotAsked
from executions.approvals.people import Line, able, active_users, lines_of, may_manage
from executions.asking import MAX_REASON_CHARS
from executions.models import Approval, ApprovalAssignee

MAX_ASSIGNEES = 200


def claim(*, approval: Approval, actor: Actor) -> Approval:
    """Take the approval, so that others see that somebody is at it; they may still decide.

    Raises ApprovalTaken if somebody else has it, and what keeps the actor from deciding.
    """
    with transaction.atomic():
        row = lock(approval.pk)
        now = database_now()
        check_decidable(row, actor, now)
        if actor.id is None:
            raise ApprovalRequestInvalid("Only a person can take an approval.")
        if row.claimed_by_id == actor.id:
            return row
        if row.claimed_by_id is not None:
            raise ApprovalTaken(f"{row.claimed_by} has taken this approval.")
        row.claimed_by_id, row.claimed_at = actor.id, now
        row.save(update_fields=["claimed_by", "claimed_at"])
        audit.record(
            actor=actor, action="approval.claimed", target=row, after={"claimed_by": actor.name}
        )
    return row


def release(*, approval: Approval, actor: Actor) -> Approval:
    """Give the approval back; with the permission to decide also one that somebody else took."""
    with transaction.atomic():
        row = lock(approval.pk)
        check_open(row, database_now())
        if row.claimed_by_id is None:
            return row
        if row.claimed_by_id != actor.id and not actor.may(Permission.APPROVAL_DECIDE):
            raise NotAsked(f"{row.claimed_by} has taken this approval, and can give it back.")
        before = str(row.claimed_by)
        row.claimed_by, row.claimed_at = None, None
        row.save(update_fields=["claimed_by", "claimed_at"])
        audit.record(
            actor=actor, action="approval.released", target=row, before={"claimed_by": before}
        )
    return row


def reassign(
    *,
    approval: Approval,
    actor: Actor,
    users: Sequence[str] = (),
    groups: Sequence[str] = (),
    reason: str,
) -> Approval:
    """Ask these people and groups, by name, instead of those who were asked.

    For whoever is asked, and whoever holds the permission to decide. Decisions that were made stay.
    Raises NotAsked; ApprovalRequestInvalid for unknown names, too few people and no reason.
    """
    with transaction.atomic():
        row = lock(approval.pk)
        if not may_manage(row, actor):
            raise NotAsked("Only those who are asked can give it to others, and operators.")
        check_open(row, database_now())
        found_users, found_groups = _found(users, groups, reason)
        count = able(row, found_users, found_groups)
        if count < row.quorum:
            message = f"{row.quorum} have to agree, and of these only {count} could decide."
            raise _invalid([Problem("$", "approval.too_few", message)])
        before = _before(row)
        # A second line that has not had its turn yet stays.
        gone = row.assignees.all()
        (gone if row.escalated_at else gone.filter(is_later=False)).delete()
        ApprovalAssignee.objects.bulk_create(
            [
                *(ApprovalAssignee(approval=row, user=each) for each in found_users),
                *(ApprovalAssignee(approval=row, group=each) for each in found_groups),
            ]
        )
        row.is_open_to_all = False
        row.claimed_by, row.claimed_at = None, None
        row.announce_at = database_now()
        row.save(update_fields=["is_open_to_all", "claimed_by", "claimed_at", "announce_at"])
        audit.record(
            actor=actor,
            action="approval.reassigned",
            target=row,
            before=before,
            after={"users": list(users), "groups": list(groups), "reason": reason},
        )
    return row


def _before(row: Approval) -> dict[str, Any]:
    first, later = lines_of([row])[row.pk]

    def named(line: Line) -> dict[str, list[str]]:
        return {"users": list(line.users), "groups": list(line.groups)}

    return {**named(first), "later": named(later), "is_open_to_all": row.is_open_to_all}


def _found(
    users: Sequence[str], groups: Sequence[str], reason: str
) -> tuple[list[Any], list[Group]]:
    """The rows of these names. Raises ApprovalRequestInvalid, all that is wrong at its place."""
    problems: list[Problem] = []
    if not reason.strip() or not is_storable(reason, MAX_REASON_CHARS):
        message = f"Say why, in at most {MAX_REASON_CHARS} characters."
        problems.append(Problem("$.reason", "approval.reason", message))
    if not users and not groups:
        message = "Name at least one person or group."
        problems.append(Problem("$.users", "approval.nobody", message))
    if len(users) + len(groups) > MAX_ASSIGNEES:
        message = f"At most {MAX_ASSIGNEES} people and groups can be asked."
        problems.append(Problem("$.users", "approval.too_many", message))
    name_field = get_user_model().USERNAME_FIELD
    safe = [each for each in (*users, *groups) if is_storable(each, 150)]
    rows = active_users().filter(**{f"{name_field}__in": safe})
    people = {each.get_username(): each for each in rows}
    teams = {each.name: each for each in Group.objects.filter(name__in=safe)}
    for index, name in enumerate(users):
        if name not in people:
            message = f"There is no active user {name!r:.80}."
            problems.append(Problem(f"$.users[{index}]", "approval.unknown_user", message))
    for index, name in enumerate(groups):
        if name not in teams:
            message = f"There is no group {name!r:.80}."
            problems.append(Problem(f"$.groups[{index}]", "approval.unknown_group", message))
    if problems:
        raise _invalid(problems)
    return (
        [people[name] for name in dict.fromkeys(users)],
        [teams[name] for name in dict.fromkeys(groups)],
    )


def _invalid(problems: list[Problem]) -> ApprovalRequestInvalid:
    return ApprovalRequestInvalid(problems[0].message, details=problems)
