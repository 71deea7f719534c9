"""The API of rollouts: begin one, watch it, raise its percentage, promote it, take it back."""

from __future__ import annotations

from typing import Any, ClassVar

from django.db.models import QuerySet
from drf_spectacular.utils import (
    OpenApiParameter,
    OpenApiResponse,
    extend_schema,
    extend_schema_field,
    extend_schema_view,
)
from rest_framework import mixins, serializers, status
from rest_framework.request import Request
from rest_framework.response import Response

from autopilot.accounts.actors import Actor, actor_of
from autopilot.accounts.roles import Permission
from autopilot.common.api.viewsets import DeclaredViewSet
from autopilot.common.errors import NotFound
from executions.api.bodies import AnyField, StrictSerializer, TextField, read_body
from executions.rollouts import figures_of, live_executions, preview_rollback
from workflows import rollouts
from workflows.models import Rollout, RolloutDecision, Workflow
from workflows.rollout_terms import MAX_KEY_CHARS, MAX_REASON_CHARS, RolloutTerms
from workflows.rollout_words import verdict
from workflows.rows import MAX_CHANGELOG, MAX_REASON
from workflows.versioning.rollouts import DecisionKind, Finding, RolloutState

_ERROR = {"$ref": "#/components/schemas/Error"}
_STATES = [(state.value, state.value) for state in RolloutState]
CURRENT = "current"


class RolloutFiguresSerializer(serializers.Serializer[Any]):
    """How the executions of one version ended; what was cancelled is not counted."""

    ended = serializers.IntegerField()
    failed = serializers.IntegerField()
    failure_percent = serializers.FloatField()
    is_capped = serializers.BooleanField(help_text="Only the newest ones were looked at.")


class RolloutEvidenceSerializer(serializers.Serializer[Any]):
    """The figures of one moment, and what they say."""

    finding = serializers.ChoiceField([finding.value for finding in Finding])
    since = serializers.DateTimeField()
    at = serializers.DateTimeField()
    candidate = RolloutFiguresSerializer()
    baseline = RolloutFiguresSerializer()
    max_failure_percent = serializers.FloatField()
    min_executions = serializers.IntegerField()
    margin_percent = serializers.FloatField(allow_null=True)
    error_codes = serializers.DictField(
        child=serializers.IntegerField(), help_text="Of the candidate's failures."
    )
    failed_executions = serializers.ListField(
        child=serializers.IntegerField(), help_text="The latest of them."
    )


class RolloutDecisionSerializer(serializers.ModelSerializer[RolloutDecision]):
    """What was decided, by whom, why, on what evidence."""

    kind = serializers.ChoiceField([kind.value for kind in DecisionKind], read_only=True)
    percent_before = serializers.FloatField(allow_null=True, read_only=True)
    percent_after = serializers.FloatField(read_only=True)
    evidence = RolloutEvidenceSerializer(allow_null=True, read_only=True)

    class Meta:
        model = RolloutDecision
        fields: tuple[str, ...] = (
            "kind",
            "percent_before",
            "percent_after",
            "actor",
            "reason",
            "evidence",
            "at",
        )
        read_only_fields = fields


class RolloutSerializer(serializers.ModelSerializer[Rollout]):
    """A version that some of the starts take, and when it is stopped."""

    workflow = serializers.CharField(source="workflow.slug", read_only=True)
    candidate = serializers.CharField(source="candidate.version", read_only=True)
    baseline = serializers.CharField(source="baseline.version", read_only=True)
    state = serializers.ChoiceField(_STATES, read_only=True)
    percent = serializers.FloatField(read_only=True)

    class Meta:
        model = Rollout
        fields: tuple[str, ...] = (
            "id",
            "workflow",
            "candidate",
            "baseline",
            "state",
            "percent",
            "key",
            "max_failure_percent",
            "window_seconds",
            "min_executions",
            "margin_percent",
            "reason",
            "started_by",
            "started_at",
            "ended_at",
        )
        read_only_fields = fields


class RolloutLiveSerializer(serializers.Serializer[Any]):
    """How many have not ended."""

    count = serializers.IntegerField()
    is_capped = serializers.BooleanField()


class RolloutDetailSerializer(RolloutSerializer):
    """A rollout with how it is doing and what was decided."""

    evidence = serializers.SerializerMethodField()
    verdict = serializers.SerializerMethodField(help_text="What the evidence says, in a sentence.")
    live_executions = serializers.SerializerMethodField(
        help_text="Of the candidate; they stay on it, whatever is decided."
    )
    decisions = RolloutDecisionSerializer(many=True, read_only=True)

    class Meta(RolloutSerializer.Meta):
        fields = (
            *RolloutSerializer.Meta.fields,
            "evidence",
            "verdict",
            "live_executions",
            "decisions",
        )
        read_only_fields = fields

    @extend_schema_field(RolloutEvidenceSerializer(allow_null=True))
    def get_evidence(self, rollout: Rollout) -> Any:
        return self.context["evidence"]

    def get_verdict(self, rollout: Rollout) -> str:
        evidence = self.context["evidence"]
        return verdict(rollout, evidence) if evidence else ""

    @extend_schema_field(RolloutLiveSerializer)
    def get_live_executions(self, rollout: Rollout) -> Any:
        return RolloutLiveSerializer(live_executions(rollout.candidate)).data


