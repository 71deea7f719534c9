"""The closed lists of words that the rows of this app use."""

from __future__ import annotations

from enum import StrEnum


class ActorKind(StrEnum):
    """Who acts: a person (or their token), or the product itself."""

    USER = "user"
    SYSTEM = "system"


class SecurityEventKind(StrEnum):
    """What was seen that somebody who guards the system wants to know."""

    LOGIN_FAILED = "login_failed"
    LOGIN_LOCKED = "login_locked"
    TOKEN_EXPIRED = "token_expired"  # noqa: S105
    TOKEN_INVALID = "token_invalid"  # noqa: S105
    PERMISSION_DENIED = "permission_denied"
    ROLE_CHANGED = "role_changed"
