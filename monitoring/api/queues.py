"""The API of queues: how they are doing, and switching them off and on again."""

from __future__ import annotations

from typing import Any, ClassVar

from drf_spectacular.utils import OpenApiResponse, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from autopilot.accounts.actors import actor_of
from autopilot.accounts.roles import Permission
from executions import holding
from executions.api.bodies import read_body
from executions.api.limits import HoldSerializer, PauseSerializer
from executions.queues import queue_states

_ERROR = {"$ref": "#/components/schemas/Error"}


class QueueSerializer(serializers.Serializer[Any]):
    """A queue."""

    name = serializers.CharField()
    ready = serializers.IntegerField(help_text="What a worker may take now, at most 10,000.")
    ready_is_capped = serializers.BooleanField()
    running = serializers.IntegerField()
    oldest_ready = serializers.DateTimeField(allow_null=True)
    workers = serializers.IntegerField(help_text="Live ones that serve it.")
    paused = HoldSerializer(source="hold", allow_null=True)


class QueuesView(APIView):
    required_permissions: ClassVar[dict[str, str]] = {"get": Permission.MONITORING_VIEW}

    @extend_schema(
        operation_id="queues_list",
        summary="List queues",
        responses={200: QueueSerializer(many=True)},
    )
    def get(self, request: Request) -> Response:
        """All that are configured: what waits, who serves them, what is paused."""
        return Response(QueueSerializer(queue_states(), many=True).data)


class _SwitchView(APIView):
    required_permissions: ClassVar[dict[str, str]] = {"post": Permission.LIMITS_MANAGE}

    def answer(self, name: str) -> Response:
        (state,) = [each for each in queue_states() if each.name == name]
        return Response(QueueSerializer(state).data)


class QueuePauseView(_SwitchView):
    @extend_schema(
        operation_id="queues_pause",
        summary="Switch a queue off",
        request=PauseSerializer,
        responses={200: QueueSerializer},
    )
    def post(self, request: Request, name: str) -> Response:
        """Nothing of it runs (`all`, the default), or it takes no new executions (`starts`)."""
        given = read_body(PauseSerializer, request.data)
        holding.pause_queue(queue=name, actor=actor_of(request.user, request), **given)
        return self.answer(name)


class QueueResumeView(_SwitchView):
    @extend_schema(
        operation_id="queues_resume",
        summary="Switch a queue on again",
        request=None,
        responses={200: QueueSerializer, 409: OpenApiResponse(_ERROR, "It is not paused.")},
    )
    def post(self, request: Request, name: str) -> Response:
        """What waited goes on within a second."""
        holding.resume_queue(queue=name, actor=actor_of(request.user, request))
        return self.answer(name)
