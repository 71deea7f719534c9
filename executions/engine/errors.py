"""Errors of a running execution: plain data with a dotted code, never a traceback."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, Final

EXPRESSION: Final = "expression"
TIMEOUT_EXECUTION: Final = "timeout.execution"
TIMEOUT_STEP: Final = "timeout.step"
VALIDATION_INPUT: Final = "validation.input"
VALIDATION_OUTPUT: Final = "validation.output"
LIMIT_STEPS: Final = "limit.steps"
LIMIT_INPUT: Final = "limit.input"
LIMIT_OUTPUT: Final = "limit.output"
LIMIT_VARIABLES: Final = "limit.variables"
CHILD_FAILED: Final = "child.failed"
CHILD_NOT_FOUND: Final = "child.not_found"
CHILD_NO_VERSION: Final = "child.no_version"
LIMIT_DEPTH: Final = "limit.depth"
LIMIT_CONCURRENCY: Final = "limit.concurrency"
MAP_ITEMS: Final = "map.items"
WORKER_LOST: Final = "worker.lost"
APPROVAL_REJECTED: Final = "approval.rejected"
APPROVAL_EXPIRED: Final = "approval.expired"
APPROVAL_NO_ASSIGNEE: Final = "approval.no_assignee"
APPROVAL_ASSIGNEES: Final = "approval.assignees"
CHOICE_NO_MATCH: Final = "choice.no_match"
WAIT_INVALID: Final = "wait.invalid"
SIGNAL_CORRELATION: Final = "signal.correlation"
SIGNAL_TIMEOUT: Final = "signal.timeout"
ACTION_UNKNOWN: Final = "action.Unknown"
ACTION_CRASHED: Final = "action.Crashed"
SEALED_UNREADABLE: Final = "sealed.unreadable"
COMPENSATION_PENDING: Final = "compensation.pending"
COMPENSATION_FAILED: Final = "compensation.failed"
ENGINE_INTERNAL: Final = "engine.internal"

MAX_MESSAGE_CHARS = 2_000


@dataclass(frozen=True, slots=True)
class ErrorInfo:
    """What went wrong: `code` for machines, `message` for people, `details` as plain JSON."""

    code: str
    message: str
    step: str | None = None
    attempt: int = 1
    details: dict[str, Any] = field(default_factory=dict)
    retryable: bool = False

    def at(self, step: str, attempt: int) -> ErrorInfo:
        return replace(self, step=step, attempt=attempt)

    def as_dict(self) -> dict[str, Any]:
        return {
            "code": self.code,
            "message": self.message[:MAX_MESSAGE_CHARS],
            "step": self.step,
            "attempt": self.attempt,
            "details": self.details,
            "retryable": self.retryable,
        }


class EngineError(Exception):
    """Something in a step went wrong in a way that the definition may react to."""

    def __init__(self, info: ErrorInfo) -> None:
        self.info = info
        super().__init__(info.message)
