"""The execution: one run of one version of a workflow."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import cast

from django.conf import settings
from django.contrib.postgres.indexes import GinIndex
from django.db import models
from django.db.models import F, Q
from django_fsm import FSMField, transition

from executions.engine.states import ENDED, TRANSITIONS, State
from executions.models.fields import SealedJSONField
from executions.querysets import ExecutionQuerySet, waits_for_slot
from workflows.models import Workflow, WorkflowVersion


class Priority(models.IntegerChoices):
    """Which of the ready executions go first; a claim serves all four, the higher more often."""

    LOW = 0, "low"
    NORMAL = 1, "normal"
    HIGH = 2, "high"
    URGENT = 3, "urgent"


class Kind(models.TextChoices):
    """What an execution is to its parent."""

    ROOT = "root", "root"
    BRANCH = "branch", "branch"
    ITEM = "item", "item"
    CHILD = "child", "child"


STATE_VALUES = [state.value for state in State]
ENDED_VALUES = sorted(state.value for state in ENDED)
WAITS_FOR_SLOT = waits_for_slot()


def _verb(action: str) -> Callable[..., None]:
    def verb(self: Execution, *, reason: str = "") -> None:
        self.reason = reason

    verb.__name__ = verb.__qualname__ = action
    verb.__doc__ = f"Take the transition `{action}`; the caller saves and records it."
    return verb


def _methods() -> dict[str, Callable[..., None]]:
    """One FSM method per verb of the table in `engine/states.py`."""
    methods = {}
    for action in dict.fromkeys(each.action for each in TRANSITIONS):
        rows = [each for each in TRANSITIONS if each.action == action]
        methods[action] = transition(
            field="state",
            source=[row.source.value for row in rows],
            target=rows[0].target.value,
            conditions=[cast("Callable[[models.Model], bool]", rows[0].condition.holds)],
            permission=rows[0].permission,
        )(_verb(action))
    return methods


class ExecutionVerbs:
    """The verbs of the table. A base class, for django-fsm looks when it prepares the model."""


for _name, _method in _methods().items():
    setattr(ExecutionVerbs, _name, _method)


class Execution(ExecutionVerbs, models.Model):
    """One run of a workflow's version, or of a branch or an item inside such a run.

    The row says where the run stands; what has happened is in its steps and transitions. After the
    start only services, claims and the ledger write it, and while it has an owner only claims and
    the owner do.
    """

    workflow = models.ForeignKey(
        Workflow, on_delete=models.PROTECT, related_name="executions", db_index=False
    )
    version = models.ForeignKey(
        WorkflowVersion, on_delete=models.PROTECT, related_name="executions", db_index=False
    )

    # Where it stands.
    state = FSMField(
        default=State.INITIALIZED.value,
        protected=True,
        choices=[(value, value) for value in STATE_VALUES],
        max_length=16,
    )
    reason = models.CharField(max_length=200, blank=True, default="")
    error_code = models.CharField(max_length=100, blank=True, default="")
    current_step = models.CharField(max_length=64, blank=True, default="")
    current_seq = models.PositiveIntegerField(default=0)
    current_phase = models.CharField(max_length=16, blank=True, default="")
    current_attempt = models.PositiveIntegerField(default=1)
    current_since = models.DateTimeField(null=True, blank=True)
    wait_until = models.DateTimeField(null=True, blank=True)
    steps_entered = models.PositiveIntegerField(default=0)

    # Its data.
    input = SealedJSONField(default=dict, blank=True, null=True)
    variables = SealedJSONField(default=dict, blank=True)
    # Where it is inside of groups and catches: the planner's own, see `runtime/control.py`.
    control = SealedJSONField(default=dict, blank=True, editable=False)
    output = SealedJSONField(null=True, blank=True)
    error = SealedJSONField(null=True, blank=True)

    # Who may work on it, and when.
    queue = models.CharField(max_length=64, default="default")
    priority = models.PositiveSmallIntegerField(choices=Priority, default=Priority.NORMAL)
    runnable_at = models.DateTimeField(null=True, blank=True)
    owner = models.ForeignKey(
        "executions.Worker",
        on_delete=models.DO_NOTHING,
        null=True,
        blank=True,
        related_name="owned",
        db_index=False,
    )
    epoch = models.BigIntegerField(default=0)
    claims = models.PositiveSmallIntegerField(default=0)
    revision = models.BigIntegerField(default=0)
    inbox_seq = models.BigIntegerField(default=0)
    seen_seq = models.BigIntegerField(default=0)
    transition_seq = models.PositiveIntegerField(default=0)
    log_seq = models.PositiveIntegerField(default=0)

    # What it is part of.
    kind = models.CharField(max_length=8, choices=Kind, default=Kind.ROOT)
    parent = models.ForeignKey(
        "self",
        on_delete=models.PROTECT,
        null=True,
        blank=True,
        related_name="children",
        db_index=False,
    )
    parent_step = models.CharField(max_length=64, blank=True, default="")
    generation = models.PositiveIntegerField(default=0)
    item_index = models.PositiveIntegerField(null=True, blank=True)
    depth = models.PositiveSmallIntegerField(default=0)
    # Its children, as far as the generation it has made last is concerned. Counted by whoever ends
    # them, under this row's lock, together with the end itself.
    children_generation = models.PositiveIntegerField(default=0)
    children_open = models.PositiveIntegerField(default=0)
    children_failed = models.PositiveIntegerField(default=0)
    children_tolerated = models.PositiveIntegerField(default=0)
    # Of all that its step is about, and how many of those have to succeed (0: it is told of the
    # last end only). What has succeeded is the total less those open and failed.
    children_total = models.PositiveIntegerField(default=0, db_default=0)
    children_needed = models.PositiveIntegerField(default=0, db_default=0)
    children_next = models.PositiveIntegerField(null=True, blank=True)
    rerun_of = models.ForeignKey(
        "self",
        on_delete=models.PROTECT,
        null=True,
        blank=True,
        related_name="reruns",
        db_index=False,
    )

    # A step of this execution has started it and does not wait for it.
    started_by_execution = models.ForeignKey(
        "self",
        on_delete=models.PROTECT,
        null=True,
        blank=True,
        related_name="started",
        db_index=False,
    )
    continued_from = models.OneToOneField(
        "self", on_delete=models.PROTECT, null=True, blank=True, related_name="continued_as"
    )

    # How it was asked for.
    started_by = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        on_delete=models.SET_NULL,
        null=True,
        blank=True,
        related_name="+",
        db_index=False,
    )
    principal = models.CharField(max_length=150, blank=True, default="")
    idempotency_key = models.CharField(max_length=200, blank=True, default="")
    request_hash = models.CharField(max_length=64, blank=True, default="")
    correlation_id = models.CharField(max_length=200, blank=True, default="")
    labels = models.JSONField(default=dict, blank=True)
    # Its slot: `<workflow id>:<key>`, how many of that key may run by its own version, what that
    # version does with one more. Held from the start on until it ends or is paused.
    slot_key = models.CharField(max_length=200, blank=True, default="")
    slot_held = models.BooleanField(default=False)
    slot_limit = models.PositiveIntegerField(default=0, db_default=0)
    slot_policy = models.CharField(max_length=16, blank=True, default="", db_default="")
    # It was ready while its workflow was switched off, and has been put out of the claims' way.
    is_parked = models.BooleanField(default=False, db_default=False)
    is_test = models.BooleanField(default=False)
    # If it was moved to another version: what its recorded steps are called there, a list of
    # `[id, {old: new}, [seq, old]]` for each move: rows up to that id. See `executions/moved.py`.
    step_names = models.JSONField(null=True, blank=True, editable=False)

    created_at = models.DateTimeField()
    start_at = models.DateTimeField(null=True, blank=True)
    started_at = models.DateTimeField(null=True, blank=True)
    ended_at = models.DateTimeField(null=True, blank=True)
    deadline_at = models.DateTimeField(null=True, blank=True)
    paused_at = models.DateTimeField(null=True, blank=True)

    # Of a row that is not stored yet: its `request_hash` as older keys make it.
    older_hashes: Sequence[str] = ()

    objects = ExecutionQuerySet.as_manager()

    class Meta:
        ordering = ["-id"]
        permissions = [
            ("start_execution", "Can start executions"),
            ("control_execution", "Can pause, resume and cancel executions"),
            ("signal_execution", "Can send signals to executions"),
            ("work_on_tasks", "Can take tasks from queues"),
        ]
        default_permissions = ("view",)
        indexes = [
            # The claim: the ready rows of one queue and priority, oldest first. Its condition also
            # keeps blocked, owned and ended rows out, so it stays as small as the work to do.
            models.Index(
                fields=["queue", "priority", "runnable_at"],
                condition=Q(owner__isnull=True, runnable_at__isnull=False),
                name="execution_ready",
            ),
            # The clock: what falls due next, over all queues.
            models.Index(
                fields=["runnable_at"],
                condition=Q(owner__isnull=True, runnable_at__isnull=False),
                name="execution_due",
            ),
            # What a worker owns: freed in one statement when it is lost, swept after a reconnect.
            models.Index(
                fields=["owner"], condition=Q(owner__isnull=False), name="execution_owned"
            ),
            # Lists of one workflow, newest first; also serves the foreign key.
            models.Index(fields=["workflow", "-id"], name="execution_of_workflow"),
            # How the executions of a version end; also serves the foreign key.
            models.Index(fields=["version", "ended_at"], name="execution_version_ended"),
            # Lists by state, newest first, and the counts of the chips: of roots, which is what
            # lists show; the parts of one execution are found by their parent.
            models.Index(
                fields=["state", "-id"], condition=Q(parent__isnull=True), name="execution_by_state"
            ),
            # The same within one workflow.
            models.Index(
                fields=["workflow", "state", "-id"],
                condition=Q(parent__isnull=True),
                name="execution_workflow_state",
            ),
            # Lists by error code, newest first, and which codes there are: what a search may mean.
            models.Index(
                fields=["error_code", "-id"],
                condition=Q(parent__isnull=True) & ~Q(error_code=""),
                name="execution_error",
            ),
            # Lists by label. Only those that have one pay for it. What is not yet in its tree is
            # read with every question, so that is kept short.
            GinIndex(
                fields=["labels"],
                gin_pending_list_limit=256,
                condition=Q(parent__isnull=True) & ~Q(labels={}),
                name="execution_labels",
            ),
            # Roots, newest first: what lists show.
            models.Index(fields=["-id"], condition=Q(parent__isnull=True), name="execution_roots"),
            models.Index(
                fields=["correlation_id"],
                condition=~Q(correlation_id=""),
                name="execution_correlation",
            ),
            # What an execution has started, on its page; also serves the foreign key.
            models.Index(
                fields=["started_by_execution"],
                condition=Q(started_by_execution__isnull=False),
                name="execution_started",
            ),
            # Reruns of one, on its page, and whom a user has started, for the day they are deleted.
            # Partial: most rows have neither, and each index is written several times a run.
            models.Index(
                fields=["rerun_of"], condition=Q(rerun_of__isnull=False), name="execution_reruns"
            ),
            models.Index(
                fields=["started_by"],
                condition=Q(started_by__isnull=False),
                name="execution_started_by",
            ),
            # Taking and giving back concurrency slots, counted from rows.
            models.Index(fields=["slot_key"], condition=Q(slot_held=True), name="execution_slots"),
            # Starting: the last of a workflow's own that is ready, behind which a new one goes.
            models.Index(
                fields=["workflow", "queue", "priority", "runnable_at"],
                condition=Q(owner__isnull=True, runnable_at__isnull=False),
                name="execution_own_line",
            ),
            # What is to go on once its workflow is switched on again.
            models.Index(fields=["workflow"], condition=Q(is_parked=True), name="execution_parked"),
            # Who waits for a slot of a key, in their order. None of them is in the claim's index.
            models.Index(
                "slot_key",
                F("priority").desc(),
                "id",
                condition=WAITS_FOR_SLOT,
                name="execution_slot_queue",
            ),
        ]
        constraints = [
            models.CheckConstraint(
                condition=Q(state__in=STATE_VALUES), name="execution_state_known"
            ),
            models.CheckConstraint(
                condition=Q(priority__gte=0, priority__lte=3), name="execution_priority_known"
            ),
            models.CheckConstraint(
                condition=Q(state__in=ENDED_VALUES, ended_at__isnull=False)
                | (~Q(state__in=ENDED_VALUES) & Q(ended_at__isnull=True)),
                name="execution_ended_has_time",
            ),
            # Nothing that has ended is owned or ready: no claim can wake the dead.
            models.CheckConstraint(
                condition=~Q(state__in=ENDED_VALUES)
                | Q(owner__isnull=True, runnable_at__isnull=True),
                name="execution_ended_is_at_rest",
            ),
            # No slot is kept by what has ended, or by what never asked for one.
            models.CheckConstraint(
                condition=Q(slot_held=False)
                | (~Q(slot_key="") & Q(slot_limit__gte=1) & ~Q(state__in=ENDED_VALUES)),
                name="execution_slot_is_used",
            ),
            models.CheckConstraint(
                condition=Q(kind="root", parent__isnull=True)
                | (~Q(kind="root") & Q(parent__isnull=False)),
                name="execution_kind_matches_parent",
            ),
            # One child per item and generation; also serves the tree, refilling and joining.
            models.UniqueConstraint(
                fields=["parent", "parent_step", "generation", "item_index"],
                condition=Q(parent__isnull=False),
                name="execution_child_once",
            ),
            # One execution per key, asker and workflow, whoever comes first.
            models.UniqueConstraint(
                fields=["workflow", "principal", "idempotency_key"],
                condition=~Q(idempotency_key=""),
                name="execution_idempotency",
            ),
        ]

    def __str__(self) -> str:
        return f"Execution {self.pk}"

    @property
    def has_ended(self) -> bool:
        return self.state in ENDED_VALUES

    @property
    def duration_seconds(self) -> float | None:
        """From start to end in seconds; None while it has not done both."""
        if self.started_at is None or self.ended_at is None:
            return None
        return (self.ended_at - self.started_at).total_seconds()


__all__ = ["ENDED_VALUES", "Execution", "Kind", "Priority"]
