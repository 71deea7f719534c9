"""What a start shows a rollout, which then says whether it takes the candidate."""

from __future__ import annotations

from executions.hidden.marks import holds_hidden, reveal
from executions.models import Execution
from workflows.routing import Route, Ticket


def choose(route: Route | None, row: Execution) -> int | None:
    """The candidate that an execution which is not saved takes, if there is a rollout."""
    if route is None:
        return None
    data = reveal(row.input) if route.key and holds_hidden(row.input) else row.input
    return route.choose(Ticket(data, row.correlation_id, row.idempotency_key))
