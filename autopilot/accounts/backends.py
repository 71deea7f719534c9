"""Signing in with a password, with a lock-out that PostgreSQL keeps.

It sits in the authentication backend, so whatever asks for a password is behind it: the API's
token endpoint, the console's login, and forms that other apps add.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from asgiref.sync import sync_to_async
from django.conf import settings
from django.contrib.auth import get_user_model
from django.contrib.auth.backends import ModelBackend
from django.http import HttpRequest

from autopilot.accounts import security
from autopilot.accounts.kinds import SecurityEventKind
from autopilot.accounts.models import LoginAttempt
from autopilot.accounts.security import Note
from autopilot.common import clock
from autopilot.common.errors import TooManyRequests
from autopilot.common.requests import client_address, request_id_of
from autopilot.common.storable import text


class Locked(TooManyRequests):
    """Too many failed logins for this name from this address."""

    code = "auth.locked"


class LockoutMixin:
    """Goes before any password backend: `class Mine(LockoutMixin, LDAPBackend)`."""

    def authenticate(
        self,
        request: HttpRequest | None,
        username: str | None = None,
        password: str | None = None,
        **kwargs: Any,
    ) -> Any:
        """The user, or None. Raises Locked (429) without looking at the password."""
        if username is None:
            username = kwargs.get(get_user_model().USERNAME_FIELD)
        if username is None or password is None:
            return None
        key = {
            "name": text(username).casefold()[:200],
            "address": client_address(request)[:64] if request is not None else "",
        }
        _reserve(request, key)
        user = super().authenticate(  # type: ignore[misc]
            request, username=username, password=password, **kwargs
        )
        if user is not None:
            LoginAttempt.objects.filter(**key).delete()
        return user

    async def aauthenticate(
        self,
        request: HttpRequest | None,
        username: str | None = None,
        password: str | None = None,
        **kwargs: Any,
    ) -> Any:
        return await sync_to_async(self.authenticate)(request, username, password, **kwargs)


class PasswordBackend(LockoutMixin, ModelBackend):
    """Django's own users and permissions behind the lock-out."""


def _reserve(request: HttpRequest | None, key: dict[str, str]) -> None:
    """Count this attempt before the password is looked at, or refuse it.

    The race: a hundred requests at once that all count before any of them has failed. Each
    writes its row first and then counts the others, so at most the limit gets past.
    """
    window = timedelta(seconds=settings.AUTOPILOT_LOGIN_WINDOW_SECONDS)
    limit: int = settings.AUTOPILOT_LOGIN_ATTEMPTS
    now = clock.now()
    LoginAttempt.objects.filter(at__lt=now - window).delete()
    own = LoginAttempt.objects.create(at=now, **key)
    others = list(
        LoginAttempt.objects.filter(at__gte=now - window, **key)
        .exclude(pk=own.pk)
        .order_by("-at")
        .values_list("at", flat=True)[:limit]
    )
    if len(others) < limit:
        return
    # A refused attempt tried no password, and so does not prolong the lock.
    own.delete()
    wait = max(1, int((others[-1] + window - now).total_seconds()) + 1)
    security.note(
        Note(
            kind=SecurityEventKind.LOGIN_LOCKED,
            name=key["name"],
            address=key["address"],
            message=f"{limit} failed logins within {int(window.total_seconds())} seconds",
            request_id=request_id_of(request) if request is not None else "",
        )
    )
    raise Locked(
        f"Too many failed logins for this name from this address; try again in {wait} seconds.",
        retry_after_seconds=wait,
    )
