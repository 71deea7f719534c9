"""What every layer may ask about an HTTP request: its id and where it came from."""

from __future__ import annotations

import re
import uuid
from typing import TYPE_CHECKING

from django.conf import settings

if TYPE_CHECKING:
    from django.http import HttpRequest
    from rest_framework.request import Request

API_PREFIX = "/api/"
_SANE_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{7,63}\Z")


def choose_request_id(offered: str) -> str:
    """The id a caller or proxy offered, if it is 8 to 64 plain characters; else a new one."""
    return offered if _SANE_ID.match(offered) else uuid.uuid4().hex


def request_id_of(request: HttpRequest | Request) -> str:
    """The id that RequestIdMiddleware gave the request; empty when it did not run."""
    return str(getattr(request, "request_id", ""))


def client_address(request: HttpRequest | Request) -> str:
    """The address the request came from.

    X-Forwarded-For is text that anybody can send, so it counts only as far as our own proxies
    wrote it: with `AUTOPILOT_TRUSTED_PROXIES` = n, the n-th address from the right.
    """
    remote = str(request.META.get("REMOTE_ADDR") or "")
    proxies: int = settings.AUTOPILOT_TRUSTED_PROXIES
    if proxies <= 0:
        return remote
    forwarded = [part.strip() for part in request.META.get("HTTP_X_FORWARDED_FOR", "").split(",")]
    forwarded = [part for part in forwarded if part]
    if not forwarded:
        return remote
    return str(forwarded[-min(proxies, len(forwarded))][:64])


def is_api(request: HttpRequest | Request) -> bool:
    """Whether the caller is a program and expects JSON, errors included."""
    return request.path.startswith(API_PREFIX)
