"""The workflow API: workflows, their versions, validation, and what a definition may use."""

from __future__ import annotations

from typing import Any, ClassVar

from django.db.models import QuerySet
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import (
    OpenApiParameter,
    OpenApiResponse,
    extend_schema,
    extend_schema_view,
)
from rest_framework import mixins, status
from rest_framework.decorators import action
from rest_framework.parsers import BaseParser
from rest_framework.request import Request
from rest_framework.response import Response

from autopilot.accounts.actors import Actor, actor_of
from autopilot.accounts.roles import Permission
from autopilot.common.api.etags import ETagMixin
from autopilot.common.api.viewsets import DeclaredViewSet
from autopilot.common.errors import Conflict, DomainError, NotFound
from workflows import comparison, services
from workflows.actions.registry import registry
from workflows.api.filters import VersionFilter, WorkflowFilter
from workflows.api.media import YAMLParser
from workflows.api.serializers import (
    ActionSerializer,
    AgainstSerializer,
    CompatibilitySerializer,
    DefinitionSerializer,
    DiffDocumentSerializer,
    DiffSerializer,
    PublishSerializer,
    ValidationSerializer,
    VersionSerializer,
    VersionSummarySerializer,
    WorkflowChangeSerializer,
    WorkflowSerializer,
    WorkflowWithVersionSerializer,
)
from workflows.definition.schema import definition_json_schema
from workflows.definition.text import located
from workflows.models import Workflow, WorkflowVersion
from workflows.reviewing import REVIEWS

_ERROR = {"$ref": "#/components/schemas/Error"}
CONFLICT = OpenApiResponse(_ERROR, "The state of the thing does not allow this.")
STALE = OpenApiResponse(_ERROR, "Somebody changed it since you read it.")
IF_MATCH = OpenApiParameter(
    "If-Match",
    str,
    OpenApiParameter.HEADER,
    description="The ETag you read: the change is refused when it is another by now.",
)


class _WorkflowsViewSet(ETagMixin, DeclaredViewSet):
    """What both viewsets share: who asks, and how a change is read.

    definition_actions: those whose body is a definition.
    """

    definition_actions: ClassVar[frozenset[str]] = frozenset({"create", "update"})

    @property
    def actor(self) -> Actor:
        return actor_of(self.request.user, self.request)

    def read(self, kind: type[Any]) -> dict[str, Any]:
        serializer = kind(data=self.request.data)
        serializer.is_valid(raise_exception=True)
        return dict(serializer.validated_data)

    def get_parsers(self) -> list[BaseParser]:
        """A definition may be sent as YAML too."""
        # The framework asks before it has set `action`.
        method = (self.request.method or "").lower() if self.request is not None else ""
        action = getattr(self, "action", None) or getattr(self, "action_map", {}).get(method)
        yaml = [YAMLParser()] if action in self.definition_actions else []
        return [*super().get_parsers(), *yaml]

    def handle_exception(self, exc: Exception) -> Response:
        """Problems of a definition in YAML get the lines on which they are."""
        places = getattr(self.request, "places", None)
        if places is not None and isinstance(exc, DomainError):
            exc.details = tuple(located(problem, places) for problem in exc.details)
        return super().handle_exception(exc)


def publishing(given: dict[str, Any]) -> dict[str, Any]:
    """What `publish_version` takes, from the body of a request."""
    number = given.pop("version", None)
    return {**given, "number": number}


