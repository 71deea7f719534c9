"""What an action gets beside its parameters."""

from __future__ import annotations

import asyncio
import json
import math
import threading
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

import structlog

from autopilot.common import clock
from autopilot.common.storable import text
from workflows.actions.base import TerminalActionError

logger = structlog.get_logger(__name__)


class LogLevel(StrEnum):
    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


@dataclass(frozen=True, slots=True)
class LoggedLine:
    """One line that an action wrote: plain JSON fields, safe to store."""

    at: datetime
    level: LogLevel
    event: str
    fields: dict[str, Any]


class StepLog:
    """Collects the lines of one attempt, and writes them to the process's log as well.

    Bounded, so that a chatty action can't fill the database: lines above `max_lines` are counted in
    `dropped`; texts are cut; fields above `max_fields_bytes` are replaced by a note. Safe to use
    from several threads.

    speaks_at_once: write to the process's log line by line; otherwise `speak` does it at the end,
    when it is known what of them has to be hidden.
    """

    def __init__(
        self,
        *,
        max_lines: int = 200,
        max_event_length: int = 2_000,
        max_fields_bytes: int = 8_192,
        speaks_at_once: bool = True,
        **bound: Any,
    ) -> None:
        self._max_lines = max_lines
        self._max_event_length = max_event_length
        self._max_fields_bytes = max_fields_bytes
        self._speaks_at_once = speaks_at_once
        self._bound = bound
        self._lines: list[LoggedLine] = []
        self._lock = threading.Lock()
        self.dropped = 0

    @property
    def lines(self) -> list[LoggedLine]:
        """What was written so far, in order."""
        with self._lock:
            return list(self._lines)

    def debug(self, event: str, /, **fields: Any) -> None:
        self.write(LogLevel.DEBUG, event, fields)

    def info(self, event: str, /, **fields: Any) -> None:
        self.write(LogLevel.INFO, event, fields)

    def warning(self, event: str, /, **fields: Any) -> None:
        self.write(LogLevel.WARNING, event, fields)

    def error(self, event: str, /, **fields: Any) -> None:
        self.write(LogLevel.ERROR, event, fields)

    def write(self, level: LogLevel | str, event: str, fields: Mapping[str, Any]) -> None:
        """Write one line; `fields` may hold anything, what isn't JSON is kept as its text."""
        line = LoggedLine(
            at=clock.now(),
            level=LogLevel(level),
            event=text(str(event))[: self._max_event_length],
            fields=self._bounded(fields),
        )
        with self._lock:
            if len(self._lines) >= self._max_lines:
                self.dropped += 1
                return
            self._lines.append(line)
        if self._speaks_at_once:
            self._say(line.level, line.event, line.fields)

    def speak(self, mask: Callable[[str], str], masked: Callable[[Any], Any]) -> None:
        """Write what has been kept back to the process's log, its texts and fields masked."""
        if not self._speaks_at_once:
            for line in self.lines:
                self._say(line.level, mask(line.event), masked(line.fields))

    def _say(self, level: LogLevel, event: str, fields: Mapping[str, Any]) -> None:
        # The text and the fields are the designer's: they stay values, so they can't shadow ours.
        getattr(logger, level.value)("action.log", text=event, fields=fields, **self._bound)

    def _bounded(self, fields: Mapping[str, Any]) -> dict[str, Any]:
        plain = {text(str(key)): _plain(value) for key, value in fields.items()}
        size = len(json.dumps(plain, ensure_ascii=False).encode())
        if size > self._max_fields_bytes:
            return {"left_out": f"{size} bytes of fields; the limit is {self._max_fields_bytes}."}
        return plain


def _plain(value: Any, depth: int = 0) -> Any:
    if depth > 16:
        return "…"
    match value:
        case None | bool():
            return value
        case int():
            # Readers in other languages lose digits above 2**53; and in hexadecimal, because
            # writing a huge integer in decimal takes quadratic time.
            return int(value) if abs(value) < 2**53 else f"{value:#x}"
        case float():
            return float(value) if math.isfinite(value) else str(value)
        case str():
            return text(value)
        case Mapping():
            return {text(str(key)): _plain(item, depth + 1) for key, item in value.items()}
        case list() | tuple() | set() | frozenset():
            return [_plain(item, depth + 1) for item in value]
    return text(str(value))


