from __future__ import annotations

import asyncio
import math
import threading
from typing import Any

import pytest

from autopilot.common.problems import Problem
from workflows.actions.base import TerminalActionError
from workflows.actions.builtin.log import log
from workflows.actions.builtin.noop import noop
from workflows.actions.context import Context, LogLevel, StepLog
from workflows.actions.registry import registry


def context(**hooks: Any) -> Context:
    return Context(idempotency_key="1:step_1", execution_id=1, step="step_1", **hooks)


@pytest.mark.parametrize("params", [{}, {"n": 1}, {"a": {"b": [1, None]}}])
def test_noop_returns_its_parameters(params: dict[str, Any]) -> None:
    action = registry.get("noop")
    assert action.function is noop
    assert (action.idempotent, action.is_async, action.schema) == (True, True, None)
    assert asyncio.run(noop(action.validate(params), context())) == params


def test_log_writes_a_line_and_returns_the_message() -> None:
    action = registry.get("log")
    ctx = context()
    params = action.validate({"message": "Hello", "level": "warning", "fields": {"event": 1}})
    assert asyncio.run(log(params, ctx)) == "Hello"
    (line,) = ctx.log.lines
    assert (line.level, line.event, line.fields) == (LogLevel.WARNING, "Hello", {"event": 1})
    assert line.at.tzinfo is not None


def test_log_takes_info_as_its_level() -> None:
    params = registry.get("log").validate({"message": "Hello"})
    assert (params.level, params.fields) == (LogLevel.INFO, {})


def test_log_says_what_is_wrong_with_its_parameters() -> None:
    problems = registry.get("log").check_params(
        {"message": "", "level": "loud", "extra": 1}, partial=True
    )
    assert problems == [
        Problem("$.message", "field.invalid", "At least 1 character was expected."),
        Problem(
            "$.level", "field.invalid", "One of 'debug', 'info', 'warning' or 'error' was expected."
        ),
        Problem("$.extra", "field.unknown", "There is no such parameter."),
    ]


def test_what_jsonb_refuses_is_made_safe_in_a_log_line() -> None:
    step_log = StepLog()
    step_log.info(
        "a\x00b\ud800", number=math.nan, big=2**80, odd={1: {2}}, thing=object, nul="\x00"
    )
    (line,) = step_log.lines
    assert line.event == "a\ufffdb\ufffd"
    assert line.fields == {
        "number": "nan",
        "big": "0x100000000000000000000",
        "odd": {"1": [2]},
        "thing": "<class 'object'>",
        "nul": "\ufffd",
    }


def test_a_chatty_action_is_bounded() -> None:
    step_log = StepLog(max_lines=2, max_event_length=3, max_fields_bytes=20)
    step_log.info("abcdef")
    step_log.error("x", text="y" * 50)
    step_log.info("z")
    assert [(line.event, line.fields) for line in step_log.lines] == [
        ("abc", {}),
        ("x", {"left_out": "62 bytes of fields; the limit is 20."}),
    ]
    assert step_log.dropped == 1


def test_heartbeat_serves_sync_and_async_actions() -> None:
    heard: list[Any] = []
    ctx = context(heartbeat=heard.append)
    ctx.heartbeat({"done": 1})

    async def beat() -> None:
        await ctx.heartbeat({"done": 2})

    asyncio.run(beat())
    assert heard == [{"done": 1}, {"done": 2}]


def test_cancelled_asks_the_performer() -> None:
    flag = threading.Event()
    ctx = context(is_cancelled=flag.is_set)
    assert ctx.cancelled is False
    flag.set()
    assert ctx.cancelled is True


def test_a_context_of_its_own_needs_no_performer() -> None:
    ctx = context()
    ctx.heartbeat()
    assert ctx.cancelled is False


def test_a_secret_comes_from_the_performer_or_not_at_all() -> None:
    assert context(secret={"TOKEN": "t"}.__getitem__).secret("TOKEN") == "t"
    with pytest.raises(TerminalActionError) as caught:
        context().secret("TOKEN")
    assert str(caught.value) == (
        "action.SecretUnknown: There is no secret named 'TOKEN' that this step may read."
    )