@extend_schema_view(
    list=extend_schema(operation_id="workflows_list", summary="List workflows"),
    retrieve=extend_schema(operation_id="workflows_retrieve", summary="Read a workflow"),
)
class WorkflowViewSet(mixins.ListModelMixin, _WorkflowsViewSet):
    """Workflows by their slug."""

    definition_actions = frozenset({"create", "check_definition"})
    queryset = Workflow.objects.none()
    serializer_class = WorkflowSerializer
    filterset_class = WorkflowFilter
    lookup_field = "slug"
    lookup_value_regex = "[a-z0-9-]+"
    required_permissions: ClassVar[dict[str, str]] = {
        "list": Permission.WORKFLOW_VIEW,
        "retrieve": Permission.WORKFLOW_VIEW,
        "create": Permission.WORKFLOW_EDIT,
        "partial_update": Permission.WORKFLOW_EDIT,
        "publish": Permission.WORKFLOW_PUBLISH,
        "check_definition": Permission.WORKFLOW_VIEW,
        "definition_schema": Permission.WORKFLOW_VIEW,
        "catalog": Permission.WORKFLOW_VIEW,
        "diff": Permission.WORKFLOW_VIEW,
        "diff_document": Permission.WORKFLOW_VIEW,
    }

    def get_queryset(self) -> QuerySet[Workflow]:
        if getattr(self, "swagger_fake_view", False):
            return Workflow.objects.none()
        rows = Workflow.objects.visible_to(self.actor).with_live_version()
        return rows.select_related("created_by")

    def answer(self, version: WorkflowVersion, code: int) -> Response:
        """The workflow as it is now, with the version that the request was about."""
        workflow = self.get_queryset().get(pk=version.workflow_id)
        version = workflow.versions.select_related("author").with_override().get(pk=version.pk)
        version.workflow = workflow
        workflow.version = version  # type: ignore[attr-defined]
        response = Response(WorkflowWithVersionSerializer(workflow).data, status=code)
        return self.with_etag(response, workflow)

    @extend_schema(
        operation_id="workflows_create",
        summary="Create a workflow",
        request=DefinitionSerializer,
        responses={201: WorkflowWithVersionSerializer, 409: CONFLICT},
    )
    def create(self, request: Request) -> Response:
        """The body is the definition. It becomes the first draft of a new workflow."""
        draft = services.create_workflow(actor=self.actor, document=request.data)
        response = self.answer(draft, status.HTTP_201_CREATED)
        response["Location"] = request.build_absolute_uri(f"{request.path}{draft.workflow.slug}/")
        return response

    @extend_schema(
        operation_id="workflows_update",
        summary="Change a workflow's name, description or labels",
        request=WorkflowChangeSerializer,
        parameters=[IF_MATCH],
        responses={200: WorkflowSerializer, 412: STALE},
    )
    def partial_update(self, request: Request, slug: str) -> Response:
        """What is left out stays. What the workflow does is changed by a new version."""
        changed = services.update_workflow(
            actor=self.actor,
            workflow=self.get_object(),
            check=self.require_match,
            **self.read(WorkflowChangeSerializer),
        )
        workflow = self.get_queryset().get(pk=changed.pk)
        return self.with_etag(Response(WorkflowSerializer(workflow).data), workflow)

    @extend_schema(
        operation_id="workflows_publish",
        summary="Publish a workflow's draft",
        request=PublishSerializer,
        parameters=[IF_MATCH],
        responses={200: WorkflowWithVersionSerializer, 409: CONFLICT, 412: STALE},
    )
    @action(detail=True, methods=["post"])
    def publish(self, request: Request, slug: str) -> Response:
        """Freeze the draft; from now on executions start with it."""
        workflow = self.get_object()
        draft = workflow.versions.filter(version=workflow.draft_version).first()
        if draft is None:
            raise Conflict(f"The workflow {workflow.slug} has no draft to publish.")
        version = services.publish_version(
            actor=self.actor,
            version=draft,
            # What was read was the workflow; saving a draft moves its time too.
            check=lambda _: self.require_match(Workflow.objects.get(pk=workflow.pk)),
            **publishing(self.read(PublishSerializer)),
        )
        return self.answer(version, status.HTTP_200_OK)

    @extend_schema(
        operation_id="workflows_diff",
        summary="Compare two versions by meaning",
        parameters=[
            OpenApiParameter("from", str, required=True, description="The earlier version."),
            OpenApiParameter("to", str, required=True, description="The later one, or a draft."),
        ],
        responses={200: DiffSerializer},
    )
    @action(detail=True, filterset_class=None, pagination_class=None)
    def diff(self, request: Request, slug: str) -> Response:
        """Steps added, removed, moved, renamed and changed, and the fields around them."""
        workflow = self.get_object()
        old, new = (
            comparison.version_named(workflow, request.query_params.get(name, ""), path=f"$.{name}")
            for name in ("from", "to")
        )
        changes = comparison.differences(actor=self.actor, old=old, new=new)
        found = {
            "old": old.version,
            "new": new.version,
            "changes": [each.as_dict() for each in changes],
        }
        return Response(DiffSerializer(found).data)

    @extend_schema(
        operation_id="workflows_diff_document",
        summary="Compare a document with a version",
        request=DiffDocumentSerializer,
        responses={200: DiffSerializer},
    )
    @diff.mapping.post
    def diff_document(self, request: Request, slug: str) -> Response:
        """The document is checked whole and not saved."""
        workflow = self.get_object()
        given = self.read(DiffDocumentSerializer)
        number = given.get("old") or workflow.live_version
        if number is None:
            raise Conflict(
                f"The workflow {workflow.slug} has no published version to compare with."
            )
        old = comparison.version_named(workflow, number, path="$.old")
        new, changes = comparison.document_differences(
            actor=self.actor, old=old, document=given["document"]
        )
        found = {"old": old.version, "new": new, "changes": [each.as_dict() for each in changes]}
        return Response(DiffSerializer(found).data)

    @extend_schema(
        operation_id="workflows_validate",
        summary="Check a definition",
        request=DefinitionSerializer,
        responses={200: ValidationSerializer},
    )
    @action(detail=False, methods=["post"], url_path="validate", filterset_class=None)
    def check_definition(self, request: Request) -> Response:
        """All problems at once, each with its path; nothing is saved."""
        problems = services.validate(actor=self.actor, document=request.data)
        places = getattr(request, "places", None)
        if places is not None:
            problems = [located(problem, places) for problem in problems]
        found = {"valid": not problems, "problems": [problem.as_dict() for problem in problems]}
        return Response(ValidationSerializer(found).data)

    @extend_schema(
        operation_id="workflows_definition_schema",
        summary="The JSON Schema of definitions",
        responses={200: OpenApiTypes.OBJECT},
    )
    @action(detail=False, url_path="definition-schema", filterset_class=None)
    def definition_schema(self, request: Request) -> Response:
        """For editors: completion and checks while somebody writes."""
        return Response(definition_json_schema())

    @extend_schema(
        operation_id="workflows_actions",
        summary="The actions a definition may call",
        responses={200: ActionSerializer(many=True)},
    )
    @action(detail=False, url_path="actions", filterset_class=None, pagination_class=None)
    def catalog(self, request: Request) -> Response:
        """By name, each with the JSON Schema of its parameters."""
        entries = [
            {
                "name": entry.name,
                "description": entry.description,
                "idempotent": entry.always_idempotent,
                "params_schema": entry.params_schema(),
            }
            for entry in registry.all()
        ]
        return Response(ActionSerializer(entries, many=True).data)


