"""Signals of Django that tell what nothing else could: a login that failed."""

from __future__ import annotations

from typing import Any

from django.contrib.auth import get_user_model
from django.contrib.auth.signals import user_login_failed
from django.dispatch import receiver
from django.http import HttpRequest

from autopilot.accounts import security
from autopilot.accounts.kinds import SecurityEventKind
from autopilot.accounts.security import Note
from autopilot.common.requests import client_address, request_id_of


@receiver(user_login_failed, dispatch_uid="accounts.login_failed")
def remember_failed_login(
    sender: Any, credentials: dict[str, Any], request: HttpRequest | None = None, **kwargs: Any
) -> None:
    field = get_user_model().USERNAME_FIELD
    name = credentials.get("username") or credentials.get(field) or ""
    security.note(
        Note(
            kind=SecurityEventKind.LOGIN_FAILED,
            name=str(name),
            message="unknown name, wrong password, or inactive account",
            address=client_address(request) if request is not None else "",
            request_id=request_id_of(request) if request is not None else "",
        )
    )
