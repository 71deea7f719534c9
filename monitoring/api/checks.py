"""Every check of health, and what nobody goes on with, for people and for monitoring systems."""

from __future__ import annotations

from typing import Any, ClassVar

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from autopilot.accounts.actors import actor_of
from autopilot.accounts.roles import Permission
from executions.api.bodies import StrictSerializer, read_body
from executions.recovering import find_stuck, recover_executions
from monitoring.checks.base import Level
from monitoring.checks.everything import check_everything

_LEVELS = [level.value for level in Level]


class CheckSerializer(serializers.Serializer[Any]):
    """One thing that was looked at."""

    name = serializers.CharField(help_text="Dotted and stable.")
    level = serializers.ChoiceField(choices=_LEVELS)
    message = serializers.CharField()
    advice = serializers.CharField(help_text="What to do; empty if nothing has to be.")
    facts = serializers.JSONField(help_text="What the message is made from.")


class ReportSerializer(serializers.Serializer[Any]):
    """All checks; `level` is that of the worst."""

    level = serializers.ChoiceField(choices=_LEVELS)
    at = serializers.DateTimeField()
    checks = CheckSerializer(many=True)


class HealthView(APIView):
    required_permissions: ClassVar[dict[str, str]] = {"get": Permission.MONITORING_VIEW}

    @extend_schema(
        operation_id="health_checks",
        summary="Look at everything",
        responses={200: ReportSerializer},
    )
    def get(self, request: Request) -> Response:
        """Every dependency and every sign of trouble, as `manage.py check_health` says it.

        Answers 200 whatever it finds; load balancers ask `health/ready/`.
        """
        return Response(ReportSerializer(check_everything()).data)


class StuckSerializer(serializers.Serializer[Any]):
    """An execution that nobody goes on with."""

    execution_id = serializers.IntegerField()
    queue = serializers.CharField()
    code = serializers.CharField(help_text="Which way it is stuck; stable.")
    sentence = serializers.CharField()
    remedy = serializers.CharField(help_text="What is done about it; empty: up to people.")
    is_expected = serializers.BooleanField(
        help_text="The clock does it by itself; otherwise it should not have come to this."
    )
    freed = serializers.BooleanField(allow_null=True, help_text="null: nothing was tried.")


class RecoverySerializer(StrictSerializer):
    """Which executions; without `ids` all."""

    ids = serializers.ListField(
        child=serializers.IntegerField(min_value=1, max_value=2**63 - 1),
        required=False,
        min_length=1,
        max_length=1_000,
    )


class RecoveryView(APIView):
    required_permissions: ClassVar[dict[str, str]] = {
        "get": Permission.EXECUTION_VIEW,
        "post": Permission.EXECUTION_CONTROL,
    }

    @extend_schema(
        operation_id="recovery_list",
        summary="List what nobody goes on with",
        responses={200: StuckSerializer(many=True)},
    )
    def get(self, request: Request) -> Response:
        """Changes nothing; at most 1,000 of each way to be stuck."""
        found = find_stuck(actor=actor_of(request.user, request))
        return Response(StuckSerializer(found, many=True).data)

    @extend_schema(
        operation_id="recovery_run",
        summary="Let go on what nobody goes on with",
        request=RecoverySerializer,
        responses={200: StuckSerializer(many=True)},
    )
    def post(self, request: Request) -> Response:
        """What was stuck, and what came of it. Rarely needed: the clock does most of it by itself,
        within seconds.
        """
        given = read_body(RecoverySerializer, request.data)
        found = recover_executions(actor=actor_of(request.user, request), ids=given.get("ids"))
        return Response(StuckSerializer(found, many=True).data)
