"""The approval: a step that asks people, waits for their decision, and goes on with their answer.

Who may decide, who has, and when it is enough is kept in rows (`executions/approvals/`); here a
step asks, and hears once that it is settled.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

from executions.engine import outside, steps
from executions.engine.errors import (
    APPROVAL_ASSIGNEES,
    APPROVAL_EXPIRED,
    APPROVAL_NO_ASSIGNEE,
    APPROVAL_REJECTED,
    EngineError,
    ErrorInfo,
)
from executions.engine.events import DECISION, Delivered, LogRecord
from executions.engine.payload import encode
from executions.engine.snapshot import Position, scope_of
from executions.engine.states import Reason
from executions.engine.working import Working
from workflows.definition.compiled import ApprovalConfig, CompiledStep
from workflows.definition.templates import Template

MAX_TITLE_CHARS = 300
MAX_NAME_CHARS = 150
MAX_NAMES = 200


def _ask(working: Working, step: CompiledStep, position: Position, now: datetime) -> steps.Outcome:
    config = step.config
    assert isinstance(config, ApprovalConfig)
    data = _question(working, step, config, position)
    limit = working.snapshot.max_output_bytes
    # Rows can't hold everything that expressions can make.
    encode(data, limit=limit, what=f"What step `{step.id}` asks")
    form = config.form.schema if config.form is not None else None
    after = config.remind_after
    rules = {
        "form": form,
        "quorum": config.quorum,
        "allow_requester": config.allow_requester,
        "remind_seconds": after.total_seconds() if after is not None else None,
        "expires_at": _iso(position.started_at + step.timeout) if step.timeout else None,
    }
    return outside.begin(working, step, position, {**data, **rules})


def _question(
    working: Working, step: CompiledStep, config: ApprovalConfig, position: Position
) -> dict[str, Any]:
    scope = scope_of(working.snapshot)

    def render(template: Template) -> Any:
        return steps.render(template, scope, position.started_at)

    def names(template: Template | None, path: str) -> list[str]:
        return [] if template is None else _names(render(template), path)

    title = _text(render(config.title))
    return {
        "name": step.name,
        "title": title if len(title) <= MAX_TITLE_CHARS else title[: MAX_TITLE_CHARS - 1] + "…",
        "description": _text(render(config.description)),
        "context": render(config.context),
        "users": names(config.users, "assignees.users"),
        "groups": names(config.groups, "assignees.groups"),
        "later_users": names(config.later_users, "escalate_to.users"),
        "later_groups": names(config.later_groups, "escalate_to.groups"),
        # An empty list of people is nobody; only without the field it is everybody who may.
        "is_open": config.users is None and config.groups is None,
    }


def _text(value: Any) -> str:
    return value if isinstance(value, str) else encode(value, limit=2**20, what="It").text.decode()


def _names(value: Any, path: str) -> list[str]:
    """The names that a template gave, each once: a list may hold names and lists of names."""
    found = list(dict.fromkeys(_flat(value, path)))
    if len(found) > MAX_NAMES:
        message = f"`{path}` came to {len(found)} names; at most {MAX_NAMES} are allowed."
        raise EngineError(ErrorInfo(APPROVAL_ASSIGNEES, message))
    return found


def _flat(value: Any, path: str) -> Iterator[str]:
    if isinstance(value, list):
        for index, each in enumerate(value):
            yield from _flat(each, f"{path}[{index}]")
        return
    if not isinstance(value, str) or not 1 <= len(value) <= MAX_NAME_CHARS:
        message = f"`{path}` came to {value!r:.100}; a name or a list of names was expected."
        raise EngineError(ErrorInfo(APPROVAL_ASSIGNEES, message))
    yield value


def _iso(moment: datetime) -> str:
    return moment.isoformat()


def _deliver(
    working: Working, step: CompiledStep, position: Position, event: Delivered, now: datetime
) -> steps.Outcome:
    """It is settled: by people, or because there are too few who could."""
    data = event.data
    log = _log_of_missing(data, now)
    if "able" in data:
        return steps.fail(working, step, position, _no_assignee(data), now, log=log)
    if not data["approved"]:
        return steps.fail(working, step, position, _rejected(data), now, log=log)
    limit = working.snapshot.max_output_bytes
    value = {name: data[name] for name in ("approved", "decisions", "answer", "comment")}
    output = encode(value, limit=limit, what=f"The output of step `{step.id}`")
    return steps.complete(working, step, position, output, now, log=log, is_output=True)


def _log_of_missing(data: Mapping[str, Any], now: datetime) -> tuple[LogRecord, ...]:
    missing = data.get("missing")
    if not missing:
        return ()
    return (LogRecord("warning", "approval.assignee_missing", {"missing": missing}, now),)


def _rejected(data: Mapping[str, Any]) -> ErrorInfo:
    last = data["decisions"][-1]
    said = f": {last['comment']}" if last["comment"] else "."
    details = {name: last[name] for name in ("by", "at", "comment", "answer")}
    return ErrorInfo(
        APPROVAL_REJECTED,
        f"{last['by']} rejected it{said}",
        details={**details, "decisions": data["decisions"]},
    )


def _no_assignee(data: Mapping[str, Any]) -> ErrorInfo:
    able, quorum = data["able"], data["quorum"]
    people = "person" if quorum == 1 else "people"
    count = {0: "nobody", 1: "only one person"}.get(able, f"only {able}")
    missing = ", ".join(f"“{name}”" for name in data.get("missing", ()))
    unknown = f" Not found, or not active: {missing}." if missing else ""
    message = f"It needs {quorum} {people} to decide, and {count} could.{unknown}"
    return ErrorInfo(APPROVAL_NO_ASSIGNEE, message, details=dict(data))


def _expire(step: CompiledStep, position: Position) -> ErrorInfo:
    message = f"It was not decided within {step.timeout}."
    return ErrorInfo(APPROVAL_EXPIRED, message, retryable=True)


steps.TYPES[ApprovalConfig] = _ask
outside.KINDS[ApprovalConfig] = outside.Kind(DECISION, Reason.APPROVAL, _deliver, _expire)
