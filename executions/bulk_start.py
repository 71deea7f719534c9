"""The service for many starts at once: all of them or none."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from django.db import IntegrityError, transaction

from autopilot.accounts import audit
from autopilot.accounts.actors import Actor
from autopilot.accounts.roles import Permission
from autopilot.common.committed import after_commit
from autopilot.common.errors import DomainError, Unavailable
from autopilot.common.problems import Problem
from executions.accepting import Started, check_input, conflict_with, is_same_request, prepare
from executions.engine.states import Reason
from executions.errors import (
    ConcurrencyReached,
    IdempotencyConflict,
    QueuePaused,
    StartInvalid,
    WorkflowPaused,
)
from executions.fairness import get_in_line
from executions.holding import refuse_start
from executions.models import Execution, StateTransition
from executions.noting import transition_of
from executions.routing import choose
from executions.runtime import dispatch
from executions.slots import note_slot, settle_later, take_or_refuse
from workflows.models import Workflow, WorkflowVersion
from workflows.routing import route_of
from workflows.services import resolve_version

MAX_STARTS = 1_000
# Every problem has its place, but not without end.
MAX_PROBLEMS = 100
TRIES = 3


def start_many(
    *, workflow: Workflow, actor: Actor, requests: Sequence[Mapping[str, Any]]
) -> list[Started]:
    """Accept up to MAX_STARTS executions of `workflow` in one transaction: all of them or none.

    requests: each what `start_execution` takes, without workflow and actor. Answers in the same
    order. A key that was used before for the same request answers the first execution, as it
    would alone. One audit entry names all the executions that were made.
    Raises PermissionDenied; StartInvalid with every problem at `$.requests[3]...`;
    IdempotencyConflict if keys that belong to other requests are all that is wrong, and
    ConcurrencyReached if the limits of concurrency keys are.
    """
    actor.require(Permission.EXECUTION_START)
    if not 1 <= len(requests) <= MAX_STARTS:
        message = f"One call starts 1 to {MAX_STARTS:,} executions, not {len(requests):,}."
        raise StartInvalid(message, details=[Problem("$.requests", "bulk.size", message)])
    batch = _Batch(workflow, actor)
    for index, request in enumerate(requests):
        batch.add(index, request)
    batch.settle()
    return batch.accept()


class _Batch:
    """Requests on their way to become executions."""

    def __init__(self, workflow: Workflow, actor: Actor) -> None:
        self._workflow = workflow
        self._actor = actor
        self._rows: dict[int, Execution] = {}
        self._asked_versions: dict[int, str | None] = {}
        self._earlier: dict[int, Execution] = {}
        self._route = route_of(workflow)
        # By what is asked for, and by what a rollout gives.
        self._versions: dict[tuple[str | None, int | None], WorkflowVersion | DomainError] = {}
        self._problems: list[Problem] = []
        self._open_queues: set[str] = set()
        self._by_key: dict[str, int] = {}

    def add(self, index: int, request: Mapping[str, Any]) -> None:
        """Take the request in, or note what is wrong with it."""
        try:
            row = prepare(workflow=self._workflow, actor=self._actor, **request)
        except DomainError as error:
            self._note(index, error)
            return
        key = row.idempotency_key
        if key and key in self._by_key:
            first = self._by_key[key]
            message = f"$.requests[{first}] has the same key; each needs one of its own."
            self._problems.append(
                Problem(f"$.requests[{index}].idempotency_key", "idempotency.repeated", message)
            )
            return
        if key:
            self._by_key[key] = index
        self._rows[index] = row
        self._asked_versions[index] = request.get("version")

    def settle(self) -> None:
        """Find those that were accepted before, check the others. Raises if anything is wrong."""
        self._find_earlier()
        for index, row in self._rows.items():
            if index in self._earlier:
                continue
            try:
                self._refuse_paused(row.queue)
                row.version = self._version(self._asked_versions[index], row)
                note_slot(row, check_input(row))
            except (WorkflowPaused, QueuePaused):
                raise
            except DomainError as error:
                if any(each.path == "$.workflow" for each in error.details):
                    raise  # nothing is published: that is not about one of them
                self._note(index, error)
        if self._problems:
            raise self._refusal()

    def accept(self) -> list[Started]:
        """Insert what is new; another caller may be inserting the same keys at this moment."""
        for _ in range(TRIES):
            known = len(self._earlier)
            try:
                with transaction.atomic():
                    self._insert([row for i, row in self._rows.items() if i not in self._earlier])
                break
            except IntegrityError:
                self._find_earlier()
                if self._problems:
                    raise self._refusal() from None
                if len(self._earlier) == known:
                    raise
        else:
            raise Unavailable("The same keys are being used elsewhere right now; try again.")
        return [
            Started(self._earlier[index], created=False)
            if index in self._earlier
            else Started(row, created=True)
            for index, row in sorted(self._rows.items())
        ]

    def _find_earlier(self) -> None:
        if not self._by_key:
            return
        index_of = self._by_key
        principal = next(iter(self._rows.values())).principal
        for earlier in Execution.objects.filter(
            workflow=self._workflow, principal=principal, idempotency_key__in=list(index_of)
        ):
            index = index_of[earlier.idempotency_key]
            if index in self._earlier:
                continue
            if not is_same_request(earlier, self._rows[index]):
                self._note(index, conflict_with(earlier))
            else:
                self._earlier[index] = earlier

    def _refuse_paused(self, queue: str) -> None:
        """Raises, for all of them, if the workflow or a queue takes no starts; asked once each."""
        if queue not in self._open_queues:
            refuse_start(workflow=self._workflow, queue=queue)
            self._open_queues.add(queue)

    def _version(self, asked: str | None, row: Execution) -> WorkflowVersion:
        candidate = choose(self._route, row)
        wanted = (asked, candidate)
        if wanted not in self._versions:
            try:
                self._versions[wanted] = resolve_version(
                    workflow=self._workflow, version=asked, candidate=candidate
                )
            except DomainError as error:
                self._versions[wanted] = error
        found = self._versions[wanted]
        if isinstance(found, DomainError):
            raise found
        return found

    def _note(self, index: int, error: DomainError) -> None:
        place = f"$.requests[{index}]"
        self._problems += [
            Problem(place + each.path.removeprefix("$"), each.code, each.message)
            for each in error.details or (Problem("$", error.code, error.message),)
        ]

    def _refusal(self) -> DomainError:
        problems = self._problems
        codes = {each.code for each in problems}
        kind: type[DomainError] = StartInvalid
        for conflict in (IdempotencyConflict, ConcurrencyReached):
            if codes == {conflict.code}:
                kind = conflict
        shown = f", the first {MAX_PROBLEMS} of them" if len(problems) > MAX_PROBLEMS else ""
        message = (
            f"{problems[0].path}: {problems[0].message} Nothing was started."
            if len(problems) == 1
            else f"The requests have {len(problems):,} problems; see details{shown}. "
            "Nothing was started."
        )
        return kind(message, details=problems[:MAX_PROBLEMS])

    def _insert(self, rows: list[Execution]) -> None:
        if not rows:
            return
        for row in rows:
            row.pk = None  # a try before this one may have been rolled back
            row.slot_held = False
        self._take_slots(rows)
        get_in_line(rows)
        Execution.objects.bulk_create(rows)
        StateTransition.objects.bulk_create(
            transition_of(row, source="", actor=self._actor, now=row.created_at) for row in rows
        )
        audit.record(
            actor=self._actor,
            action="execution.many_started",
            target=self._workflow,
            after={
                "versions": sorted({row.version.version for row in rows}),
                "count": len(rows),
                "executions": [row.pk for row in rows],
            },
        )
        for queue in sorted({row.queue for row in rows if row.reason == Reason.QUEUED}):
            after_commit(dispatch.ring, queue)
        settle_later(rows)

    def _take_slots(self, rows: list[Execution]) -> None:
        """Raises, with the place of each, if the limit of a key does not let all of them in."""
        refused = take_or_refuse(rows)
        if not refused:
            return
        known = len(self._earlier)
        self._find_earlier()
        if len(self._earlier) > known:
            raise IntegrityError  # the same requests were accepted meanwhile: once more without
        index_of = {id(row): index for index, row in self._rows.items()}
        for place, error in refused.items():
            self._note(index_of[id(rows[place])], error)
        raise self._refusal()
