"""The API of signals: send them, and look at what has been received."""

from __future__ import annotations

from typing import Any, ClassVar

import django_filters
from drf_spectacular.utils import (
    OpenApiExample,
    OpenApiResponse,
    extend_schema,
    extend_schema_field,
    extend_schema_serializer,
    extend_schema_view,
)
from rest_framework import serializers, status
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response

from autopilot.accounts.actors import Actor, actor_of
from autopilot.accounts.roles import Permission
from autopilot.common.api.viewsets import StreamViewSet
from autopilot.common.errors import NotFound
from autopilot.common.problems import Problem
from executions import signalling
from executions.accepting import MAX_KEY_CHARS
from executions.api.bodies import AnyField, FlagField, StrictSerializer, TextField, read_body
from executions.api.bodies import refusal as refused
from executions.api.filters import IdFilter, StrictFilterSet
from executions.api.keys import IDEMPOTENCY, idempotency_key
from executions.api.workflows import started_workflow
from executions.engine.signals import SignalState
from executions.models import Execution, Signal
from executions.querysets import SignalQuerySet
from executions.signalling import SignalRequest
from workflows.models import Workflow

_ERROR = {"$ref": "#/components/schemas/Error"}
_MAX_ID = 2**63 - 1
STATES = [state.value for state in SignalState]


@extend_schema_field({"oneOf": [{"type": "string", "maxLength": 200}, {"type": "number"}]})
class CorrelationField(AnyField):
    """A text or a number."""

    def to_internal_value(self, data: Any) -> Any:
        if isinstance(data, bool) or not isinstance(data, (str, int, float)):
            raise serializers.ValidationError("A text or a number was expected.", "field.type")
        return data


@extend_schema_field({"type": "integer", "format": "int64", "minimum": 1})
class IdField(AnyField):
    """The id of an execution."""

    def to_internal_value(self, data: Any) -> Any:
        if isinstance(data, bool) or not isinstance(data, int) or not 0 < data <= _MAX_ID:
            message = "The id of an execution was expected: a whole number."
            raise serializers.ValidationError(message, "field.type")
        return data


class ToExecutionSerializer(StrictSerializer):
    """A signal to one execution."""

    signal = TextField(max_length=signalling.MAX_NAME_CHARS, help_text="Its name.")
    payload = AnyField(
        required=False, allow_null=True, help_text="The data: any JSON; the step's output."
    )
    correlation = CorrelationField(
        required=False, help_text="Only for a step that waits with this correlation."
    )
    idempotency_key = TextField(
        max_length=MAX_KEY_CHARS, required=False, help_text="As the header `Idempotency-Key`."
    )


class SignalItemSerializer(ToExecutionSerializer):
    """A signal to an execution, or to whoever waits for it."""

    correlation = CorrelationField(
        required=False, help_text="Whom it is for; needed unless `execution` says that."
    )
    execution = IdField(required=False, help_text="Only for this execution.")
    workflow = TextField(
        max_length=100, required=False, help_text="Only for executions of this workflow (slug)."
    )


@extend_schema_serializer(
    examples=[
        OpenApiExample(
            "To whoever waits for it",
            value={
                "signal": "payment.received",
                "correlation": "A-17",
                "payload": {"sum": 99.5},
                "idempotency_key": "bank-4711",
            },
            request_only=True,
        )
    ]
)
class SendSerializer(SignalItemSerializer):
    """One signal; with `broadcast` a copy for everybody who waits for it now."""

    broadcast = FlagField(
        required=False,
        help_text="To all that wait for it now, and to nobody later; takes no key.",
    )


class BulkSendSerializer(StrictSerializer):
    """Up to 1,000 signals."""

    signals = SignalItemSerializer(many=True, help_text="1 to 1,000, each like a single one.")


class SignalSerializer(serializers.ModelSerializer[Signal]):
    """A signal that was received."""

    signal = serializers.CharField(source="name", help_text="Its name.")
    state = serializers.ChoiceField(STATES, read_only=True)
    target = serializers.IntegerField(source="target_id", allow_null=True, read_only=True)
    workflow = serializers.SlugRelatedField[Workflow](slug_field="slug", read_only=True)
    execution = serializers.IntegerField(
        source="execution_id",
        allow_null=True,
        read_only=True,
        help_text="The execution whose step it was given to.",
    )

    class Meta:
        model = Signal
        fields: tuple[str, ...] = (
            "id",
            "signal",
            "correlation",
            "state",
            "sender",
            "target",
            "workflow",
            "execution",
            "created_at",
            "expires_at",
            "consumed_at",
            "refused_at",
            "refusal",
        )
        read_only_fields = fields


@extend_schema_field({})
class PayloadField(serializers.ReadOnlyField):
    """Any JSON."""


class SignalDetailSerializer(SignalSerializer):
    """With its data, until they are consumed: then they are the step's output."""

    payload = PayloadField()

    class Meta(SignalSerializer.Meta):
        fields = (*SignalSerializer.Meta.fields, "payload")
        read_only_fields = fields


class SentSerializer(serializers.Serializer[Any]):
    created = serializers.IntegerField(help_text="How many were accepted now.")
    results = SignalSerializer(many=True, help_text="In the order of the request.")


