"""The auth API: tokens, and who I am."""

from __future__ import annotations

from typing import Any, ClassVar

from django.contrib.auth import authenticate
from drf_spectacular.utils import OpenApiResponse, extend_schema
from rest_framework.permissions import AllowAny
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.serializers import Serializer
from rest_framework.views import APIView

from autopilot.accounts import tickets, tokens
from autopilot.accounts.actors import actor_of
from autopilot.accounts.api.serializers import (
    CredentialsSerializer,
    MeSerializer,
    RefreshSerializer,
    TicketSerializer,
    TokenFactsSerializer,
    TokenPairSerializer,
    VerifySerializer,
)
from autopilot.accounts.roles import Permission
from autopilot.accounts.services import roles_of
from autopilot.common.api.permissions import AUTHENTICATED
from autopilot.common.errors import NotAuthenticated

_ERROR = {"$ref": "#/components/schemas/Error"}
_REFUSED = OpenApiResponse(_ERROR, "The token is expired (`token.expired`) or not ours.")


class LoginFailed(NotAuthenticated):
    """No active account has this user name and password."""

    code = "auth.failed"


class OpenView(APIView):
    """For callers who are about to show who they are; a stale token in the header is ignored."""

    authentication_classes = ()
    permission_classes = (AllowAny,)

    def read(self, kind: type[Serializer[Any]], request: Request) -> dict[str, Any]:
        serializer = kind(data=request.data)
        serializer.is_valid(raise_exception=True)
        return dict(serializer.validated_data)


class TokenView(OpenView):
    @extend_schema(
        operation_id="auth_token_obtain",
        summary="Get a pair of tokens",
        request=CredentialsSerializer,
        responses={
            200: TokenPairSerializer,
            401: OpenApiResponse(_ERROR, "No active account has this name and password."),
            429: OpenApiResponse(_ERROR, "Locked after failed logins; see Retry-After."),
        },
    )
    def post(self, request: Request) -> Response:
        """Exchange a user name and a password for an access and a refresh token."""
        given = self.read(CredentialsSerializer, request)
        user = authenticate(request._request, **given)
        if user is None:
            raise LoginFailed
        return Response(TokenPairSerializer(tokens.issue_tokens(user=user)).data)


class RefreshView(OpenView):
    @extend_schema(
        operation_id="auth_token_refresh",
        summary="Renew a pair of tokens",
        request=RefreshSerializer,
        responses={200: TokenPairSerializer, 401: _REFUSED},
    )
    def post(self, request: Request) -> Response:
        """Exchange a refresh token, which is then spent, for a new pair."""
        given = self.read(RefreshSerializer, request)
        return Response(TokenPairSerializer(tokens.rotate_tokens(**given)).data)


class VerifyView(OpenView):
    @extend_schema(
        operation_id="auth_token_verify",
        summary="Check a token",
        request=VerifySerializer,
        responses={200: TokenFactsSerializer, 401: _REFUSED},
    )
    def post(self, request: Request) -> Response:
        """Say whether an access or refresh token would be accepted now, and until when."""
        given = self.read(VerifySerializer, request)
        return Response(TokenFactsSerializer(tokens.verify_token(**given)).data)


class MeView(APIView):
    required_permissions: ClassVar[dict[str, str]] = {"get": AUTHENTICATED}

    @extend_schema(operation_id="auth_me", summary="Who am I", responses={200: MeSerializer})
    def get(self, request: Request) -> Response:
        """The signed-in user with roles and permissions."""
        user = request.user
        actor = actor_of(user, request)
        # A user model of the project's own need not have what Django's has.
        full_name = getattr(user, "get_full_name", str)
        return Response(
            MeSerializer(
                {
                    "user": {
                        "id": user.pk,
                        "username": user.get_username(),
                        "name": full_name(),
                        "is_superuser": getattr(user, "is_superuser", False),
                    },
                    "roles": roles_of(user),
                    "permissions": sorted(p.value for p in Permission if actor.may(p)),
                }
            ).data
        )


class StreamTicketView(APIView):
    required_permissions: ClassVar[dict[str, str]] = {"post": AUTHENTICATED}

    @extend_schema(
        operation_id="auth_stream_ticket",
        summary="Get a ticket for a stream",
        request=None,
        responses={201: TicketSerializer},
    )
    def post(self, request: Request) -> Response:
        """A ticket that opens one event stream within a minute, as whoever asks for it.

        A browser's EventSource can't send the Authorization header: the ticket goes into the
        address instead. The stream ends when the token or session does that it was got with.
        """
        ticket = tickets.issue_ticket(credential=tickets.credential_of(request))
        return Response(TicketSerializer(ticket).data, status=201)
