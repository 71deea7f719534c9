"""What happens around every request, whoever answers it."""

from __future__ import annotations

from typing import Any
from urllib.parse import unquote_to_bytes

import structlog
from csp.middleware import CSPMiddleware, PolicyParts
from django.conf import settings
from django.db import InterfaceError, OperationalError
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.middleware.common import CommonMiddleware
from django.utils.deprecation import MiddlewareMixin

from autopilot.common.errors import (
    DomainError,
    Invalid,
    NotFound,
    RequestTooLarge,
    Unavailable,
)
from autopilot.common.problems import Problem
from autopilot.common.requests import choose_request_id, is_api
from autopilot.common.views import error_response, not_found_sentence

log = structlog.get_logger(__name__)

REQUEST_ID_HEADER = "X-Request-Id"


class RequestIdMiddleware(MiddlewareMixin):
    """Gives each request an id: `request.request_id`, in every log line, echoed to the caller."""

    def process_request(self, request: HttpRequest) -> None:
        request_id = choose_request_id(request.headers.get(REQUEST_ID_HEADER, ""))
        request.request_id = request_id  # type: ignore[attr-defined]
        structlog.contextvars.clear_contextvars()
        structlog.contextvars.bind_contextvars(request_id=request_id)

    def process_response(
        self, request: HttpRequest, response: HttpResponseBase
    ) -> HttpResponseBase:
        response[REQUEST_ID_HEADER] = getattr(request, "request_id", "")
        return response


class ErrorsMiddleware(MiddlewareMixin):
    """Turns what a view outside of DRF raised into the same answer that the API gives.

    Also refuses NUL characters in the address, which PostgreSQL cannot store or compare, and
    bodies that are too long: of those the server passes on nothing or a part, and a form of which
    some files are missing looks like any other.
    """

    def process_request(self, request: HttpRequest) -> HttpResponseBase | None:
        query = request.META.get("QUERY_STRING", "")
        if "\x00" in request.path_info or ("%00" in query and b"\x00" in unquote_to_bytes(query)):
            problem = Problem("$", "text.nul", "The address contains a NUL character.")
            return error_response(request, Invalid(problem.message, details=[problem]))
        length = str(request.META.get("CONTENT_LENGTH", ""))
        limit = settings.DATA_UPLOAD_MAX_MEMORY_SIZE
        if limit and length.isdecimal() and int(length) > limit:
            return error_response(request, RequestTooLarge.over(limit))
        return None

    def process_response(
        self, request: HttpRequest, response: HttpResponseBase
    ) -> HttpResponseBase:
        # With DEBUG on, Django answers an unknown address with a page for people.
        if response.status_code == 404 and is_api(request) and not hasattr(response, "error_code"):
            return error_response(request, NotFound(not_found_sentence(request)))
        return response

    def process_exception(
        self, request: HttpRequest, exception: Exception
    ) -> HttpResponseBase | None:
        if isinstance(exception, DomainError):
            return error_response(request, exception)
        if isinstance(exception, OperationalError | InterfaceError):
            log.error("database.unavailable", exc_info=exception)
            return error_response(request, Unavailable())
        return None


class SlashMiddleware(CommonMiddleware):
    """Django's CommonMiddleware, except that a write without the final slash is not redirected.

    A redirect would turn a POST into a GET and lose its body without a word; the 404 says which
    address was meant.
    """

    def should_redirect_with_slash(self, request: HttpRequest) -> bool:
        if is_api(request) and request.method not in {"GET", "HEAD"}:
            return False
        return bool(super().should_redirect_with_slash(request))


class ContentSecurityPolicyMiddleware(CSPMiddleware):
    """django-csp with one policy per part of the site: the first prefix that fits decides."""

    def get_policy_parts(
        self, request: HttpRequest, response: HttpResponseBase, report_only: bool = False
    ) -> PolicyParts:
        parts = super().get_policy_parts(request, response, report_only)
        if report_only or parts.config is not None:
            return parts
        policies: list[tuple[str, dict[str, Any]]] = settings.CONTENT_SECURITY_POLICIES
        for prefix, directives in policies:
            if request.path_info.startswith(prefix):
                parts.config = directives
                break
        return parts
