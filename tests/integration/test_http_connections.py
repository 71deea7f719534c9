"""Connections of HTTP calls: shared while they are good, gone when they are not."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.integration.test_http_hostile import LOCAL, call, drip
from tests.outside import Request, fixed, routes, serving
from workflows.actions.base import BuiltinError
from workflows.actions.net import client
from workflows.actions.net.client import transport, transport_with
from workflows.actions.net.guard import Guard


def test_many_timeouts_leave_no_connection_behind() -> None:
    async def main() -> None:
        app = routes(slow=drip(b"HTTP/1.1 200 OK\r\n\r\n", b"x"), fine=fixed(b"fine"))
        async with serving(app) as server, transport_with(Guard(LOCAL)) as http:
            calls = [call(url=f"{server.url}/slow", timeout=0.2) for _ in range(250)]
            results = await asyncio.gather(*calls, return_exceptions=True)
            assert {getattr(each, "code", each) for each in results} == {"http.timeout"}
            assert http.connections == 0
            assert (await call(url=f"{server.url}/fine"))["text"] == "fine"

    asyncio.run(main())


def test_a_cancelled_call_lets_its_connection_go() -> None:
    async def main() -> None:
        async with serving(drip(b"", b"")) as server, transport_with(Guard(LOCAL)):
            task = asyncio.create_task(call(url=server.url))
            while not server.requests:
                await asyncio.sleep(0)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert transport().connections == 0

    asyncio.run(main())


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_no_socket_stays_open_after_a_timeout(scheme: str) -> None:
    def sockets() -> int:
        return sum("socket:" in link for link in map(read_link, Path("/proc/self/fd").iterdir()))

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    async def main() -> tuple[int, int]:
        listener = await asyncio.start_server(silent, "127.0.0.1", 0)
        port = listener.sockets[0].getsockname()[1]
        before = sockets()
        async with listener, transport_with(Guard(LOCAL)):
            calls = [call(url=f"{scheme}://127.0.0.1:{port}/", timeout=0.2) for _ in range(20)]
            results = await asyncio.gather(*calls, return_exceptions=True)
            assert all(isinstance(each, BuiltinError) for each in results)
            # The server's ends close once it has read that ours have.
            while sockets() > before and (await asyncio.sleep(0.01)) is None:
                if not any(task for task in asyncio.all_tasks() - {asyncio.current_task()}):
                    break
            return before, sockets()

    before, after = asyncio.run(main())
    assert after == before


def read_link(path: Path) -> str:
    try:
        return str(path.readlink())
    except OSError:
        return ""


def test_a_connection_that_the_server_closed_is_not_used_again() -> None:
    async def once(request: Request, writer: asyncio.StreamWriter) -> None:
        await fixed(b"once")(request, writer)
        writer.close()

    async def main() -> tuple[list[str], int]:
        async with serving(once) as server, transport_with(Guard(LOCAL)) as http:
            texts = []
            for _ in range(3):
                texts.append((await call(url=server.url, method="POST"))["text"])
                # Until our end has heard of it.
                idle = next(iter(http._idle.values()))
                while not idle[0].has_expired():
                    await asyncio.sleep(0)
            return texts, server.connections

    assert asyncio.run(main()) == (["once"] * 3, 3)


def test_what_idles_too_long_is_closed_though_nobody_calls_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(client, "IDLE_SECONDS", 0.05)
    monkeypatch.setattr(client, "LOOK_SECONDS", 0.01)

    async def main() -> None:
        async with serving(fixed(b"fine")) as server, transport_with(Guard(LOCAL)) as http:
            await asyncio.gather(*(call(url=server.url) for _ in range(3)))
            assert http.connections == 3
            async with asyncio.timeout(5):
                while http.connections:
                    await asyncio.sleep(0.01)

    asyncio.run(main())


def test_a_connection_goes_to_one_call_only_whatever_is_closed_meanwhile(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def main() -> None:
        async with serving(fixed(b"fine")) as server, transport_with(Guard(LOCAL)) as http:
            await asyncio.gather(*(call(url=server.url) for _ in range(3)))
            ((key, idle),) = http._idle.items()
            left = set(idle[:2])
            is_closing, may_go_on = asyncio.Event(), asyncio.Event()

            async def close_slowly() -> None:
                is_closing.set()
                await may_go_on.wait()

            gone = idle[2]
            monkeypatch.setattr(gone, "has_expired", lambda: True)
            monkeypatch.setattr(gone, "aclose", close_slowly)
            http._next_look = float("inf")
            taking = asyncio.create_task(http._connection(key, gone._origin))
            await is_closing.wait()
            http._next_look = 0.0
            await http.close_expired()
            may_go_on.set()
            taken = {await taking, await http._connection(key, gone._origin)}
            assert taken == left

    asyncio.run(main())


def test_requests_beyond_the_limit_wait_for_their_turn() -> None:
    async def main() -> tuple[set[str], int]:
        async with serving(fixed(b"fine")) as server, transport_with(Guard(LOCAL), limit=2):
            calls = [call(url=server.url) for _ in range(20)]
            return {each["text"] for each in await asyncio.gather(*calls)}, server.connections

    assert asyncio.run(main()) == ({"fine"}, 2)
