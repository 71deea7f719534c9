"""Writes down the security events of a request after everything else of it is over."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from http import HTTPStatus

from django.http import HttpRequest
from django.http.response import HttpResponseBase

from autopilot.accounts import security
from autopilot.accounts.kinds import SecurityEventKind
from autopilot.accounts.security import Note
from autopilot.common.requests import client_address, request_id_of

_KIND_BY_CODE = {
    "token.expired": SecurityEventKind.TOKEN_EXPIRED,
    "token.invalid": SecurityEventKind.TOKEN_INVALID,
}


class SecurityEventMiddleware:
    """Stands outside of every transaction of the request, so no rollback takes its rows along."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        with security.collecting() as events:
            response = self.get_response(request)
            seen = _seen_in(request, response)
            if seen is not None and not any(event.kind == seen.kind for event in events):
                events.append(seen)
            events[:] = [_completed(event, request) for event in events]
        return response


def _seen_in(request: HttpRequest, response: HttpResponseBase) -> Note | None:
    """The event that the answer itself tells of: refused tokens, and denials by the framework."""
    code = getattr(response, "error_code", "")
    message = getattr(response, "error_message", "")
    if code in _KIND_BY_CODE:
        return Note(kind=_KIND_BY_CODE[code], message=message)
    if response.status_code == HTTPStatus.FORBIDDEN:
        user = getattr(request, "user", None)
        if user is not None and user.is_authenticated:
            return Note(
                kind=SecurityEventKind.PERMISSION_DENIED,
                user_id=user.pk,
                name=user.get_username(),
                message=message,
            )
    return None


def _completed(event: Note, request: HttpRequest) -> Note:
    return replace(
        event,
        address=event.address or client_address(request),
        request_id=event.request_id or request_id_of(request),
        method=event.method or request.method or "",
        path=event.path or request.path,
    )