@extend_schema_field(serializers.FloatField(min_value=0, max_value=100))
class _PercentField(AnyField):
    """The service says what is wrong with it."""


@extend_schema_field(serializers.IntegerField(min_value=1))
class _CountField(AnyField):
    """The same for a count."""


@extend_schema_field(serializers.CharField())
class _DurationField(AnyField):
    """The same for a duration, a text or a number of seconds."""


class RolloutReasonSerializer(StrictSerializer):
    """May be left out altogether."""

    reason = TextField(
        max_length=MAX_REASON_CHARS, required=False, allow_blank=True, help_text="Why, for people."
    )


class RolloutBodySerializer(RolloutReasonSerializer):
    """What is rolled out, to how many, and when it is stopped."""

    version = TextField(
        max_length=64,
        required=False,
        help_text="Its number, if it isn't archived; default: the draft.",
    )
    percent = _PercentField(required=False, help_text="Of the starts; default: 10.")
    key = TextField(
        max_length=MAX_KEY_CHARS,
        required=False,
        allow_blank=True,
        help_text="An expression over `input`: the same value always takes the same version. "
        "Default: the correlation id, else the idempotency key, else chance.",
    )
    max_failure_percent = _PercentField(
        required=False, help_text="It is stopped above this rate; default: 5. 100: never."
    )
    window = _DurationField(
        required=False, help_text="The rate is of this long, such as `15m`, the default."
    )
    min_executions = _CountField(
        required=False, help_text="Before so many have ended nothing is judged; default: 20."
    )
    margin_percent = _PercentField(
        required=False,
        allow_null=True,
        help_text="Stop it only if its rate is so many points above the baseline's too.",
    )

    changelog = TextField(
        max_length=MAX_CHANGELOG,
        required=False,
        allow_blank=True,
        help_text="Of a draft: what is new in it; default: what it says already.",
    )
    override_reason = TextField(
        max_length=MAX_REASON,
        required=False,
        allow_blank=True,
        help_text="Of a draft: why it is published although its number is too small.",
    )


class RolloutPercentageSerializer(RolloutReasonSerializer):
    """How many of the starts take the candidate from now on."""

    percent = _PercentField()


class RollbackPreviewSerializer(serializers.Serializer[Any]):
    """What taking the candidate back would do."""

    candidate = serializers.CharField()
    baseline = serializers.CharField()
    deprecates = serializers.BooleanField(help_text="Whether the candidate is deprecated.")
    live_executions = RolloutLiveSerializer()
    sentence = serializers.CharField()


_REFUSED = OpenApiResponse(_ERROR, "The state of the workflow or the rollout does not allow it.")
_SLUG = OpenApiParameter("slug", str, OpenApiParameter.PATH, description="The workflow.")
_ID = OpenApiParameter(
    "pk", str, OpenApiParameter.PATH, description="The id, or `current` for the one under way."
)


