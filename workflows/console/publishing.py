"""Pages that decide about versions: publish, review, deprecate, archive. Services decide."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponseRedirect
from django.http.response import HttpResponseBase
from django.urls import URLPattern

from autopilot.accounts.actors import actor_of
from autopilot.accounts.roles import Permission
from autopilot.common.admin_base import Crumb, PageAdmin, attempt
from autopilot.common.errors import DomainError, Invalid
from autopilot.common.problems import Problem
from autopilot.common.words import plural
from workflows import comparison, services
from workflows.console.stamps import stamp_of, unchanged
from workflows.impact import MANY, impact_of
from workflows.models import Workflow, WorkflowVersion
from workflows.reviewing import refusal_of, review_state
from workflows.versioning.review import ReviewVerdict
from workflows.versioning.states import MOVES

if TYPE_CHECKING:
    Base = PageAdmin
else:
    Base = object


@dataclass(frozen=True, slots=True)
class MoveWords:
    """How a change of state is called on its page. meaning: what it does, in a sentence."""

    verb: str
    title: str
    icon: str
    move: services.ChangeState
    meaning: str
    done: str
    is_dangerous: bool = False


MOVE_WORDS = {
    "deprecate": MoveWords(
        "deprecate",
        "Deprecate",
        "do_not_disturb_on",
        services.deprecate_version,
        "It starts only for those who name this very number.",
        "deprecated",
    ),
    "reinstate": MoveWords(
        "reinstate",
        "Reinstate",
        "undo",
        services.reinstate_version,
        "It is published again, as it was: starts and ranges may choose it.",
        "published again",
    ),
    "archive": MoveWords(
        "archive",
        "Archive",
        "archive",
        services.archive_version,
        "It starts for nobody any more.",
        "archived",
        is_dangerous=True,
    ),
    "restore": MoveWords(
        "restore",
        "Restore",
        "unarchive",
        services.restore_version,
        "It is a deprecated version again: it starts for those who name this very number.",
        "deprecated again",
    ),
}


def moves_of(version: WorkflowVersion) -> list[MoveWords]:
    """What can be done with the state of a version that is no draft."""
    names = [move.name for move in MOVES if move.source == version.state]
    return [MOVE_WORDS[name] for name in names if name in MOVE_WORDS]


class PublishingPages(Base):
    """The part of the workflows' admin about the life of a version."""

    def publishing_pages(self) -> Sequence[URLPattern]:
        publish = Permission.WORKFLOW_PUBLISH
        at = "<int:pk>/versions/<str:number>/"
        switch = Permission.WORKFLOW_REQUIRE_REVIEW
        return [
            self.page(f"{at}publish/", "publish", self.publish_page, permission=publish),
            self.page(f"{at}review/", "review", self.review_page),
            self.page(
                "<int:pk>/reviews/", "require_review", self.require_review_page, permission=switch
            ),
            *(
                self.page(f"{at}{verb}/", verb, self._mover(words), permission=publish)
                for verb, words in MOVE_WORDS.items()
            ),
        ]

    # What WorkflowAdmin has.
    if TYPE_CHECKING:

        def workflow(self, request: HttpRequest, pk: int) -> Workflow: ...
        def version(self, request: HttpRequest, pk: int, number: str) -> WorkflowVersion: ...
        def may(self, request: HttpRequest, permission: Permission) -> bool: ...
        def _way_to(self, workflow: Workflow) -> list[Crumb]: ...
        def _difference(
            self, request: HttpRequest, old: WorkflowVersion, new: WorkflowVersion
        ) -> dict[str, Any]: ...

    def publish_page(self, request: HttpRequest, *, pk: int, number: str) -> HttpResponseBase:
        """What the guard and the reviewers say, then publish: as it is, under another number, or
        against the guard."""
        version = self.version(request, pk, number)
        problems: Sequence[Problem] = ()
        refusal = ""
        if request.method == "POST":
            try:
                return self._publish(request, version)
            except DomainError as error:
                if error.status in {401, 403}:
                    raise
                refusal, problems = error.message, error.details
                version = WorkflowVersion.objects.select_related("workflow").get(pk=version.pk)
        workflow = version.workflow
        actor = actor_of(request.user, request)
        judged = comparison.judge_version(actor=actor, version=version)
        reviews = review_state(version)
        return self.render(
            request,
            "workflows/publish.html",
            title=f"Publish {number}",
            crumbs=self._way_to(workflow),
            status=400 if refusal else 200,
            workflow=workflow,
            version=version,
            stamp=stamp_of(version),
            live=workflow.versions.established().highest_first().first(),
            judged=judged,
            is_lower=judged.enough and judged.suggested < version.number,
            more_reasons=plural(judged.judgement.more, "more reason"),
            reviews=reviews,
            review_words=refusal_of(version, reviews) if reviews.blocks else "",
            changelog=request.POST.get("changelog", version.changelog),
            override_reason=request.POST.get("override_reason", ""),
            is_override="override" in request.POST,
            may_override=self.may(request, Permission.WORKFLOW_OVERRIDE_GUARD),
            may_edit=self.may(request, Permission.WORKFLOW_EDIT),
            refusal=refusal,
            problems=problems,
            back=self.url("version", pk, number),
        )

    def _publish(self, request: HttpRequest, version: WorkflowVersion) -> HttpResponseBase:
        actor = actor_of(request.user, request)
        wanted = request.POST.get("number") or None
        pk = version.workflow_id
        if "renumber" in request.POST:
            document = {key: each for key, each in version.document.items() if key != "version"}
            renumbered = services.update_draft(
                actor=actor,
                version=version,
                document=document,
                number=wanted,
                check=unchanged(request),
            )
            messages.success(request, f"The draft is {renumbered.version} now.")
            return HttpResponseRedirect(self.url("publish", pk, renumbered.version))
        is_override = "override" in request.POST
        if is_override and not request.POST.get("override_reason", "").strip():
            raise Invalid("Say why it is published against the guard.")
        published = services.publish_version(
            actor=actor,
            version=version,
            number=wanted,
            changelog=request.POST.get("changelog"),
            override_reason=request.POST.get("override_reason", "") if is_override else "",
            check=unchanged(request),
        )
        live = version.workflow.versions.established().highest_first().first()
        if live == published:
            said = f"Version {published.version} is live: new executions run it."
        else:
            said = f"Version {published.version} is published; {live} stays live."
        messages.success(request, said)
        return HttpResponseRedirect(self.url("change", pk))

    def review_page(self, request: HttpRequest, *, pk: int, number: str) -> HttpResponseBase:
        """What a draft changes, what the guard says, and what others say; approve it or not."""
        version = self.version(request, pk, number)
        actor = actor_of(request.user, request)
        here = self.url("review", pk, number)
        if request.method == "POST":
            verdict = ReviewVerdict.APPROVED
            if "changes" in request.POST:
                verdict = ReviewVerdict.CHANGES_REQUESTED
            said = "approved" if verdict == ReviewVerdict.APPROVED else "sent back for changes"
            is_done = attempt(
                request,
                lambda: services.review_version(
                    actor=actor,
                    version=version,
                    verdict=verdict,
                    content_hash=request.POST.get("content_hash", ""),
                    comment=request.POST.get("comment", ""),
                ),
                done=f"Version {number} is {said}.",
            )
            if is_done:
                return HttpResponseRedirect(here)
        old = comparison.previous_of(version)
        state = review_state(version)
        is_own = any(person.pk == actor.id for person in version.writers.all())
        return self.render(
            request,
            "workflows/review.html",
            title=f"Review {number}",
            crumbs=self._way_to(version.workflow),
            status=400 if request.method == "POST" else 200,
            workflow=version.workflow,
            version=version,
            old=old,
            state=state,
            review_words=refusal_of(version, state) if state.blocks else "",
            reviews=sorted(version.reviews.all(), key=lambda each: -each.pk),
            is_own=is_own,
            may_review=version.is_draft
            and not is_own
            and self.may(request, Permission.WORKFLOW_REVIEW),
            comment=request.POST.get("comment", ""),
            back=self.url("version", pk, number),
            **(self._difference(request, old, version) if old else {}),
        )

    def require_review_page(self, request: HttpRequest, *, pk: int) -> HttpResponseBase:
        """Whether versions of a workflow need an approval: ask, then change it."""
        workflow = self.workflow(request, pk)
        if request.method == "POST":
            required = request.POST.get("required") == "yes"
            words = "need an approval from now on" if required else "need no approval any more"
            attempt(
                request,
                lambda: services.require_review(
                    actor=actor_of(request.user, request), workflow=workflow, required=required
                ),
                done=f"Versions of {workflow.name} {words}.",
            )
            return HttpResponseRedirect(self.url("change", pk))
        return self.render(
            request,
            "workflows/require_review.html",
            title="Reviews",
            crumbs=self._way_to(workflow),
            workflow=workflow,
            back=self.url("change", pk),
        )

    def _mover(self, words: MoveWords) -> Callable[..., HttpResponseBase]:
        def page(request: HttpRequest, *, pk: int, number: str) -> HttpResponseBase:
            return self.move_page(request, words, pk=pk, number=number)

        return page

    def move_page(
        self, request: HttpRequest, words: MoveWords, *, pk: int, number: str
    ) -> HttpResponseBase:
        """What a change of state would mean for whom, then do it."""
        version = self.version(request, pk, number)
        actor = actor_of(request.user, request)
        back = self.url("version", pk, number)
        reason = request.POST.get("reason", "")
        if request.method == "POST":
            is_done = attempt(
                request,
                lambda: words.move(
                    actor=actor, version=version, reason=reason, check=unchanged(request)
                ),
                done=f"Version {number} is {words.done}.",
            )
            if is_done:
                return HttpResponseRedirect(back)
            version = self.version(request, pk, number)
        impact = impact_of(actor=actor, version=version, verb=words.verb)
        count = f"{MANY:,}+ executions" if impact.executions > MANY else ""
        return self.render(
            request,
            "workflows/move.html",
            title=f"{words.title} {number}",
            crumbs=self._way_to(version.workflow),
            status=400 if request.method == "POST" else 200,
            workflow=version.workflow,
            version=version,
            words=words,
            is_possible=words in moves_of(version),
            impact=impact,
            executions=count or plural(impact.executions, "execution"),
            stamp=stamp_of(version),
            reason=reason,
            back=back,
        )
