"""One HTTP request with its redirects, bounded in time and size, every failure a sentence."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any, Final

import httpcore
import httpx

from autopilot.common import clock
from autopilot.common.storable import text as storable_text
from workflows.actions.base import BuiltinError
from workflows.actions.net import errors
from workflows.actions.net.body import Collector, TooLargeError, UnreadableError
from workflows.actions.net.client import transport
from workflows.actions.net.guard import NameUnknownError, is_certificate_problem
from workflows.actions.net.retry_after import retry_after_seconds
from workflows.actions.net.urls import Target

MAX_REDIRECTS = 5
REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})

# What of an unexpected answer's body is kept in the error, and how long it is waited for.
EXCERPT_BYTES = 2_048
EXCERPT_SECONDS = 2.0

# Only what can be unpacked within a bound is asked for.
_BASE_HEADERS: Final = {"accept": "*/*", "accept-encoding": "gzip", "user-agent": "AutopilotCX"}

# What may follow a redirect to another origin. Everything else was meant for the first one: not
# only Authorization, but the many headers that carry keys under names of their own.
_HARMLESS: Final = frozenset({"accept", "accept-language", "content-type", "user-agent"})


@dataclass(frozen=True, slots=True)
class Call:
    """What is asked. Times in seconds, sizes in bytes; names of headers in lower case.

    expected: the statuses that are a success. max_redirects: 0 = a redirect is an answer.
    discard_body: don't read the body of the answer; the connection is closed instead.
    """

    method: str
    target: Target
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes | None = None
    expected: frozenset[int] = frozenset(range(200, 300))
    connect_seconds: float = 10.0
    total_seconds: float = 30.0
    max_bytes: int = 1024 * 1024
    max_redirects: int = 0
    discard_body: bool = False

    @property
    def shown(self) -> str:
        """For sentences: the method and the URL without its query."""
        return f"{self.method} {self.target.shown}"


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back. `url`: where it came from in the end, without the query."""

    status: int
    headers: httpx.Headers
    body: bytes
    url: str
    elapsed_ms: int


async def exchange(call: Call) -> Answer:
    """Ask, follow redirects, read the answer. Raises BuiltinError with a code `http.*`.

    The total time covers everything: names, connections, every redirect, the last byte.
    """
    started = time.monotonic()
    deadline = asyncio.timeout(call.total_seconds)
    try:
        async with deadline:
            return await _follow(call, started)
    except TimeoutError:
        if not deadline.expired():
            raise
        raise errors.timed_out(call.shown, call.total_seconds) from None


async def _follow(call: Call, started: float) -> Answer:
    seen: set[tuple[str, str]] = set()
    while True:
        response = await _send(call)
        try:
            if not (call.max_redirects and _is_redirect(response)):
                return await _read(call, response, started)
        finally:
            await response.aclose()
        seen.add((call.method, call.target.full))
        if len(seen) > call.max_redirects:
            raise errors.bad_redirect(call.shown, f"more than {call.max_redirects} times")
        following = _redirected(call, response)
        if (following.method, following.target.full) in seen:
            raise errors.bad_redirect(call.shown, "in a circle")
        call = following


def _is_redirect(response: httpx.Response) -> bool:
    return response.status_code in REDIRECTS and "location" in response.headers


async def _send(call: Call) -> httpx.Response:
    try:
        url = httpx.URL(call.target.full)
    except (httpx.InvalidURL, ValueError):
        raise errors.invalid_url("it can't be taken apart") from None
    if url.host != call.target.host or url.userinfo:
        raise errors.invalid_url("it can be read in two ways")
    connect = {"connect": call.connect_seconds, "read": None, "write": None, "pool": None}
    request = httpx.Request(
        call.method,
        url,
        headers=[*(_BASE_HEADERS | dict(call.headers)).items()],
        content=call.body,
        extensions={"timeout": connect},
    )
    try:
        return await transport().handle_async_request(request)
    except NameUnknownError as error:
        raise errors.no_connection(
            call.shown, f"the host {call.target.host} was not found ({error})"
        ) from None
    except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
        raise _no_connection(call, error) from None
    except httpcore.RemoteProtocolError as error:
        raise errors.broken(call.shown, _words(error)) from None
    except (httpcore.NetworkError, httpcore.ProtocolError) as error:
        raise errors.broken(call.shown, f"the connection broke ({_words(error)})") from None


