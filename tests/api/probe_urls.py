"""Views that fail in every way a view can, for the tests of the error envelope."""

from __future__ import annotations

from typing import Any, NoReturn

from django.core import exceptions as django_errors
from django.db import OperationalError
from django.http import Http404, HttpRequest
from django.urls import path
from rest_framework import exceptions as drf
from rest_framework import serializers
from rest_framework.permissions import AllowAny
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from autopilot.accounts.roles import Permission
from autopilot.common.api.permissions import AUTHENTICATED
from autopilot.common.errors import Conflict, PreconditionFailed
from autopilot.urls import handler400, handler403, handler404, handler500
from autopilot.urls import urlpatterns as project

__all__ = ["handler400", "handler403", "handler404", "handler500", "urlpatterns"]

FAILURES: dict[str, Exception] = {
    "conflict": Conflict("The execution has ended."),
    "precondition": PreconditionFailed(),
    "http404": Http404("secret detail of the framework"),
    "django-denied": django_errors.PermissionDenied(),
    "too-big": django_errors.RequestDataTooBig("raw"),
    "throttled": drf.Throttled(wait=6.2),
    "database": OperationalError("could not connect to server at 10.1.2.3"),
    "bug": ZeroDivisionError("secret detail of a bug"),
    "model": django_errors.ValidationError({"name": ["Too short."], "__all__": ["Odd."]}),
    "suspicious": django_errors.SuspiciousOperation("odd"),
    "surrogate": Conflict("half \ud83d a pair"),
}


class StepSerializer(serializers.Serializer[Any]):
    name = serializers.CharField(max_length=5)
    tags = serializers.ListField(child=serializers.IntegerField(), required=False)


class DocumentSerializer(serializers.Serializer[Any]):
    title = serializers.CharField()
    steps = StepSerializer(many=True)

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        if attrs["title"] == "odd":
            raise serializers.ValidationError("The parts do not fit.", code="misfit")
        return attrs


class FailView(APIView):
    authentication_classes = ()
    permission_classes = (AllowAny,)

    def get(self, request: Request, how: str) -> NoReturn:
        raise FAILURES[how]


class EchoView(APIView):
    authentication_classes = ()
    permission_classes = (AllowAny,)

    def post(self, request: Request) -> Response:
        serializer = DocumentSerializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        return Response(serializer.data)


class DeclaredView(APIView):
    required_permissions = {"get": Permission.WORKFLOW_VIEW, "put": AUTHENTICATED}

    def get(self, request: Request) -> Response:
        return Response({})

    def put(self, request: Request) -> Response:
        return Response({})

    def post(self, request: Request) -> Response:
        return Response({})


def fail_outside_of_drf(request: HttpRequest, how: str) -> NoReturn:
    raise FAILURES[how]


urlpatterns = [
    path("api/probe/fail/<slug:how>/", FailView.as_view()),
    path("api/probe/plain/<slug:how>/", fail_outside_of_drf),
    path("api/probe/echo/", EchoView.as_view()),
    path("api/probe/declared/", DeclaredView.as_view()),
    path("page/<slug:how>/", fail_outside_of_drf),
    *project,
]
