"""Actions that take time, leave a trace, or misbehave in one particular way."""

from __future__ import annotations

import asyncio
import fcntl
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from workflows.actions import ActionError, Context, Pending, TerminalActionError, action


class Nap(BaseModel):
    seconds: float = 0.0


class Trace(BaseModel):
    seconds: float = 0.0
    file: str = ""


def _leave_trace(params: Trace, context: Context) -> None:
    """One line a call, appended atomically: who called, and with which key."""
    target = params.file or os.environ.get("PROBE_FILE", "")
    if target:
        with Path(target).open("a") as file:
            file.write(f"{context.idempotency_key} {os.getpid()}\n")


@action("probe.trace", schema=Trace, idempotent=True)
async def trace(params: Trace, context: Context) -> dict[str, Any]:
    _leave_trace(params, context)
    await asyncio.sleep(params.seconds)
    return {"key": context.idempotency_key}


@action("probe.once", schema=Trace, idempotent=False)
async def once(params: Trace, context: Context) -> dict[str, Any]:
    _leave_trace(params, context)
    await asyncio.sleep(params.seconds)
    return {"key": context.idempotency_key}


@action("probe.nothing", idempotent=True)
async def nothing(params: dict[str, Any], context: Context) -> None:
    """Has no output."""


@action("probe.block", schema=Nap, idempotent=True)
def block(params: Nap, context: Context) -> dict[str, Any]:
    time.sleep(params.seconds)
    return {"slept": params.seconds}


@action("probe.block_once", schema=Nap, idempotent=False)
def block_once(params: Nap, context: Context) -> dict[str, Any]:
    time.sleep(params.seconds)
    return {"slept": params.seconds}


@action("probe.until_cancelled", schema=Nap, idempotent=True)
def until_cancelled(params: Nap, context: Context) -> dict[str, Any]:
    end = time.monotonic() + params.seconds
    while time.monotonic() < end and not context.cancelled:
        time.sleep(0.01)
    return {"cancelled": context.cancelled}


@action("probe.die", idempotent=True)
async def die(params: dict[str, Any], context: Context) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


OUTPUTS: dict[str, Any] = {
    "nul": {"text": "a\x00b"},
    "surrogate": {"text": "\ud800"},
    "nan": {"number": float("nan")},
    "infinity": [float("inf")],
    "object": {"thing": object()},
    "huge_number": 10**5000,
    "large": "x" * 300_000,
    "big_integer": 2**70,
    "emoji": "😀",
    "null": None,
}


@action("probe.give", idempotent=True)
async def give(params: dict[str, Any], context: Context) -> Any:
    return OUTPUTS[params["which"]]


@action("probe.raise", idempotent=True)
async def raise_error(params: dict[str, Any], context: Context) -> None:
    match params["how"]:
        case "action":
            raise ActionError("Refused", "The bank said no.", details={"bank": 7})
        case "terminal":
            raise TerminalActionError("Closed", "The account is closed.")
        case "crash":
            raise ZeroDivisionError("nobody expected\x00this")
        case "timeout":
            raise TimeoutError("not ours")
        case "exit":
            sys.exit(3)
        case "log":
            context.log.warning("about to fail", attempt=context.attempt)
            raise ActionError("Refused", "Logged first.")


@action("probe.raise_in_thread", idempotent=True)
def raise_in_thread(params: dict[str, Any], context: Context) -> None:
    sys.exit(3)


@action("probe.orm", idempotent=True)
def orm(params: dict[str, Any], context: Context) -> dict[str, Any]:
    from workflows.models import Workflow

    return {"workflows": Workflow.objects.count()}


@action("probe.fail_first", idempotent=True)
async def fail_first(params: dict[str, Any], context: Context) -> int:
    """Fails the first call for a key if asked to; answers how many calls there were."""
    file = Path(params["file"]) / f"calls-{params['key']}"
    calls = len(file.read_text()) + 1 if file.exists() else 1
    file.write_text("x" * calls)
    if params["fail"] and calls == 1:
        raise ActionError("NotYet", "The first call fails.")
    return calls


@action("probe.beat", idempotent=True)
async def beat(params: dict[str, Any], context: Context) -> int:
    for _ in range(params["times"]):
        await context.heartbeat()
        await asyncio.sleep(params["pause"])
    return params["times"]


@action("probe.beat_in_thread", idempotent=True)
def beat_in_thread(params: dict[str, Any], context: Context) -> int:
    for _ in range(params["times"]):
        context.heartbeat()
        time.sleep(params["pause"])
    return params["times"]


class Places(BaseModel):
    key: str
    limit: int
    seconds: float = 0.0


@action("probe.places", schema=Places, idempotent=True)
async def places(params: Places, context: Context) -> dict[str, Any]:
    """Hold one of `limit` places for a while; fails for good if all of them are taken.

    A place is a lock on a file, which the kernel gives back however the process ends.
    """
    folder = Path(os.environ["PROBE_FILE"]).with_suffix(".places")
    folder.mkdir(exist_ok=True)
    for number in range(params.limit):
        with (folder / f"{params.key}-{number}").open("a") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                continue
            await asyncio.sleep(params.seconds)
            return {"place": number}
    raise TerminalActionError("Crowded", f"All {params.limit} places of {params.key} are taken.")


# Called with the token before `probe.hand_over` returns: somebody may be faster than the action.
ON_HAND_OVER: list[Callable[[str], None]] = []
HANDED_OVER: list[str] = []


@action("probe.hand_over", idempotent=True)
def hand_over(params: dict[str, Any], context: Context) -> Pending:
    token = context.callback_token()
    assert context.callback_url().endswith(f"/api/v1/executions/callbacks/{token}/")
    context.log.info("handed over")
    HANDED_OVER.append(token)
    for each in ON_HAND_OVER:
        each(token)
    return Pending()


# What `probe.secret` was called with, in this process.
RECEIVED: list[dict[str, Any]] = []


@action("probe.secret", idempotent=True)
async def secret(params: dict[str, Any], context: Context) -> Any:
    """Does with what it is given what a careless action might do."""
    RECEIVED.append(params)
    quoted = params.get("quote")
    context.log.info(f"working on {quoted}", quoted=quoted, made=params.get("give"))
    match params.get("how"):
        case "refuse":
            details = {"customer": quoted, "list": [[quoted], f"<{quoted}>"]}
            raise ActionError("Refused", f"No luck with {quoted}.", details=details)
        case "crash":
            try:
                int(quoted)
            except ValueError as error:
                raise RuntimeError(f"{quoted} is no number, nor is {params['unknown']}") from error
    return params.get("give")


class Entry(BaseModel):
    """What to write down; the first `fail` calls for it fail (-1: all of them)."""

    what: str
    file: str = ""
    fail: int = 0
    terminal: bool = False


def _write_down(params: Entry) -> dict[str, Any]:
    file = Path(params.file or os.environ["PROBE_FILE"])
    lines = file.read_text().splitlines() if file.exists() else []
    with file.open("a") as opened:
        opened.write(f"{params.what}\n")
    if params.fail < 0 or lines.count(params.what) < params.fail:
        kind = TerminalActionError if params.terminal else ActionError
        raise kind("Refused", f"{params.what} is refused.")
    return {"id": params.what}


@action("probe.write", schema=Entry, idempotent=True)
async def write(params: Entry, context: Context) -> dict[str, Any]:
    return _write_down(params)


@action("probe.write_once", schema=Entry, idempotent=False)
async def write_once(params: Entry, context: Context) -> dict[str, Any]:
    return _write_down(params)
