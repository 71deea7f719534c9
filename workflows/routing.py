"""Which version a start takes while a rollout is under way."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from autopilot.common import clock
from autopilot.common.errors import Conflict
from autopilot.common.problems import Problem
from workflows.definition.expressions import ExpressionError, compile_expression
from workflows.models import Rollout, Workflow
from workflows.versioning.rollouts import BUCKETS, bucket_of


class RolloutActive(Conflict):
    """A rollout of the workflow is under way."""

    code = "rollout.active"


@dataclass(frozen=True, slots=True)
class Ticket:
    """What one start is told from another by.

    input: plain JSON, what is hidden included; it is only hashed. otherwise: what decides when
    there is nothing better; empty: chance.
    """

    input: Any = None
    correlation_id: str = ""
    idempotency_key: str = ""
    otherwise: str = ""


@dataclass(frozen=True, slots=True)
class Route:
    """An active rollout as starts need it; share: the percentage in hundredths."""

    candidate_id: int
    share: int
    key: str
    salt: str

    @classmethod
    def of(cls, candidate_id: int, percent: Decimal, key: str, salt: str) -> Route:
        """From the columns of a rollout."""
        return cls(candidate_id, int(percent * 100), key, salt)

    def choose(self, ticket: Ticket) -> int | None:
        """The candidate's primary key if this start takes it, else None."""
        return self.candidate_id if self._takes(ticket) else None

    def _takes(self, ticket: Ticket) -> bool:
        if self.share in (0, BUCKETS):
            return self.share == BUCKETS
        key = self._key_of(ticket)
        return key is not None and bucket_of(self.salt, key) < self.share

    def _key_of(self, ticket: Ticket) -> str | None:
        if not self.key:
            named = ticket.correlation_id or ticket.idempotency_key or ticket.otherwise
            return named or secrets.token_hex(16)
        try:
            scope = {"input": ticket.input}
            value = compile_expression(self.key).evaluate(scope, now=clock.now())
        except ExpressionError:
            # A rollout must not refuse a start: who has no key is none of those who try.
            return None
        if isinstance(value, bool):
            return "true" if value else "false"
        return str(value) if isinstance(value, (str, int, float)) else None


def route_of(workflow: Workflow) -> Route | None:
    """The workflow's active rollout; None if starts simply take the live version."""
    row = (
        Rollout.objects.active()
        .filter(workflow=workflow)
        .values_list("candidate_id", "percent", "key", "salt")
        .first()
    )
    if row is None:
        return None
    return Route.of(*row)


def refuse_during_rollout(workflow: Workflow, what: str) -> None:
    """Raise RolloutActive if a rollout is under way; `what` begins the sentence.

    Under the workflow's lock, so that none can begin meanwhile.
    """
    rollout = Rollout.objects.active().filter(workflow=workflow).select_related("candidate").first()
    if rollout is None:
        return
    message = (
        f"{what} while the rollout of {rollout.candidate.version} is under way: promote it or "
        "roll it back first."
    )
    raise RolloutActive(message, details=[Problem("$.workflow", RolloutActive.code, message)])
