"""What is read of workflows, versions and rollouts; every list starts with `visible_to`."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any, Self

from django.apps import apps
from django.db import models
from django.db.models import Exists, OuterRef, Q, QuerySet, Subquery

from autopilot.accounts.actors import Actor
from autopilot.accounts.roles import Permission
from workflows.versioning.rollouts import DecisionKind, RolloutState
from workflows.versioning.states import STARTABLE, VersionState

if TYPE_CHECKING:
    from workflows.models import (  # noqa: F401 - named in the bases below
        Rollout,
        Workflow,
        WorkflowVersion,
    )

HIGHEST_FIRST = ("-major", "-minor", "-patch")


def _versions() -> QuerySet[Any]:
    return apps.get_model("workflows", "WorkflowVersion")._default_manager.all()


def _active_rollouts(**of: Any) -> QuerySet[Any]:
    rows = apps.get_model("workflows", "Rollout")._default_manager
    return rows.filter(state=RolloutState.ACTIVE, **of)


class WorkflowQuerySet(models.QuerySet["Workflow"]):
    def visible_to(self, actor: Actor) -> Self:
        """The workflows that `actor` may see."""
        return self.all() if actor.may(Permission.WORKFLOW_VIEW) else self.none()

    def search(self, text: str) -> Self:
        """Every word of `text` is somewhere in slug, name or description."""
        found = self
        for word in text.split():
            found = found.filter(
                Q(slug__icontains=word) | Q(name__icontains=word) | Q(description__icontains=word)
            )
        return found

    def labelled(self, key: str, value: str | None = None) -> Self:
        """With the label `key`, and with this `value` if one is given."""
        if value is None:
            return self.filter(labels__has_key=key)
        return self.filter(labels__contains={key: value})

    def with_version_in(self, state: VersionState) -> Self:
        """With at least one version in `state`."""
        versions = _versions().filter(workflow=OuterRef("pk"), state=state)
        return self.filter(Exists(versions))

    def with_rollout(self) -> Self:
        """Annotate `has_rollout`: whether starts have to ask which version they take."""
        return self.annotate(has_rollout=Exists(_active_rollouts(workflow=OuterRef("pk"))))

    def with_live_version(self) -> Self:
        """Annotate `live_version` and `live_version_id` (what starts take, but for those that a
        rollout gives another one), `draft_version`, and of an active rollout `candidate_version`
        and `candidate_percent`; each None where there is none."""
        rollout = _active_rollouts(workflow=OuterRef("pk"))
        live = (
            _versions()
            .filter(workflow=OuterRef("pk"), state=VersionState.PUBLISHED)
            .exclude(Exists(_active_rollouts(candidate=OuterRef("pk"))))
            .order_by(*HIGHEST_FIRST)
        )
        draft = _versions().filter(workflow=OuterRef("pk"), state=VersionState.DRAFT)
        return self.annotate(
            live_version=Subquery(live.values("version")[:1]),
            live_version_id=Subquery(live.values("pk")[:1]),
            draft_version=Subquery(draft.values("version")[:1]),
            candidate_version=Subquery(rollout.values("candidate__version")[:1]),
            candidate_percent=Subquery(rollout.values("percent")[:1]),
        )


class WorkflowVersionQuerySet(models.QuerySet["WorkflowVersion"]):
    def visible_to(self, actor: Actor) -> Self:
        """The versions of the workflows that `actor` may see."""
        return self.all() if actor.may(Permission.WORKFLOW_VIEW) else self.none()

    def highest_first(self) -> Self:
        """By precedence, not by text: 1.10.0 stands before 1.9.0."""
        return self.order_by(*HIGHEST_FIRST)

    def published(self) -> Self:
        """Those that a start without a version number chooses from."""
        return self.filter(state=VersionState.PUBLISHED)

    def established(self) -> Self:
        """The published ones without a rollout's candidate: the highest one is live."""
        trying = Exists(_active_rollouts(candidate=OuterRef("pk")))
        return self.published().exclude(trying)

    def startable(self) -> Self:
        """Those that a start may name."""
        return self.filter(state__in=STARTABLE)

    def frozen(self) -> Self:
        """Everything that was ever published."""
        return self.exclude(state=VersionState.DRAFT)

    def with_override(self) -> Self:
        """Annotate `was_overridden`: whether it was published against the guard."""
        rows = apps.get_model("workflows", "VersionTransition")._default_manager
        against = rows.filter(version=OuterRef("pk"), judgement__enough=False)
        return self.annotate(was_overridden=Exists(against))

    def with_share(self) -> Self:
        """Annotate `rollout_percent`: how many of the starts an active rollout gives it; None
        without one."""
        rollout = _active_rollouts(candidate=OuterRef("pk"))
        return self.annotate(rollout_percent=Subquery(rollout.values("percent")[:1]))


class RolloutQuerySet(models.QuerySet["Rollout"]):
    def visible_to(self, actor: Actor) -> Self:
        """The rollouts of the workflows that `actor` may see."""
        return self.all() if actor.may(Permission.WORKFLOW_VIEW) else self.none()

    def active(self) -> Self:
        """Those that starts heed; a workflow has one at most."""
        return self.filter(state=RolloutState.ACTIVE)

    def stopped_since(self, at: datetime) -> Self:
        """Those that stopped themselves and were the last word on their workflow: no rollout was
        begun since, and no version published. Annotates `stop_reason`."""
        later = self.model._default_manager.filter(
            workflow=OuterRef("workflow"), pk__gt=OuterRef("pk")
        )
        published = _versions().filter(
            workflow=OuterRef("workflow"), published_at__gt=OuterRef("ended_at")
        )
        decisions = apps.get_model("workflows", "RolloutDecision")._default_manager
        stop = decisions.filter(rollout=OuterRef("pk"), kind=DecisionKind.STOPPED)
        rows = self.filter(state=RolloutState.STOPPED, ended_at__gt=at)
        rows = rows.exclude(Exists(later)).exclude(Exists(published))
        return rows.annotate(stop_reason=Subquery(stop.values("reason")[:1]))
