"""WSGI inside ASGI, without a server: what goes to threads, what comes back, and in which parts."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.http import HttpResponse

from autopilot.common import streams, threads
from autopilot.common.streams import EventStream
from autopilot.common.threads import OnThreads

HEADERS = [(b"host", b"localhost")]


class Client:
    """One request's ASGI side: what it sends, and what it was answered."""

    def __init__(self, *parts: bytes, method: str = "POST", headers: Any = (), path: bytes = b"/"):
        self.scope = {
            "type": "http",
            "method": method,
            "raw_path": path,
            "query_string": b"a=%20",
            "http_version": "1.1",
            "scheme": "http",
            "server": ("127.0.0.1", 80),
            "client": ("10.0.0.7", 1234),
            "headers": [*HEADERS, *headers],
        }
        self.parts = list(parts) or [b""]
        self.taken = 0
        self.messages: list[dict[str, Any]] = []
        self.gone = asyncio.Event()
        self.blocks = asyncio.Event()
        self.blocks.set()

    async def receive(self) -> dict[str, Any]:
        if self.parts:
            self.taken += 1
            part = self.parts.pop(0)
            return {"type": "http.request", "body": part, "more_body": bool(self.parts)}
        await self.gone.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: dict[str, Any]) -> None:
        await self.blocks.wait()
        self.messages.append(dict(message))

    async def of(self, app: OnThreads) -> Client:
        await asyncio.wait_for(app(self.scope, self.receive, self.send), 10)
        return self

    @property
    def status(self) -> int:
        return int(self.messages[0]["status"])

    @property
    def body(self) -> bytes:
        return b"".join(each.get("body", b"") for each in self.messages[1:])


def app_of(wsgi: Callable[..., Any], *, threads: int = 2, max_body: int = 1_000) -> OnThreads:
    return OnThreads(wsgi, threads=threads, max_body=max_body)


