"""What the execution API reads and writes."""

from __future__ import annotations

import threading
from typing import Any

from drf_spectacular.utils import OpenApiExample, extend_schema_field, extend_schema_serializer
from rest_framework import serializers
from rest_framework.reverse import reverse

from executions import services
from executions.api.bodies import (
    AnyField,
    MomentField,
    StrictSerializer,
    TextField,
    TextsField,
    WordField,
)
from executions.engine.events import Verb
from executions.engine.states import State, StepState
from executions.models import ErrorStart, Execution, LogLine, Priority, StateTransition
from executions.parts import branch_of
from executions.reads import error_start_of, failure_of
from executions.situations import Situation
from workflows.versioning.ranges import MAX_LENGTH

PRIORITY_NAMES = {label: Priority(value) for value, label in Priority.choices}
PRIORITY_CHOICES = list(PRIORITY_NAMES)
STATE_CHOICES = [state.value for state in State]
STEP_STATE_CHOICES = [state.value for state in StepState]
VERB_CHOICES = [verb.value for verb in Verb]

_STARTED = {
    "workflow": "example-workflow",
    "input": {"customer": "Ada"},
}
_STARTED_LATER = {
    **_STARTED,
    "version": "1.0.0",
    "priority": "high",
    "queue": "default",
    "start_at": "2030-01-31T12:00:00Z",
    "labels": {"team": "support"},
    "correlation_id": "ticket-4711",
    "idempotency_key": "ticket-4711-welcome",
}


@extend_schema_serializer(
    examples=[
        OpenApiExample("Now", value=_STARTED, request_only=True),
        OpenApiExample("Later", value=_STARTED_LATER, request_only=True),
    ]
)
class StartSerializer(StrictSerializer):
    """What to start. Only `workflow` has to be there."""

    workflow = TextField(
        max_length=100,
        help_text="The workflow's slug.",
        error_messages={"required": "The slug of the workflow to start is missing."},
    )
    input = AnyField(
        required=False, allow_null=True, help_text="Checked against the input schema; default: {}."
    )
    version = TextField(
        max_length=MAX_LENGTH,
        required=False,
        allow_null=True,
        help_text="A version such as 1.2.0, or a range such as ^1.2, ~1.2.3, 1.x or >=1.2 <3, of "
        "which the highest published one is taken; default: the live version.",
    )
    priority = WordField(choices=PRIORITY_CHOICES, required=False, help_text="Default: normal.")
    queue = TextField(
        max_length=64,
        required=False,
        allow_null=True,
        help_text="Which workers run it; default: the first configured queue.",
    )
    start_at = MomentField(
        required=False, allow_null=True, help_text="Not before this moment; with a time zone."
    )
    labels = TextsField(required=False, help_text="To find it by; names and texts.")
    correlation_id = TextField(
        max_length=services.MAX_KEY_CHARS,
        required=False,
        allow_blank=True,
        help_text="What it is about in another system.",
    )
    idempotency_key = TextField(
        max_length=services.MAX_KEY_CHARS,
        required=False,
        help_text="The same as the header `Idempotency-Key`.",
    )


class VerbSerializer(StrictSerializer):
    """May be left out altogether."""

    reason = TextField(
        max_length=services.MAX_REASON_CHARS,
        required=False,
        allow_blank=True,
        help_text="Kept with the transition.",
    )


class OutputsField(serializers.DictField):
    """An object of any values."""

    child = AnyField(allow_null=True)
    default_error_messages = {
        "null": "An object was expected, not null.",
        "not_a_dict": "An object was expected.",
    }


class SkipSerializer(VerbSerializer):
    """May be left out altogether."""

    output = AnyField(
        required=False,
        allow_null=True,
        help_text="What the step is to count as having come to; null: nothing.",
    )


