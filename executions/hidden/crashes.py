"""Tracebacks of executions that hide something: where it happened, and nothing of what it said."""

from __future__ import annotations

import traceback
from typing import Any

from executions.hidden.veil import Veil


def log_crash(log: Any, event: str, error: BaseException, veil: Veil, **fields: Any) -> None:
    """Log an error with its traceback; to be called where it is handled.

    What an exception says may quote any value, also one that nobody has heard of yet.
    """
    if veil.is_needed:
        log.error(event, exception=_places(error), **fields)
    else:
        log.exception(event, **fields)


def _places(error: BaseException) -> str:
    found: list[str] = []
    seen: set[int] = set()
    cause: BaseException | None = error
    while cause is not None and id(cause) not in seen:
        seen.add(id(cause))
        found.append("".join(traceback.format_tb(cause.__traceback__)) + type(cause).__name__)
        cause = cause.__cause__ or (None if cause.__suppress_context__ else cause.__context__)
    return "\nafter:\n".join(found)
