"""Bearer tokens: giving out, renewing once each, and telling an old one from a forged one."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, TypeVar, cast

from django.contrib.auth import get_user_model
from django.contrib.auth.models import update_last_login
from django.db import transaction
from rest_framework_simplejwt.exceptions import ExpiredTokenError, TokenError
from rest_framework_simplejwt.settings import api_settings
from rest_framework_simplejwt.token_blacklist.models import BlacklistedToken, OutstandingToken
from rest_framework_simplejwt.tokens import RefreshToken, Token, UntypedToken
from rest_framework_simplejwt.utils import get_md5_hash_password

from autopilot.common.errors import NotAuthenticated

_T = TypeVar("_T", bound=Token)


class TokenExpired(NotAuthenticated):
    """The token has expired; get a new one."""

    code = "token.expired"


class TokenInvalid(NotAuthenticated):
    """The token is not one that this server gave out for this use, or it was revoked."""

    code = "token.invalid"


@dataclass(frozen=True, slots=True)
class TokenPair:
    """access: for the Authorization header, minutes; refresh: for the next pair, days."""

    access: str
    refresh: str


@dataclass(frozen=True, slots=True)
class TokenFacts:
    """What a valid token says about itself."""

    token_type: str
    expires_at: datetime


def read_token(kind: type[_T], raw: str | bytes) -> _T:
    """The token in `raw`, checked. Raises TokenExpired or TokenInvalid."""
    try:
        return kind(raw)  # type: ignore[arg-type]
    except ExpiredTokenError as error:
        raise TokenExpired from error
    except TokenError as error:
        raise TokenInvalid from error


def user_of(token: Token) -> Any:
    """The active user a token was given to, unless the password has changed since.

    Raises TokenInvalid.
    """
    users = get_user_model()._default_manager
    try:
        user = users.get(**{api_settings.USER_ID_FIELD: token[api_settings.USER_ID_CLAIM]})
    except (KeyError, ValueError, get_user_model().DoesNotExist) as error:
        raise TokenInvalid("The token's account no longer exists.") from error
    if not user.is_active:
        raise TokenInvalid("The token's account is not active.")
    if token.get(api_settings.REVOKE_TOKEN_CLAIM) != get_md5_hash_password(user.password):
        raise TokenInvalid("The password was changed after the token was given out.")
    return user


def issue_tokens(*, user: Any) -> TokenPair:
    """A new pair for somebody who has just shown who they are."""
    refresh = _new_refresh_token(user)
    update_last_login(None, user)  # type: ignore[arg-type]
    return TokenPair(access=str(refresh.access_token), refresh=str(refresh))


def _new_refresh_token(user: Any) -> RefreshToken:
    token = RefreshToken.for_user(user)
    # The library keeps the whole token, as good as a password for days; its id is enough.
    OutstandingToken.objects.filter(jti=token[api_settings.JTI_CLAIM]).update(token="")
    return token


@transaction.atomic
def rotate_tokens(*, refresh: str) -> TokenPair:
    """A new pair for a refresh token, which is then spent.

    Raises TokenExpired or TokenInvalid; a spent token is invalid.
    """
    spent = read_token(RefreshToken, refresh)
    user = user_of(spent)
    # Two requests with one token: the unique row of the blacklist lets in only the first.
    _, first = cast("tuple[BlacklistedToken, bool]", spent.blacklist())
    if not first:
        raise TokenInvalid("The refresh token was used before.")
    fresh = _new_refresh_token(user)
    return TokenPair(access=str(fresh.access_token), refresh=str(fresh))


def verify_token(*, token: str) -> TokenFacts:
    """What the token says, if it would be accepted now. Raises TokenExpired or TokenInvalid."""
    checked = read_token(UntypedToken, token)
    spent = BlacklistedToken.objects.filter(token__jti=checked[api_settings.JTI_CLAIM])
    if spent.exists():
        raise TokenInvalid("The refresh token was used before.")
    user_of(checked)
    return TokenFacts(
        token_type=str(checked[api_settings.TOKEN_TYPE_CLAIM]),
        expires_at=datetime.fromtimestamp(checked["exp"], tz=UTC),
    )
