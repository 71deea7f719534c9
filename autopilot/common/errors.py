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


class PreconditionFailed(DomainError):
    """Somebody changed it since you read it; read it again and repeat your change."""

    code = "precondition_failed"
    status = 412


class RequestTooLarge(DomainError):
    """The request is larger than this server accepts."""

    code = "request.too_large"
    status = 413

    @classmethod
    def over(cls, limit: int) -> RequestTooLarge:
        """For a body of more than `limit` bytes."""
        return cls(
            f"The request's body is larger than {limit:,} bytes, the most this server accepts."
        )


class TooManyRequests(DomainError):
    """Too many requests; wait and try again."""

    code = "throttled"
    status = 429

    def __init__(
        self,
        message: str = "",
        *,
        details: Sequence[Problem] = (),
        retry_after_seconds: int = 1,
    ) -> None:
        super().__init__(message, details=details)
        self.retry_after_seconds = retry_after_seconds


class Unavailable(DomainError):
    """Something this server needs is not answering; try again in a moment."""

    code = "unavailable"
    status = 503

    def __init__(
        self,
        message: str = "",
        *,
        details: Sequence[Problem] = (),
        retry_after_seconds: int = 2,
    ) -> None:
        super().__init__(message, details=details)
        self.retry_after_seconds = retry_after_seconds
