"""The rollout: a version that some of the starts take, and what was decided about it."""

from __future__ import annotations

from datetime import datetime

from django.db import models
from django.db.models import F, Q
from django_fsm import FSMField, transition

from workflows.models.version import WorkflowVersion
from workflows.models.workflow import Workflow
from workflows.querysets import RolloutQuerySet
from workflows.versioning.rollouts import DecisionKind, RolloutState, Rules

_ACTIVE = RolloutState.ACTIVE.value


class Rollout(models.Model):
    """A published version, the candidate, that a percentage of a workflow's starts takes.

    The others take the baseline, which stays the live version until the candidate is promoted.
    key: an expression over `input` whose value decides, through `salt`, who takes it; empty: the
        correlation id decides, else the idempotency key, else chance.
    max_failure_percent, window_seconds, min_executions, margin_percent: when it is stopped; see
        `workflows.versioning.rollouts.Rules`. Rates are of the last `window_seconds`.
    was_published: the candidate could be started before; a rollback leaves it so.
    started_by: the name of whoever began it.

    What has ended stays as it is: a database trigger sees to that.
    """

    # `rollout_one_active` and `rollout_of_workflow` begin with this column.
    workflow = models.ForeignKey(
        Workflow, on_delete=models.PROTECT, related_name="rollouts", db_index=False
    )
    candidate = models.ForeignKey(WorkflowVersion, on_delete=models.PROTECT, related_name="+")
    baseline = models.ForeignKey(WorkflowVersion, on_delete=models.PROTECT, related_name="+")
    state = FSMField(
        default=_ACTIVE,
        protected=True,
        choices=[(state.value, state.value) for state in RolloutState],
        max_length=16,
    )
    was_published = models.BooleanField(default=False)
    percent = models.DecimalField(max_digits=5, decimal_places=2)
    key = models.TextField(max_length=4_096, blank=True, default="")
    salt = models.CharField(max_length=32, editable=False)
    max_failure_percent = models.FloatField()
    window_seconds = models.FloatField()
    min_executions = models.PositiveIntegerField()
    margin_percent = models.FloatField(null=True, blank=True)
    reason = models.CharField(max_length=200, blank=True, default="")
    started_by = models.CharField(max_length=200)
    started_at = models.DateTimeField(editable=False)
    ended_at = models.DateTimeField(null=True, blank=True, editable=False)

    objects = RolloutQuerySet.as_manager()

    class Meta:
        ordering = ["-id"]
        # Who may do what with a rollout is a permission of its workflow.
        default_permissions = ()
        constraints = [
            # Also serves every start: whether its workflow has one.
            models.UniqueConstraint(
                fields=["workflow"], condition=Q(state="active"), name="rollout_one_active"
            ),
            models.CheckConstraint(
                condition=Q(state__in=[state.value for state in RolloutState]),
                name="rollout_state_known",
            ),
            models.CheckConstraint(
                condition=Q(percent__gte=0, percent__lte=100), name="rollout_percent_range"
            ),
            models.CheckConstraint(
                condition=~Q(candidate=F("baseline")), name="rollout_of_two_versions"
            ),
            models.CheckConstraint(
                condition=Q(state="active", ended_at__isnull=True)
                | (~Q(state="active") & Q(ended_at__isnull=False)),
                name="rollout_ended_has_time",
            ),
        ]
        indexes = [
            # The rollouts of a workflow, newest first.
            models.Index(fields=["workflow", "-id"], name="rollout_of_workflow"),
        ]

    def __str__(self) -> str:
        return f"Rollout of {self.candidate}"

    @property
    def is_active(self) -> bool:
        return bool(self.state == _ACTIVE)

    @property
    def rules(self) -> Rules:
        return Rules(self.max_failure_percent, self.min_executions, self.margin_percent)

    @transition(field=state, source=_ACTIVE, target=RolloutState.PROMOTED.value)
    def promote(self, *, at: datetime) -> None:
        """The candidate is the live version from now on."""
        self.ended_at = at

    @transition(field=state, source=_ACTIVE, target=RolloutState.STOPPED.value)
    def stop(self, *, at: datetime) -> None:
        """It failed too much, and the clock stopped it."""
        self.ended_at = at

    @transition(field=state, source=_ACTIVE, target=RolloutState.ROLLED_BACK.value)
    def roll_back(self, *, at: datetime) -> None:
        """Somebody took it back."""
        self.ended_at = at


class RolloutDecision(models.Model):
    """One decision about a rollout: who, why, from which percentage to which, on what evidence.

    Written once and never changed. evidence: the figures of that moment, as
    `workflows.evidence.Evidence.as_dict` has them; null if nobody could measure.
    """

    rollout = models.ForeignKey(Rollout, on_delete=models.PROTECT, related_name="decisions")
    kind = models.CharField(
        max_length=16, choices=[(kind.value, kind.value) for kind in DecisionKind]
    )
    percent_before = models.DecimalField(max_digits=5, decimal_places=2, null=True, blank=True)
    percent_after = models.DecimalField(max_digits=5, decimal_places=2)
    actor = models.CharField(max_length=200)
    reason = models.CharField(max_length=500, blank=True, default="")
    evidence = models.JSONField(null=True, blank=True)
    at = models.DateTimeField()

    class Meta:
        ordering = ["id"]
        default_permissions = ()
        constraints = [
            models.CheckConstraint(
                condition=Q(kind__in=[kind.value for kind in DecisionKind]),
                name="rollout_decision_kind_known",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.kind}: {self.rollout}"
