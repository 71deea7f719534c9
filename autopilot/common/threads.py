"""A WSGI application inside an ASGI server, on threads that stay; event streams beside it.

Django gives every thread that asks a database connection of its own and keeps it for the next
request of that thread. So requests run on a fixed number of threads, as they do in a server of
threads, and not on one that is made for each: otherwise connections leak, or are made each time.

A request goes to a thread when its body has arrived, and comes back when its answer is complete:
two changes between loop and thread for each, however many parts the answer has. Slow clients wait
in the loop and hold no thread. An answer that is an event stream leaves its thread at once, and the
loop goes on with it.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sys
import threading
from collections.abc import Awaitable, Callable, Iterable, Iterator, MutableMapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from io import BytesIO
from types import FrameType
from typing import Any
from urllib.parse import unquote_to_bytes

from autopilot.common.streams import HEARTBEAT_SECONDS, STALL_SECONDS, EventStream, Source

Message = MutableMapping[str, Any]
Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Wsgi = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]

# What a thread hands to the loop at once, of an answer that is made bit by bit.
PIECE_BYTES = 256 * 1024


class ClientGone(Exception):
    """The client has gone away in the middle of its answer."""


class OnThreads:
    """The ASGI application: `wsgi` on `threads` threads.

    max_body: in bytes. Of a longer body no more than this is read; the application, which has the
    same limit and sees the length, says so.
    """

    def __init__(self, wsgi: Wsgi, *, threads: int, max_body: int) -> None:
        self._wsgi = wsgi
        self._max_body = max_body
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="web")
        self._streams: set[Source] = set()
        self._is_ending = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            await self._answer(scope, receive, send)
        elif scope["type"] == "lifespan":
            await self._live(receive, send)
        else:
            await send({"type": "websocket.close", "code": 1000})

    def end_streams(self) -> None:
        """End every stream now: their clients come back, to another process. Never raises."""
        self._is_ending = True
        for source in list(self._streams):
            source.stop()

    async def _live(self, receive: Receive, send: Send) -> None:
        await receive()
        # The server waits for every answer before it says that it shuts down, and a stream has no
        # end: so the streams have to hear of the signal themselves. Not inside of the handler,
        # which may have interrupted whoever holds a lock of theirs.
        loop = asyncio.get_running_loop()
        _also_on_stop(partial(loop.call_soon_threadsafe, self.end_streams))
        await send({"type": "lifespan.startup.complete"})
        await receive()
        self._threads.shutdown(wait=False)
        await send({"type": "lifespan.shutdown.complete"})

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        body = await _body(scope, receive, self._max_body)
        if body is None:
            return
        loop = asyncio.get_running_loop()
        exchange = _Exchange(self._wsgi, _environ(scope, body), loop, receive, send)
        try:
            await loop.run_in_executor(self._threads, exchange.run)
        except ClientGone:
            return
        if exchange.stream is not None:
            await self._stream(exchange, receive, send)
        elif not exchange.is_sent:
            await send(exchange.start)
            await send({"type": "http.response.body", "body": exchange.body})

    async def _stream(self, exchange: _Exchange, receive: Receive, send: Send) -> None:
        """Send what the source has until it ends, the client goes or takes nothing."""
        source = exchange.stream
        assert source is not None
        if exchange.is_head:
            source.close()
        self._streams.add(source)
        if self._is_ending:
            source.stop()
        try:
            await send(exchange.start)
            if await _Pump(source, receive, send).run():
                await send({"type": "http.response.body", "body": b""})
            else:
                _abort(send)
        finally:
            self._streams.discard(source)
            source.close()


class _Pump:
    """Carries one stream from its source to its client, on the loop."""

    def __init__(self, source: Source, receive: Receive, send: Send) -> None:
        self._source = source
        self._receive = receive
        self._send = send
        self._loop = asyncio.get_running_loop()
        self._news = asyncio.Event()
        self._writer: asyncio.Task[bool] | None = None

    async def run(self) -> bool:
        """Whether the stream has come to its end; False if the client was given up or has gone."""
        self._source.attach(self._wake)
        writer = self._writer = self._loop.create_task(self._write())
        listener = self._loop.create_task(_disconnected(self._receive))
        try:
            await asyncio.wait({writer, listener}, return_when=asyncio.FIRST_COMPLETED)
            return writer.done() and not writer.cancelled() and writer.result()
        finally:
            for task in (writer, listener):
                task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await writer

    def _wake(self) -> None:
        # The loop may have been closed while the source was about to call.
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._hear)

    def _hear(self) -> None:
        self._news.set()
        if self._source.is_dropped and self._writer is not None:
            self._writer.cancel()

    async def _write(self) -> bool:
        last = self._loop.time()
        while True:
            self._news.clear()
            piece = self._source.take()
            if piece is None:
                return True
            if not piece:
                left = HEARTBEAT_SECONDS - (self._loop.time() - last)
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(max(0.0, min(left, self._source.patience()))):
                        await self._news.wait()
                        continue
                if self._loop.time() - last < HEARTBEAT_SECONDS:
                    continue
                piece = self._source.heartbeat()
            try:
                async with asyncio.timeout(STALL_SECONDS):
                    message = {"type": "http.response.body", "body": piece, "more_body": True}
                    await self._send(message)
            except TimeoutError:
                return False
            last = self._loop.time()


class _Exchange:
    """One request and its answer, as far as they happen on a thread."""

    def __init__(
        self,
        wsgi: Wsgi,
        environ: dict[str, Any],
        loop: asyncio.AbstractEventLoop,
        receive: Receive,
        send: Send,
    ) -> None:
        self._wsgi = wsgi
        self._environ = environ
        self._loop = loop
        self._receive = receive
        self._send = send
        self.is_head = environ["REQUEST_METHOD"] == "HEAD"
        self.is_gone = False
        self.is_sent = False
        self.start: Message = {}
        self.body = b""
        self.stream: Source | None = None

    def run(self) -> None:
        """Raises ClientGone."""
        answer = self._wsgi(self._environ, self._start_response)
        try:
            if isinstance(answer, EventStream):
                self.stream = answer.detach()
            else:
                self._read(iter(answer))
        finally:
            close = getattr(answer, "close", None)
            if close is not None:
                close()

    def _read(self, answer: Iterator[bytes]) -> None:
        piece, is_last = _piece(answer)
        if is_last:
            # Nearly every answer: the loop sends it, and the thread is free already.
            self.body = piece
            return
        self.is_sent = True
        watch = asyncio.run_coroutine_threadsafe(_until_gone(self._receive, self), self._loop)
        try:
            self._hand_over(self.start)
            while not is_last:
                self._hand_over({"type": "http.response.body", "body": piece, "more_body": True})
                piece, is_last = _piece(answer)
            self._hand_over({"type": "http.response.body", "body": piece})
        finally:
            watch.cancel()

    def _hand_over(self, message: Message) -> None:
        if self.is_gone:
            raise ClientGone
        asyncio.run_coroutine_threadsafe(_sent(self._send, message), self._loop).result()

    def _start_response(
        self, status: str, headers: list[tuple[str, str]], exc_info: Any = None
    ) -> Callable[[bytes], None]:
        self.start = {
            "type": "http.response.start",
            "status": int(status.split(" ", 1)[0]),
            "headers": [(n.lower().encode("latin1"), v.encode("latin1")) for n, v in headers],
        }
        return _no_write


def _no_write(data: bytes) -> None:
    # PEP 3333 wants it for old frameworks. Ours never calls it; an answer lost without a word
    # would be worse than an error.
    raise NotImplementedError("Django answers with what it returns, not by write().")


async def _sent(send: Send, message: Message) -> None:
    await send(message)


def _piece(answer: Iterator[bytes]) -> tuple[bytes, bool]:
    """The next piece of an answer, and whether it is the last."""
    parts: list[bytes] = []
    size = 0
    for part in answer:
        parts.append(part)
        size += len(part)
        if size >= PIECE_BYTES:
            return b"".join(parts), False
    return (parts[0] if len(parts) == 1 else b"".join(parts)), True


async def _body(scope: Scope, receive: Receive, limit: int) -> bytes | None:
    """The whole body; None if the client has gone. Of one that is too long, no more than that."""
    for name, value in scope["headers"]:
        if name == b"content-length" and value.isdigit() and int(value) > limit:
            return b""
    parts: list[bytes] = []
    size = 0
    while size <= limit:
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        part = message.get("body", b"")
        parts.append(part)
        size += len(part)
        if not message.get("more_body", False):
            break
    return parts[0] if len(parts) == 1 else b"".join(parts)


def _environ(scope: Scope, body: bytes) -> dict[str, Any]:
    server = scope.get("server") or ("localhost", 80)
    environ: dict[str, Any] = {
        "REQUEST_METHOD": scope["method"],
        "SCRIPT_NAME": "",
        # As it was sent: decoded twice, a path would lose the bytes that are no UTF-8.
        "PATH_INFO": unquote_to_bytes(scope["raw_path"]).decode("latin1"),
        "QUERY_STRING": scope["query_string"].decode("latin1"),
        "SERVER_PROTOCOL": f"HTTP/{scope['http_version']}",
        "SERVER_NAME": server[0],
        "SERVER_PORT": str(server[1] or 0),
        "CONTENT_LENGTH": str(len(body)),
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": scope["scheme"],
        "wsgi.input": BytesIO(body),
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": True,
        "wsgi.multiprocess": True,
        "wsgi.run_once": False,
    }
    if client := scope.get("client"):
        environ["REMOTE_ADDR"], environ["REMOTE_PORT"] = client[0], str(client[1])
    for raw, value in scope["headers"]:
        name, text = raw.decode("latin1"), value.decode("latin1")
        # X_Forwarded_For would become the same name as X-Forwarded-For, which a proxy guards.
        if "_" in name:
            continue
        key = name.upper().replace("-", "_")
        if key == "CONTENT_LENGTH":
            environ[key] = text
            continue
        if key != "CONTENT_TYPE":
            key = f"HTTP_{key}"
        if key in environ:
            text = environ[key] + ("; " if key == "HTTP_COOKIE" else ",") + text
        environ[key] = text
    return environ


async def _until_gone(receive: Receive, exchange: _Exchange) -> None:
    await _disconnected(receive)
    exchange.is_gone = True


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def _abort(send: Send) -> None:
    """Cut the connection. Closing would first wait for a client that reads nothing."""
    transport = getattr(getattr(send, "__self__", None), "transport", None)
    if transport is not None:
        transport.abort()


def _also_on_stop(stop: Callable[[], object]) -> None:
    """Have `stop` called when the process is asked to end, before what is done already."""
    if threading.current_thread() is not threading.main_thread():
        return
    for number in (signal.SIGTERM, signal.SIGINT):
        before = signal.getsignal(number)
        if callable(before):
            signal.signal(number, _both(stop, before))


def _both(
    stop: Callable[[], object], before: Callable[[int, FrameType | None], Any]
) -> Callable[[int, FrameType | None], None]:
    def handler(number: int, frame: FrameType | None) -> None:
        stop()
        before(number, frame)

    return handler
