"""The outside service: counts every call by its idempotency key, and forgets none of them.

    python -m benchmarks.chaos.service FILE

It says its port and serves until its standard input ends. Every call is a line of FILE before it is
answered, as JSON: `key`, `attempt` (0 = the caller doesn't say), `pid` (0 likewise), `at` (seconds
of the system's clock). `POST /token` is such a call too; `GET /tokens` hands the tokens out, once.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from pathlib import Path
from typing import Any, TextIO

BACKLOG = 2048


class Service:
    """What one process has been asked."""

    def __init__(self, file: TextIO) -> None:
        self._file = file
        self._tokens: list[dict[str, Any]] = []

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Every request of one connection."""
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                request, *lines = head.decode().split("\r\n")
                headers = dict(line.lower().split(": ", 1) for line in lines if line)
                body = await reader.readexactly(int(headers.get("content-length", 0)))
                status, content = await self._handle(request.split()[1], headers, body)
                writer.write(
                    f"HTTP/1.1 {status} -\r\ncontent-type: application/json\r\n"
                    f"content-length: {len(content)}\r\n\r\n".encode()
                    + content
                )
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    async def _handle(self, path: str, headers: dict[str, str], body: bytes) -> tuple[int, bytes]:
        if path == "/tokens":
            handed, self._tokens = self._tokens, []
            return 200, json.dumps(handed).encode()
        attempt = int(headers.get("x-attempt", 0))
        entry = {
            "key": headers["idempotency-key"],
            "attempt": attempt,
            "pid": int(headers.get("x-pid", 0)),
            "at": time.time(),
        }
        self._file.write(json.dumps(entry) + "\n")
        self._file.flush()
        asked = json.loads(body or b"{}")
        if path == "/token":
            self._tokens.append(asked)
        if seconds := asked.get("seconds"):
            await asyncio.sleep(seconds)
        return (503 if attempt and attempt <= asked.get("fail", 0) else 200), b"{}"


async def _serve(file: TextIO) -> None:
    service = Service(file)
    server = await asyncio.start_server(service.answer, "127.0.0.1", 0, backlog=BACKLOG)
    print(server.sockets[0].getsockname()[1], flush=True)
    await asyncio.to_thread(sys.stdin.read)
    server.close()


if __name__ == "__main__":
    with Path(sys.argv[1]).open("a") as calls:
        asyncio.run(_serve(calls))