class RerunSerializer(VerbSerializer):
    """May be left out altogether: then everything is as before."""

    from_step = TextField(
        max_length=64,
        required=False,
        allow_null=True,
        help_text="A step that ran, not inside another one; default: from the start.",
    )
    input = AnyField(required=False, help_text="In place of the input; default: the same.")
    outputs = OutputsField(
        required=False, help_text="In place of outputs of steps that are taken over, by id."
    )
    version = TextField(
        max_length=MAX_LENGTH,
        required=False,
        allow_null=True,
        help_text="A version, or a range as in a start; default: the same version.",
    )
    idempotency_key = TextField(
        max_length=services.MAX_KEY_CHARS,
        required=False,
        help_text="The same as the header `Idempotency-Key`.",
    )


_PARTS = ("steps", "transitions", "context", "logs", "compensations", "tree")


class LinksSerializer(serializers.Serializer[Any]):
    """Where to go from an execution."""

    self = serializers.URLField()
    steps = serializers.URLField()
    transitions = serializers.URLField()
    context = serializers.URLField()  # type: ignore[assignment]
    logs = serializers.URLField()
    compensations = serializers.URLField()
    tree = serializers.URLField()
    children = serializers.URLField()
    workflow = serializers.URLField()
    parent = serializers.URLField(allow_null=True)  # type: ignore[assignment]


class ErrorStartSerializer(serializers.Serializer[ErrorStart]):
    """The start of a workflow that an execution's failure asks for."""

    workflow = serializers.CharField(source="workflow_slug")
    status = serializers.ChoiceField(ErrorStart.Status.values)
    execution = serializers.IntegerField(source="started_id", allow_null=True)
    problem = serializers.CharField(help_text="Why it could not be started; else empty.")


class WhySerializer(serializers.Serializer[Any]):
    """One answer to the question why an execution isn't moving."""

    code = serializers.CharField(
        help_text="moving, queued.next, queued.busy, queued.no_worker, queued.turn, scheduled, "
        "slot, timer, backoff, children, approval, waiting, paused, pending.pause, "
        "pending.resume, pending.cancel, pending.retry, pending.skip, worker_lost, undoing, "
        "undoing.backoff, undoing.children, suspect, ended.completed, ended.failed, "
        "ended.cancelled; more may come."
    )
    sentence = serializers.CharField(help_text="The same in words, as of now.")
    details = serializers.DictField(
        help_text="What the code needs to be acted on: step, worker, queue, who, since when..."
    )


