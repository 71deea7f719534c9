"""Tickets for streams, and whether whoever opened one may still have it.

A browser's EventSource can't send an Authorization header. Whoever has a token gets a ticket for
it, good once and for a minute, which may stand in an address: it is spent when a log has it.
"""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from importlib import import_module
from typing import Any

from django.conf import settings
from django.contrib.auth import SESSION_KEY, get_user_model
from rest_framework.request import Request
from rest_framework_simplejwt.tokens import AccessToken
from rest_framework_simplejwt.utils import get_md5_hash_password

from autopilot.accounts.actors import actor_of
from autopilot.accounts.models import StreamTicket
from autopilot.accounts.roles import Permission
from autopilot.common import clock
from autopilot.common.errors import NotAuthenticated

TICKET_LIFETIME = timedelta(minutes=1)


class TicketInvalid(NotAuthenticated):
    """The ticket was used before, is too old, or is not one of ours; get a new one."""

    code = "ticket.invalid"


@dataclass(frozen=True, slots=True)
class Ticket:
    """text: for the address. It is stored nowhere in this form."""

    text: str
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class Credential:
    """What somebody showed when a stream was opened, to be looked at again while it lasts.

    mark: changes with the password. until: when it ends by itself; None: not known here.
    session_key: of the session, if it was one.
    """

    user_id: Any
    mark: str
    until: datetime | None = None
    session_key: str = ""

    def may(self, permission: Permission) -> bool:
        """Whether it still counts, and its holder has the permission now."""
        if self.until is not None and clock.now() >= self.until:
            return False
        user = get_user_model()._default_manager.filter(pk=self.user_id).first()
        if user is None or not user.is_active or get_md5_hash_password(user.password) != self.mark:
            return False
        if self.session_key and not self._has_session():
            return False
        return actor_of(user).may(permission)

    def _has_session(self) -> bool:
        store = import_module(settings.SESSION_ENGINE).SessionStore(self.session_key)
        return str(store.get(SESSION_KEY)) == str(self.user_id)


def credential_of(request: Request) -> Credential:
    """What this request shows: a session, a token, or a ticket."""
    if isinstance(request.auth, Credential):
        return request.auth
    user: Any = request.user
    mark = get_md5_hash_password(user.password)
    if isinstance(request.auth, AccessToken):
        return Credential(user.pk, mark, until=datetime.fromtimestamp(request.auth["exp"], tz=UTC))
    return Credential(user.pk, mark, session_key=request.session.session_key or "")


def issue_ticket(*, credential: Credential) -> Ticket:
    """A ticket that stands for this credential once."""
    now = clock.now()
    text = secrets.token_urlsafe(32)
    StreamTicket.objects.filter(expires_at__lt=now).delete()
    row = StreamTicket.objects.create(
        digest=_digest(text),
        user_id=credential.user_id,
        mark=credential.mark,
        session_key=credential.session_key,
        until=credential.until,
        expires_at=now + TICKET_LIFETIME,
    )
    return Ticket(text, row.expires_at)


def spend_ticket(*, text: str) -> Credential:
    """What the ticket stands for. Raises TicketInvalid, also the second time."""
    row = StreamTicket.objects.filter(digest=_digest(text), expires_at__gt=clock.now()).first()
    # Two requests with one ticket: only one of them deletes the row.
    if row is None or not StreamTicket.objects.filter(pk=row.pk).delete()[0]:
        raise TicketInvalid
    return Credential(row.user_id, row.mark, until=row.until, session_key=row.session_key)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def user_of(credential: Credential) -> Any:
    """The active user of a ticket that was just spent. Raises TicketInvalid."""
    user = get_user_model()._default_manager.filter(pk=credential.user_id).first()
    if user is None or not user.is_active:
        raise TicketInvalid("The ticket's account is not active.")
    if get_md5_hash_password(user.password) != credential.mark:
        raise TicketInvalid("The password was changed after the ticket was given out.")
    return user
