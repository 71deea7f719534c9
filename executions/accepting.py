"""What has to hold before an execution is accepted, and the row that it becomes."""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import datetime
from typing import Any, NamedTuple

from django.conf import settings
from django.db import IntegrityError, transaction

from autopilot.accounts.actors import Actor
from autopilot.common import clock
from autopilot.common.crypto import NoEncryptionKey, digests, has_key
from autopilot.common.jsonpath import child
from autopilot.common.problems import Problem
from autopilot.common.storable import is_storable
from executions.engine.errors import LIMIT_INPUT, VALIDATION_INPUT, EngineError
from executions.engine.payload import encode
from executions.engine.states import Reason
from executions.errors import IdempotencyConflict, InputInvalid, InputTooLarge, StartInvalid
from executions.hidden.marks import MASK, Hidden, holds_hidden, reveal
from executions.hidden.veil import Veil
from executions.models import Execution, Priority
from workflows.compiled import compiled_version
from workflows.definition.redaction import Place
from workflows.models import Workflow

MAX_KEY_CHARS = 200
MAX_LABELS = 20
MAX_LABEL_CHARS = 100
PRIORITIES = tuple(Priority.values)


class Started(NamedTuple):
    """An accepted execution; `created` is False if the same request had been accepted before."""

    execution: Execution
    created: bool


def prepare(
    *,
    workflow: Workflow,
    actor: Actor,
    input: Any = None,
    version: str | None = None,
    idempotency_key: str = "",
    priority: int = Priority.NORMAL,
    queue: str | None = None,
    start_at: datetime | None = None,
    labels: dict[str, str] | None = None,
    correlation_id: str = "",
) -> Execution:
    """The row of an execution as asked for, not saved and still without its version.

    Raises StartInvalid, InputInvalid and InputTooLarge for what can be seen without the version.
    """
    labels = labels or {}
    data = {} if input is None else input
    queue = queue or settings.AUTOPILOT_QUEUES[0]
    _check_options(priority, queue, start_at, labels, correlation_id, idempotency_key)
    real = reveal(data) if holds_hidden(data) else data
    _check_storable(real)
    moment = start_at.isoformat() if start_at else None
    request = [version, real, int(priority), queue, moment, labels, correlation_id]
    hash_now, *older_hashes = hashes_of(request) if idempotency_key else [""]
    now = clock.now()
    is_later = start_at is not None and start_at > now
    row = Execution(
        workflow=workflow,
        reason=(Reason.SCHEDULED if is_later else Reason.QUEUED).value,
        input=data,
        queue=queue,
        priority=priority,
        runnable_at=start_at if is_later else now,
        started_by_id=actor.id,
        principal=principal_of(actor),
        idempotency_key=idempotency_key,
        request_hash=hash_now,
        correlation_id=correlation_id,
        labels=labels,
        created_at=now,
        start_at=start_at,
        transition_seq=1,
    )
    row.older_hashes = older_hashes
    return row


def principal_of(actor: Actor) -> str:
    """Whose idempotency keys these are."""
    return f"{actor.kind.value}:{actor.id or actor.name}"[:150]


def earlier_of(execution: Execution) -> Execution | None:
    """The execution that was accepted for this key before; raises if it was another request."""
    if not execution.idempotency_key:
        return None
    earlier: Execution | None = Execution.objects.filter(
        workflow_id=execution.workflow_id,
        principal=execution.principal,
        idempotency_key=execution.idempotency_key,
    ).first()
    if earlier is not None and not is_same_request(earlier, execution):
        raise conflict_with(earlier)
    return earlier


def insert_once(execution: Execution) -> Execution | None:
    """Insert the row; answers the one that was first if two requests came with one key at once."""
    if not execution.idempotency_key:
        execution.save(force_insert=True)
        return None
    try:
        with transaction.atomic():
            execution.save(force_insert=True)
    except IntegrityError:
        earlier = earlier_of(execution)
        if earlier is None:
            raise
        return earlier
    return None


def is_same_request(earlier: Execution, execution: Execution) -> bool:
    """Whether the row that is to be stored was asked for as the stored one was."""
    return earlier.request_hash in (execution.request_hash, *execution.older_hashes)


def conflict_with(earlier: Execution) -> IdempotencyConflict:
    """The refusal of a request whose key belongs to another one."""
    message = f"The idempotency key was used for execution {earlier.pk}, with a different request."
    problem = Problem("$.idempotency_key", IdempotencyConflict.code, message)
    return IdempotencyConflict(message, details=[problem])


