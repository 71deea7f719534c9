"""Who sends a request: the bearer token of the header, the ticket of a stream's address."""

from __future__ import annotations

from typing import Any

from rest_framework.authentication import BaseAuthentication
from rest_framework.request import Request
from rest_framework_simplejwt.tokens import AccessToken

from autopilot.accounts import tickets
from autopilot.accounts.tickets import Credential
from autopilot.accounts.tokens import TokenInvalid, read_token, user_of
from autopilot.common.envelope import challenge


class BearerAuthentication(BaseAuthentication):
    """`Authorization: Bearer <access token>`; other schemes are left to other classes."""

    def authenticate(self, request: Request) -> tuple[Any, AccessToken] | None:
        scheme, _, raw = request.META.get("HTTP_AUTHORIZATION", "").partition(" ")
        if scheme.lower() != "bearer":
            return None
        raw = raw.strip()
        if not raw or " " in raw or not raw.isascii():
            raise TokenInvalid("The Authorization header has to be: Bearer <token>.")
        token = read_token(AccessToken, raw)
        return user_of(token), token

    def authenticate_header(self, request: Request) -> str:
        return challenge("not_authenticated", "")


class TicketAuthentication(BaseAuthentication):
    """`?ticket=...`: only for streams, which browsers open without headers."""

    def authenticate(self, request: Request) -> tuple[Any, Credential] | None:
        text = request.query_params.get("ticket")
        if text is None:
            return None
        credential = tickets.spend_ticket(text=text)
        return tickets.user_of(credential), credential

    def authenticate_header(self, request: Request) -> str:
        return challenge("not_authenticated", "")
