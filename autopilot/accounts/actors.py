"""Who acts: the value that every service takes, and that permission and audit look at."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from autopilot.accounts import security
from autopilot.accounts.kinds import ActorKind
from autopilot.accounts.roles import Permission
from autopilot.common.errors import NotAuthenticated, PermissionDenied
from autopilot.common.requests import client_address, request_id_of

__all__ = ["Actor", "ActorKind", "actor_of"]

if TYPE_CHECKING:
    from django.contrib.auth.base_user import AbstractBaseUser
    from django.contrib.auth.models import AnonymousUser
    from django.http import HttpRequest
    from rest_framework.request import Request


@dataclass(frozen=True)
class Actor:
    """Somebody, or the engine itself, who asks for a change.

    id: the user's primary key; None for the system.
    name: shown in audit rows and transitions; stays readable after the user is gone.
    permissions: full Django names; None means everything (the system, and superusers).
    address, request_id: where the request came from; empty outside of HTTP.
    """

    kind: ActorKind
    id: int | None
    name: str
    permissions: frozenset[str] | None
    address: str = ""
    request_id: str = ""

    @classmethod
    def system(cls, name: str = "engine") -> Actor:
        """The product itself: engine, clock, commands run by whoever owns the machine."""
        return cls(kind=ActorKind.SYSTEM, id=None, name=name, permissions=None)

    def may(self, permission: Permission) -> bool:
        return self.permissions is None or permission in self.permissions

    def require(self, permission: Permission) -> None:
        """Raise PermissionDenied without `permission`; the refusal is kept as a security event."""
        if self.may(permission):
            return
        security.note_denied(
            user_id=self.id,
            name=self.name,
            permission=permission,
            address=self.address,
            request_id=self.request_id,
        )
        raise PermissionDenied(f"{self.name} does not have the permission {permission}.")


def actor_of(
    user: AbstractBaseUser | AnonymousUser, request: HttpRequest | Request | None = None
) -> Actor:
    """The actor that `user` is, with the permissions held right now (inactive users hold none).

    Raises NotAuthenticated for an anonymous user.
    """
    if not user.is_authenticated or user.pk is None:
        raise NotAuthenticated
    permissions: frozenset[str] | None
    if not user.is_active:
        permissions = frozenset()
    elif getattr(user, "is_superuser", False):
        permissions = None
    else:
        permissions = frozenset(user.get_all_permissions())  # type: ignore[attr-defined]
    return Actor(
        kind=ActorKind.USER,
        id=user.pk,
        name=user.get_username(),
        permissions=permissions,
        address=client_address(request) if request is not None else "",
        request_id=request_id_of(request) if request is not None else "",
    )
