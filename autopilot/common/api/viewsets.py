"""Bases of the API's viewsets: permissions declared by action, separate serializers to write."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from rest_framework import mixins, viewsets
from rest_framework.serializers import BaseSerializer

from autopilot.common.api.pagination import CursorPagination


class DeclaredViewSet(viewsets.GenericViewSet[Any]):
    """A viewset that says what it needs.

    required_permissions: for each action the full permission name(s); see HasPermissions.
    serializer_classes: for each action that differs the serializer that reads its input;
    `serializer_class` is what answers are written with.
    """

    required_permissions: ClassVar[Mapping[str, Any]] = {}
    serializer_classes: ClassVar[Mapping[str, type[BaseSerializer[Any]]]] = {}

    def get_serializer_class(self) -> type[BaseSerializer[Any]]:
        return self.serializer_classes.get(self.action) or super().get_serializer_class()


class ReadOnlyViewSet(mixins.RetrieveModelMixin, mixins.ListModelMixin, DeclaredViewSet):
    """List with page numbers, and detail."""


class StreamViewSet(ReadOnlyViewSet):
    """List by cursor, and detail: for rows that keep coming, newest first."""

    pagination_class = CursorPagination
