"""One pool of connections per event loop: they are kept and shared, and nothing else is."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from functools import lru_cache
from weakref import WeakKeyDictionary

import h11
import httpcore
import httpx
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured

from workflows.actions.net.allowlist import AllowList
from workflows.actions.net.errors import ALLOW_SETTING
from workflows.actions.net.guard import Guard, GuardedBackend

# In use, and as many idle. As many as a drain holds executions by default; a request beyond that
# waits for its turn.
MAX_CONNECTIONS = 200
# Short: the longer a connection idles, the likelier the other side has hung up just now.
IDLE_SECONDS = 10.0
LOOK_SECONDS = 1.0

_transports: WeakKeyDictionary[asyncio.AbstractEventLoop, GuardedTransport] = WeakKeyDictionary()


class GuardedTransport(httpx.AsyncBaseTransport):
    """httpx's requests on connections that have passed the guard.

    Neither httpx's client: it logs whole URLs, keeps cookies, takes proxies and passwords from the
    environment. Nor httpcore's pool: a request that is cancelled while it waits for its turn
    leaves a place behind that nobody ever frees. Raises httpcore's exceptions as they are:
    `exchange` puts them into sentences.
    """

    def __init__(self, guard: Guard, *, limit: int = MAX_CONNECTIONS) -> None:
        """limit: connections in use at once; a request beyond that waits for its turn."""
        self._backend = GuardedBackend(guard)
        # certifi's authorities; SSL_CERT_FILE and the like in the environment don't count.
        self._ssl_context = httpx.create_ssl_context(trust_env=False)
        self._turns = asyncio.Semaphore(limit)
        self._in_use = 0
        self._idle: dict[str, list[httpcore.AsyncHTTPConnection]] = {}
        self._next_look = 0.0
        self._looking: asyncio.Task[None] | None = None

    @property
    def connections(self) -> int:
        """How many connections are open, in use or idle."""
        return self._in_use + sum(len(idle) for idle in self._idle.values())

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        await self._turns.acquire()
        self._in_use += 1
        connection = None
        key = f"{request.url.scheme}://{request.url.netloc.decode()}"
        try:
            url = httpcore.URL(
                scheme=request.url.raw_scheme,
                host=request.url.raw_host,
                port=request.url.port,
                target=request.url.raw_path,
            )
            connection = await self._connection(key, url.origin)
            answer = await connection.handle_async_request(
                httpcore.Request(
                    method=request.method,
                    url=url,
                    headers=request.headers.raw,
                    content=request.stream,
                    extensions=request.extensions,
                )
            )
        except BaseException:
            await self._release(connection)
            raise
        body = _Body(answer, lambda: self._release(connection, key))
        return httpx.Response(status_code=answer.status, headers=answer.headers, stream=body)

    async def _connection(self, key: str, origin: httpcore.Origin) -> httpcore.AsyncHTTPConnection:
        """An idle connection to the origin, the one used last first; else a new one."""
        await self.close_expired()
        # Asked for anew each time: while one is closed others may change what is idle.
        while idle := self._idle.get(key):
            connection = idle.pop()
            if not connection.has_expired():
                return connection
            await connection.aclose()
        return httpcore.AsyncHTTPConnection(
            origin=origin,
            ssl_context=self._ssl_context,
            keepalive_expiry=IDLE_SECONDS,
            network_backend=self._backend,
        )

    async def _release(
        self, connection: httpcore.AsyncHTTPConnection | None, key: str | None = None
    ) -> None:
        """key: keep the connection under it, if it may serve another request."""
        try:
            has_room = self.connections - self._in_use < MAX_CONNECTIONS
            if connection is not None and key and has_room and _is_clean(connection):
                self._idle.setdefault(key, []).append(connection)
                if self._looking is None or self._looking.done():
                    self._looking = asyncio.create_task(self._look())
            elif connection is not None:
                await connection.aclose()
        finally:
            self._in_use -= 1
            self._turns.release()

    async def _look(self) -> None:
        """Until nothing is idle. A worker that makes no call any more would keep what two hundred
        at once have left, closed by the other side or not, as long as it lives."""
        while self._idle:
            await asyncio.sleep(LOOK_SECONDS)
            await self.close_expired()

    async def close_expired(self) -> None:
        """Close what idled too long or was closed by the other side; looks once a second."""
        now = time.monotonic()
        if now < self._next_look:
            return
        self._next_look = now + LOOK_SECONDS
        expired = [each for idle in self._idle.values() for each in idle if each.has_expired()]
        left = {
            key: [each for each in idle if each not in expired] for key, idle in self._idle.items()
        }
        self._idle = {key: idle for key, idle in left.items() if idle}
        for connection in expired:
            await connection.aclose()

    async def aclose(self) -> None:
        if self._looking is not None:
            self._looking.cancel()
        idle = [connection for each in self._idle.values() for connection in each]
        self._idle.clear()
        for connection in idle:
            await connection.aclose()


class _Body(httpx.AsyncByteStream):
    def __init__(self, answer: httpcore.Response, release: Callable[[], Awaitable[None]]) -> None:
        self._answer = answer
        self._release = release

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for chunk in self._answer.aiter_stream():
            yield chunk

    async def aclose(self) -> None:
        try:
            await self._answer.aclose()
        finally:
            await self._release()


def _is_clean(connection: httpcore.AsyncHTTPConnection) -> bool:
    """Whether the connection is idle, and nothing followed the answer in what was received.

    The parser would keep such bytes, and take them for the answer to the next request on this
    connection, which may be another workflow's. httpcore offers no way to ask; where its insides
    differ from what is known here, no connection is used twice.
    """
    state = getattr(getattr(connection, "_connection", None), "_h11_state", None)
    return connection.is_idle() and isinstance(state, h11.Connection) and not state.trailing_data[0]


@lru_cache(maxsize=8)
def _parsed(words: tuple[str, ...]) -> AllowList:
    try:
        return AllowList.parse(words)
    except ValueError as error:
        raise ImproperlyConfigured(f"{ALLOW_SETTING}: {error}") from None


def allow_list() -> AllowList:
    """The setting's list; raises ImproperlyConfigured with a sentence about a wrong entry."""
    words: Iterable[str] = settings.AUTOPILOT["HTTP_ALLOW"]
    return _parsed(tuple(words))


def transport() -> GuardedTransport:
    """The running loop's transport, made at the first call."""
    loop = asyncio.get_running_loop()
    found = _transports.get(loop)
    if found is None:
        found = _transports[loop] = GuardedTransport(Guard(allow_list()))
    return found


async def close_expired() -> None:
    """Close what idles too long in the running loop's transport. It does so by itself, but not
    while the loop stands still."""
    found = _transports.get(asyncio.get_running_loop())
    if found is not None:
        await found.close_expired()


async def close_transport() -> None:
    """Close the running loop's transport and its connections, if it has one."""
    found = _transports.pop(asyncio.get_running_loop(), None)
    if found is not None:
        await found.aclose()


@asynccontextmanager
async def transport_with(
    guard: Guard, *, limit: int = MAX_CONNECTIONS
) -> AsyncIterator[GuardedTransport]:
    """For tests: let the running loop's requests go through `guard`."""
    found = _transports[asyncio.get_running_loop()] = GuardedTransport(guard, limit=limit)
    try:
        yield found
    finally:
        await close_transport()
