"""The API for many executions at once: start them, and ask something of all that are meant."""

from __future__ import annotations

from collections import Counter
from typing import Any, ClassVar

from drf_spectacular.utils import (
    OpenApiExample,
    OpenApiResponse,
    extend_schema,
    extend_schema_field,
    extend_schema_serializer,
)
from rest_framework import serializers, status
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from autopilot.accounts.actors import Actor, actor_of
from autopilot.accounts.roles import Permission
from autopilot.common.problems import Problem
from executions import bulk, bulk_start, services
from executions.api.bodies import (
    AnyField,
    FlagField,
    StrictSerializer,
    TextField,
    WordField,
    read_body,
    refusal,
)
from executions.api.keys import IDEMPOTENCY, idempotency_key
from executions.api.selecting import FILTERS, matching
from executions.api.serializers import (
    PRIORITY_NAMES,
    STATE_CHOICES,
    VERB_CHOICES,
    OutputsField,
    StartSerializer,
)
from executions.api.workflows import started_workflow
from executions.bulk import Preview, Result, Selection
from executions.bulk_once import Once
from executions.engine.events import Verb
from executions.models import Execution
from executions.rerunning import RerunOptions
from workflows.versioning.ranges import MAX_LENGTH

_ERROR = {"$ref": "#/components/schemas/Error"}
_MAX_ID = 2**63 - 1
OUTCOMES = ("done", "pending", "refused")


class StartItemSerializer(StartSerializer):
    """One of many starts: what a single start takes, without the workflow."""

    workflow = None  # type: ignore[assignment]


@extend_schema_serializer(
    examples=[
        OpenApiExample(
            "Two",
            value={
                "workflow": "example-workflow",
                "requests": [
                    {"input": {"customer": "Ada"}, "idempotency_key": "ticket-1"},
                    {"input": {"customer": "Grace"}, "idempotency_key": "ticket-2"},
                ],
            },
            request_only=True,
        )
    ]
)
class BulkStartSerializer(StrictSerializer):
    """Up to 1,000 starts of one workflow."""

    workflow = TextField(max_length=100, help_text="The workflow's slug.")
    requests = StartItemSerializer(many=True, help_text="1 to 1,000, each like a single start.")


class BulkStartedSerializer(serializers.Serializer[Execution]):
    """One of the executions, in the order of the requests."""

    id = serializers.IntegerField(source="execution.pk")
    created = serializers.BooleanField(
        help_text="False if the same request with the same key was accepted before."
    )
    state = serializers.ChoiceField(STATE_CHOICES, source="execution.state")


class BulkStartedListSerializer(serializers.Serializer[Any]):
    created = serializers.IntegerField(help_text="How many were started now.")
    results = BulkStartedSerializer(many=True)


@extend_schema_field(
    {
        "type": "object",
        "minProperties": 1,
        "additionalProperties": {
            "oneOf": [
                {"type": "string"},
                {"type": "integer"},
                {"type": "array", "items": {"type": "string"}},
            ]
        },
        "example": {"workflow": "example-workflow", "state": ["waiting", "paused"]},
    }
)
class FilterField(AnyField):
    """The filters of the list, by name."""


@extend_schema_field(
    {"type": "array", "items": {"type": "integer", "format": "int64"}, "minItems": 1}
)
class IdsField(AnyField):
    """Ids of executions."""


class RerunOptionsSerializer(StrictSerializer):
    """How each is to be run again; the same for all."""

    from_step = TextField(max_length=64, required=False, allow_null=True)
    version = TextField(
        max_length=MAX_LENGTH,
        required=False,
        allow_null=True,
        help_text="A version, or a range as in a start; default: the same version.",
    )
    input = AnyField(required=False, help_text="In place of the input of each.")
    outputs = OutputsField(
        required=False, help_text="In place of outputs of steps that are taken over, by id."
    )


class SkipOptionsSerializer(StrictSerializer):
    """How the step of each is to be skipped; the same for all."""

    output = AnyField(
        required=False, allow_null=True, help_text="What the step counts as having come to."
    )


class CancelOptionsSerializer(StrictSerializer):
    """How each is to be cancelled."""

    compensate = FlagField(required=False, help_text="Undo what it did first; default: false.")


