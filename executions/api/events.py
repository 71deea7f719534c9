"""Event streams: what an address can ask for, and the one of a single execution."""

from __future__ import annotations

from typing import Any, ClassVar

from drf_spectacular.utils import OpenApiParameter, OpenApiResponse, extend_schema
from rest_framework import serializers
from rest_framework.authentication import SessionAuthentication
from rest_framework.negotiation import BaseContentNegotiation
from rest_framework.request import Request
from rest_framework.views import APIView

from autopilot.accounts.actors import actor_of
from autopilot.accounts.api.authentication import BearerAuthentication, TicketAuthentication
from autopilot.accounts.roles import Permission
from autopilot.accounts.tickets import credential_of
from autopilot.common.api.exceptions import problems_of
from autopilot.common.problems import Problem
from autopilot.common.streams import EventStream
from executions.api.bodies import StrictSerializer, TextField, WordField, refusal
from executions.api.finding import found_execution
from executions.api.serializers import STATE_CHOICES
from executions.events import records
from executions.events.hub import HUB
from executions.events.position import RANKS, Position, PositionInvalid
from executions.events.subscription import Subscription, Wanted
from executions.models import Execution

LAST_EVENT_HEADER = "Last-Event-ID"
FLAGS = ["true", "false"]
_FORM = """
`text/event-stream`. First comes `ready` with the id from which the stream goes on, then an event
each: `transition` (a change of state), `step` (an attempt that has ended), `log` (a line of the
log). `data` is JSON; what steps took and gave is asked for where it is wanted. Ids are opaque: send
the last one back and nothing is missing and nothing comes twice. A comment every 15 seconds says
that the connection lives. `end` says why the server ended it.
""".strip().replace("\n", " ")

RESPONSES = {
    (200, "text/event-stream"): OpenApiResponse(str, _FORM),
    429: OpenApiResponse(
        {"$ref": "#/components/schemas/Error"}, "Too many streams are open here; see Retry-After."
    ),
}
HEADER = OpenApiParameter(
    LAST_EVENT_HEADER,
    str,
    OpenApiParameter.HEADER,
    description="What a browser sends when it comes back: as `last_event_id`, and before it.",
)


class StreamSerializer(StrictSerializer):
    """What every stream can be asked for."""

    last_event_id = TextField(
        max_length=60,
        required=False,
        help_text="Go on after this event; `0`: everything from the beginning. Default: from now.",
    )
    event = serializers.MultipleChoiceField(
        choices=list(RANKS),
        required=False,
        help_text="Only these; may be given several times.",
    )
    summary = WordField(
        choices=FLAGS,
        required=False,
        help_text="`true`: `changed`, which counts events, twice a second at most.",
    )
    ticket = TextField(
        max_length=200, required=False, help_text="From `auth/stream-ticket/`; good once."
    )


class ExecutionsStreamSerializer(StreamSerializer):
    """What the stream of all executions can be asked for besides."""

    workflow = TextField(max_length=100, required=False, help_text="Only of this one, by its slug.")
    state = serializers.MultipleChoiceField(
        choices=STATE_CHOICES,
        required=False,
        help_text="Only transitions into it; may be given several times.",
    )
    roots = WordField(
        choices=FLAGS,
        required=False,
        help_text="`true`: only executions that somebody started, without their parts.",
    )


class WhateverIsAccepted(BaseContentNegotiation):
    """A browser asks for text/event-stream only, and is answered so; refusals are JSON."""

    def select_parser(self, request: Request, parsers: Any) -> Any:
        return parsers[0]

    def select_renderer(self, request: Request, renderers: Any, format_suffix: Any = None) -> Any:
        return renderers[0], renderers[0].media_type


class StreamView(APIView):
    """A view that answers with an event stream."""

    authentication_classes = (TicketAuthentication, BearerAuthentication, SessionAuthentication)
    content_negotiation_class = WhateverIsAccepted
    required_permissions: ClassVar[dict[str, str]] = {"get": Permission.EXECUTION_VIEW}
    asked: type[StreamSerializer] = StreamSerializer

    def read(self, request: Request) -> dict[str, Any]:
        """What the address asks for. Raises Invalid with every problem."""
        return read_query(self.asked, request)

    def stream(self, request: Request, wanted: Wanted, asked: dict[str, Any]) -> EventStream:
        """The answer, beginning where the address or the browser says."""
        credential = credential_of(request)
        subscription = Subscription(
            wanted,
            after=_position(request, asked),
            may_go_on=lambda: credential.may(Permission.EXECUTION_VIEW),
            is_summary=asked.get("summary") == "true",
        )
        if request.method != "HEAD":
            HUB.add(subscription)
        return EventStream(subscription)


class ExecutionEventsView(StreamView):
    @extend_schema(
        operation_id="executions_events",
        summary="Follow an execution",
        parameters=[StreamSerializer, HEADER],
        responses=RESPONSES,
    )
    def get(self, request: Request, pk: str) -> EventStream:
        """What happens in an execution and in everything it has started, as it happens."""
        asked = self.read(request)
        rows = Execution.objects.visible_to(actor_of(request.user, request)).only("pk")
        execution = found_execution(rows, pk)
        kinds = frozenset(asked.get("event") or RANKS)
        return self.stream(request, Wanted(execution=execution.pk, kinds=kinds), asked)


def read_query(kind: type[StreamSerializer], request: Request) -> dict[str, Any]:
    """What an address asks for. Raises Invalid with every problem: unknown, repeated, bad."""
    query = request.query_params
    serializer = kind(data={})
    several = {
        name
        for name, field in serializer.fields.items()
        if isinstance(field, serializers.MultipleChoiceField)
    }
    data = {name: query.getlist(name) if name in several else query[name] for name in query}
    problems = [
        Problem(f"$.{name}", "filter.repeated", f"{name} is there more than once.")
        for name in map(str, serializer.fields)
        if name not in several and len(query.getlist(name)) > 1
    ]
    serializer = kind(data=data)
    if not serializer.is_valid():
        problems += problems_of(serializer.errors)
    if problems:
        raise refusal(problems)
    return dict(serializer.validated_data)


def _position(request: Request, asked: dict[str, Any]) -> Position | None:
    """Where to go on; None: from now. Raises PositionInvalid."""
    text = request.headers.get(LAST_EVENT_HEADER, "") or asked.get("last_event_id", "")
    if not text:
        return None
    position = Position.read(text)
    # Up to and including: where nothing has happened yet is where a stream from now begins.
    if position.xid > records.read_end():
        raise PositionInvalid(
            "This event has not happened yet: its id is from another database, or from before "
            "this one was restored. Read the state anew and follow it from now on.",
            details=[Problem("$.last_event_id", "stream.position", "An id from the future.")],
        )
    return position
