"""The page that compares two versions of a workflow."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.urls import URLPattern

from autopilot.accounts.actors import actor_of
from autopilot.common.admin_base import Crumb, PageAdmin
from autopilot.common.words import plural
from workflows import comparison
from workflows.console import differences
from workflows.console.ghosts import compared_drawing
from workflows.definition.text import write_yaml
from workflows.models import Workflow, WorkflowVersion

MAX_CHOICES = 200

if TYPE_CHECKING:
    Base = PageAdmin
else:
    Base = object


class ComparingPages(Base):
    """The comparing part of the workflows' admin."""

    def comparing_pages(self) -> Sequence[URLPattern]:
        return [self.page("<int:pk>/diff/", "diff", self.diff_page)]

    # What WorkflowAdmin has.
    if TYPE_CHECKING:

        def workflow(self, request: HttpRequest, pk: int) -> Workflow: ...
        def version(self, request: HttpRequest, pk: int, number: str) -> WorkflowVersion: ...

    def diff_page(self, request: HttpRequest, *, pk: int) -> HttpResponseBase:
        """`?from=1.2.0&to=1.3.0`; without them the highest version against the one before it."""
        workflow = self.workflow(request, pk)
        rows = workflow.versions.highest_first().defer("definition")
        choices = list(rows[:MAX_CHOICES])
        new = self._named(request, pk, "to") or workflow.versions.highest_first().first()
        old = self._named(request, pk, "from")
        if old is None and new is not None:
            old = comparison.previous_of(new) or new
        title = "Compare"
        if old is not None and new is not None:
            old.workflow = new.workflow = workflow
            title = f"{old.version} to {new.version}"
        return self.render(
            request,
            "workflows/diff.html",
            title=title,
            crumbs=[
                Crumb("Workflows", self.url("changelist")),
                Crumb(workflow.name, self.url("change", pk)),
            ],
            workflow=workflow,
            choices=choices,
            old=old,
            new=new,
            **(self._difference(request, old, new) if old and new else {}),
        )

    def _named(self, request: HttpRequest, pk: int, name: str) -> WorkflowVersion | None:
        """The version that the address names; a 404 page if there is no such one."""
        number = request.GET.get(name, "").strip()
        return self.version(request, pk, number) if number else None

    def _difference(
        self, request: HttpRequest, old: WorkflowVersion, new: WorkflowVersion
    ) -> dict[str, Any]:
        actor = actor_of(request.user, request)
        changes = comparison.differences(actor=actor, old=old, new=new)
        judged = comparison.judge_version(actor=actor, version=new, against=old)
        cards = differences.cards_of(changes, old.definition, new.definition)
        is_forward = new.number > old.number
        return {
            "changes": changes,
            "cards": cards,
            "marks": differences.marks_of(cards),
            "drawing": compared_drawing(old.definition, new.definition),
            "summary": differences.summary(changes),
            "verdict": differences.verdict(judged) if old != new else "",
            "judged": judged,
            "is_forward": is_forward,
            "is_too_low": bool(changes) and is_forward and not judged.enough,
            "more_reasons": plural(judged.judgement.more, "more reason"),
            "rows": differences.text_rows(write_yaml(old.definition), write_yaml(new.definition)),
        }
