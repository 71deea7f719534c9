"""What a page hides in its form, so that nobody acts on what they have not seen."""

from __future__ import annotations

from django.db.models import Model
from django.http import HttpRequest

from autopilot.common.api.etags import etag_of
from autopilot.common.errors import PreconditionFailed
from workflows.models import WorkflowVersion
from workflows.rows import Check


def stamp_of(version: WorkflowVersion) -> str:
    """Changes whenever the version does, whoever changes it."""
    return etag_of(version).strip('"')


def unchanged(request: HttpRequest) -> Check:
    """Refuses a form that was made for another state of the version than the present one."""
    stamp = request.POST.get("stamp", "")

    def check(row: Model) -> None:
        assert isinstance(row, WorkflowVersion)
        if stamp_of(row) != stamp:
            raise PreconditionFailed(
                "Somebody has changed this version since you opened the page. Here it is as it is "
                "now: look at it, and decide again."
            )

    return check
