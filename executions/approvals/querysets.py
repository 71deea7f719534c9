"""Approvals as the inbox and those who decide ask for them."""

from __future__ import annotations

from typing import Any, Self

from django.apps import apps
from django.contrib.auth import get_user_model
from django.db import models
from django.db.models import Q

from autopilot.accounts.actors import Actor
from autopilot.accounts.roles import Permission


class ApprovalQuerySet(models.QuerySet[Any]):
    """Questions to people.

    Groups are read by the person's key, not through the actor: membership counts when it is asked.
    """

    def open(self) -> Self:
        """Those that wait for somebody."""
        return self.filter(state="open")

    def visible_to(self, actor: Actor) -> Self:
        """Those the actor may see: all with the permission to see executions, else their own."""
        if actor.may(Permission.EXECUTION_VIEW):
            return self
        return self.filter(self._asked(actor, with_later=True) | self._decided_by(actor))

    def mine(self, actor: Actor) -> Self:
        """Those that ask this person by name, or that they have taken."""
        rows = self._assigned(Q(user_id=actor.id))
        return self.filter(Q(pk__in=rows) | Q(claimed_by_id=actor.id)) if actor.id else self.none()

    def of_groups(self, actor: Actor) -> Self:
        """Those that ask a group the person is in."""
        return self.filter(pk__in=self._assigned(self._in_groups(actor)))

    def decidable_by(self, actor: Actor) -> Self:
        """Open ones on which this person's word is asked for and not given yet."""
        rows = self.open().filter(self._asked(actor, with_later=False))
        if actor.id is not None:
            rows = rows.exclude(allow_requester=False, requester_id=actor.id)
        return rows.exclude(self._decided_by(actor))

    def _asked(self, actor: Actor, *, with_later: bool) -> Q:
        named = self._in_groups(actor) | Q(user_id=actor.id)
        asked = Q(pk__in=self._assigned(named, with_later=with_later))
        if actor.id is None:
            asked = Q(pk__in=[])
        if actor.may(Permission.APPROVAL_DECIDE):
            asked |= Q(is_open_to_all=True)
        return asked

    @staticmethod
    def _assigned(named: Q, *, with_later: bool = False) -> models.QuerySet[Any]:
        if not with_later:
            named &= Q(is_later=False) | Q(approval__escalated_at__isnull=False)
        return _rows("ApprovalAssignee").filter(named).values("approval_id")

    @staticmethod
    def _in_groups(actor: Actor) -> Q:
        return Q(group_id__in=groups_of(actor.id))

    @staticmethod
    def _decided_by(actor: Actor) -> Q:
        rows = _rows("ApprovalDecision").filter(principal=principal_of(actor))
        return Q(pk__in=rows.values("approval_id"))


def _rows(model: str) -> models.QuerySet[Any]:
    # Models import this module, so it can't import them.
    found: models.QuerySet[Any] = apps.get_model("executions", model)._default_manager.all()
    return found


def groups_of(user_id: int | None) -> models.QuerySet[Any]:
    """The ids of the groups of a user, whatever model users have."""
    field: Any = get_user_model()._meta.get_field("groups")
    members = field.remote_field.through._default_manager
    found: models.QuerySet[Any] = members.filter(**{field.m2m_field_name(): user_id})
    return found.values(f"{field.m2m_reverse_field_name()}_id")


def principal_of(actor: Actor) -> str:
    """One text for each who acts, which stays when the user is gone."""
    return f"{actor.kind.value}:{actor.id or actor.name}"[:150]
