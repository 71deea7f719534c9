"""Approving drafts: by another person than those who wrote it, and for this very content."""

from __future__ import annotations

from dataclasses import dataclass

from django.contrib.auth.models import Group
from django.db import transaction
from django.db.models import prefetch_related_objects

from autopilot.accounts import audit
from autopilot.accounts.actors import Actor
from autopilot.accounts.roles import Permission
from autopilot.common import clock
from autopilot.common.errors import Invalid, PermissionDenied, PreconditionFailed
from autopilot.common.problems import Problem
from workflows import rows
from workflows.errors import NotReviewed, OwnReview
from workflows.models import VersionReview, Workflow, WorkflowVersion
from workflows.rows import Check
from workflows.versioning.review import ReviewVerdict, standing_of

# What `review_state` reads, for whoever shows many versions.
REVIEWS = ("reviews__reviewer", "writers")


@dataclass(frozen=True, slots=True)
class ReviewState:
    """How the reviews of a draft stand, by the names of people.

    writers: who wrote it and so can't approve it.
    """

    is_required: bool
    approved_by: tuple[str, ...]
    wanted_by: tuple[str, ...]
    writers: tuple[str, ...]

    @property
    def is_approved(self) -> bool:
        return bool(self.approved_by) and not self.wanted_by

    @property
    def blocks(self) -> bool:
        """Whether it can't be published for want of an approval."""
        return self.is_required and not self.is_approved


@transaction.atomic
def review_version(
    *,
    actor: Actor,
    version: WorkflowVersion,
    verdict: ReviewVerdict,
    content_hash: str,
    comment: str = "",
) -> VersionReview:
    """Approve a draft, or ask for changes in it.

    content_hash: of what was read; the review holds for this content under the number that
        `version` has, and for nothing else.
    comment: needed where changes are asked for.
    Raises PermissionDenied, OwnReview for those who wrote it, PreconditionFailed when somebody
    has changed it since, Conflict when it is no draft, Invalid for a comment that can't be kept.
    """
    actor.require(Permission.WORKFLOW_REVIEW)
    comment = rows.kept_text(comment, path="$.comment", limit=rows.MAX_COMMENT).strip()
    if verdict == ReviewVerdict.CHANGES_REQUESTED and not comment:
        message = "Say what is to be changed."
        raise Invalid(message, details=[Problem("$.comment", "review.comment_missing", message)])
    workflow = rows.lock(version.workflow)
    draft = rows.locked_draft(version, "reviewed", None)
    if (draft.content_hash, draft.version) != (content_hash, version.version):
        raise PreconditionFailed
    if actor.id is None:
        raise PermissionDenied("A review is a person's: the system can't approve a draft.")
    if draft.writers.filter(pk=actor.id).exists():
        message = f"{actor.name} wrote this draft: somebody else has to review it."
        raise OwnReview(message, details=[Problem("$.reviewer", OwnReview.code, message)])
    review = VersionReview.objects.create(
        version=draft,
        verdict=verdict,
        comment=comment,
        content_hash=draft.content_hash,
        number=draft.version,
        reviewer_id=actor.id,
        at=clock.now(),
    )
    rows.touch(workflow)
    audit.record(
        actor=actor,
        action="workflow.version_reviewed",
        target=draft,
        after={"verdict": verdict, "comment": comment, "content_hash": draft.content_hash},
    )
    return review


@transaction.atomic
def require_review(
    *, actor: Actor, workflow: Workflow, required: bool, check: Check | None = None
) -> Workflow:
    """Say whether a version of `workflow` is published only after another person's approval."""
    actor.require(Permission.WORKFLOW_REQUIRE_REVIEW)
    row = rows.lock(workflow)
    if check is not None:
        check(row)
    if row.review_required == required:
        return row
    row.review_required = required
    row.updated_at = clock.now()
    row.save(update_fields=["review_required", "updated_at"])
    audit.record(
        actor=actor,
        action="workflow.review_required" if required else "workflow.review_not_required",
        target=row,
        before={"review_required": not required},
        after={"review_required": required},
    )
    return row


def review_state(version: WorkflowVersion) -> ReviewState:
    """How the reviews of a draft stand, or stood when it was published."""
    prefetch_related_objects([version], *REVIEWS)
    writers = list(version.writers.all())
    reviews = sorted(version.reviews.all(), key=lambda review: review.pk)
    found = standing_of(
        reviews,
        content_hash=version.content_hash,
        number=version.version,
        writers=[person.pk for person in writers],
    )
    names = {review.reviewer_id: review.reviewer.get_username() for review in reviews}
    return ReviewState(
        is_required=version.workflow.review_required,
        approved_by=tuple(names[who] for who in found.approving),
        wanted_by=tuple(names[who] for who in found.objecting),
        writers=tuple(sorted(person.get_username() for person in writers)),
    )


def require_reviewed(draft: WorkflowVersion) -> None:
    """Raise NotReviewed for a draft that needs an approval and has none for what it says now."""
    if not draft.workflow.review_required:
        return
    state = review_state(draft)
    if state.is_approved:
        return
    message = refusal_of(draft, state)
    raise NotReviewed(message, details=[Problem("$.reviews", NotReviewed.code, message)])


def refusal_of(draft: WorkflowVersion, state: ReviewState) -> str:
    """Why a draft that needs an approval can't be published, and who may help."""
    if state.wanted_by:
        return (
            f"{_listed(state.wanted_by)} asked for changes in version {draft.version}: it is "
            "published when they approve it, or after it was changed and approved anew."
        )
    roles = reviewing_roles()
    who = _listed(roles) if roles else "nobody yet"
    besides = f", other than {_listed(state.writers)}, who wrote it" if state.writers else ""
    had = draft.reviews.filter(verdict=ReviewVerdict.APPROVED).exists()
    since = " It was changed since it was approved." if had else ""
    return (
        f"Version {draft.version} of the workflow {draft.workflow.slug} needs the approval of "
        f"somebody with the permission {Permission.WORKFLOW_REVIEW} (by role: {who}){besides}."
        f"{since}"
    )


def reviewing_roles() -> tuple[str, ...]:
    """The roles whose holders may approve drafts."""
    label, codename = Permission.WORKFLOW_REVIEW.split(".")
    groups = Group.objects.filter(
        permissions__codename=codename, permissions__content_type__app_label=label
    )
    return tuple(groups.order_by("name").values_list("name", flat=True))


def _listed(names: tuple[str, ...]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