class Done:
    """Something already done that may be awaited: one call serves sync and async actions alike."""

    def __await__(self) -> Generator[Any, None, None]:
        # A long async loop that only heartbeats would otherwise never let the others run.
        return asyncio.sleep(0).__await__()


def _no_heartbeat(details: Any) -> None:
    """Nobody listens: a test calls the action's function directly."""


def _never() -> bool:
    return False


def _no_callback() -> str:
    """What a test gets that calls the action's function directly."""
    return "no-token"


def _as_it_is(value: Any) -> Any:
    """Nothing is hidden: a test calls the action's function directly."""
    return value


class Context:
    """Handed to every action as its second argument.

    idempotency_key: the same over all attempts of this step, different for every other step: give
        it to the other side, so that a repeated call has one effect.
    execution_id, step, attempt: where the call comes from; attempts count from 1.
    log: `context.log.info("text", key=value)`; shown on the execution's page.

    The performer injects what reaches outside: `heartbeat` is called with the details and must not
    block, `is_cancelled` answers at once, `secret` returns a secret's value, `callback` makes the
    token of this attempt, `conceal` marks what is hidden in a value. All may be called from another
    thread. Without them (in a test of an action's function) nothing happens.
    """

    __slots__ = (
        "_callback",
        "_callback_base",
        "_conceal",
        "_heartbeat",
        "_is_cancelled",
        "_secret",
        "attempt",
        "execution_id",
        "idempotency_key",
        "log",
        "step",
    )

    def __init__(
        self,
        *,
        idempotency_key: str,
        execution_id: int,
        step: str,
        attempt: int = 1,
        log: StepLog | None = None,
        heartbeat: Callable[[Any], None] = _no_heartbeat,
        is_cancelled: Callable[[], bool] = _never,
        secret: Callable[[str], str] | None = None,
        callback: Callable[[], str] = _no_callback,
        callback_base: str = "",
        conceal: Callable[[Any], Any] = _as_it_is,
    ) -> None:
        self.idempotency_key = idempotency_key
        self.execution_id = execution_id
        self.step = step
        self.attempt = attempt
        self.log = log or StepLog(execution_id=execution_id, step=step, attempt=attempt)
        self._heartbeat = heartbeat
        self._is_cancelled = is_cancelled
        self._secret = secret
        self._callback = callback
        self._callback_base = callback_base
        self._conceal = conceal

    def heartbeat(self, details: Any = None) -> Done:
        """Say that the action is alive, with plain JSON about how far it is.

        In `async def`: `await context.heartbeat(...)`, which also lets others run; in `def`: just
        `context.heartbeat(...)`.
        """
        self._heartbeat(details)
        return Done()

    def callback_token(self) -> str:
        """The one-time token with which somebody else may end this attempt.

        For an action that returns `Pending`. Whoever has it may complete or fail this step; it is
        void with the attempt. Hand it out, and keep it out of logs and outputs.
        """
        return self._callback()

    def callback_url(self) -> str:
        """The address under which the token is used; `complete/`, `fail/`, `heartbeat/` follow."""
        return f"{self._callback_base}/api/v1/executions/callbacks/{self._callback()}/"

    @property
    def cancelled(self) -> bool:
        """True once the step's result is no longer wanted: stop soon, tidy up, return."""
        return self._is_cancelled()

    def conceal(self, value: Any) -> Any:
        """The value with what the execution hides marked, to be kept in a `SealedJSONField`.

        Needed only by an action that stores values itself. What such a field gives back may be
        returned as it is: the execution that reads it hides the same.
        """
        return self._conceal(value)

    def secret(self, name: str) -> str:
        """The value of the secret `name`; raises TerminalActionError when there is none."""
        if self._secret is None:
            raise TerminalActionError(
                "SecretUnknown", f"There is no secret named {name!r} that this step may read."
            )
        return self._secret(name)
