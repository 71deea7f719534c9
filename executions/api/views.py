"""The execution API: start, look at, and ask something of executions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar, cast

from django.db.models import BigIntegerField, F
from django.db.models.functions import Cast
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import (
    OpenApiParameter,
    OpenApiResponse,
    extend_schema,
    extend_schema_view,
)
from rest_framework import status
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response

from autopilot.accounts.actors import Actor, actor_of
from autopilot.accounts.roles import Permission
from autopilot.common.api.pagination import CursorPagination
from autopilot.common.api.viewsets import StreamViewSet
from executions import reads, services
from executions.api.bodies import read_body
from executions.api.evaluating import EvaluatedSerializer, EvaluateSerializer
from executions.api.filters import ExecutionFilter, PageOnly
from executions.api.finding import found_execution
from executions.api.keys import IDEMPOTENCY, idempotency_key
from executions.api.serializers import (
    PRIORITY_NAMES,
    ContextSerializer,
    ExecutionSerializer,
    ExecutionSummarySerializer,
    LogLineSerializer,
    RerunSerializer,
    SkipSerializer,
    StartSerializer,
    StateMachineSerializer,
    StepSerializer,
    TransitionSerializer,
    VerbSerializer,
    write_execution,
)
from executions.api.signals import SentSerializer, ToExecutionSerializer, sent
from executions.api.trees import TreeSerializer, tree_data
from executions.api.undoing import CancelSerializer, CompensationSerializer
from executions.api.workflows import started_workflow
from executions.compensating import compensations_of
from executions.engine.states import ENDED, FINAL, State, describe
from executions.evaluating import evaluate_expression, evaluate_template
from executions.models import Execution, LogLine, StateTransition, StepExecution
from executions.querysets import ExecutionQuerySet
from executions.signalling import send_signal
from executions.situations import situation_of, situation_of_new, situations_of
from executions.trees import tree_of

# Makes one ascending number of a step's two, for the cursor. No step has as many attempts.
_ATTEMPTS = 1_000_000
_DATA = ("input", "variables", "output", "error")
_NOT_SHOWN = ("version__definition", "version__changelog")

_ERROR = {"$ref": "#/components/schemas/Error"}
_REFUSED = OpenApiResponse(_ERROR, "The execution is in a state that does not allow this.")
_PARENT = OpenApiParameter(
    "parent", OpenApiTypes.INT64, description="Children of this execution, instead of roots."
)
_LABEL = OpenApiParameter(
    "label",
    str,
    many=True,
    description="`key` or `key:value`; given several times, all must be there.",
)


def _verb(
    name: str, summary: str, body: type[VerbSerializer] = VerbSerializer
) -> Callable[..., Any]:
    return extend_schema(
        operation_id=f"executions_{name}",
        summary=summary,
        request=body,
        responses={
            200: OpenApiResponse(ExecutionSerializer, "Done, or asked before."),
            202: OpenApiResponse(ExecutionSerializer, "Accepted; see `pending`."),
            409: _REFUSED,
        },
    )


@extend_schema_view(
    list=extend_schema(
        operation_id="executions_list",
        summary="List executions",
        description="Newest first. Without `parent` only those that somebody started.",
        parameters=[_PARENT, _LABEL],
    ),
    retrieve=extend_schema(operation_id="executions_retrieve", summary="Read an execution"),
)
class ExecutionViewSet(StreamViewSet):
    """Executions, newest first."""

    queryset = Execution.objects.none()
    serializer_class = ExecutionSerializer
    serializer_classes: ClassVar[dict[str, Any]] = {"list": ExecutionSummarySerializer}
    filterset_class = ExecutionFilter
    cursor_ordering = "-id"
    # Whatever it is, the answer is our own sentence about ids.
    lookup_value_regex = "[^/]+"
    required_permissions: ClassVar[dict[str, str]] = {
        "list": Permission.EXECUTION_VIEW,
        "retrieve": Permission.EXECUTION_VIEW,
        "create": Permission.EXECUTION_START,
        "steps": Permission.EXECUTION_VIEW,
        "transitions": Permission.EXECUTION_VIEW,
        "logs": Permission.EXECUTION_VIEW,
        "data": Permission.EXECUTION_VIEW,
        "evaluate": Permission.EXECUTION_VIEW,
        "tree": Permission.EXECUTION_VIEW,
        "state_machine": Permission.EXECUTION_VIEW,
        "pause": Permission.EXECUTION_CONTROL,
        "resume": Permission.EXECUTION_CONTROL,
        "cancel": Permission.EXECUTION_CONTROL,
        "compensate": Permission.EXECUTION_CONTROL,
        "compensations": Permission.EXECUTION_VIEW,
        "retry": Permission.EXECUTION_CONTROL,
        "skip": Permission.EXECUTION_CONTROL,
        "rerun": Permission.EXECUTION_CONTROL,
        "signal": Permission.EXECUTION_SIGNAL,
    }

    @property
    def actor(self) -> Actor:
        return actor_of(self.request.user, self.request)

    def get_queryset(self) -> ExecutionQuerySet:
        if getattr(self, "swagger_fake_view", False):
            return Execution.objects.none()
        rows: ExecutionQuerySet = Execution.objects.visible_to(self.actor)
        hidden = (*_NOT_SHOWN, *_DATA) if self.action == "list" else _NOT_SHOWN
        return rows.select_related("workflow", "version", "started_by").defer(*hidden)

    def get_object(self) -> Execution:
        return found_execution(self.get_queryset(), self.kwargs["pk"])

    def get_serializer_context(self) -> dict[str, Any]:
        context = super().get_serializer_context()
        return {**context, "situations": getattr(self, "situations", {})}

    def paginate_queryset(self, queryset: Any) -> Any:
        rows = super().paginate_queryset(queryset)
        if self.action == "list" and rows is not None:
            self.situations = situations_of(rows)
        return rows

    def answer(self, execution: Execution, code: int = status.HTTP_200_OK) -> Response:
        is_new = code == status.HTTP_201_CREATED
        find = situation_of_new if is_new else situation_of
        self.situations = {execution.pk: find(execution)}
        context = {**self.get_serializer_context(), "is_new": is_new}
        return Response(write_execution(execution, context), status=code)

    def retrieve(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        return self.answer(self.get_object())

    @extend_schema(
        operation_id="executions_start",
        summary="Start an execution",
        request=StartSerializer,
        parameters=[IDEMPOTENCY],
        responses={
            200: OpenApiResponse(ExecutionSerializer, "This request was accepted before."),
            201: OpenApiResponse(ExecutionSerializer, "Accepted: it will run to its end."),
            409: OpenApiResponse(
                _ERROR, "Nothing published to start, or the key was used for another request."
            ),
        },
    )
    def create(self, request: Request) -> Response:
        """Start an execution of a published version. Durable once this has answered."""
        given = read_body(StartSerializer, request.data)
        given["idempotency_key"] = idempotency_key(request, given)
        if "priority" in given:
            given["priority"] = PRIORITY_NAMES[given["priority"]]
        given["workflow"] = started_workflow(given["workflow"], self.actor)
        started = services.start_execution(actor=self.actor, **given)
        execution = started.execution
        if started.created:
            # Known already; saves the query.
            execution.started_by = cast("Any", request.user)
        response = self.answer(
            execution, status.HTTP_201_CREATED if started.created else status.HTTP_200_OK
        )
        response["Location"] = response.data["links"]["self"]
        return response

    @extend_schema(
        operation_id="executions_steps",
        summary="List the steps of an execution",
        responses={200: StepSerializer(many=True)},
    )
    @action(detail=True, filterset_class=PageOnly)
    def steps(self, request: Request, pk: str) -> Response:
        """The attempts that have ended, in order; on the last page also the one under way."""
        execution = self.get_object()
        self.cursor_ordering = "place"
        place = Cast("seq", BigIntegerField()) * _ATTEMPTS + F("attempt")
        rows = StepExecution.objects.filter(execution=execution).annotate(place=place)
        names = execution.step_names
        views = [reads.recorded(row, names) for row in self._page(rows)]
        if not cast("CursorPagination", self.paginator).has_next:
            current = reads.step_under_way(execution, views)
            views += [current] if current else []
        return self.get_paginated_response(StepSerializer(views, many=True).data)

    @extend_schema(
        operation_id="executions_transitions",
        summary="List the transitions of an execution",
        responses={200: TransitionSerializer(many=True)},
    )
    @action(detail=True, filterset_class=PageOnly, cursor_ordering="seq")
    def transitions(self, request: Request, pk: str) -> Response:
        """Every change of its state: from, to, why, by whom, when; oldest first."""
        rows = StateTransition.objects.filter(execution=self.get_object())
        return self.get_paginated_response(TransitionSerializer(self._page(rows), many=True).data)

    @extend_schema(
        operation_id="executions_logs",
        summary="List what the actions of an execution logged",
        responses={200: LogLineSerializer(many=True)},
    )
    @action(detail=True, filterset_class=PageOnly, cursor_ordering="seq")
    def logs(self, request: Request, pk: str) -> Response:
        """Oldest first; the lines of a step are there once it has ended."""
        rows = LogLine.objects.filter(execution=self.get_object())
        return self.get_paginated_response(LogLineSerializer(self._page(rows), many=True).data)

    def _page(self, rows: Any) -> list[Any]:
        page: list[Any] = self.paginate_queryset(self.filter_queryset(rows))
        return page

    @extend_schema(
        operation_id="executions_context",
        summary="Read the data of an execution",
        responses={200: ContextSerializer},
    )
    @action(detail=True, url_path="context", url_name="context")
    def data(self, request: Request, pk: str) -> Response:
        """Input, variables and the latest result of each step: what its expressions see."""
        return Response(reads.context_of(self.get_object()))

    @extend_schema(
        operation_id="executions_evaluate",
        summary="Try an expression against an execution",
        request=EvaluateSerializer,
        responses={200: EvaluatedSerializer},
    )
    @action(detail=True, methods=["post"])
    def evaluate(self, request: Request, pk: str) -> Response:
        """What an expression or a template comes to over its data; hidden values are `•••`."""
        given = read_body(EvaluateSerializer, request.data)
        evaluate = evaluate_expression if "expression" in given else evaluate_template
        found = evaluate(actor=self.actor, execution=self.get_object(), **given)
        return Response(EvaluatedSerializer(found).data)

    @extend_schema(
        operation_id="executions_tree",
        summary="Read the tree that an execution belongs to",
        responses={200: TreeSerializer},
    )
    @action(detail=True)
    def tree(self, request: Request, pk: str) -> Response:
        """The root, and its branches, items and child workflows at every depth; 500 at most."""
        return Response(TreeSerializer(tree_data(tree_of(self.get_object()))).data)

    @_verb("pause", "Pause an execution")
    @action(detail=True, methods=["post"])
    def pause(self, request: Request, pk: str) -> Response:
        """It stops before its next step; the step under way is finished first."""
        return self._ask(services.pause_execution)

    @_verb("resume", "Resume an execution")
    @action(detail=True, methods=["post"])
    def resume(self, request: Request, pk: str) -> Response:
        """A paused execution goes on where it stopped."""
        return self._ask(services.resume_execution)

    @_verb("cancel", "Cancel an execution", CancelSerializer)
    @action(detail=True, methods=["post"])
    def cancel(self, request: Request, pk: str) -> Response:
        """It ends without finishing; the step under way is interrupted.

        With `compensate` the steps that have completed are undone first, the last one first.
        """
        return self._ask(services.cancel_execution, CancelSerializer)

    @_verb("compensate", "Undo a failed execution")
    @action(detail=True, methods=["post"])
    def compensate(self, request: Request, pk: str) -> Response:
        """The steps that have completed are undone, the last one first; then it is failed again.

        Asked again, it calls once more what could not be undone.
        """
        return self._ask(services.compensate_execution)

    @extend_schema(
        operation_id="executions_compensations",
        summary="List what undoes an execution",
        responses={200: CompensationSerializer(many=True)},
    )
    @action(detail=True, filterset_class=PageOnly, cursor_ordering="-id")
    def compensations(self, request: Request, pk: str) -> Response:
        """In the order of the calls, those of items and child workflows included.

        What is `pending` would be called if the execution were undone now.
        """
        rows = compensations_of(self.get_object())
        return self.get_paginated_response(CompensationSerializer(self._page(rows), many=True).data)

    @_verb("retry", "Retry an execution")
    @action(detail=True, methods=["post"])
    def retry(self, request: Request, pk: str) -> Response:
        """A failed execution goes on at the step it failed at, with a further attempt.

        What succeeded is kept: steps, and items of a map. Its timeout begins anew. An item can be
        retried on its own as long as the map waits for it.
        """
        return self._ask(services.retry_execution)

    @_verb("skip", "Skip the current step", SkipSerializer)
    @action(detail=True, methods=["post"])
    def skip(self, request: Request, pk: str) -> Response:
        """The step that a waiting, paused or failed execution stands at is recorded as skipped.

        With an `output` it counts as having come to that. A paused execution stays paused. The
        items of a map that is skipped are cancelled.
        """
        return self._ask(services.skip_step, SkipSerializer)

    @extend_schema(
        operation_id="executions_rerun",
        summary="Rerun an execution",
        request=RerunSerializer,
        parameters=[IDEMPOTENCY],
        responses={
            200: OpenApiResponse(ExecutionSerializer, "This request was accepted before."),
            201: OpenApiResponse(ExecutionSerializer, "Accepted: the new execution."),
            409: _REFUSED,
        },
    )
    @action(detail=True, methods=["post"])
    def rerun(self, request: Request, pk: str) -> Response:
        """A new execution does what an ended one did, from the start or from a step that ran.

        Results of the steps before that are taken over; input and outputs may be edited, and
        another version be named. Needs the permission to start executions, too.
        """
        given = read_body(RerunSerializer, request.data)
        given["idempotency_key"] = idempotency_key(request, given)
        again = services.rerun_execution(execution=self.get_object(), actor=self.actor, **given)
        code = status.HTTP_201_CREATED if again.created else status.HTTP_200_OK
        response = self.answer(again.execution, code)
        response["Location"] = response.data["links"]["self"]
        return response

    @extend_schema(
        operation_id="executions_signal",
        summary="Send a signal to an execution",
        request=ToExecutionSerializer,
        parameters=[IDEMPOTENCY],
        responses={
            200: OpenApiResponse(SentSerializer, "It was accepted before."),
            201: OpenApiResponse(SentSerializer, "Accepted."),
            409: _REFUSED,
            422: OpenApiResponse(_ERROR, "The data break the schema of the step that waits."),
        },
    )
    @action(detail=True, methods=["post"])
    def signal(self, request: Request, pk: str) -> Response:
        """A step of it, or of a branch or an item inside it, gets it now or when it waits."""
        execution = self.get_object()
        given = read_body(ToExecutionSerializer, request.data)
        given["idempotency_key"] = idempotency_key(request, given)
        name = given.pop("signal")
        one = send_signal(name=name, actor=self.actor, execution=execution, **given)
        return sent([one])

    def _ask(
        self, service: Callable[..., Execution], body: type[VerbSerializer] = VerbSerializer
    ) -> Response:
        """202 if the wish waits for a worker, 200 if it is done or had been asked before."""
        found = self.get_object()
        given = read_body(body, self.request.data)
        asked = service(execution=found, actor=self.actor, **given)
        is_waiting = asked.inbox_seq > found.inbox_seq
        return self.answer(asked, status.HTTP_202_ACCEPTED if is_waiting else status.HTTP_200_OK)

    @extend_schema(
        operation_id="executions_state_machine",
        summary="The states of executions and how they follow each other",
        responses={200: StateMachineSerializer},
    )
    @action(detail=False, url_path="state-machine", url_name="state-machine")
    def state_machine(self, request: Request) -> Response:
        """The table that the engine, the models and the database keep to."""
        states = [
            {"state": state.value, "ended": state in ENDED, "final": state in FINAL}
            for state in State
        ]
        return Response({"states": states, "transitions": describe()})
