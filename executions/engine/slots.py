"""Concurrency: which slot an execution needs before it may run."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from executions.engine.errors import EXPRESSION, EngineError, ErrorInfo
from workflows.definition.compiled import CompiledDefinition
from workflows.definition.expressions import ExpressionError

MAX_KEY_CHARS = 150
_SHOWN_CHARS = 80


class OnLimit(StrEnum):
    """What one more does when as many run as may."""

    QUEUE = "queue"
    REJECT = "reject"
    CANCEL_OLDEST = "cancel_oldest"


@dataclass(frozen=True, slots=True)
class Slot:
    """One of the `limit` places of a key; the key is the workflow's own."""

    key: str
    limit: int
    on_limit: OnLimit

    def row_key(self, workflow_id: int) -> str:
        """The key as rows have it: no two workflows share one."""
        return f"{workflow_id}:{self.key}"


def shown_key(row_key: str) -> str:
    """The key as the definition's expression gave it."""
    return row_key.partition(":")[2]


def slot_of(definition: CompiledDefinition, input: Any, now: datetime) -> Slot | None:
    """The slot that an execution with this input needs; None = it runs without one.

    Raises EngineError `expression` if the key can't be worked out or is no key.
    """
    rule = definition.concurrency
    if rule is None:
        return None
    scope: Mapping[str, Any] = {"input": input}
    try:
        value = rule.key.evaluate(scope, now=now)
    except ExpressionError as error:
        details = {"expression": error.source, "path": "$.concurrency.key"}
        raise EngineError(ErrorInfo(EXPRESSION, error.message, details=details)) from None
    if value is None:
        return None
    return Slot(_text(value, rule.key.source), rule.limit, OnLimit(rule.on_limit))


def _text(value: Any, source: str) -> str:
    if isinstance(value, bool):
        text = "true" if value else "false"
    elif isinstance(value, (str, int, float)):
        text = str(value)
    else:
        message = f"The concurrency key `{source}` came to a list or an object, not to a text."
        details = {"expression": source, "path": "$.concurrency.key"}
        raise EngineError(ErrorInfo(EXPRESSION, message, details=details))
    text = text.encode("utf-8", "replace").decode()
    if len(text) <= MAX_KEY_CHARS and "\x00" not in text:
        return text
    digest = hashlib.sha256(text.encode()).hexdigest()
    return f"{text[:_SHOWN_CHARS]}…{digest[:32]}".replace("\x00", "\ufffd")
