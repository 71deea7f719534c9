"""Which executions are to be moved: those that were named, that match filters, or all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from autopilot.accounts.actors import Actor
from autopilot.common.problems import Problem
from executions.errors import MigrationInvalid
from executions.migrating.routes import Route
from executions.models import Execution, Kind
from executions.querysets import ExecutionQuerySet

MAX_ITEMS = 100_000
HEADS = (Kind.ROOT.value, Kind.CHILD.value)


@dataclass(frozen=True, slots=True)
class Chosen:
    """Ids, each of which gets a result; or rows, of which those count that run the version.

    says_state: the rows were asked for by state, so that failed ones may be meant; otherwise only
    what has not ended is.
    """

    rows: ExecutionQuerySet
    ids: tuple[int, ...] | None = None
    says_state: bool = False

    @classmethod
    def all_of(cls, actor: Actor) -> Chosen:
        return cls(Execution.objects.visible_to(actor))

    @classmethod
    def of_ids(cls, ids: Sequence[int], actor: Actor) -> Chosen:
        return cls(Execution.objects.visible_to(actor), tuple(dict.fromkeys(ids)))

    def matching(self, route: Route) -> ExecutionQuerySet:
        """Executions of the version, without their items and branches."""
        rows = self.rows.filter(workflow=route.workflow_id, version=route.source_id, kind__in=HEADS)
        return rows if self.says_state else rows.under_way()

    def ids_for(self, route: Route) -> list[int]:
        """At most one more than can be moved at once. Raises MigrationInvalid for unknown ids."""
        if self.ids is None:
            rows = self.matching(route).order_by("pk").values_list("pk", flat=True)
            return list(rows[: MAX_ITEMS + 1])
        known = set(self.rows.filter(pk__in=self.ids[: MAX_ITEMS + 1]).values_list("pk", flat=True))
        unknown = [
            Problem(f"$.ids[{at}]", "not_found", f"There is no execution {pk}.")
            for at, pk in enumerate(self.ids[: MAX_ITEMS + 1])
            if pk not in known
        ]
        if unknown:
            raise MigrationInvalid(unknown[0].message, details=unknown[:100])
        return sorted(self.ids)
