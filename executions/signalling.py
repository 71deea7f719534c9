"""Sending signals: to one execution, or to whoever waits for them; one, or a thousand in one go."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.db import IntegrityError, connection, transaction
from django.db.models import Q

from autopilot.accounts import audit
from autopilot.accounts.actors import Actor
from autopilot.accounts.roles import Permission
from autopilot.common import clock
from autopilot.common.committed import after_commit
from autopilot.common.errors import DomainError, Unavailable
from autopilot.common.problems import Problem
from autopilot.common.storable import is_storable
from executions.accepting import MAX_KEY_CHARS, hashes_of
from executions.engine.errors import EngineError
from executions.engine.payload import encode
from executions.engine.signals import MAX_CORRELATION_CHARS, correlation_text
from executions.errors import (
    ExecutionEnded,
    IdempotencyConflict,
    SignalInvalid,
    SignalRefused,
    SignalTooLarge,
)
from executions.hidden.anywhere import hides_anything
from executions.hidden.marks import holds_hidden, reveal, wrap
from executions.models import Execution, Signal, SignalWait
from executions.runtime.matching import Kept, match_signals, pairs_of, waits_for
from workflows.compiled import compiled_version
from workflows.definition.compiled import SignalConfig
from workflows.models import Workflow

MAX_NAME_CHARS = 200
MAX_SIGNALS = 1_000
MAX_BROADCAST = 10_000
MAX_PROBLEMS = 100
TRIES = 3

_FREE_WAIT = Q(signal__isnull=True)


@dataclass(frozen=True, slots=True)
class SignalRequest:
    """One signal to be sent.

    execution: only to this execution, or to a branch or an item inside it. Without it the
    correlation says whom it is for; workflow: only to executions of this one.
    correlation: a text or a number. payload: plain JSON, as large as a step's output may be.
    idempotency_key: the same again by the same sender answers the first signal.
    """

    name: str
    payload: Any = None
    correlation: str | int | float = ""
    execution: Execution | None = None
    workflow: Workflow | None = None
    idempotency_key: str = ""


@dataclass(frozen=True, slots=True)
class Sent:
    """A signal that was accepted; `created` is False if the same had been accepted before."""

    signal: Signal
    created: bool = True


def send_signal(
    *,
    name: str,
    actor: Actor,
    payload: Any = None,
    execution: Execution | None = None,
    correlation: str | int | float = "",
    workflow: Workflow | None = None,
    idempotency_key: str = "",
) -> Sent:
    """Send one signal; see `SignalRequest`. It reaches the step that waits for it, or is kept.

    Of several steps that wait for it, the one that has waited longest gets it; it is consumed once.
    Commits or rolls back with the caller's transaction; the step hears of it after the commit.
    Raises PermissionDenied, SignalInvalid, SignalTooLarge, SignalRefused (the payload breaks the
    schema of the step that waits now), ExecutionNotFound, ExecutionEnded, IdempotencyConflict.
    """
    request = SignalRequest(name, payload, correlation, execution, workflow, idempotency_key)
    return _Sending(actor, [request], root="$").send()[0]


def send_signals(*, signals: Sequence[SignalRequest], actor: Actor) -> list[Sent]:
    """Send up to MAX_SIGNALS signals in a few statements: all of them or none, in this order.

    Raises what `send_signal` raises, with the place of every problem, such as
    `$.signals[3].payload.sum`.
    """
    if not 1 <= len(signals) <= MAX_SIGNALS:
        message = f"One call sends 1 to {MAX_SIGNALS:,} signals, not {len(signals):,}."
        raise SignalInvalid(message, details=[Problem("$.signals", "bulk.size", message)])
    return _Sending(actor, signals, root="$.signals").send()


def broadcast_signal(
    *,
    name: str,
    actor: Actor,
    payload: Any = None,
    correlation: str | int | float = "",
    workflow: Workflow | None = None,
) -> list[Sent]:
    """Send a copy to everybody who waits for it at this moment; nothing is kept for later ones.

    Without a correlation to all that wait for the name. Answers one signal for each of them.
    Raises what `send_signal` raises; SignalInvalid also when more wait than MAX_BROADCAST.
    """
    request = SignalRequest(name, payload, correlation, workflow=workflow)
    return _Sending(actor, [request], root="$").broadcast()


class _Sending:
    """Requests on their way to become signals."""

    def __init__(self, actor: Actor, requests: Sequence[SignalRequest], *, root: str) -> None:
        actor.require(Permission.EXECUTION_SIGNAL)
        self._actor = actor
        self._principal = f"{actor.kind.value}:{actor.id or actor.name}"[:150]
        self._root = root
        self._given = [each.payload for each in requests]
        # What is checked and recognised is the data as they really are.
        self._requests = [
            replace(each, payload=reveal(each.payload)) if holds_hidden(each.payload) else each
            for each in requests
        ]
        self._errors: list[DomainError] = []
        self._problems: list[Problem] = []
        self._by_key: dict[str, int] = {}
        self._hashes: dict[int, list[str]] = {}
        self._earlier: dict[int, Signal] = {}
        self._hides: bool | None = None

    def send(self) -> list[Sent]:
        for index in range(len(self._requests)):
            self._check(index)
        self._raise_if_wrong()
        # Before anything that may have changed since: a repeated request gets the same answer.
        self._find_earlier()
        self._check_targets()
        self._check_schemas(self._waits_now())
        self._raise_if_wrong()
        return self._insert()

    def broadcast(self) -> list[Sent]:
        self._check(0, is_broadcast=True)
        self._raise_if_wrong()
        request = self._requests[0]
        waits = SignalWait.objects.filter(_FREE_WAIT, name=request.name)
        if request.correlation:
            waits = waits.filter(correlation=request.correlation)
        if request.workflow is not None:
            waits = waits.filter(workflow=request.workflow)
        found = list(waits.select_related("execution")[: MAX_BROADCAST + 1])
        if len(found) > MAX_BROADCAST:
            message = f"More than {MAX_BROADCAST:,} executions wait for it; narrow it down."
            raise SignalInvalid(message, details=[Problem("$.broadcast", "bulk.too_many", message)])
        for wait in found:
            self._check_schema(0, wait.execution.version_id, wait.execution.current_step)
        self._raise_if_wrong()
        self._requests = [replace(request, execution=wait.execution) for wait in found]
        self._given = self._given * len(found)
        return self._insert() if found else []

    # Checking ---------------------------------------------------------------------------------

    def _path(self, index: int) -> str:
        return self._root if self._root == "$" else f"{self._root}[{index}]"

    def _wrong(
        self, index: int, field: str, message: str, error: type[DomainError] = SignalInvalid
    ) -> None:
        path = f"{self._path(index)}.{field}"
        self._problems.append(Problem(path, error.code, message))
        self._errors.append(error(message))

    def _check(self, index: int, *, is_broadcast: bool = False) -> None:
        """What can be seen without the database; writes correlations as they are compared."""
        request = self._requests[index]
        if not is_storable(request.name, MAX_NAME_CHARS) or not request.name:
            self._wrong(index, "signal", f"A text of 1 to {MAX_NAME_CHARS} characters is its name.")
        text = "" if request.correlation == "" else correlation_text(request.correlation)
        if text is None or not is_storable(text, MAX_CORRELATION_CHARS):
            expected = f"A text of at most {MAX_CORRELATION_CHARS} characters or a number"
            self._wrong(index, "correlation", f"{expected} was expected.")
        elif not text and request.execution is None and not is_broadcast:
            self._wrong(
                index,
                "correlation",
                "A signal that is not sent to one execution needs a correlation, which says whom "
                "it is for.",
            )
        if not is_storable(request.idempotency_key, MAX_KEY_CHARS):
            expected = f"A text of at most {MAX_KEY_CHARS} characters was expected."
            self._wrong(index, "idempotency_key", expected)
        self._check_payload(index, request.payload)
        self._requests[index] = replace(request, correlation=text or "")
        if key := request.idempotency_key:
            self._note_key(index, key)

    def _check_payload(self, index: int, payload: Any) -> None:
        try:
            encode(
                payload,
                limit=settings.AUTOPILOT["MAX_OUTPUT_BYTES"],
                what="The payload",
                size_code=SignalTooLarge.code,
            )
        except EngineError as error:
            is_large = error.info.code == SignalTooLarge.code
            refusal = SignalTooLarge if is_large else SignalInvalid
            self._wrong(index, "payload", error.info.message, refusal)

    def _note_key(self, index: int, key: str) -> None:
        if key in self._by_key:
            first = self._path(self._by_key[key])
            message = f"{first} has the same key; each needs one of its own."
            self._wrong(index, "idempotency_key", message)
        self._by_key[key] = index
        request = self._requests[index]
        parts = [
            request.name,
            request.payload,
            request.correlation,
            request.execution.pk if request.execution else None,
            request.workflow.pk if request.workflow else None,
        ]
        self._hashes[index] = hashes_of(parts)

    def _raise_if_wrong(self) -> None:
        """One error for everything; of the kind that all of it is, or else SignalInvalid."""
        if not self._problems:
            return
        kinds = {type(each) for each in self._errors}
        kind = kinds.pop() if len(kinds) == 1 else SignalInvalid
        first = self._problems[0]
        message = f"{first.path}: {first.message}"
        if len(self._problems) > 1:
            message = f"{len(self._problems)} problems; {first.path}: {first.message}"
        raise kind(message, details=self._problems[:MAX_PROBLEMS])

    def _find_earlier(self) -> None:
        """Those that were accepted before. Raises IdempotencyConflict for keys of others."""
        if not self._by_key:
            return
        found = Signal.objects.filter(
            principal=self._principal, idempotency_key__in=list(self._by_key)
        )
        for earlier in found:
            index = self._by_key[earlier.idempotency_key]
            if earlier.request_hash in self._hashes[index]:
                self._earlier[index] = earlier
                continue
            message = f"The idempotency key was used for signal {earlier.pk}, with other content."
            self._wrong(index, "idempotency_key", message, IdempotencyConflict)
        self._raise_if_wrong()

    def _check_targets(self) -> None:
        for index, request in enumerate(self._requests):
            target = request.execution
            if index not in self._earlier and target is not None and target.has_ended:
                ended = f"The execution has ended: it is {target.state}."
                self._wrong(index, "execution", ended, ExecutionEnded)

    def _waits_now(self) -> dict[int, tuple[int, str]]:
        """For each request the version and step of who would get it; two queries for all."""
        asked = [
            Kept(
                index,
                each.execution.pk if each.execution else None,
                each.workflow.pk if each.workflow else None,
                each.name,
                str(each.correlation),
            )
            for index, each in enumerate(self._requests)
            if index not in self._earlier
        ]
        with connection.cursor() as cursor:
            pairs = pairs_of(waits_for(cursor, asked), asked)
        rows = Execution.objects.filter(pk__in=[pk for pk, _ in pairs])
        places = {
            pk: (version, step)
            for pk, version, step in rows.values_list("pk", "version_id", "current_step")
        }
        return {index: places[pk] for pk, index in pairs if pk in places}

    def _check_schemas(self, waits: dict[int, tuple[int, str]]) -> None:
        for index, (version_id, step_id) in waits.items():
            self._check_schema(index, version_id, step_id)

    def _check_schema(self, index: int, version_id: int, step_id: str) -> None:
        try:
            step = compiled_version(version_id).steps.get(step_id)
        except DomainError:
            return  # It can't be run here; whoever can will look.
        config = step.config if step else None
        if not isinstance(config, SignalConfig) or config.schema is None:
            return
        root = f"{self._path(index)}.payload"
        for problem in config.schema.problems(self._requests[index].payload, root=root):
            self._problems.append(problem)
            self._errors.append(SignalRefused(problem.message))

    # Writing ----------------------------------------------------------------------------------

    def _insert(self) -> list[Sent]:
        """Insert what is new; somebody else may be sending the same keys at this moment."""
        for _ in range(TRIES):
            try:
                return self._try_to_insert()
            except IntegrityError:
                known = len(self._earlier)
                self._find_earlier()
                if len(self._earlier) == known:
                    raise
        raise Unavailable("The same keys are being used elsewhere right now; try again.")

    def _try_to_insert(self) -> list[Sent]:
        rows = {
            index: self._row(index)
            for index in range(len(self._requests))
            if index not in self._earlier
        }
        with transaction.atomic():
            Signal.objects.bulk_create(rows.values())
            audit.record_many(
                actor=self._actor,
                action="signal.sent",
                changes=[(row, None, _noted(row)) for row in rows.values()],
            )
            if ids := [row.pk for row in rows.values()]:
                after_commit(match_signals, ids)
        return [
            Sent(rows[index]) if index in rows else Sent(self._earlier[index], created=False)
            for index in range(len(self._requests))
        ]

    def _is_wrapped(self) -> bool:
        """Whether the data may be for a step whose output is hidden: only the step can tell."""
        if self._hides is None:
            self._hides = hides_anything()
        return self._hides

    def _row(self, index: int) -> Signal:
        request = self._requests[index]
        now = clock.now()
        return Signal(
            name=request.name,
            correlation=str(request.correlation),
            target=request.execution,
            workflow=request.workflow,
            payload=wrap(self._given[index]) if self._is_wrapped() else self._given[index],
            sender=self._actor.name[:200],
            principal=self._principal,
            idempotency_key=request.idempotency_key,
            request_hash=self._hashes.get(index, [""])[0],
            created_at=now,
            free_since=now,
            expires_at=now + timedelta(days=settings.AUTOPILOT["SIGNAL_KEEP_DAYS"]),
        )


def _noted(row: Signal) -> dict[str, Any]:
    """For the audit: the data are named by their place, not kept."""
    noted = {"signal": row.name, "correlation": row.correlation}
    return {**noted, "execution": row.target_id} if row.target_id else noted


__all__ = [
    "MAX_SIGNALS",
    "Sent",
    "SignalRequest",
    "broadcast_signal",
    "send_signal",
    "send_signals",
]
