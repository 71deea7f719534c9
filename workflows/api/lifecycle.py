"""The API of a version's life: deprecate and take back, archive and restore, reviews, history."""

from __future__ import annotations

from typing import ClassVar

from drf_spectacular.utils import OpenApiParameter, OpenApiResponse, extend_schema
from rest_framework import status
from rest_framework.request import Request
from rest_framework.response import Response

from autopilot.accounts.roles import Permission
from autopilot.common.errors import Conflict, Invalid
from autopilot.common.problems import Problem
from workflows import comparison, services
from workflows.api.lifecycle_bodies import (
    VERB_CHOICES,
    ImpactSerializer,
    MoveSerializer,
    RequireReviewSerializer,
    ReviewBodySerializer,
    VersionReviewSerializer,
    VersionReviewsSerializer,
    VersionTransitionSerializer,
)
from workflows.api.serializers import (
    CompatibilitySerializer,
    DefinitionSerializer,
    VersionSerializer,
    WorkflowSerializer,
)
from workflows.api.views import CONFLICT, IF_MATCH, STALE, VersionViewSet, WorkflowViewSet
from workflows.impact import impact_of
from workflows.reviewing import review_state
from workflows.versioning.review import ReviewVerdict

_MOVED = {200: VersionSerializer, 409: CONFLICT, 412: STALE}
_SLUG = OpenApiParameter("slug", str, OpenApiParameter.PATH, description="The workflow.")


@extend_schema(parameters=[_SLUG])
class VersionLifeViewSet(VersionViewSet):
    """What happens to a version after it was written."""

    # What these list belongs to one version, and is read whole.
    pagination_class = None
    filterset_class = None  # type: ignore[assignment]
    required_permissions: ClassVar[dict[str, str]] = {
        "deprecate": Permission.WORKFLOW_PUBLISH,
        "reinstate": Permission.WORKFLOW_PUBLISH,
        "archive": Permission.WORKFLOW_PUBLISH,
        "restore": Permission.WORKFLOW_PUBLISH,
        "impact": Permission.WORKFLOW_VIEW,
        "history": Permission.WORKFLOW_VIEW,
        "reviews": Permission.WORKFLOW_VIEW,
        "review": Permission.WORKFLOW_REVIEW,
    }

    @extend_schema(
        operation_id="workflow_versions_deprecate",
        summary="Deprecate a version",
        request=MoveSerializer,
        parameters=[IF_MATCH],
        responses=_MOVED,
    )
    def deprecate(self, request: Request, slug: str, version: str) -> Response:
        """From now on it starts only for those who name this very number. What runs goes on."""
        return self._move(services.deprecate_version)

    @extend_schema(
        operation_id="workflow_versions_reinstate",
        summary="Publish a deprecated version again",
        request=MoveSerializer,
        parameters=[IF_MATCH],
        responses=_MOVED,
    )
    def reinstate(self, request: Request, slug: str, version: str) -> Response:
        """Starts and ranges choose it again, if it is the highest."""
        return self._move(services.reinstate_version)

    @extend_schema(
        operation_id="workflow_versions_archive",
        summary="Archive a deprecated version",
        request=MoveSerializer,
        parameters=[IF_MATCH],
        responses=_MOVED,
    )
    def archive(self, request: Request, slug: str, version: str) -> Response:
        """From now on it starts for nobody. What runs goes on."""
        return self._move(services.archive_version)

    @extend_schema(
        operation_id="workflow_versions_restore",
        summary="Make an archived version a deprecated one again",
        request=MoveSerializer,
        parameters=[IF_MATCH],
        responses=_MOVED,
    )
    def restore(self, request: Request, slug: str, version: str) -> Response:
        """It starts again for those who name this very number."""
        return self._move(services.restore_version)

    def _move(self, move: services.ChangeState) -> Response:
        given = self.read(MoveSerializer)
        row = self.get_object()
        return self.answer(move(actor=self.actor, version=row, check=self.require_match, **given))

    @extend_schema(
        operation_id="workflow_versions_impact",
        summary="What a change of a version's state would mean",
        parameters=[OpenApiParameter("verb", str, required=True, enum=VERB_CHOICES)],
        responses={200: ImpactSerializer},
    )
    def impact(self, request: Request, slug: str, version: str) -> Response:
        """What starts would take then, whose child workflows would change, what is under way."""
        verb = request.query_params.get("verb", "")
        if verb not in VERB_CHOICES:
            message = f"One of {', '.join(VERB_CHOICES)} was expected."
            raise Invalid(message, details=[Problem("$.verb", "invalid_choice", message)])
        found = impact_of(actor=self.actor, version=self.get_object(), verb=verb)
        return Response(ImpactSerializer(found.as_dict()).data)

    @extend_schema(
        operation_id="workflow_versions_history",
        summary="A version's changes of state",
        responses={200: VersionTransitionSerializer(many=True)},
    )
    def history(self, request: Request, slug: str, version: str) -> Response:
        """From its publication on, the oldest first; with the guard's judgement of that day."""
        rows = self.get_object().transitions.order_by("seq")
        return Response(VersionTransitionSerializer(rows, many=True).data)

    @extend_schema(
        operation_id="workflow_versions_reviews",
        summary="A version's reviews",
        responses={200: VersionReviewsSerializer},
    )
    def reviews(self, request: Request, slug: str, version: str) -> Response:
        """Those of other contents and numbers too; they are history."""
        row = self.get_object()
        state = review_state(row)
        answer = {
            "required": state.is_required,
            "approved": state.is_approved,
            "approved_by": state.approved_by,
            "wanted_by": state.wanted_by,
            "writers": state.writers,
            "reviews": sorted(row.reviews.all(), key=lambda review: review.pk),
        }
        return Response(VersionReviewsSerializer(answer).data)

    @extend_schema(
        operation_id="workflow_versions_review",
        summary="Approve a draft, or request changes",
        request=ReviewBodySerializer,
        responses={
            201: VersionReviewSerializer,
            409: OpenApiResponse(CONFLICT.response, "It is no draft, or your own."),
            412: STALE,
        },
    )
    def review(self, request: Request, slug: str, version: str) -> Response:
        """Not for those who wrote it. It holds for this content under this number."""
        given = self.read(ReviewBodySerializer)
        given["verdict"] = ReviewVerdict(given["verdict"])
        review = services.review_version(actor=self.actor, version=self.get_object(), **given)
        return Response(VersionReviewSerializer(review).data, status=status.HTTP_201_CREATED)