class SignalFilter(StrictFilterSet):
    signal = django_filters.CharFilter(field_name="name", help_text="Its name, exactly.")
    correlation = django_filters.CharFilter(help_text="Exactly.")
    state = django_filters.ChoiceFilter(
        choices=[(each, each) for each in STATES],
        method="in_state",
        help_text=f"One of {', '.join(STATES)}.",
    )
    execution = IdFilter(
        method="of_execution",
        min_value=1,
        max_value=_MAX_ID,
        help_text="Given to a step of this execution, or sent to it.",
    )

    class Meta:
        model = Signal
        fields: tuple[str, ...] = ()

    def in_state(self, rows: SignalQuerySet, name: str, value: str) -> SignalQuerySet:
        return rows.in_state(SignalState(value))

    def of_execution(self, rows: SignalQuerySet, name: str, value: Any) -> SignalQuerySet:
        return rows.about(int(value))


_SENT = {
    200: OpenApiResponse(SentSerializer, "All of it was accepted before."),
    201: OpenApiResponse(SentSerializer, "Accepted."),
    409: OpenApiResponse(_ERROR, "The execution has ended, or the key was used for another one."),
    413: OpenApiResponse(_ERROR, "The data are larger than a step's output may be."),
    422: OpenApiResponse(_ERROR, "The data break the schema of the step that waits for it."),
}


@extend_schema_view(
    list=extend_schema(operation_id="signals_list", summary="List received signals"),
    retrieve=extend_schema(operation_id="signals_retrieve", summary="Read a received signal"),
)
class SignalViewSet(StreamViewSet):
    """Signals that were received, newest first."""

    queryset = Signal.objects.none()
    serializer_class = SignalSerializer
    serializer_classes: ClassVar[dict[str, Any]] = {"retrieve": SignalDetailSerializer}
    filterset_class = SignalFilter
    cursor_ordering = "-id"
    lookup_value_regex = "[0-9]{1,18}"
    required_permissions: ClassVar[dict[str, str]] = {
        "list": Permission.EXECUTION_VIEW,
        "retrieve": Permission.EXECUTION_VIEW,
        "create": Permission.EXECUTION_SIGNAL,
        "bulk": Permission.EXECUTION_SIGNAL,
    }

    @property
    def actor(self) -> Actor:
        return actor_of(self.request.user, self.request)

    def get_queryset(self) -> SignalQuerySet:
        if getattr(self, "swagger_fake_view", False):
            return Signal.objects.none()
        rows: SignalQuerySet = Signal.objects.visible_to(self.actor).select_related("workflow")
        return rows if self.action == "retrieve" else rows.defer("payload")

    def get_object(self) -> Signal:
        found: Signal | None = self.get_queryset().filter(pk=self.kwargs["pk"]).first()
        if found is None:
            raise NotFound("There is no such signal: it may have been kept long enough.")
        return found

    @extend_schema(
        operation_id="signals_send",
        summary="Send a signal",
        request=SendSerializer,
        parameters=[IDEMPOTENCY],
        responses=_SENT,
    )
    def create(self, request: Request) -> Response:
        """To an execution, or to whoever waits for its name and correlation.

        Of several steps that wait for it, the one that has waited longest gets it. If none does,
        it is kept for the first one that will.
        """
        given = read_body(SendSerializer, request.data)
        is_broadcast = given.pop("broadcast", False)
        given["idempotency_key"] = idempotency_key(request, given)
        if is_broadcast:
            problems = [
                Problem(f"$.{name}", "field.unknown", "A broadcast doesn't take this.")
                for name in ("execution", "idempotency_key")
                if given.pop(name, "")
            ]
            if problems:
                raise refused(problems)
            options = _options(given, self.actor, "$")
            return sent(signalling.broadcast_signal(actor=self.actor, **options))
        return sent([signalling.send_signal(actor=self.actor, **_options(given, self.actor, "$"))])

    @extend_schema(
        operation_id="signals_bulk",
        summary="Send many signals",
        request=BulkSendSerializer,
        responses=_SENT,
    )
    @action(detail=False, methods=["post"], url_path="bulk", url_name="bulk")
    def bulk(self, request: Request) -> Response:
        """Up to 1,000 in one transaction: all of them or none.

        Every problem of every signal is named by its place, such as `$.signals[3].payload.sum`.
        """
        given = read_body(BulkSendSerializer, request.data)
        requests = [
            SignalRequest(**_options(dict(each), self.actor, f"$.signals[{index}]"))
            for index, each in enumerate(given["signals"])
        ]
        return sent(signalling.send_signals(signals=requests, actor=self.actor))


def _options(given: dict[str, Any], actor: Actor, root: str) -> dict[str, Any]:
    """What the service takes. Raises Invalid for an execution or workflow that isn't there."""
    options = {"name": given.pop("signal"), **given}
    if (pk := options.get("execution")) is not None:
        execution = Execution.objects.visible_to(actor).filter(pk=pk).first()
        if execution is None:
            message = f"There is no execution {pk}, or you may not see it."
            raise refused([Problem(f"{root}.execution", "execution.not_found", message)])
        options["execution"] = execution
    if (slug := options.get("workflow")) is not None:
        options["workflow"] = started_workflow(slug, actor)
    return options


def sent(signals: list[signalling.Sent]) -> Response:
    """201, or 200 if nothing of it is new."""
    created = sum(each.created for each in signals)
    # As they are now: what somebody waited for has been given by this time.
    now = Signal.objects.select_related("workflow").defer("payload")
    known = now.in_bulk([each.signal.pk for each in signals])
    rows = [known.get(each.signal.pk, each.signal) for each in signals]
    body = SentSerializer({"created": created, "results": rows}).data
    is_old = rows and not created
    return Response(body, status=status.HTTP_200_OK if is_old else status.HTTP_201_CREATED)