class ExecutionSummarySerializer(serializers.ModelSerializer[Execution]):
    """An execution, without its data.

    `pending` and `why` come from the context, read for the whole page at once.
    """

    workflow = serializers.CharField(source="workflow.slug", read_only=True)
    version = serializers.CharField(source="version.version", read_only=True)
    state = serializers.ChoiceField(choices=STATE_CHOICES, read_only=True)
    reason = serializers.CharField(
        read_only=True, help_text="Why it is in its state: a word, an error code, what was said."
    )
    error_code = serializers.CharField(
        read_only=True, help_text="Empty unless it failed; the whole error is in the detail."
    )
    pending = serializers.SerializerMethodField(
        help_text="What was asked of it and has not been done yet, oldest first."
    )
    why = serializers.SerializerMethodField(help_text="Why it isn't moving, or that it is.")
    current_step = serializers.CharField(
        read_only=True, help_text="The id of the step it stands at; empty before and after."
    )
    wait_until = serializers.DateTimeField(
        read_only=True, allow_null=True, help_text="What the current step waits for, if a moment."
    )
    priority = serializers.ChoiceField(
        choices=PRIORITY_CHOICES, source="get_priority_display", read_only=True
    )
    parent = serializers.IntegerField(  # type: ignore[assignment]
        source="parent_id", allow_null=True, read_only=True
    )
    parent_step = serializers.CharField(
        read_only=True, help_text="The step of its parent that it belongs to; empty for a root."
    )
    item_index = serializers.IntegerField(
        allow_null=True, read_only=True, help_text="Its place among the items or branches."
    )
    branch = serializers.SerializerMethodField(help_text="The branch that it is; or empty.")
    started_by_execution = serializers.IntegerField(
        source="started_by_execution_id",
        allow_null=True,
        read_only=True,
        help_text="The execution whose step has started this one and does not wait for it.",
    )
    rerun_of = serializers.IntegerField(
        source="rerun_of_id",
        allow_null=True,
        read_only=True,
        help_text="The execution that this one runs again.",
    )
    labels = serializers.DictField(child=serializers.CharField(), read_only=True)
    started_by = serializers.CharField(
        source="started_by.get_username",
        default=None,
        allow_null=True,
        read_only=True,
        help_text="Null for the system.",
    )
    duration_seconds = serializers.FloatField(
        read_only=True, allow_null=True, help_text="From its start to its end."
    )

    class Meta:
        model = Execution
        fields: tuple[str, ...] = (
            "id",
            "workflow",
            "version",
            "state",
            "reason",
            "error_code",
            "pending",
            "why",
            "current_step",
            "wait_until",
            "priority",
            "queue",
            "kind",
            "parent",
            "parent_step",
            "item_index",
            "branch",
            "started_by_execution",
            "rerun_of",
            "labels",
            "correlation_id",
            "started_by",
            "created_at",
            "start_at",
            "started_at",
            "ended_at",
            "duration_seconds",
        )
        read_only_fields = fields

    @extend_schema_field(serializers.ListField(child=serializers.ChoiceField(VERB_CHOICES)))
    def get_pending(self, execution: Execution) -> list[str]:
        return self._situation(execution).pending

    @extend_schema_field(WhySerializer)
    def get_why(self, execution: Execution) -> dict[str, Any]:
        return self._situation(execution).why.as_dict()

    def get_branch(self, execution: Execution) -> str:
        return branch_of(execution)

    def _situation(self, execution: Execution) -> Situation:
        situations: dict[int, Situation] = self.context["situations"]
        return situations[execution.pk]


class ExecutionSerializer(ExecutionSummarySerializer):
    """An execution with its data."""

    input = serializers.JSONField(read_only=True)
    output = serializers.JSONField(read_only=True, help_text="Null until it has completed.")
    error = serializers.JSONField(
        read_only=True, help_text="code, message, step, attempt, details, retryable; or null."
    )
    error_workflow = serializers.SerializerMethodField(
        help_text="The workflow that hears of its failure; of several failures of the last one."
    )
    failure_of = serializers.SerializerMethodField(
        help_text="The execution whose failure has started this one."
    )
    links = serializers.SerializerMethodField()

    class Meta(ExecutionSummarySerializer.Meta):
        fields = (
            *ExecutionSummarySerializer.Meta.fields,
            *("input", "output", "error", "error_workflow", "failure_of", "links"),
        )
        read_only_fields = fields

    @extend_schema_field(ErrorStartSerializer(allow_null=True))
    def get_error_workflow(self, execution: Execution) -> dict[str, Any] | None:
        row = error_start_of(execution)
        return None if row is None else ErrorStartSerializer(row).data

    @extend_schema_field(serializers.IntegerField(allow_null=True))
    def get_failure_of(self, execution: Execution) -> int | None:
        # What a request has started, no failure has.
        return None if self.context.get("is_new") else failure_of(execution)

    @extend_schema_field(LinksSerializer)
    def get_links(self, execution: Execution) -> dict[str, str | None]:
        request = self.context.get("request")

        def of(name: str, **kwargs: Any) -> str:
            return str(reverse(name, kwargs=kwargs, request=request))

        # The others stand below it, under their names; asking for each costs more than a query.
        listed = of("executions:execution-list")
        itself = f"{listed}{execution.pk}/"
        return {
            "self": itself,
            **{name: f"{itself}{name}/" for name in _PARTS},
            "children": f"{listed}?parent={execution.pk}",
            "workflow": of("workflows:workflow-detail", slug=execution.workflow.slug),
            "parent": of("executions:execution-detail", pk=execution.parent_id)
            if execution.parent_id
            else None,
        }


