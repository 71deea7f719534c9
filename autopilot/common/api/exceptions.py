"""Every error of the API in one shape: the exception handler of Django REST framework."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

import structlog
from django.core import exceptions as django_errors
from django.core.signals import got_request_exception
from django.db import InterfaceError, OperationalError
from django.http import Http404
from rest_framework import exceptions as drf
from rest_framework.response import Response
from rest_framework.views import set_rollback

from autopilot.common import jsonpath
from autopilot.common.envelope import envelope, headers_for
from autopilot.common.errors import (
    Conflict,
    DomainError,
    Invalid,
    NotAuthenticated,
    NotFound,
    PermissionDenied,
    RequestTooLarge,
    TooManyRequests,
    Unavailable,
)
from autopilot.common.problems import Problem
from autopilot.common.requests import request_id_of
from autopilot.common.views import Internal

log = structlog.get_logger(__name__)

_GENERAL = {"non_field_errors", "__all__"}


class MethodNotAllowed(DomainError):
    """This address does not take that method."""

    code = "method_not_allowed"
    status = 405


class NotAcceptable(DomainError):
    """The answer is JSON; the Accept header asks for something else."""

    code = "not_acceptable"
    status = 406


class UnsupportedMediaType(DomainError):
    """The body has to be JSON, sent as Content-Type: application/json."""

    code = "unsupported_media_type"
    status = 415


def _media_types(view: Any) -> str:
    """What is taken here, in a sentence; empty if that is JSON alone, as nearly everywhere."""
    taken = [str(parser.media_type) for parser in view.get_parsers()] if view else []
    if len(taken) < 2:
        return ""
    names = " or ".join(_MEDIA.get(each, each) for each in taken)
    return f"The body has to be {names}, sent as Content-Type: {' or '.join(taken)}."


_MEDIA = {"application/json": "JSON", "application/yaml": "YAML", "multipart/form-data": "a form"}


def exception_handler(exc: Exception, context: dict[str, Any]) -> Response:
    """Answer `exc` with the error envelope, its status and its headers.

    What nobody expected is logged with its trace, reported to Django's signal, and answered with
    500 and the request's id only.
    """
    request = context.get("request")
    error = domain_error_of(exc)
    if isinstance(exc, drf.UnsupportedMediaType):
        error = UnsupportedMediaType(_media_types(context.get("view")))
    if isinstance(error, Internal):
        log.error("request.failed", exc_info=exc)
        django_request = getattr(request, "_request", request)
        got_request_exception.send(sender=type(context.get("view")), request=django_request)
    elif error.status >= 500:
        log.error("request.unavailable", code=error.code, exc_info=exc)
    set_rollback()
    headers = headers_for(error)
    if isinstance(exc, drf.MethodNotAllowed) and context.get("view") is not None:
        headers["Allow"] = ", ".join(context["view"].allowed_methods)
    response = Response(
        envelope(
            code=error.code,
            message=error.message,
            details=error.details,
            request_id=request_id_of(request) if request is not None else "",
        ),
        status=error.status,
        headers=headers,
    )
    response.error_code = error.code  # type: ignore[attr-defined]
    response.error_message = error.message  # type: ignore[attr-defined]
    return response


def domain_error_of(exc: Exception) -> DomainError:
    """The DomainError that says what `exc` says; `Internal` for what nobody expected."""
    if isinstance(exc, DomainError):
        return exc
    if isinstance(exc, drf.APIException):
        return _of_drf(exc)
    if isinstance(exc, django_errors.ValidationError):
        return _invalid(list(_problems_of_django(exc)))
    if isinstance(exc, Http404):
        return NotFound()
    if isinstance(exc, django_errors.PermissionDenied):
        return PermissionDenied(str(exc))
    if isinstance(exc, django_errors.RequestDataTooBig):
        return RequestTooLarge()
    if isinstance(exc, django_errors.BadRequest | django_errors.SuspiciousOperation):
        return Invalid("The request is not one this server can answer.")
    if isinstance(exc, OperationalError | InterfaceError):
        return Unavailable("The database is not answering; try again in a moment.")
    return Internal()


def _of_drf(exc: drf.APIException) -> DomainError:
    if isinstance(exc, drf.ValidationError):
        return _invalid(list(problems_of(exc.detail)))
    if isinstance(exc, drf.ParseError):
        return Invalid(str(exc.detail))
    if isinstance(exc, drf.NotAuthenticated | drf.AuthenticationFailed):
        return NotAuthenticated()
    if isinstance(exc, drf.PermissionDenied):
        return PermissionDenied(str(exc.detail))
    if isinstance(exc, drf.NotFound):
        return NotFound(str(exc.detail))
    if isinstance(exc, drf.MethodNotAllowed):
        return MethodNotAllowed(str(exc.detail))
    if isinstance(exc, drf.NotAcceptable):
        return NotAcceptable()
    if isinstance(exc, drf.UnsupportedMediaType):
        return UnsupportedMediaType()
    if isinstance(exc, drf.Throttled):
        return TooManyRequests(retry_after_seconds=math.ceil(getattr(exc, "wait", None) or 1))
    return _of_status(exc)


def _of_status(exc: drf.APIException) -> DomainError:
    """An exception class of another app: its status decides which of ours is nearest."""
    kinds: dict[int, type[DomainError]] = {
        401: NotAuthenticated,
        403: PermissionDenied,
        404: NotFound,
        409: Conflict,
        429: TooManyRequests,
        503: Unavailable,
    }
    if exc.status_code in kinds:
        return kinds[exc.status_code](str(exc.detail))
    return Invalid(str(exc.detail)) if exc.status_code < 500 else Internal()


def _invalid(problems: list[Problem]) -> Invalid:
    if len(problems) == 1:
        (only,) = problems
        return Invalid(f"{only.path}: {only.message}", details=problems)
    return Invalid(f"The request has {len(problems)} problems; see details.", details=problems)


def problems_of(detail: Any, path: str = jsonpath.ROOT) -> Iterator[Problem]:
    """Flatten the nested detail of a DRF ValidationError into problems with JSON paths.

    Lists are either messages about `path` or, under many=True, one mapping for each item.
    """
    if isinstance(detail, Mapping):
        for key, value in detail.items():
            yield from problems_of(value, path if key in _GENERAL else jsonpath.child(path, key))
    elif isinstance(detail, list | tuple):
        for index, item in enumerate(detail):
            nested = isinstance(item, Mapping | list | tuple)
            yield from problems_of(item, jsonpath.child(path, index) if nested else path)
    else:
        yield Problem(path, str(getattr(detail, "code", "invalid")), str(detail))


def _problems_of_django(exc: django_errors.ValidationError) -> Iterator[Problem]:
    if hasattr(exc, "error_dict"):
        for field, errors in exc.error_dict.items():
            path = jsonpath.ROOT if field in _GENERAL else jsonpath.child(jsonpath.ROOT, field)
            for error in errors:
                for message in error.messages:
                    yield Problem(path, error.code or "invalid", message)
    else:
        for error in exc.error_list:
            for message in error.messages:
                yield Problem(jsonpath.ROOT, error.code or "invalid", message)
