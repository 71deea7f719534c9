"""The outside world for tests: small HTTP servers that behave in one particular way, well or not.

`async with serving(answer) as server:` runs one on the test's own loop; `answer` gets the request
and the writer. `server.requests` holds what came in.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field


@dataclass
class Request:
    method: str
    path: str
    headers: dict[str, str]
    body: bytes


@dataclass
class Server:
    port: int = 0
    requests: list[Request] = field(default_factory=list)
    connections: int = 0
    open: int = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"


Answer = Callable[[Request, asyncio.StreamWriter], Awaitable[None]]


def fixed(
    body: bytes = b"", *, status: str = "200 OK", content_type: str = "", **headers: str
) -> Answer:
    """Always the same answer; `content_length=""` leaves the length out and hangs up after it."""
    return raw(response(body, status=status, content_type=content_type, **headers))


def response(
    body: bytes = b"", *, status: str = "200 OK", content_type: str = "", **headers: str
) -> bytes:
    named = {"content-length": str(len(body)), "content-type": content_type}
    named |= {name.replace("_", "-"): value for name, value in headers.items()}
    lines = [f"HTTP/1.1 {status}", *(f"{name}: {value}" for name, value in named.items() if value)]
    return "\r\n".join([*lines, "", ""]).encode() + body


def raw(data: bytes, *, hang_up: bool = False) -> Answer:
    """Exactly these bytes."""

    async def answer(request: Request, writer: asyncio.StreamWriter) -> None:
        writer.write(data)
        await writer.drain()
        if hang_up:
            writer.close()

    return answer


def redirect(to: str, status: str = "302 Found") -> Answer:
    return fixed(status=status, location=to)


def routes(**answers: Answer) -> Answer:
    """By the first part of the path."""

    async def answer(request: Request, writer: asyncio.StreamWriter) -> None:
        await answers[request.path.strip("/").partition("?")[0].partition("/")[0]](request, writer)

    return answer


@asynccontextmanager
async def serving(answer: Answer) -> AsyncIterator[Server]:
    """A server on a free port of 127.0.0.1."""
    server = Server()

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        server.connections += 1
        server.open += 1
        with suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            while not writer.is_closing():
                request = await _read(reader)
                server.requests.append(request)
                await answer(request, writer)
        server.open -= 1
        writer.close()

    listener = await asyncio.start_server(handle, "127.0.0.1", 0)
    server.port = listener.sockets[0].getsockname()[1]
    try:
        yield server
    finally:
        listener.close()


@contextmanager
def in_a_thread(answer: Answer) -> Iterator[Server]:
    """The same on a loop of its own, for whoever runs a worker in the test's thread."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    manager = serving(answer)
    try:
        yield asyncio.run_coroutine_threadsafe(manager.__aenter__(), loop).result(10)
        asyncio.run_coroutine_threadsafe(manager.__aexit__(None, None, None), loop).result(10)
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


async def _read(reader: asyncio.StreamReader) -> Request:
    head = (await reader.readuntil(b"\r\n\r\n")).decode()
    first, *lines = head.strip().split("\r\n")
    method, path, _ = first.split(" ")
    headers = {}
    for line in lines:
        name, _, value = line.partition(":")
        headers[name.lower()] = value.strip()
    body = await reader.readexactly(int(headers.get("content-length", 0)))
    return Request(method, path, headers, body)
