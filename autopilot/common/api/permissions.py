"""Deny by default: a view says which permission each of its actions needs, or nobody gets in."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from rest_framework.permissions import BasePermission
from rest_framework.request import Request

from autopilot.common.errors import PermissionDenied

if TYPE_CHECKING:
    # DRF loads this module while it is still loading its views.
    from rest_framework.views import APIView

# What a view declares for an action that any signed-in user may take; services may ask for more.
AUTHENTICATED = "authenticated"


class HasPermissions(BasePermission):
    """Lets in who holds what the view declares.

    `required_permissions` of a view maps an action (`list`, `retrieve`, `publish`; for a plain
    APIView the method in lower case) to a full permission name, to several of them, or to
    AUTHENTICATED. What is not declared is refused. Services check again: this is the first
    door, for reads the only one.
    """

    def has_permission(self, request: Request, view: APIView) -> bool:
        if not request.user.is_authenticated:
            return False
        missing = sorted(
            name
            for name in _required(request, view)
            if name != AUTHENTICATED and not request.user.has_perm(name)
        )
        if missing:
            raise PermissionDenied(
                f"{request.user.get_username()} does not have the permission {missing[0]}."
            )
        return True


def _required(request: Request, view: APIView) -> Iterable[str]:
    declared: Mapping[str, Any] = getattr(view, "required_permissions", {})
    action = getattr(view, "action", None) or (request.method or "").lower()
    if action in {"options", "metadata", "head"} and action not in declared:
        action = "list" if "list" in declared else "get"
    if action not in declared:
        if not _answers(request, view):
            return ()
        raise PermissionDenied(f"{type(view).__name__} declares no permission for {action!r}.")
    required = declared[action]
    return (required,) if isinstance(required, str) else tuple(required)


def _answers(request: Request, view: APIView) -> bool:
    """Whether the view knows the method; if not, the 405 that follows says it better."""
    if getattr(view, "action_map", None) is not None:
        return getattr(view, "action", None) is not None
    return hasattr(view, (request.method or "").lower())


# The project's default: a view that declares nothing lets nobody in.
DenyByDefault = HasPermissions