@extend_schema_serializer(
    examples=[
        OpenApiExample(
            "Look first",
            value={
                "verb": "cancel",
                "filter": {"workflow": "example-workflow", "state": ["paused"]},
                "dry_run": True,
            },
            request_only=True,
        ),
        OpenApiExample(
            "Do it",
            value={"verb": "pause", "ids": [17, 18], "reason": "stock-taking"},
            request_only=True,
        ),
    ]
)
class BulkSerializer(StrictSerializer):
    """What is asked of which executions: exactly one of `ids` and `filter`."""

    verb = WordField(choices=VERB_CHOICES)
    ids = IdsField(required=False, help_text="Each gets a result, also what can't be asked.")
    filter = FilterField(
        required=False,
        help_text=f"At least one of {', '.join(FILTERS)}. Touches only executions in a state in "
        "which the verb can be asked.",
    )
    reason = TextField(
        max_length=services.MAX_REASON_CHARS,
        required=False,
        allow_blank=True,
        help_text="Kept with each transition and audit entry.",
    )
    rerun = RerunOptionsSerializer(
        required=False,
        help_text="For the verb rerun; default: from the start, as it was.",
    )
    skip = SkipOptionsSerializer(
        required=False, help_text="For the verb skip; default: without an output."
    )
    cancel = CancelOptionsSerializer(
        required=False, help_text="For the verb cancel; default: nothing is undone."
    )
    idempotency_key = TextField(
        max_length=services.MAX_KEY_CHARS,
        required=False,
        help_text="For the verb rerun: the same as the header `Idempotency-Key`.",
    )
    dry_run = FlagField(required=False, help_text="Only say what would be touched; default: false.")


class StateCountSerializer(serializers.Serializer[Any]):
    state = serializers.ChoiceField(STATE_CHOICES)
    count = serializers.IntegerField()
    is_capped = serializers.BooleanField(help_text="There are more; they were not counted.")


class SampleSerializer(serializers.Serializer[Execution]):
    id = serializers.IntegerField()
    workflow = serializers.CharField(source="workflow.slug")
    state = serializers.ChoiceField(STATE_CHOICES)
    created_at = serializers.DateTimeField()


class ResultSerializer(serializers.Serializer[Result]):
    id = serializers.IntegerField()
    outcome = serializers.ChoiceField(
        OUTCOMES, help_text="pending: it is asked, and a worker sees to it."
    )
    state = serializers.CharField(help_text="As it is now; empty if it was refused.")
    code = serializers.CharField(help_text="Why it was refused; empty otherwise.")
    message = serializers.CharField(help_text="The same in words.")
    created = serializers.IntegerField(
        allow_null=True, help_text="The new execution, if it was rerun."
    )


class BulkAnswerSerializer(serializers.Serializer[Any]):
    """What would be touched (`dry_run`), or what came of each."""

    verb = serializers.ChoiceField(VERB_CHOICES)
    dry_run = serializers.BooleanField()
    sentence = serializers.CharField(help_text="All of it in words.")
    count = serializers.IntegerField(help_text="How many are, or would be, touched or refused.")
    is_capped = serializers.BooleanField(help_text="There are more than one call may touch.")
    by_state = StateCountSerializer(
        many=True, help_text="Dry run: everything that matches, also what can't be asked."
    )
    sample = SampleSerializer(many=True, help_text="Dry run: the oldest of those to be touched.")
    undoing = serializers.IntegerField(
        allow_null=True, help_text="Dry run: how many compensations would be called."
    )
    outcomes = serializers.DictField(
        child=serializers.IntegerField(), help_text="How many of each outcome."
    )
    results = ResultSerializer(many=True, help_text="One for each, by ascending id.")


class BulkView(APIView):
    """A view that knows who asks."""

    @property
    def actor(self) -> Actor:
        return actor_of(self.request.user, self.request)


class BulkStartView(BulkView):
    required_permissions: ClassVar[dict[str, str]] = {"post": Permission.EXECUTION_START}

    @extend_schema(
        operation_id="executions_bulk_start",
        summary="Start many executions",
        request=BulkStartSerializer,
        responses={
            200: OpenApiResponse(BulkStartedListSerializer, "All were accepted before."),
            201: OpenApiResponse(BulkStartedListSerializer, "Accepted, all of them."),
            409: OpenApiResponse(
                _ERROR, "Nothing published to start, or keys were used for other requests."
            ),
        },
    )
    def post(self, request: Request) -> Response:
        """Start up to 1,000 executions of one workflow in one transaction: all of them or none.

        Every problem of every request is named by its place, such as `$.requests[3].input.n`.
        """
        given = read_body(BulkStartSerializer, request.data)
        workflow = started_workflow(given["workflow"], self.actor)
        requests = [dict(each) for each in given["requests"]]
        for each in requests:
            if "priority" in each:
                each["priority"] = PRIORITY_NAMES[each["priority"]]
        begun = bulk_start.start_many(workflow=workflow, actor=self.actor, requests=requests)
        created = sum(each.created for each in begun)
        body = BulkStartedListSerializer({"created": created, "results": begun}).data
        code = status.HTTP_201_CREATED if created else status.HTTP_200_OK
        return Response(body, status=code)


