"""Error pages for people and error envelopes for programs, for whatever DRF did not answer."""

from __future__ import annotations

from http import HTTPStatus

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.template.loader import render_to_string
from django.urls import Resolver404, resolve

from autopilot.common.envelope import envelope, headers_for, printable
from autopilot.common.errors import DomainError, Invalid, NotFound, PermissionDenied
from autopilot.common.requests import is_api, request_id_of


class Internal(DomainError):
    """Something went wrong on our side; the request id helps to find out what."""

    code = "internal"
    status = 500


TITLES = {
    400: "That request cannot be understood",
    403: "You may not do this",
    404: "There is nothing here",
    409: "Not possible right now",
    429: "Too many attempts",
    500: "Something went wrong on our side",
    503: "Not available right now",
}


def error_response(request: HttpRequest, error: DomainError) -> HttpResponse:
    """`error` as JSON under /api/, as a page elsewhere; with its status and headers."""
    response: HttpResponse
    if is_api(request):
        response = JsonResponse(
            envelope(
                code=error.code,
                message=error.message,
                details=error.details,
                request_id=request_id_of(request),
            ),
            status=error.status,
        )
    else:
        response = HttpResponse(_page(request, error), status=error.status)
    for name, value in headers_for(error).items():
        response[name] = value
    response.error_code = error.code  # type: ignore[attr-defined]
    response.error_message = error.message  # type: ignore[attr-defined]
    return response


def _page(request: HttpRequest, error: DomainError) -> str:
    name = f"{error.status}.html" if error.status in {403, 404, 500} else "error.html"
    # No request context: its processors ask the session and the database, which may be the
    # very thing that is broken.
    return render_to_string(
        name,
        {
            "status": error.status,
            "title": TITLES.get(error.status, HTTPStatus(error.status).phrase),
            "message": printable(error.message),
            "request_id": request_id_of(request),
        },
    )


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    return error_response(request, Invalid("The request is not one this server can answer."))


def permission_denied(request: HttpRequest, exception: Exception) -> HttpResponse:
    return error_response(request, PermissionDenied())


def csrf_failure(request: HttpRequest, reason: str = "") -> HttpResponse:
    """A form without a valid token: usually a page that was open since before signing in."""
    return error_response(
        request,
        PermissionDenied(
            "The form was not sent from a fresh page of this site; reload the page and try again."
        ),
    )


def page_not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    return error_response(request, NotFound(not_found_sentence(request)))


def server_error(request: HttpRequest) -> HttpResponse:
    return error_response(request, Internal())


def not_found_sentence(request: HttpRequest) -> str:
    """What is missing, and the address with a final slash when that one exists."""
    path = request.path
    if not path.endswith("/"):
        try:
            resolve(f"{request.path_info}/")
        except Resolver404:
            pass
        else:
            return f"There is no {path}; {path}/ was probably meant."
    return f"There is no {path}."
