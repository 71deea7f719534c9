"""The API of approvals: find them, decide them, hand them on."""

from __future__ import annotations

from typing import Any, ClassVar

import django_filters
from drf_spectacular.utils import OpenApiResponse, extend_schema, extend_schema_view
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response

from autopilot.accounts.actors import Actor, actor_of
from autopilot.common.api.permissions import AUTHENTICATED
from autopilot.common.api.viewsets import StreamViewSet
from executions import services
from executions.api.approval_bodies import (
    ApprovalSerializer,
    ApprovalSummarySerializer,
    DecideSerializer,
    EmptySerializer,
    ReassignSerializer,
)
from executions.api.bodies import read_body
from executions.api.filters import IdFilter, StrictFilterSet
from executions.approvals.errors import ApprovalNotFound
from executions.approvals.querysets import ApprovalQuerySet
from executions.approvals.reads import view_of, views_of, with_execution
from executions.models import Approval, ApprovalState
from workflows.definition.paths import quote

_ERROR = {"$ref": "#/components/schemas/Error"}
_ANSWERS = {
    200: OpenApiResponse(ApprovalSerializer, "Done, or done before."),
    403: OpenApiResponse(_ERROR, "It does not ask you, or you started the execution."),
    409: OpenApiResponse(_ERROR, "It is settled, expired, taken, or you have said otherwise."),
}
LISTS = ("waiting", "mine", "groups", "all")


class ApprovalFilter(StrictFilterSet):
    of = django_filters.ChoiceFilter(
        choices=[(name, name) for name in LISTS],
        method="in_list",
        help_text="`waiting`: open ones that await your word. `mine`: that ask you by name, or "
        "that you have taken. `groups`: that ask a group you are in. `all`: all that you may see; "
        "the default.",
        error_messages={"invalid_choice": f"One of {', '.join(LISTS)} was expected."},
    )
    state = django_filters.MultipleChoiceFilter(
        choices=ApprovalState.choices,
        help_text="May be given several times.",
        error_messages={
            "invalid_choice": f"A state is one of {', '.join(ApprovalState.values)}; not %(value)s."
        },
    )
    execution = IdFilter(
        field_name="execution_id", min_value=1, max_value=2**63 - 1, help_text="Of this execution."
    )
    workflow = django_filters.CharFilter(
        field_name="execution__workflow__slug", max_length=200, help_text="The workflow's slug."
    )

    repeatable = ("state",)

    class Meta:
        model = Approval
        fields: tuple[str, ...] = ()

    def in_list(self, rows: ApprovalQuerySet, name: str, value: str) -> ApprovalQuerySet:
        actor = actor_of(self.request.user)
        lists = {"waiting": rows.decidable_by, "mine": rows.mine, "groups": rows.of_groups}
        return lists[value](actor) if value in lists else rows


def _verb(name: str, summary: str, body: type[Any]) -> Any:
    return extend_schema(
        operation_id=f"approvals_{name}", summary=summary, request=body, responses=_ANSWERS
    )


@extend_schema_view(
    list=extend_schema(
        operation_id="approvals_list",
        summary="List approvals",
        description="Newest first: of those that ask you, or, with the permission to see "
        "executions, of all.",
    ),
    retrieve=extend_schema(operation_id="approvals_retrieve", summary="Read an approval"),
)
class ApprovalViewSet(StreamViewSet):
    """Questions to people, newest first."""

    queryset = Approval.objects.none()
    serializer_class = ApprovalSerializer
    serializer_classes: ClassVar[dict[str, Any]] = {"list": ApprovalSummarySerializer}
    filterset_class = ApprovalFilter
    cursor_ordering = "-id"
    lookup_value_regex = "[^/]+"
    # Whoever is asked may look and decide; the service and the list see to the rest.
    required_permissions: ClassVar[dict[str, str]] = dict.fromkeys(
        ("list", "retrieve", "approve", "reject", "claim", "release", "reassign"), AUTHENTICATED
    )

    @property
    def actor(self) -> Actor:
        return actor_of(self.request.user, self.request)

    def get_queryset(self) -> ApprovalQuerySet:
        if getattr(self, "swagger_fake_view", False):
            return Approval.objects.none()
        rows = with_execution(Approval.objects.visible_to(self.actor))
        return rows.defer("context", "form", "description") if self.action == "list" else rows

    def get_object(self) -> Approval:
        pk = self.kwargs["pk"]
        if not (pk.isascii() and pk.isdigit() and len(pk) < 19):
            raise ApprovalNotFound(
                f'There is no approval "{quote(pk)}": the id of an approval is a whole number.'
            )
        approval: Approval | None = self.get_queryset().filter(pk=int(pk)).first()
        if approval is None:
            raise ApprovalNotFound(f"There is no approval {pk}, or you may not see it.")
        return approval

    def paginate_queryset(self, queryset: Any) -> Any:
        rows = super().paginate_queryset(queryset)
        return None if rows is None else views_of(rows, self.actor)

    def answer(self, approval: Approval) -> Response:
        return Response(self.get_serializer(view_of(approval, self.actor)).data)

    def after(self, pk: int) -> Response:
        """The approval as it is now, also for whoever may not see it any more."""
        return self.answer(with_execution(Approval.objects.all()).get(pk=pk))

    def retrieve(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        return self.answer(self.get_object())

    @_verb("approve", "Approve", DecideSerializer)
    @action(detail=True, methods=["post"])
    def approve(self, request: Request, pk: str) -> Response:
        """Agree, with the answer that the form asks for. The same again answers the same."""
        return self._decide(approve=True)

    @_verb("reject", "Reject", DecideSerializer)
    @action(detail=True, methods=["post"])
    def reject(self, request: Request, pk: str) -> Response:
        """Refuse: one rejection settles it. The same again answers the same."""
        return self._decide(approve=False)

    @_verb("claim", "Take an approval", EmptySerializer)
    @action(detail=True, methods=["post"])
    def claim(self, request: Request, pk: str) -> Response:
        """Show the others that you are at it; they may still decide."""
        read_body(EmptySerializer, request.data)
        done = services.claim(approval=self.get_object(), actor=self.actor)
        return self.after(done.pk)

    @_verb("release", "Give an approval back", EmptySerializer)
    @action(detail=True, methods=["post"])
    def release(self, request: Request, pk: str) -> Response:
        """Whoever has taken it, or holds the permission to decide."""
        read_body(EmptySerializer, request.data)
        done = services.release(approval=self.get_object(), actor=self.actor)
        return self.after(done.pk)

    @_verb("reassign", "Ask others instead", ReassignSerializer)
    @action(detail=True, methods=["post"])
    def reassign(self, request: Request, pk: str) -> Response:
        """For whoever is asked, and whoever holds the permission to decide."""
        given = read_body(ReassignSerializer, request.data)
        done = services.reassign(approval=self.get_object(), actor=self.actor, **given)
        return self.after(done.pk)

    def _decide(self, *, approve: bool) -> Response:
        given = read_body(DecideSerializer, self.request.data)
        found = self.get_object()
        services.decide(approval=found, actor=self.actor, approve=approve, via="api", **given)
        return self.after(found.pk)
