"""A call about many executions that may come twice and is to be heeded once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from django.db import IntegrityError, transaction

from autopilot.accounts.actors import Actor
from autopilot.common import clock
from autopilot.common.problems import Problem
from autopilot.common.storable import is_storable
from executions.accepting import MAX_KEY_CHARS, hashes_of, principal_of
from executions.errors import IdempotencyConflict, StartInvalid
from executions.models import BulkCall


@dataclass(frozen=True, slots=True)
class Once:
    """An idempotency key, and the request it stands for as plain JSON."""

    key: str
    request: Any


def begin(once: Once, actor: Actor, choose: Callable[[], list[int]]) -> BulkCall:
    """The call as it came first, with the executions that it was about then.

    choose: which those are, if it has not come before. Raises StartInvalid for a key that can't be
    kept, IdempotencyConflict if the key belongs to another request, and what `choose` raises.
    """
    if not once.key or not is_storable(once.key, MAX_KEY_CHARS):
        message = f"A text of 1 to {MAX_KEY_CHARS} characters was expected."
        raise StartInvalid(message, details=[Problem("$.idempotency_key", "invalid", message)])
    principal, hashes = principal_of(actor), hashes_of([once.request])
    known = BulkCall.objects.filter(principal=principal, idempotency_key=once.key)
    call = known.first()
    if call is None:
        call = BulkCall(
            principal=principal,
            idempotency_key=once.key,
            request_hash=hashes[0],
            executions=choose(),
            created_at=clock.now(),
        )
        try:
            with transaction.atomic():
                call.save(force_insert=True)
        except IntegrityError:
            # The same call came twice at once; one of them was first.
            call = known.get()
    if call.request_hash not in hashes:
        message = "The idempotency key was used before, with a different request."
        problem = Problem("$.idempotency_key", IdempotencyConflict.code, message)
        raise IdempotencyConflict(message, details=[problem])
    return call
