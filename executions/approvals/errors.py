"""What can be wrong with a decision, or with a request about an approval."""

from __future__ import annotations

from autopilot.common.errors import Conflict, Invalid, NotFound, PermissionDenied


class ApprovalNotFound(NotFound):
    """There is no such approval, or you may not see it."""

    code = "approval.not_found"


class NotAsked(PermissionDenied):
    """This approval does not ask you."""

    code = "approval.not_asked"


class OwnRequest(PermissionDenied):
    """You started this yourself, so somebody else has to decide."""

    code = "approval.own_request"


class ApprovalSettled(Conflict):
    """The approval has been settled; nothing can be decided any more."""

    code = "approval.settled"


class ApprovalExpired(Conflict):
    """The time for a decision is over."""

    code = "approval.expired"


class DecidedAlready(Conflict):
    """You have decided this already, and differently; a decision can't be changed."""

    code = "approval.decided"


class ApprovalTaken(Conflict):
    """Somebody else has taken this approval."""

    code = "approval.taken"


class AnswerInvalid(Invalid):
    """The answer does not fit the form."""

    code = "approval.answer"


class ApprovalRequestInvalid(Invalid):
    """The approval cannot be changed like this."""

    code = "approval.invalid"


class LinkInvalid(NotFound):
    """This link is not valid, or not any more."""

    code = "approval.link"
