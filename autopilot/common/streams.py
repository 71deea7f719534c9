"""Answers that go on: server-sent events, whoever makes them and whatever server sends them.

What an event stream is made of comes from a `Source`. A server that can (`threads.OnThreads`)
takes the source out of the response and gives the thread back; any other iterates over the
response, and the thread is taken for as long as the stream lasts.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Protocol

from django.http import StreamingHttpResponse

# A sign of life at least so often: proxies cut what is silent for longer (most after a minute).
HEARTBEAT_SECONDS = 15.0
# A client that takes nothing for so long is gone or stuck.
STALL_SECONDS = 30.0
# How long a browser waits before it comes back.
RETRY_MILLISECONDS = 2_000


class Source(Protocol):
    """Where the text of one stream comes from. All of it may be called from any thread."""

    def attach(self, wake: Callable[[], None]) -> None:
        """Have `wake` called, on any thread, whenever there is something to take."""

    def take(self) -> bytes | None:
        """Everything there is to send now, perhaps nothing; None once it has ended."""

    def heartbeat(self) -> bytes:
        """What is sent when nothing else was for a while."""

    @property
    def is_dropped(self) -> bool:
        """Whether the client is too slow to be waited for any longer."""

    def patience(self) -> float:
        """Seconds until `take` is to be called again although nothing woke anybody."""

    def stop(self) -> None:
        """The server ends: say so to the client, after what is to be taken still."""

    def close(self) -> None:
        """Nobody listens any more."""


def event(data: str, *, name: str = "", event_id: str = "") -> bytes:
    """One server-sent event. data: one line or several; without any, only the id counts."""
    lines = [f"id: {event_id}"] if event_id else []
    if name:
        lines.append(f"event: {name}")
    if data:
        lines += [f"data: {line}" for line in data.split("\n")]
    return ("\n".join(lines) + "\n\n").encode()


class EventStream(StreamingHttpResponse):
    """The response that an event stream begins with."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self._is_detached = False
        super().__init__(self._on_this_thread(), content_type="text/event-stream; charset=utf-8")
        # Neither kept nor gathered by anything on the way.
        self["Cache-Control"] = "no-cache, no-store, no-transform"
        self["X-Accel-Buffering"] = "no"

    def detach(self) -> Source:
        """The source, to be closed by whoever takes it from now on."""
        self._is_detached = True
        return self.source

    def close(self) -> None:
        if not self._is_detached:
            self.source.close()
        super().close()

    def _on_this_thread(self) -> Iterator[bytes]:
        news = threading.Event()
        source = self.source
        source.attach(news.set)
        silent = 0.0
        while True:
            news.clear()
            piece = source.take()
            if piece is None:
                return
            if piece:
                silent = 0.0
                yield piece
                continue
            wait = min(source.patience(), HEARTBEAT_SECONDS - silent)
            if not news.wait(wait):
                silent += wait
            if silent >= HEARTBEAT_SECONDS:
                silent = 0.0
                yield source.heartbeat()
