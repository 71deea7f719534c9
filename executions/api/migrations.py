"""The API of moving live executions to another version."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from django.db.models import QuerySet
from drf_spectacular.utils import OpenApiResponse, extend_schema, extend_schema_view
from rest_framework import status
from rest_framework.request import Request
from rest_framework.response import Response

from autopilot.accounts.actors import Actor, actor_of
from autopilot.accounts.roles import Permission
from autopilot.common.api.viewsets import StreamViewSet
from autopilot.common.errors import NotFound
from autopilot.common.problems import Problem
from executions.api.bodies import read_body, refusal
from executions.api.filters import PageOnly
from executions.api.migration_bodies import (
    DryRunBodySerializer,
    DryRunSerializer,
    MigrationBodySerializer,
    MigrationDetailSerializer,
    MigrationItemFilter,
    MigrationItemSerializer,
    MigrationSerializer,
    PlanBodySerializer,
    PlanSerializer,
    UndoBodySerializer,
    plan_body,
)
from executions.api.selecting import matching
from executions.errors import MigrationNotFound
from executions.migrating import reads, services
from executions.migrating.routes import check_mapping, plan_of, version_named
from executions.migrating.selecting import MAX_ITEMS, Chosen
from executions.models import Migration, MigrationItem
from workflows.models import Workflow

_ERROR = {"$ref": "#/components/schemas/Error"}
_MAX_ID = 2**63 - 1


@extend_schema_view(
    list=extend_schema(
        operation_id="migrations_list",
        summary="List migrations of a workflow's executions",
        responses={200: MigrationSerializer(many=True)},
    ),
)
class MigrationViewSet(StreamViewSet):
    """Migrations of live executions from one version of a workflow to another, newest first."""

    queryset = Migration.objects.none()
    serializer_class = MigrationSerializer
    filterset_class: Any = PageOnly
    cursor_ordering = "-id"
    required_permissions: ClassVar[dict[str, str]] = {
        "list": Permission.EXECUTION_VIEW,
        "retrieve": Permission.EXECUTION_VIEW,
        "plan": Permission.EXECUTION_VIEW,
        "dry_run": Permission.EXECUTION_VIEW,
        "create": Permission.EXECUTION_MIGRATE,
        "undo": Permission.EXECUTION_MIGRATE,
        "cancel": Permission.EXECUTION_MIGRATE,
    }

    @property
    def actor(self) -> Actor:
        return actor_of(self.request.user, self.request)

    def get_queryset(self) -> QuerySet[Migration]:
        if getattr(self, "swagger_fake_view", False):
            return Migration.objects.none()
        rows = Migration.objects.filter(workflow=self._workflow())
        return rows.select_related("workflow", "source", "target")

    def list(self, request: Request, slug: str) -> Response:
        page = self.paginate_queryset(self.filter_queryset(self.get_queryset()))
        rows: Sequence[Migration] = page or []
        counts = reads.counts_for(rows)
        shown = [_counted(row, counts[row.pk]) for row in rows]
        return self.get_paginated_response(MigrationSerializer(shown, many=True).data)

    @extend_schema(
        operation_id="migrations_retrieve",
        summary="Read a migration and how far it is",
        responses={200: MigrationDetailSerializer},
    )
    def retrieve(self, request: Request, slug: str, pk: str) -> Response:
        """Also why some were not moved, by reason."""
        return self._answer(self._migration())

    @extend_schema(
        operation_id="migrations_plan",
        summary="Plan a migration: which step becomes which",
        request=PlanBodySerializer,
        responses={200: PlanSerializer},
    )
    def plan(self, request: Request, slug: str) -> Response:
        """Everything that is wrong with a mapping at once; nothing is changed."""
        given = read_body(PlanBodySerializer, request.data)
        workflow = self._workflow()
        source = version_named(workflow, given["from"], "$.from")
        target = version_named(workflow, given["to"], "$.to")
        plan = plan_of(source, target, check_mapping(given.get("mapping", {})))
        return Response(PlanSerializer(plan_body(plan, reads.standing(source))).data)

    @extend_schema(
        operation_id="migrations_dry_run",
        summary="Look what a migration would come to",
        request=DryRunBodySerializer,
        responses={200: DryRunSerializer},
    )
    def dry_run(self, request: Request, slug: str) -> Response:
        """Each execution that is meant, up to 1,000: whether it could be moved now, or why not."""
        given = read_body(DryRunBodySerializer, request.data)
        route = services.read_route(
            workflow=self._workflow(),
            actor=self.actor,
            source=given["from"],
            target=given["to"],
            mapping=given.get("mapping", {}),
        )
        found = reads.dry_run(route=route, chosen=chosen_of(given, self.actor), actor=self.actor)
        return Response(DryRunSerializer(found).data)

    @extend_schema(
        operation_id="migrations_create",
        summary="Move live executions to another version",
        request=MigrationBodySerializer,
        responses={201: MigrationDetailSerializer},
    )
    def create(self, request: Request, slug: str) -> Response:
        """Each with its items and branches, soon after the answer and batch by batch."""
        given = read_body(MigrationBodySerializer, request.data)
        migration = services.start_migration(
            workflow=self._workflow(),
            actor=self.actor,
            source=given["from"],
            target=given["to"],
            mapping=check_mapping(given.get("mapping", {})),
            chosen=chosen_of(given, self.actor),
            reason=given.get("reason", ""),
        )
        return self._answer(migration, status.HTTP_201_CREATED)

    @extend_schema(
        operation_id="migrations_undo",
        summary="Put back what a migration has moved",
        request=UndoBodySerializer,
        responses={
            200: MigrationDetailSerializer,
            409: OpenApiResponse(_ERROR, "The migration is still under way."),
        },
    )
    def undo(self, request: Request, slug: str, pk: str) -> Response:
        """Wherever nothing has run since; the items of all others say that."""
        given = read_body(UndoBodySerializer, request.data)
        migration = services.undo_migration(
            migration=self._migration(),
            actor=self.actor,
            reason=given.get("reason", ""),
            ids=ids_of(given["ids"]) if "ids" in given else None,
        )
        return self._answer(migration)

    @extend_schema(
        operation_id="migrations_cancel",
        summary="Leave the rest of a migration as it is",
        request=None,
        responses={
            200: MigrationDetailSerializer,
            409: OpenApiResponse(_ERROR, "The migration is over."),
        },
    )
    def cancel(self, request: Request, slug: str, pk: str) -> Response:
        """What was moved stays moved."""
        migration = services.cancel_migration(migration=self._migration(), actor=self.actor)
        return self._answer(migration)

    def _workflow(self) -> Workflow:
        return workflow_named(self.kwargs["slug"], self.actor)

    def _migration(self) -> Migration:
        return migration_of(self.get_queryset(), self.kwargs["pk"])

    def _answer(self, migration: Migration, code: int = status.HTTP_200_OK) -> Response:
        rows = Migration.objects.select_related("workflow", "source", "target")
        row = _counted(rows.get(pk=migration.pk), reads.counts_of(migration))
        row.reasons = reads.groups_of(migration)  # type: ignore[attr-defined]
        return Response(MigrationDetailSerializer(row).data, status=code)


def _counted(row: Migration, counts: dict[str, int]) -> Migration:
    row.counts, row.sentence = counts, reads.sentence_of(row, counts)  # type: ignore[attr-defined]
    return row


def chosen_of(given: dict[str, Any], actor: Actor) -> Chosen:
    """Which executions a body means. Raises Invalid."""
    if "ids" in given and "filter" in given:
        message = "Give either `ids` or `filter`, or neither for all that are under way."
        raise refusal([Problem("$.ids", "field.unknown", message)])
    if "ids" in given:
        return Chosen.of_ids(ids_of(given["ids"]), actor)
    if "filter" in given:
        asked = given["filter"]
        if not isinstance(asked, dict):
            message = "An object with the filters of the list was expected."
            raise refusal([Problem("$.filter", "field.type", message)])
        return Chosen(matching(asked, actor=actor), says_state="state" in asked)
    return Chosen.all_of(actor)


def ids_of(value: Any) -> list[int]:
    """Ids of executions. Raises Invalid with the place of the first that is none."""
    if not isinstance(value, list) or not value:
        message = "A list of ids was expected, with at least one."
        raise refusal([Problem("$.ids", "field.type", message)])
    if len(value) > MAX_ITEMS:
        message = f"At most {MAX_ITEMS:,} ids can be given."
        raise refusal([Problem("$.ids", "field.too_long", message)])
    for at, each in enumerate(value):
        if type(each) is not int or not 0 < each <= _MAX_ID:
            message = "The id of an execution is a whole number."
            raise refusal([Problem(f"$.ids[{at}]", "field.type", message)])
    return value


@extend_schema_view(
    list=extend_schema(operation_id="migrations_items", summary="List what came of each execution"),
)
class MigrationItemViewSet(StreamViewSet):
    """What a migration has come to for each execution, by ascending id."""

    queryset = MigrationItem.objects.none()
    serializer_class = MigrationItemSerializer
    filterset_class = MigrationItemFilter
    cursor_ordering = "execution_id"
    required_permissions: ClassVar[dict[str, str]] = {"list": Permission.EXECUTION_VIEW}

    def get_queryset(self) -> QuerySet[MigrationItem]:
        if getattr(self, "swagger_fake_view", False):
            return MigrationItem.objects.none()
        actor = actor_of(self.request.user, self.request)
        rows = Migration.objects.filter(workflow=workflow_named(self.kwargs["slug"], actor))
        return migration_of(rows, self.kwargs["pk"]).items.defer("before")


def workflow_named(slug: str, actor: Actor) -> Workflow:
    """Raises NotFound for one that the actor can't see."""
    found: Workflow | None = Workflow.objects.visible_to(actor).filter(slug=slug).first()
    if found is None:
        raise NotFound("There is no such workflow, or you may not see it.")
    return found


def migration_of(rows: QuerySet[Migration], pk: int) -> Migration:
    """Raises MigrationNotFound."""
    found = rows.filter(pk=pk).first() if pk <= _MAX_ID else None
    if found is None:
        raise MigrationNotFound
    return found
