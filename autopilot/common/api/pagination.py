"""Two ways to page: by page number with a count, and by cursor for lists that never end."""

from __future__ import annotations

import base64
import binascii
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from django.db.models import Model, QuerySet
from rest_framework import exceptions as drf
from rest_framework import pagination
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.utils.urls import replace_query_param

from autopilot.common.errors import Invalid, NotFound
from autopilot.common.problems import Problem

if TYPE_CHECKING:
    from rest_framework.views import APIView

_M = TypeVar("_M", bound=Model)
_BIGGEST = 2**63 - 1


class PageNumberPagination(pagination.PageNumberPagination):
    """`?page=2&page_size=50`: with a count, for lists that people look through."""

    page_size = 50
    page_size_query_param = "page_size"
    max_page_size = 200

    def paginate_queryset(
        self, queryset: Any, request: Request, view: APIView | None = None
    ) -> list[Any] | None:
        try:
            return super().paginate_queryset(queryset, request, view)
        except drf.NotFound as error:
            page = request.query_params.get(self.page_query_param, "")
            raise NotFound(f"There is no page {page[:20]!r} of this list.") from error


@dataclass(frozen=True, slots=True)
class Cursor:
    """A place between two rows: after (or, backwards, before) the row with this key."""

    key: int
    backwards: bool

    def encode(self) -> str:
        raw = json.dumps([int(self.backwards), self.key], separators=(",", ":")).encode()
        return base64.urlsafe_b64encode(raw).decode().rstrip("=")

    @classmethod
    def decode(cls, text: str) -> Cursor:
        """Raises ValueError for anything that `encode` did not write."""
        try:
            raw = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
            match json.loads(raw):
                case [0 | 1 as backwards, int() as key] if abs(key) <= _BIGGEST:
                    return cls(key=key, backwards=backwards == 1)
        except (binascii.Error, UnicodeError, RecursionError, json.JSONDecodeError) as error:
            raise ValueError("not a cursor") from error
        raise ValueError("not a cursor")


class CursorPagination(pagination.BasePagination):
    """`?cursor=...&page_size=50`: rows by a unique integer key, no count, no offset.

    A page costs the same wherever it lies, and rows that arrive while somebody pages neither
    repeat nor vanish. A view may set `cursor_ordering` to another unique integer column.
    """

    cursor_query_param = "cursor"
    page_size_query_param = "page_size"
    page_size = 50
    max_page_size = 200
    ordering = "-id"

    def paginate_queryset(
        self, queryset: Any, request: Request, view: APIView | None = None
    ) -> list[Any]:
        self.request = request
        ordering = str(getattr(view, "cursor_ordering", self.ordering))
        self.field = ordering.lstrip("-")
        self.descending = ordering.startswith("-")
        self.cursor = self._cursor()
        size = self._size()
        backwards = self.cursor is not None and self.cursor.backwards
        # One row more than asked for says whether there is another page.
        rows = list(self._ordered(queryset, backwards)[: size + 1])
        more = len(rows) > size
        rows = rows[:size]
        if backwards:
            rows.reverse()
        self.has_next = bool(rows) if backwards else more
        self.has_previous = more if backwards else self.cursor is not None and bool(rows)
        self.rows: list[Any] = rows
        return rows

    def _ordered(self, queryset: QuerySet[_M], backwards: bool) -> QuerySet[_M]:
        falling = self.descending != backwards
        if self.cursor is not None:
            lookup = f"{self.field}__{'lt' if falling else 'gt'}"
            queryset = queryset.filter(**{lookup: self.cursor.key})
        return queryset.order_by(f"{'-' if falling else ''}{self.field}")

    def _cursor(self) -> Cursor | None:
        text = self.request.query_params.get(self.cursor_query_param)
        if text is None:
            return None
        try:
            return Cursor.decode(text)
        except ValueError as error:
            message = "The cursor is not one this list gave out; start again without it."
            raise Invalid(message, details=[Problem("$.cursor", "cursor.bad", message)]) from error

    def _size(self) -> int:
        text = self.request.query_params.get(self.page_size_query_param)
        if text is None:
            return self.page_size
        if not (text.isascii() and text.isdigit() and len(text) < 10 and int(text) > 0):
            message = f"page_size has to be a whole number from 1 to {self.max_page_size}."
            problem = Problem("$.page_size", "page_size.bad", message)
            raise Invalid(message, details=[problem])
        return min(int(text), self.max_page_size)

    def _link(self, there: bool, row: int, *, backwards: bool) -> str | None:
        if not there:
            return None
        cursor = Cursor(key=getattr(self.rows[row], self.field), backwards=backwards)
        url = self.request.build_absolute_uri()
        return str(replace_query_param(url, self.cursor_query_param, cursor.encode()))

    def get_paginated_response(self, data: Any) -> Response:
        return Response(
            {
                "next": self._link(self.has_next, -1, backwards=False),
                "previous": self._link(self.has_previous, 0, backwards=True),
                "results": data,
            }
        )

    def get_paginated_response_schema(self, schema: dict[str, Any]) -> dict[str, Any]:
        link = {"type": "string", "format": "uri", "nullable": True}
        return {
            "type": "object",
            "required": ["next", "previous", "results"],
            "properties": {"next": link, "previous": link, "results": schema},
        }

    def get_schema_operation_parameters(self, view: APIView) -> list[dict[str, Any]]:
        return [
            {
                "name": self.cursor_query_param,
                "in": "query",
                "required": False,
                "description": "Where to go on: taken from `next` or `previous`.",
                "schema": {"type": "string"},
            },
            {
                "name": self.page_size_query_param,
                "in": "query",
                "required": False,
                "description": "How many results a page has.",
                "schema": {
                    "type": "integer",
                    "minimum": 1,
                    "maximum": self.max_page_size,
                    "default": self.page_size,
                },
            },
        ]
