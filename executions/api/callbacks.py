"""The API with which calls are ended from elsewhere, and tasks are taken."""

from __future__ import annotations

import threading
import time
from typing import Any, ClassVar

from drf_spectacular.utils import (
    OpenApiExample,
    OpenApiResponse,
    extend_schema,
    extend_schema_field,
    extend_schema_serializer,
)
from rest_framework import serializers, status
from rest_framework.permissions import AllowAny
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from autopilot.accounts.actors import actor_of
from autopilot.accounts.roles import Permission
from executions import calling_back
from executions.api.bodies import AnyField, FlagField, StrictSerializer, TextField, read_body
from executions.calling_back import DEFAULT_LEASE_SECONDS, MAX_TASKS, Task, take_tasks

_ERROR = {"$ref": "#/components/schemas/Error"}
_ANSWERS = {
    204: OpenApiResponse(description="Accepted."),
    404: OpenApiResponse(_ERROR, "The token is not ours."),
    409: OpenApiResponse(_ERROR, "The token has been used."),
    410: OpenApiResponse(_ERROR, "The step does not wait for this any more."),
    413: OpenApiResponse(_ERROR, "The output is larger than a step's output may be."),
}
MAX_WAIT_SECONDS = 20.0
LOOK_SECONDS = 0.25
# Each one that waits holds a thread of the server; the others are answered at once.
_WAITERS = threading.BoundedSemaphore(4)


@extend_schema_field({"type": "number"})
class NumberField(AnyField):
    """A number; a text is none."""

    def to_internal_value(self, data: Any) -> Any:
        if isinstance(data, bool) or not isinstance(data, (int, float)):
            raise serializers.ValidationError("A number was expected.", "field.type")
        return data


@extend_schema_field({"type": "integer"})
class CountField(AnyField):
    """A whole number."""

    def to_internal_value(self, data: Any) -> Any:
        if isinstance(data, bool) or not isinstance(data, int):
            raise serializers.ValidationError("A whole number was expected.", "field.type")
        return data


class CompleteSerializer(StrictSerializer):
    """May be left out altogether."""

    output = AnyField(required=False, allow_null=True, help_text="The step's output; any JSON.")


class FailSerializer(StrictSerializer):
    """What went wrong."""

    code = TextField(
        max_length=calling_back.MAX_CODE_CHARS,
        help_text="Such as UnknownItem; the definition sees action.UnknownItem.",
    )
    message = TextField(
        max_length=calling_back.MAX_MESSAGE_CHARS, help_text="One sentence for people."
    )
    retryable = FlagField(required=False, help_text="Whether trying again may help; default: true.")
    details = AnyField(required=False, allow_null=True, help_text="An object, for finding causes.")


class HeartbeatSerializer(StrictSerializer):
    """May be left out altogether."""

    details = AnyField(required=False, allow_null=True, help_text="How far it is; any JSON.")
    lease_seconds = NumberField(
        required=False, help_text=f"Of a task, from now on; default: {DEFAULT_LEASE_SECONDS:g}."
    )


@extend_schema_serializer(
    examples=[
        OpenApiExample(
            "Wait for up to five",
            value={"queue": "render", "limit": 5, "lease_seconds": 60, "wait_seconds": 20},
            request_only=True,
        )
    ]
)
class PollSerializer(StrictSerializer):
    """Which tasks are asked for."""

    queue = TextField(max_length=64, help_text="What `task.queue` names.")
    limit = CountField(required=False, help_text=f"At most so many, 1 to {MAX_TASKS}; default: 1.")
    lease_seconds = NumberField(
        required=False,
        help_text=f"For how long they are nobody else's; default: {DEFAULT_LEASE_SECONDS:g}.",
    )
    wait_seconds = NumberField(
        required=False,
        help_text=f"How long to wait for the first one, at most {MAX_WAIT_SECONDS:g}; default: 0.",
    )
    worker = TextField(
        max_length=calling_back.MAX_WORKER_CHARS,
        required=False,
        help_text="Who asks, for people who look; default: the user's name.",
    )