def _no_connection(call: Call, error: Exception) -> BuiltinError:
    if is_certificate_problem(error):
        reason = "the other side's certificate does not prove its name"
        return errors.no_connection(call.shown, reason, retryable=False, cause=_words(error))
    if isinstance(error, httpcore.ConnectTimeout):
        reason = f"no connection within {call.connect_seconds:g} seconds"
        return errors.no_connection(call.shown, reason)
    return errors.no_connection(call.shown, f"no connection ({_words(error)})")


def _words(error: Exception) -> str:
    return storable_text(str(error))[:300] or type(error).__name__


async def _read(call: Call, response: httpx.Response, started: float) -> Answer:
    if response.status_code not in call.expected:
        raise await _unexpected(call, response)
    try:
        body = b"" if call.discard_body else await _body(call, response)
    except TooLargeError:
        raise errors.too_large(call.shown, call.max_bytes) from None
    except UnreadableError as error:
        raise errors.broken(call.shown, str(error)) from None
    return Answer(
        status=response.status_code,
        headers=response.headers,
        body=body,
        url=call.target.shown,
        elapsed_ms=round((time.monotonic() - started) * 1000),
    )


async def _body(call: Call, response: httpx.Response) -> bytes:
    collector = Collector(_encoding(call, response), call.max_bytes)
    announced = response.headers.get("content-length", "")
    # The length that is announced for HEAD is that of a body which never comes.
    if call.method != "HEAD" and announced.isdigit():
        collector.expect(announced)
    await _collect(response, collector)
    return collector.finish()


def _encoding(call: Call, response: httpx.Response) -> str:
    return "" if call.method == "HEAD" else response.headers.get("content-encoding", "")


async def _collect(response: httpx.Response, collector: Collector) -> None:
    try:
        async for chunk in response.aiter_raw():
            collector.feed(chunk)
    except (httpcore.NetworkError, httpcore.ProtocolError) as error:
        raise UnreadableError(f"the connection broke in the middle ({_words(error)})") from None


async def _unexpected(call: Call, response: httpx.Response) -> BuiltinError:
    """The error for this status, with the beginning of the body as far as it comes quickly."""
    excerpt = b""
    with suppress(TimeoutError, TooLargeError, UnreadableError):
        collector = Collector(_encoding(call, response), 64 * 1024)
        try:
            async with asyncio.timeout(EXCERPT_SECONDS):
                await _collect(response, collector)
        finally:
            excerpt = collector.so_far[:EXCERPT_BYTES]
    details: dict[str, Any] = {"url": call.target.shown, "method": call.method}
    if excerpt:
        details["body"] = storable_text(excerpt.decode("utf-8", "replace"))
    seconds = retry_after_seconds(response.headers.get("retry-after"), clock.now())
    if seconds is not None:
        details["retry_after_seconds"] = seconds
    return errors.unexpected_status(call.shown, response.status_code, details)


def _redirected(call: Call, response: httpx.Response) -> Call:
    """The request that follows a redirect, as RFC 9110, section 15.4 and browsers have it."""
    try:
        target = call.target.join(response.headers["location"])
    except BuiltinError as error:
        if error.code == "http.address_refused":
            raise
        reason = error.message.removeprefix("The URL can't be called: ").removesuffix(".")
        raise errors.bad_redirect(call.shown, f"to where nothing can be called: {reason}") from None
    if call.target.scheme == "https" and target.scheme == "http":
        raise errors.bad_redirect(call.shown, "from https to http, where everybody could read it")
    headers = call.headers
    if target.origin != call.target.origin:
        headers = _only(headers, _HARMLESS)
    status = response.status_code
    becomes_get = (status == 303 and call.method != "HEAD") or (
        status in (301, 302) and call.method == "POST"
    )
    if not becomes_get:
        return replace(call, target=target, headers=headers)
    headers = tuple(pair for pair in headers if not pair[0].startswith("content-"))
    return replace(call, method="GET", target=target, headers=headers, body=None)


def _only(headers: Sequence[tuple[str, str]], names: frozenset[str]) -> tuple[tuple[str, str], ...]:
    return tuple(pair for pair in headers if pair[0] in names)
