"""ETag and If-Match: two people who edit the same thing do not overwrite each other unseen."""

from __future__ import annotations

import hashlib
from typing import Any

from django.db import models
from django.utils.http import parse_etags
from rest_framework.request import Request
from rest_framework.response import Response

from autopilot.common.errors import PreconditionFailed


def etag_of(instance: models.Model) -> str:
    """A strong ETag that changes whenever the row does: from its `updated_at` or content hash."""
    parts = [instance._meta.label_lower, str(instance.pk)]
    for name in ("updated_at", "content_hash", "state"):
        parts.append(str(getattr(instance, name, "")))
    return f'"{hashlib.sha256("|".join(parts).encode()).hexdigest()[:32]}"'


def require_match(request: Request, instance: models.Model) -> None:
    """Raise PreconditionFailed when If-Match names another state of `instance` than this one.

    Without the header nothing is checked. To be safe against a race call it with a row that was
    read under `select_for_update`, in the transaction that changes it.
    """
    header = request.headers.get("If-Match")
    if header is None or header.strip() == "*":
        return
    if etag_of(instance) not in parse_etags(header):
        raise PreconditionFailed


class ETagMixin:
    """For a viewset of editable things: sends ETag with one of them, answers 304 when unchanged.

    Writing actions call `self.require_match(instance)` before they change anything and answer
    with `self.with_etag(response, instance)`.
    """

    # A view's, whose type each framework class narrows in its own way.
    request: Any

    def require_match(self, instance: models.Model) -> None:
        require_match(self.request, instance)

    def with_etag(self, response: Response, instance: models.Model) -> Response:
        response["ETag"] = etag_of(instance)
        return response

    def retrieve(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        instance = self.get_object()  # type: ignore[attr-defined]
        header = request.headers.get("If-None-Match")
        if header is not None and etag_of(instance) in parse_etags(header.replace("W/", "")):
            return self.with_etag(Response(status=304), instance)
        return self.with_etag(
            Response(self.get_serializer(instance).data),  # type: ignore[attr-defined]
            instance,
        )
