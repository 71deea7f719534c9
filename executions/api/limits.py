"""The API of limits of calls, and of switching workflows off and on again."""

from __future__ import annotations

from typing import Any, ClassVar

from drf_spectacular.utils import OpenApiResponse, extend_schema, extend_schema_view
from rest_framework import serializers, status
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from autopilot.accounts.actors import Actor, actor_of
from autopilot.accounts.roles import Permission
from autopilot.common.api.viewsets import ReadOnlyViewSet
from autopilot.common.errors import NotFound
from executions import holding, limiting
from executions.api.bodies import MomentField, StrictSerializer, TextField, WordField, read_body
from executions.asking import MAX_REASON_CHARS
from executions.limiting import MAX_NOTE_CHARS, LimitTerms
from executions.models import ActionLimit, Hold
from workflows.models import Workflow

_ERROR = {"$ref": "#/components/schemas/Error"}
_SUBJECTS = ActionLimit.Subject.values
_MODES = Hold.Mode.values


class LimitSerializer(serializers.ModelSerializer[ActionLimit]):
    """A limit of calls."""

    subject = serializers.ChoiceField(_SUBJECTS, read_only=True)

    class Meta:
        model = ActionLimit
        fields: tuple[str, ...] = (
            "id",
            "subject",
            "pattern",
            "max_concurrent",
            "rate",
            "period_seconds",
            "note",
            "created_at",
            "updated_at",
        )
        read_only_fields = fields


class LimitBodySerializer(StrictSerializer):
    """What a limit says: `max_concurrent`, `rate` or both."""

    subject = WordField(choices=_SUBJECTS, help_text="What the pattern is compared with.")
    pattern = TextField(
        max_length=253, help_text="Name of actions or hosts, with `*` for any part of it."
    )
    max_concurrent = serializers.IntegerField(
        required=False, allow_null=True, help_text="So many calls may be under way at once."
    )
    rate = serializers.IntegerField(
        required=False, allow_null=True, help_text="So many may begin within `period_seconds`."
    )
    period_seconds = serializers.FloatField(required=False, help_text="Default: 1.")
    note = TextField(
        max_length=MAX_NOTE_CHARS, required=False, allow_blank=True, help_text="Why, for people."
    )


_TAKEN = OpenApiResponse(_ERROR, "There is a limit for that pattern already.")


@extend_schema_view(
    list=extend_schema(operation_id="limits_list", summary="List limits of calls"),
    retrieve=extend_schema(operation_id="limits_retrieve", summary="Read a limit"),
)
class LimitViewSet(ReadOnlyViewSet):
    """Limits of calls, by action and by host; they hold for all workers together."""

    queryset = ActionLimit.objects.all()
    serializer_class = LimitSerializer
    lookup_value_regex = "[0-9]{1,18}"
    required_permissions: ClassVar[dict[str, str]] = {
        "list": Permission.EXECUTION_VIEW,
        "retrieve": Permission.EXECUTION_VIEW,
        "create": Permission.LIMITS_MANAGE,
        "update": Permission.LIMITS_MANAGE,
        "destroy": Permission.LIMITS_MANAGE,
    }

    @property
    def actor(self) -> Actor:
        return actor_of(self.request.user, self.request)

    @extend_schema(
        operation_id="limits_create",
        summary="Limit calls",
        request=LimitBodySerializer,
        responses={201: LimitSerializer, 409: _TAKEN},
    )
    def create(self, request: Request) -> Response:
        """From now on; calls under way go on."""
        terms = LimitTerms(**read_body(LimitBodySerializer, request.data))
        limit = limiting.create_limit(actor=self.actor, terms=terms)
        return Response(LimitSerializer(limit).data, status=status.HTTP_201_CREATED)

    @extend_schema(
        operation_id="limits_update",
        summary="Change a limit",
        request=LimitBodySerializer,
        responses={200: LimitSerializer, 409: _TAKEN},
    )
    def update(self, request: Request, pk: str) -> Response:
        """All of it; what is left out is as if it had never been said."""
        terms = LimitTerms(**read_body(LimitBodySerializer, request.data))
        limit = limiting.update_limit(limit=self.get_object(), actor=self.actor, terms=terms)
        return Response(LimitSerializer(limit).data)

    @extend_schema(operation_id="limits_delete", summary="Take a limit away")
    def destroy(self, request: Request, pk: str) -> Response:
        """Whoever waits for it goes on."""
        limiting.delete_limit(limit=self.get_object(), actor=self.actor)
        return Response(status=status.HTTP_204_NO_CONTENT)


class HoldSerializer(serializers.Serializer[Any]):
    """What is switched off, by whom, why, until when."""

    mode = serializers.ChoiceField(_MODES)
    reason = serializers.CharField()
    until = serializers.DateTimeField(allow_null=True)
    by = serializers.CharField(source="actor")
    since = serializers.DateTimeField(source="created_at")


class WorkflowHoldSerializer(serializers.Serializer[Any]):
    """A workflow, and how it is switched."""

    workflow = serializers.CharField()
    paused = HoldSerializer(allow_null=True)


class PauseSerializer(StrictSerializer):
    """May be left out altogether."""

    mode = WordField(
        choices=_MODES,
        required=False,
        help_text="`starts`: nothing new is accepted. `all`: nothing of it runs, what comes waits.",
    )
    reason = TextField(max_length=MAX_REASON_CHARS, required=False, allow_blank=True)
    until = MomentField(
        required=False, allow_null=True, help_text="It goes on by itself then; with a time zone."
    )


def held(hold: Hold | None) -> dict[str, Any] | None:
    """A hold as the API shows it."""
    return None if hold is None else dict(HoldSerializer(hold).data)


class WorkflowSwitchView(APIView):
    """Base of the two below."""

    required_permissions: ClassVar[dict[str, str]] = {"post": Permission.LIMITS_MANAGE}

    def workflow(self, request: Request, slug: str) -> Workflow:
        actor = actor_of(request.user, request)
        found: Workflow | None = Workflow.objects.visible_to(actor).filter(slug=slug).first()
        if found is None:
            raise NotFound("There is no such workflow, or you may not see it.")
        return found


class WorkflowPauseView(WorkflowSwitchView):
    @extend_schema(
        operation_id="workflows_pause",
        summary="Switch a workflow off",
        request=PauseSerializer,
        responses={200: WorkflowHoldSerializer},
    )
    def post(self, request: Request, slug: str) -> Response:
        """No new starts (409 `workflow.paused`), or with mode `all` nothing of it runs either."""
        workflow = self.workflow(request, slug)
        given = read_body(PauseSerializer, request.data)
        actor = actor_of(request.user, request)
        hold = holding.pause_workflow(workflow=workflow, actor=actor, **given)
        return Response({"workflow": workflow.slug, "paused": held(hold)})


class WorkflowResumeView(WorkflowSwitchView):
    @extend_schema(
        operation_id="workflows_resume",
        summary="Switch a workflow on again",
        request=None,
        responses={
            200: WorkflowHoldSerializer,
            409: OpenApiResponse(_ERROR, "It is not paused."),
        },
    )
    def post(self, request: Request, slug: str) -> Response:
        """What waited goes on within a second."""
        workflow = self.workflow(request, slug)
        holding.resume_workflow(workflow=workflow, actor=actor_of(request.user, request))
        return Response({"workflow": workflow.slug, "paused": None})


__all__ = [
    "HoldSerializer",
    "LimitViewSet",
    "PauseSerializer",
    "WorkflowPauseView",
    "WorkflowResumeView",
    "held",
]