def echo(environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
    start_response("200 OK", [("Content-Type", "text/plain"), ("X-Thing", "1")])
    body = environ["wsgi.input"].read()
    names = ("REQUEST_METHOD", "PATH_INFO", "QUERY_STRING", "REMOTE_ADDR", "CONTENT_LENGTH")
    return [repr([environ[name] for name in names]).encode(), b"|", body]


def test_a_request_goes_to_a_thread_whole_and_comes_back_whole():
    async def work() -> Client:
        return await Client(b"ab", b"cd", path=b"/%C3%BC/%2F").of(app_of(echo))

    client = asyncio.run(work())
    types = [each["type"] for each in client.messages]
    assert types == ["http.response.start", "http.response.body"]
    assert client.messages[0]["headers"] == [(b"content-type", b"text/plain"), (b"x-thing", b"1")]
    expected = ["POST", "/\u00c3\u00bc//", "a=%20", "10.0.0.7", "4"]
    assert client.body == repr(expected).encode() + b"|abcd"


def test_threads_stay():
    seen: list[str] = []

    def wsgi(environ: Any, start_response: Any) -> list[bytes]:
        start_response("204 No Content", [])
        seen.append(threading.current_thread().name)
        return []

    async def work() -> None:
        app = app_of(wsgi, threads=2)
        for _ in range(5):
            await asyncio.gather(*(Client().of(app) for _ in range(10)))

    asyncio.run(work())
    assert len(seen) == 50
    assert set(seen) <= {"web_0", "web_1"}


def test_of_a_body_that_is_too_long_no_more_is_read_than_that():
    async def work() -> tuple[Client, Client]:
        told = Client(b"x" * 2_000, headers=[(b"content-length", b"2000")])
        untold = Client(*[b"x" * 400] * 5)
        app = app_of(echo)
        return await told.of(app), await untold.of(app)

    told, untold = asyncio.run(work())
    assert told.taken == 0
    assert told.body == b"['POST', '/', 'a=%20', '10.0.0.7', '2000']|"
    # The application sees that it is longer than it may be, and says so.
    assert untold.taken == 3
    assert b"'1200'" in untold.body


def test_whoever_goes_while_sending_is_not_answered():
    async def work() -> Client:
        client = Client(b"a", b"b")

        async def receive() -> dict[str, Any]:
            return {"type": "http.disconnect"}

        client.receive = receive  # type: ignore[method-assign]
        return await client.of(app_of(echo))

    assert asyncio.run(work()).messages == []


def test_names_with_underscores_are_nobodys_and_repeated_ones_are_joined():
    def wsgi(environ: Any, start_response: Any) -> list[bytes]:
        start_response("200 OK", [])
        return [f"{environ['HTTP_X_A']}|{environ['HTTP_COOKIE']}".encode()]

    headers = [
        *[(b"x_a", b"forged"), (b"x-a", b"1"), (b"x-a", b"2")],
        *[(b"cookie", b"a=1"), (b"cookie", b"b=2")],
    ]

    async def work() -> Client:
        return await Client(headers=headers).of(app_of(wsgi))

    assert asyncio.run(work()).body == b"1,2|a=1; b=2"


def test_a_long_answer_goes_in_pieces_and_ends_when_its_client_goes(
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setattr(threads, "PIECE_BYTES", 10)
    made: list[int] = []
    closed = threading.Event()

    class Answer:
        def __iter__(self) -> Iterator[bytes]:
            for number in range(1_000):
                made.append(number)
                yield b"12345"

        def close(self) -> None:
            closed.set()

    def wsgi(environ: Any, start_response: Any) -> Answer:
        start_response("200 OK", [])
        return Answer()

    async def work() -> Client:
        client = Client()
        sent = client.send

        async def send(message: dict[str, Any]) -> None:
            await sent(message)
            if len(client.messages) == 4:
                client.gone.set()
                await asyncio.sleep(0)

        client.send = send  # type: ignore[method-assign]
        return await client.of(app_of(wsgi))

    client = asyncio.run(work())
    assert client.messages[1] == {
        "type": "http.response.body",
        "body": b"1234512345",
        "more_body": True,
    }
    assert closed.wait(10)
    assert len(made) < 100


class Fake:
    """A source that is told what to give."""

    def __init__(self) -> None:
        self.pieces: list[bytes | None] = []
        self.wake: Callable[[], None] = lambda: None
        self.is_dropped = False
        self.is_closed = self.is_stopped = False
        self.attached = threading.Event()

    def attach(self, wake: Callable[[], None]) -> None:
        self.wake = wake
        self.attached.set()

    def give(self, piece: bytes | None) -> None:
        self.pieces.append(piece)
        self.wake()

    def take(self) -> bytes | None:
        if self.is_stopped:
            return None
        return self.pieces.pop(0) if self.pieces else b""

    def heartbeat(self) -> bytes:
        return b": beat\n\n"

    def patience(self) -> float:
        return 60.0

    def stop(self) -> None:
        self.is_stopped = True
        self.wake()

    def close(self) -> None:
        self.is_closed = True


def streaming(source: Fake) -> Callable[..., Any]:
    def wsgi(environ: Any, start_response: Any) -> EventStream:
        answer = EventStream(source)
        start_response("200 OK", list(answer.items()))
        return answer

    return wsgi


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.001)


def test_a_stream_leaves_its_thread_and_beats_when_silent(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(threads, "HEARTBEAT_SECONDS", 0.05)
    source = Fake()

    def wsgi(environ: Any, start_response: Any) -> Any:
        if environ["REQUEST_METHOD"] == "GET":
            return streaming(source)(environ, start_response)
        response = HttpResponse(b"free")
        start_response("200 OK", [])
        return response

    async def work() -> Client:
        app = app_of(wsgi, threads=1)
        client = Client(method="GET")
        task = asyncio.create_task(client.of(app))
        await until(source.attached.is_set)
        # The only thread is free for others.
        assert (await Client().of(app)).body == b"free"
        source.give(b"data: 1\n\n")
        await until(lambda: client.body.endswith(b": beat\n\n"))
        source.give(None)
        return await task

    client = asyncio.run(work())
    assert dict(client.messages[0]["headers"])[b"content-type"].startswith(b"text/event-stream")
    assert client.body.startswith(b"data: 1\n\n: beat\n\n")
    assert client.messages[-1].get("more_body", False) is False
    assert source.is_closed


@pytest.mark.parametrize("how", ["gone", "dropped", "stalled", "stopped"])
def test_a_stream_ends(how: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(threads, "STALL_SECONDS", 0.05 if how == "stalled" else 60.0)
    source = Fake()

    async def work() -> None:
        app = app_of(streaming(source))
        client = Client(method="GET")
        task = asyncio.create_task(client.of(app))
        await until(source.attached.is_set)
        if how == "gone":
            client.gone.set()
        elif how == "stopped":
            app.end_streams()
        else:
            client.blocks.clear()
            source.give(b"data: 1\n\n")
            if how == "dropped":
                source.is_dropped = True
                source.wake()
        await task
        ended = client.messages[-1].get("more_body") is None and len(client.messages) > 1
        assert ended == (how == "stopped")

    asyncio.run(work())
    assert source.is_closed


def test_a_stream_on_a_server_of_threads_is_an_iterator(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(streams, "HEARTBEAT_SECONDS", 0.02)
    source = Fake()
    source.pieces = [b"data: 1\n\n", b"", None]
    response = EventStream(source)
    assert list(response) == [b"data: 1\n\n", b": beat\n\n"]
    response.close()
    assert source.is_closed