class WorkflowRulesViewSet(WorkflowViewSet):
    """How a workflow's versions come about."""

    definition_actions = frozenset({"suggest"})
    required_permissions: ClassVar[dict[str, str]] = {
        "suggest": Permission.WORKFLOW_VIEW,
        "require_review": Permission.WORKFLOW_REQUIRE_REVIEW,
    }

    @extend_schema(
        operation_id="workflows_suggest",
        summary="The lowest honest number for a definition",
        request=DefinitionSerializer,
        responses={200: CompatibilitySerializer, 409: CONFLICT},
    )
    def suggest(self, request: Request, slug: str) -> Response:
        """The body is the definition of what could be the next version; nothing is saved.

        Without a body: of the workflow's draft.
        """
        workflow = self.get_object()
        draft = workflow.versions.filter(version=workflow.draft_version).first()
        if not request.data:
            if draft is None:
                raise Conflict(
                    f"The workflow {workflow.slug} has no draft: send the definition that the "
                    "number is for."
                )
            found = comparison.judge_version(actor=self.actor, version=draft)
        else:
            found = comparison.judge_next(
                actor=self.actor, workflow=workflow, document=request.data
            )
        return Response(CompatibilitySerializer(found.as_dict()).data)

    @extend_schema(
        operation_id="workflows_require_review",
        summary="Say whether versions need an approval",
        request=RequireReviewSerializer,
        parameters=[IF_MATCH],
        responses={200: WorkflowSerializer, 412: STALE},
    )
    def require_review(self, request: Request, slug: str) -> Response:
        """While they do, a draft is published only after another person has approved it."""
        changed = services.require_review(
            actor=self.actor,
            workflow=self.get_object(),
            check=self.require_match,
            **self.read(RequireReviewSerializer),
        )
        workflow = self.get_queryset().get(pk=changed.pk)
        return self.with_etag(Response(WorkflowSerializer(workflow).data), workflow)
