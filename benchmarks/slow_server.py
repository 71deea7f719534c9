"""The outside service of W6: answers every request a second later, and counts them.

    python -m benchmarks.slow_server [ADDRESS]

It says its port, and when its standard input ends, how many requests it has answered.
"""

from __future__ import annotations

import asyncio
import sys

SECONDS = 1.0
ANSWER = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 11\r\n\r\n" + (
    b'{"ok":true}'
)


async def _serve(host: str) -> int:
    answered = 0

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal answered
        try:
            while await reader.readuntil(b"\r\n\r\n"):
                await asyncio.sleep(SECONDS)
                writer.write(ANSWER)
                await writer.drain()
                answered += 1
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(answer, host, 0, backlog=1024)
    print(server.sockets[0].getsockname()[1], flush=True)
    await asyncio.to_thread(sys.stdin.read)
    server.close()
    return answered


if __name__ == "__main__":
    print(asyncio.run(_serve(*sys.argv[1:] or ["127.0.0.1"])), flush=True)
