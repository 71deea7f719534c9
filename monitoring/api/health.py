"""Health for load balancers and on-call: open to everybody, telling nobody more than the state."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import OpenApiResponse, extend_schema
from rest_framework import serializers
from rest_framework.permissions import AllowAny
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from monitoring import health

_STATES = [state.value for state in health.State]


class LiveSerializer(serializers.Serializer[Any]):
    status = serializers.CharField(help_text="Always `ok`.")


class DependencySerializer(serializers.Serializer[Any]):
    state = serializers.ChoiceField(choices=_STATES)
    message = serializers.CharField()


class DependenciesSerializer(serializers.Serializer[Any]):
    postgres = DependencySerializer()
    redis = DependencySerializer()


class ReadySerializer(serializers.Serializer[Any]):
    status = serializers.ChoiceField(choices=_STATES)
    dependencies = DependenciesSerializer()


class OpenView(APIView):
    authentication_classes = ()
    permission_classes = (AllowAny,)


class LiveView(OpenView):
    @extend_schema(
        operation_id="health_live",
        summary="Is the process alive",
        auth=[],
        responses={200: LiveSerializer},
    )
    def get(self, request: Request) -> Response:
        """Always 200 while the process answers; asks no dependency."""
        return Response({"status": "ok"})


class ReadyView(OpenView):
    @extend_schema(
        operation_id="health_ready",
        summary="Can the process do its work",
        auth=[],
        responses={
            200: ReadySerializer,
            503: OpenApiResponse(ReadySerializer, "PostgreSQL is away or not migrated."),
        },
    )
    def get(self, request: Request) -> Response:
        """200 when PostgreSQL answers and is migrated (`degraded` without Redis), else 503."""
        found = health.check()
        body = {
            "status": found.state,
            "dependencies": {"postgres": found.postgres, "redis": found.redis},
        }
        down = found.state is health.State.DOWN
        return Response(
            ReadySerializer(body).data,
            status=503 if down else 200,
            headers={"Retry-After": "5"} if down else None,
        )