class BulkVerbView(BulkView):
    required_permissions: ClassVar[dict[str, str]] = {"post": Permission.EXECUTION_CONTROL}

    @extend_schema(
        operation_id="executions_bulk",
        summary="Ask something of many executions",
        request=BulkSerializer,
        parameters=[IDEMPOTENCY],
        responses={
            200: BulkAnswerSerializer,
            409: OpenApiResponse(_ERROR, "The key was used for another request."),
        },
    )
    def post(self, request: Request) -> Response:
        """Pause, resume, cancel, retry, skip, rerun or undo by ids or by filter.

        One call touches up to 10,000.

        With `dry_run` nothing changes; a filter that matches nothing is answered with a count of
        0. Without it that is refused with `bulk.nothing`, and more than 10,000 with
        `bulk.too_many`. Executions are asked in batches of 500, each in a transaction of its own;
        each has its own result and its own audit entry. A rerun with an idempotency key is done
        once: the same call again answers the executions that the first one has made.
        """
        given = read_body(BulkSerializer, request.data)
        verb = Verb(given["verb"])
        _check_options(given, verb)
        key = idempotency_key(request, given)
        selection = _selection(given, self.actor)
        how = RerunOptions(**given["rerun"]) if "rerun" in given else None
        undoes = given.get("cancel", {}).get("compensate", False)
        if given.get("dry_run"):
            seen = bulk.preview(
                verb=verb, selection=selection, actor=self.actor, compensate=undoes, rerun=how
            )
            return Response(BulkAnswerSerializer(_as_answer(seen)).data)
        batches = bulk.apply(
            verb=verb,
            selection=selection,
            actor=self.actor,
            reason=given.get("reason", ""),
            output=given.get("skip", {}).get("output"),
            compensate=undoes,
            rerun=how,
            once=Once(key, _without_key(given)) if key else None,
        )
        results = [result for batch in batches for result in batch]
        counts = Counter(result.outcome for result in results)
        answer = {
            "verb": verb.value,
            "dry_run": False,
            "sentence": bulk.outcome_sentence(verb, counts),
            "count": len(results),
            "is_capped": False,
            "by_state": [],
            "sample": [],
            "undoing": None,
            "outcomes": {each: counts[each] for each in OUTCOMES},
            "results": results,
        }
        return Response(BulkAnswerSerializer(answer).data)


# What only one verb takes. The header with a key does no harm: the others may be asked twice.
_OPTIONS = {
    "rerun": Verb.RERUN,
    "skip": Verb.SKIP,
    "cancel": Verb.CANCEL,
    "idempotency_key": Verb.RERUN,
}


def _check_options(given: dict[str, Any], verb: Verb) -> None:
    problems = [
        Problem(f"$.{name}", "field.unknown", f"Only the verb {owner.value} takes this.")
        for name, owner in _OPTIONS.items()
        if name in given and verb is not owner
    ]
    if problems:
        raise refusal(problems)


def _without_key(given: dict[str, Any]) -> dict[str, Any]:
    """The request as it counts: the same with another key, or with the key in the header."""
    return {name: value for name, value in given.items() if name != "idempotency_key"}


def _as_answer(seen: Preview) -> dict[str, Any]:
    return {
        "verb": seen.verb.value,
        "dry_run": True,
        "sentence": seen.sentence,
        "count": seen.count,
        "is_capped": seen.is_capped,
        "by_state": list(seen.by_state.values()),
        "sample": seen.sample,
        "undoing": seen.undoing,
        "outcomes": dict.fromkeys(OUTCOMES, 0),
        "results": [],
    }


def _selection(given: dict[str, Any], actor: Actor) -> Selection:
    if ("ids" in given) == ("filter" in given):
        message = "Exactly one of ids and filter says which executions are meant."
        raise refusal([Problem("$", "bulk.selection", message)])
    if "ids" in given:
        return Selection.of_ids(_ids(given["ids"]), actor=actor)
    if not isinstance(given["filter"], dict):
        message = "An object with filters of the list was expected."
        raise refusal([Problem("$.filter", "field.type", message)])
    return Selection(matching(given["filter"], actor=actor))


def _ids(value: Any) -> list[int]:
    if not isinstance(value, list) or not value:
        message = "A list with at least one id was expected."
        raise refusal([Problem("$.ids", "field.type", message)])
    wrong = [
        Problem(f"$.ids[{index}]", "field.type", "The id of an execution is a whole number.")
        for index, each in enumerate(value)
        if type(each) is not int or not 0 < each <= _MAX_ID
    ]
    if wrong:
        raise refusal(wrong[: bulk_start.MAX_PROBLEMS])
    return value