def hashes_of(parts: list[Any]) -> list[str]:
    """What tells a request from another one with the same key; parts: plain JSON.

    Keyed, for the input may hold what nobody is to find out by trying: as it is stored, then as
    older keys make it.
    """
    text = json.dumps(parts, sort_keys=True, separators=(",", ":"), default=str)
    return digests(text.encode())


def _check_storable(data: Any) -> None:
    try:
        encode(
            data,
            limit=settings.AUTOPILOT["MAX_INPUT_BYTES"],
            what="The input",
            code=VALIDATION_INPUT,
            size_code=LIMIT_INPUT,
        )
    except EngineError as error:
        problem = Problem("$.input", error.info.code, error.info.message)
        refusal = InputTooLarge if error.info.code == LIMIT_INPUT else InputInvalid
        raise refusal(error.info.message, details=[problem]) from None


def check_input(row: Execution) -> Veil:
    """Hold the input to the version's schema, and hide in it what the version hides.

    Answers what is known to be hidden. Raises InputInvalid with every place, NoEncryptionKey, and
    Undecipherable for an input with hidden values from elsewhere.
    """
    definition = compiled_version(row.version_id)
    redaction = definition.redaction
    veil = Veil(redaction, redaction.output)
    data = veil.reveal(row.input) if holds_hidden(row.input) else row.input
    schema = definition.input_schema
    problems = schema.problems(data, root="$.input") if schema else []
    problems += _masks(row.input, redaction.input, "$.input")
    if problems:
        raise InputInvalid(details=problems)
    if redaction and not has_key():
        raise NoEncryptionKey(
            f"Version {row.version.version} hides values (redact), and there is no key to encrypt "
            "them with; set AUTOPILOT_ENCRYPTION_KEYS."
        )
    veil.learn_at(data, redaction.input)
    row.input = veil.conceal(row.input, redaction.input)
    return veil


def _masks(value: Any, place: Place | None, path: str) -> list[Problem]:
    """Where somebody has copied what is shown of a hidden value instead of the value."""
    if place is None or isinstance(value, Hidden):
        return []
    if value == MASK:
        message = f"{MASK} is what is shown of a hidden value; the value itself was expected here."
        return [Problem(path, "redact.mask", message)]
    pairs: Iterable[tuple[Any, Any]] = ()
    if isinstance(value, dict):
        pairs = value.items()
    elif isinstance(value, list):
        pairs = enumerate(value)
    return [
        problem
        for key, item in pairs
        for problem in _masks(
            item, place if place.is_here else place.below.get(str(key)), child(path, key)
        )
    ]


def _check_options(
    priority: int,
    queue: str,
    start_at: datetime | None,
    labels: dict[str, str],
    correlation_id: str,
    idempotency_key: str,
) -> None:
    problems: list[Problem] = []

    def wrong(path: str, message: str) -> None:
        problems.append(Problem(path, "invalid", message))

    if priority not in PRIORITIES:
        wrong("$.priority", "The priority is 0 (low), 1 (normal), 2 (high) or 3 (urgent).")
    if queue not in settings.AUTOPILOT_QUEUES:
        known = ", ".join(settings.AUTOPILOT_QUEUES)
        wrong("$.queue", f"There is no queue {queue!r:.80}; the queues are {known}.")
    if start_at is not None and start_at.tzinfo is None:
        wrong("$.start_at", "The moment needs a time zone, such as 2030-01-31T12:00:00Z.")
    elif start_at is not None and not 1970 < start_at.year < 9000:
        wrong("$.start_at", "The moment is out of range.")
    if not _are_labels(labels):
        wrong(
            "$.labels",
            f"Labels are at most {MAX_LABELS} names with texts of at most {MAX_LABEL_CHARS} "
            "characters.",
        )
    for path, value in (
        ("$.correlation_id", correlation_id),
        ("$.idempotency_key", idempotency_key),
    ):
        if not is_storable(value, MAX_KEY_CHARS):
            wrong(path, f"A text of at most {MAX_KEY_CHARS} characters was expected.")
    if problems:
        raise StartInvalid(problems[0].message, details=problems)


def _are_labels(labels: Any) -> bool:
    return (
        isinstance(labels, dict)
        and len(labels) <= MAX_LABELS
        and all(
            is_storable(name, MAX_LABEL_CHARS) and is_storable(value, MAX_LABEL_CHARS)
            for name, value in labels.items()
        )
    )
