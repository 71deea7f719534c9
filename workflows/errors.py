"""What can stand in the way of a version."""

from __future__ import annotations

from autopilot.common.errors import Conflict, Invalid


class VersionTooSmall(Conflict):
    """The number is below the smallest honest one."""

    code = "version.too_small"


class NotReviewed(Conflict):
    """Somebody else has to approve the draft before it is published."""

    code = "version.not_reviewed"


class OwnReview(Conflict):
    """Who has written a draft can't be its reviewer."""

    code = "version.own_review"


class MoveRefused(Conflict):
    """The version's state does not allow this."""

    code = "version.move_refused"


class RangeUnsatisfied(Invalid):
    """No published version is in the range."""

    code = "version.unsatisfied"
