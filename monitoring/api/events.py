"""The event stream of everything that somebody may see."""

from __future__ import annotations

from drf_spectacular.utils import extend_schema
from rest_framework.request import Request

from autopilot.common.streams import EventStream
from executions.api.events import HEADER, RESPONSES, ExecutionsStreamSerializer, StreamView
from executions.events.subscription import Wanted

# The log lines of everybody are nobody's.
EVENTS = ("step", "transition")


class EventsView(StreamView):
    asked = ExecutionsStreamSerializer

    @extend_schema(
        operation_id="monitoring_events",
        summary="Follow all executions",
        parameters=[ExecutionsStreamSerializer, HEADER],
        responses=RESPONSES,
    )
    def get(self, request: Request) -> EventStream:
        """What happens in all executions that you may see, as it happens.

        With `state` only transitions into it, without it transitions and steps; lines of the log
        only if `event=log` says so.
        """
        asked = self.read(request)
        states = frozenset(asked.get("state", ()))
        kinds = frozenset(asked.get("event") or (("transition",) if states else EVENTS))
        wanted = Wanted(
            workflow=asked.get("workflow", ""),
            states=states,
            kinds=kinds,
            only_roots=asked.get("roots") == "true",
        )
        return self.stream(request, wanted, asked)
