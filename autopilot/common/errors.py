"""The tree of errors that a caller can cause; every one has a stable code and an HTTP status."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from autopilot.common.problems import Problem


class DomainError(Exception):
    """The request could not be carried out."""

    code: ClassVar[str] = "error"
    status: ClassVar[int] = 400

    def __init__(self, message: str = "", *, details: Sequence[Problem] = ()) -> None:
        self.message = message or (type(self).__doc__ or "").strip().splitlines()[0]
        self.details = tuple(details)
        super().__init__(self.message)


class Invalid(DomainError):
    """The request breaks a rule; `details` names every place."""

    code = "invalid"
    status = 400


class NotAuthenticated(DomainError):
    """Say who you are first: a bearer token or a signed-in session is expected."""

    code = "not_authenticated"
    status = 401


class PermissionDenied(DomainError):
    """You do not have the permission that this needs."""

    code = "permission_denied"
    status = 403


class NotFound(DomainError):
    """There is no such thing, or you may not see it."""

    code = "not_found"
    status = 404


class Conflict(DomainError):
    """The thing is in a state that does not allow this."""

    code = "conflict"
    status = 409