def write_execution(execution: Execution, context: dict[str, Any]) -> dict[str, Any]:
    """An execution with its data, as a request answers it.

    A serializer copies all of its fields when it is made, which takes longer than to write one
    execution with it: each thread keeps one.
    """
    kept: ExecutionSerializer | None = getattr(_kept, "serializer", None)
    if kept is None:
        kept = _kept.serializer = ExecutionSerializer()
    kept._context = context
    try:
        return dict(kept.to_representation(execution))
    finally:
        kept._context = {}


_kept = threading.local()


class StepSerializer(serializers.Serializer[Any]):
    """One attempt of one step: recorded, or under way."""

    seq = serializers.IntegerField(help_text="The how-manieth step it is; attempts share it.")
    attempt = serializers.IntegerField()
    step = serializers.CharField(source="step_id", help_text="The step's id in the definition.")
    name = serializers.CharField()
    type = serializers.CharField()
    state = serializers.ChoiceField(choices=STEP_STATE_CHOICES)
    params = serializers.JSONField(help_text="What the action was called with.")
    output = serializers.JSONField()
    error = serializers.JSONField(help_text="code, message, details...; or null.")
    started_at = serializers.DateTimeField(allow_null=True)
    ended_at = serializers.DateTimeField(allow_null=True, help_text="Null while it is under way.")
    wait_until = serializers.DateTimeField(allow_null=True)
    taken_over = serializers.BooleanField(help_text="Copied from the execution this one reruns.")
    recorded_as = serializers.CharField(
        help_text="What the step was called when it was recorded, if it has another name since the "
        "execution was moved to another version; else empty."
    )
    duration_seconds = serializers.FloatField(allow_null=True)


class TransitionSerializer(serializers.ModelSerializer[StateTransition]):
    """One change of an execution's state."""

    source = serializers.CharField(  # type: ignore[assignment]
        read_only=True, help_text="Empty for the first one."
    )
    target = serializers.ChoiceField(choices=STATE_CHOICES, read_only=True)

    class Meta:
        model = StateTransition
        fields = ("seq", "source", "target", "reason", "actor", "at")
        read_only_fields = fields


class LogLineSerializer(serializers.ModelSerializer[LogLine]):
    """One line that an action logged."""

    step = serializers.CharField(source="step_id", read_only=True)

    class Meta:
        model = LogLine
        fields = ("seq", "step", "attempt", "level", "event", "fields", "at")
        read_only_fields = fields


class StepResultSerializer(serializers.Serializer[Any]):
    """What expressions see of a step."""

    state = serializers.ChoiceField(choices=STEP_STATE_CHOICES)
    output = serializers.JSONField()
    error = serializers.JSONField()
    attempts = serializers.IntegerField()


class ContextSerializer(serializers.Serializer[Any]):
    """The data of an execution."""

    input = serializers.JSONField()
    variables = serializers.DictField()
    steps = serializers.DictField(child=StepResultSerializer(), help_text="By the step's id.")
    output = serializers.JSONField()
    error = serializers.JSONField()


class StateSerializer(serializers.Serializer[Any]):
    state = serializers.ChoiceField(choices=STATE_CHOICES)
    ended = serializers.BooleanField(help_text="Nothing runs in it any more.")
    final = serializers.BooleanField(help_text="Nothing leads out of it.")


class LegalTransitionSerializer(serializers.Serializer[Any]):
    source = serializers.ChoiceField(choices=STATE_CHOICES)  # type: ignore[assignment]
    target = serializers.ChoiceField(choices=STATE_CHOICES)
    action = serializers.CharField(help_text="The verb that takes it.")
    condition = serializers.CharField(help_text="What must hold.")
    permission = serializers.CharField(
        allow_null=True, help_text="What one must hold to ask for it; null: only the engine."
    )


class StateMachineSerializer(serializers.Serializer[Any]):
    states = StateSerializer(many=True)
    transitions = LegalTransitionSerializer(many=True)