@extend_schema_field({})
class JsonField(serializers.ReadOnlyField):
    """Any JSON."""


class TaskSerializer(serializers.Serializer[Task]):
    token = serializers.CharField(help_text="Ends the task, once; whoever has it may.")
    queue = serializers.CharField()
    payload = JsonField()
    execution = serializers.IntegerField(source="execution_id")
    step = serializers.CharField()
    attempt = serializers.IntegerField(help_text="Of the step.")
    lease = serializers.IntegerField(help_text="How many have been given this task, you included.")


class TasksSerializer(serializers.Serializer[Any]):
    tasks = TaskSerializer(many=True, help_text="Empty if there are none.")


class CallbackView(APIView):
    """The token in the address is the authority; whoever sends it need not be known."""

    authentication_classes = ()
    permission_classes = (AllowAny,)

    def finalize_response(
        self, request: Request, response: Any, *args: Any, **kwargs: Any
    ) -> Response:
        final = super().finalize_response(request, response, *args, **kwargs)
        # Django would log the address of what was refused, and with it the token.
        final._has_been_logged = True  # type: ignore[attr-defined]
        return final


class CompleteView(CallbackView):
    @extend_schema(
        operation_id="callbacks_complete",
        summary="Complete a call",
        request=CompleteSerializer,
        responses=_ANSWERS,
        auth=[],
    )
    def post(self, request: Request, token: str) -> Response:
        """The call of an action, or the task, that the token is for has succeeded."""
        given = read_body(CompleteSerializer, request.data)
        calling_back.complete_callback(token=token, **given)
        return Response(status=status.HTTP_204_NO_CONTENT)


class FailView(CallbackView):
    @extend_schema(
        operation_id="callbacks_fail",
        summary="Fail a call",
        request=FailSerializer,
        responses=_ANSWERS,
        auth=[],
    )
    def post(self, request: Request, token: str) -> Response:
        """It has failed; the step's `retry` and `catch` see to what follows."""
        given = read_body(FailSerializer, request.data)
        calling_back.fail_callback(token=token, **given)
        return Response(status=status.HTTP_204_NO_CONTENT)


class HeartbeatView(CallbackView):
    @extend_schema(
        operation_id="callbacks_heartbeat",
        summary="Say that a call is still under way",
        request=HeartbeatSerializer,
        responses=_ANSWERS,
        auth=[],
    )
    def post(self, request: Request, token: str) -> Response:
        """The step's `heartbeat` counts from now, and so does the lease of a task."""
        given = read_body(HeartbeatSerializer, request.data)
        calling_back.heartbeat_callback(token=token, **given)
        return Response(status=status.HTTP_204_NO_CONTENT)


class PollView(APIView):
    required_permissions: ClassVar[dict[str, str]] = {"post": Permission.TASK_WORK}

    @extend_schema(
        operation_id="tasks_poll",
        summary="Take tasks off a queue",
        request=PollSerializer,
        responses={200: TasksSerializer},
    )
    def post(self, request: Request) -> Response:
        """Tasks that have waited longest first, each for the time of the lease.

        A task whose lease is over is there for others again; a heartbeat makes a lease longer.
        Complete, fail and heartbeat are addresses of their own, by the task's token.
        """
        given = read_body(PollSerializer, request.data)
        wait = min(max(float(given.pop("wait_seconds", 0)), 0.0), MAX_WAIT_SECONDS)
        actor = actor_of(request.user, request)
        tasks = take_tasks(actor=actor, **given)
        if not tasks and wait and _WAITERS.acquire(blocking=False):
            try:
                end = time.monotonic() + wait
                # Between two looks there is no transaction, and nothing is locked.
                while not tasks and (left := end - time.monotonic()) > 0:
                    time.sleep(min(LOOK_SECONDS, left))
                    tasks = take_tasks(actor=actor, **given)
            finally:
                _WAITERS.release()
        return Response(TasksSerializer({"tasks": tasks}).data)