@extend_schema_view(
    list=extend_schema(operation_id="rollouts_list", summary="List a workflow's rollouts"),
)
@extend_schema(parameters=[_SLUG])
class RolloutViewSet(mixins.ListModelMixin, DeclaredViewSet):
    """Rollouts of one workflow, newest first."""

    queryset = Rollout.objects.none()
    serializer_class = RolloutSerializer
    required_permissions: ClassVar[dict[str, Any]] = {
        "list": Permission.WORKFLOW_VIEW,
        "retrieve": (Permission.WORKFLOW_VIEW, Permission.EXECUTION_VIEW),
        "rollback_preview": (Permission.WORKFLOW_VIEW, Permission.EXECUTION_VIEW),
        "create": Permission.WORKFLOW_PUBLISH,
        "set_percentage": Permission.WORKFLOW_PUBLISH,
        "promote": Permission.WORKFLOW_PUBLISH,
        "rollback": Permission.WORKFLOW_PUBLISH,
    }

    @property
    def actor(self) -> Actor:
        return actor_of(self.request.user, self.request)

    def get_queryset(self) -> QuerySet[Rollout]:
        if getattr(self, "swagger_fake_view", False):
            return Rollout.objects.none()
        rows = Rollout.objects.visible_to(self.actor).filter(workflow=self.workflow())
        return rows.select_related("workflow", "candidate", "baseline").order_by("-pk")

    def workflow(self) -> Workflow:
        slug = self.kwargs["slug"]
        found: Workflow | None = Workflow.objects.visible_to(self.actor).filter(slug=slug).first()
        if found is None:
            raise NotFound(f"There is no workflow {slug!r}, or you may not see it.")
        return found

    def rollout(self, pk: str) -> Rollout:
        rows = self.get_queryset()
        if pk == CURRENT:
            row = rows.filter(state=RolloutState.ACTIVE).first()
            if row is None:
                slug = self.kwargs["slug"]
                raise NotFound(f"No rollout of the workflow {slug} is under way.")
            return row
        row = rows.filter(pk=int(pk)).first()
        if row is None:
            raise NotFound(f"There is no rollout {pk} of this workflow.")
        return row

    def answer(self, rollout: Rollout, code: int = status.HTTP_200_OK) -> Response:
        context = {"evidence": figures_of(rollout)}
        return Response(RolloutDetailSerializer(rollout, context=context).data, status=code)

    @extend_schema(
        operation_id="rollouts_create",
        summary="Roll a version out to some of the starts",
        request=RolloutBodySerializer,
        responses={201: RolloutDetailSerializer, 409: _REFUSED},
    )
    def create(self, request: Request, slug: str) -> Response:
        """A draft is published by the way, without becoming the live version."""
        given = read_body(RolloutBodySerializer, request.data)
        names = ("version", "reason", "changelog", "override_reason")
        besides = {name: given.pop(name) for name in names if name in given}
        rollout = rollouts.start_rollout(
            workflow=self.workflow(),
            actor=self.actor,
            terms=RolloutTerms(**given),
            **besides,
        )
        response = self.answer(rollout, status.HTTP_201_CREATED)
        response["Location"] = request.build_absolute_uri(f"{request.path}{rollout.pk}/")
        return response

    @extend_schema(
        operation_id="rollouts_retrieve",
        summary="Read a rollout, how it is doing, and what was decided",
        parameters=[_ID],
        responses={200: RolloutDetailSerializer},
    )
    def retrieve(self, request: Request, slug: str, pk: str) -> Response:
        """Of what has ended, the figures are those that the end was decided on."""
        return self.answer(self.rollout(pk))

    @extend_schema(
        operation_id="rollouts_set_percentage",
        summary="Change a rollout's percentage",
        parameters=[_ID],
        request=RolloutPercentageSerializer,
        responses={200: RolloutDetailSerializer, 409: _REFUSED},
    )
    def set_percentage(self, request: Request, slug: str, pk: str) -> Response:
        """A higher one takes nobody back."""
        rollout, given = self.rollout(pk), read_body(RolloutPercentageSerializer, request.data)
        return self.answer(rollouts.set_percentage(rollout=rollout, actor=self.actor, **given))

    @extend_schema(
        operation_id="rollouts_promote",
        summary="Make a rollout's version the live one",
        parameters=[_ID],
        request=RolloutReasonSerializer,
        responses={200: RolloutDetailSerializer, 409: _REFUSED},
    )
    def promote(self, request: Request, slug: str, pk: str) -> Response:
        """Every start takes it from now on; what runs goes on with its own version."""
        rollout, given = self.rollout(pk), read_body(RolloutReasonSerializer, request.data)
        return self.answer(rollouts.promote_rollout(rollout=rollout, actor=self.actor, **given))

    @extend_schema(
        operation_id="rollouts_rollback",
        summary="Take a rollout's version back",
        parameters=[_ID],
        request=RolloutReasonSerializer,
        responses={200: RolloutDetailSerializer, 409: _REFUSED},
    )
    def rollback(self, request: Request, slug: str, pk: str) -> Response:
        """Every start takes the baseline again; `live_executions` go on with the candidate."""
        rollout, given = self.rollout(pk), read_body(RolloutReasonSerializer, request.data)
        return self.answer(rollouts.rollback_rollout(rollout=rollout, actor=self.actor, **given))

    @extend_schema(
        operation_id="rollouts_rollback_preview",
        summary="What a rollback would do",
        parameters=[_ID],
        responses={200: RollbackPreviewSerializer, 409: _REFUSED},
    )
    def rollback_preview(self, request: Request, slug: str, pk: str) -> Response:
        """Nothing is changed."""
        rollout = self.rollout(pk)
        rollouts.refuse_ended(rollout)
        found = preview_rollback(rollout)
        answer = {
            "candidate": rollout.candidate.version,
            "baseline": rollout.baseline.version,
            "deprecates": found.deprecates,
            "live_executions": found.live,
            "sentence": found.sentence,
        }
        return Response(RollbackPreviewSerializer(answer).data)