@extend_schema_view(
    list=extend_schema(
        operation_id="workflow_versions_list", summary="List the versions of a workflow"
    ),
    retrieve=extend_schema(operation_id="workflow_versions_retrieve", summary="Read a version"),
)
@extend_schema(
    parameters=[OpenApiParameter("slug", str, OpenApiParameter.PATH, description="The workflow.")]
)
class VersionViewSet(mixins.ListModelMixin, _WorkflowsViewSet):
    """The versions of one workflow, highest first."""

    queryset = WorkflowVersion.objects.none()
    serializer_class = VersionSerializer
    serializer_classes: ClassVar[dict[str, Any]] = {"list": VersionSummarySerializer}
    filterset_class = VersionFilter
    lookup_field = "version"
    required_permissions: ClassVar[dict[str, str]] = {
        "list": Permission.WORKFLOW_VIEW,
        "retrieve": Permission.WORKFLOW_VIEW,
        "create": Permission.WORKFLOW_EDIT,
        "update": Permission.WORKFLOW_EDIT,
        "destroy": Permission.WORKFLOW_EDIT,
        "publish": Permission.WORKFLOW_PUBLISH,
        "compatibility": Permission.WORKFLOW_VIEW,
    }

    def get_queryset(self) -> QuerySet[WorkflowVersion]:
        if getattr(self, "swagger_fake_view", False):
            return WorkflowVersion.objects.none()
        rows = self.workflow().versions.visible_to(self.actor).highest_first()
        rows = rows.select_related("workflow", "author").with_override()
        return rows.prefetch_related(*REVIEWS)

    def workflow(self) -> Workflow:
        slug = self.kwargs["slug"]
        workflow = Workflow.objects.visible_to(self.actor).filter(slug=slug).first()
        if workflow is None:
            raise NotFound(f"There is no workflow {slug!r}, or you may not see it.")
        return workflow

    def answer(self, version: WorkflowVersion, code: int = status.HTTP_200_OK) -> Response:
        row = self.get_queryset().get(pk=version.pk)
        return self.with_etag(Response(VersionSerializer(row).data, status=code), row)

    @extend_schema(
        operation_id="workflow_versions_create",
        summary="Create a version",
        request=DefinitionSerializer,
        responses={201: VersionSerializer, 409: CONFLICT},
    )
    def create(self, request: Request, slug: str) -> Response:
        """The body is the definition. It becomes the workflow's draft, of which there is one."""
        draft = services.create_version(
            actor=self.actor, workflow=self.workflow(), document=request.data
        )
        response = self.answer(draft, status.HTTP_201_CREATED)
        response["Location"] = request.build_absolute_uri(f"{request.path}{draft.version}/")
        return response

    @extend_schema(
        operation_id="workflow_versions_update",
        summary="Replace a draft's definition",
        request=DefinitionSerializer,
        parameters=[IF_MATCH],
        responses={200: VersionSerializer, 409: CONFLICT, 412: STALE},
    )
    def update(self, request: Request, slug: str, version: str) -> Response:
        """The body is the definition; a `version` in it gives the draft another number."""
        draft = services.update_draft(
            actor=self.actor,
            version=self.get_object(),
            document=request.data,
            check=self.require_match,
        )
        return self.answer(draft)

    @extend_schema(
        operation_id="workflow_versions_destroy",
        summary="Delete a draft",
        parameters=[IF_MATCH],
        responses={204: None, 409: CONFLICT, 412: STALE},
    )
    def destroy(self, request: Request, slug: str, version: str) -> Response:
        """Only a draft can go; what was published stays."""
        services.delete_draft(actor=self.actor, version=self.get_object(), check=self.require_match)
        return Response(status=status.HTTP_204_NO_CONTENT)

    @extend_schema(
        operation_id="workflow_versions_publish",
        summary="Publish a draft",
        request=PublishSerializer,
        parameters=[IF_MATCH],
        responses={200: VersionSerializer, 409: CONFLICT, 412: STALE},
    )
    def publish(self, request: Request, slug: str, version: str) -> Response:
        """Freeze this draft; from now on executions start with it."""
        published = services.publish_version(
            actor=self.actor,
            version=self.get_object(),
            check=self.require_match,
            **publishing(self.read(PublishSerializer)),
        )
        return self.answer(published)

    @extend_schema(
        operation_id="workflow_versions_compatibility",
        summary="Compute a version's smallest honest number",
        request=AgainstSerializer,
        responses={200: CompatibilitySerializer},
    )
    def compatibility(self, request: Request, slug: str, version: str) -> Response:
        """What the version changes for those who rely on an earlier one; nothing is saved."""
        row = self.get_object()
        given = self.read(AgainstSerializer).get("against")
        against = comparison.version_named(row.workflow, given, path="$.against") if given else None
        found = comparison.judge_version(actor=self.actor, version=row, against=against)
        return Response(CompatibilitySerializer(found.as_dict()).data)
