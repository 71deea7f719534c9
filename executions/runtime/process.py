"""What one worker process has once: its lease, ledger, performer, listener and clock."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from functools import partial
from types import FrameType
from typing import Any

import psycopg2
import structlog
import uvloop
from django.conf import settings
from django.db import Error, connection

from executions.runtime.clock import Clock
from executions.runtime.drain import Drain
from executions.runtime.lease import Lease
from executions.runtime.ledger import Ledger, LedgerClosed
from executions.runtime.listener import Listener
from executions.runtime.matching import Woken
from executions.runtime.performer import Performer
from workflows.actions.net.client import close_expired, close_transport

log = structlog.get_logger(__name__)

RETRY_SECONDS = 1.0
TIDY_SECONDS = 2.0


class WorkerProcess:
    """Drains queues in this process, one drain at a time, on one event loop that stays."""

    def __init__(self, queues: list[str], *, with_clock: bool = True) -> None:
        self.pid = os.getpid()
        self.queues = queues
        self._loop = uvloop.new_event_loop()
        self._drain: Drain | None = None
        self._stopping = threading.Event()
        self._lost = threading.Event()
        self._performer = Performer()
        self._register()
        self._listener = Listener(on_bell=self._on_bell, on_wake=self._on_wake)
        self._clock = Clock() if with_clock else None
        if self._clock:
            self._clock.start()

    @property
    def needs_recycling(self) -> bool:
        """So many threads are stuck in actions that the process should be replaced."""
        return self._performer.needs_recycling

    @property
    def has_stuck_threads(self) -> bool:
        """Some are in actions that were given up and have not ended."""
        return self._performer.stuck_threads > 0

    def _register(self) -> None:
        self._lease = Lease(
            queues=self.queues,
            busy=self._busy,
            on_lost=self._on_lost,
            on_messages=self._on_wake,
        )
        self._ledger = Ledger(self._lease.worker_id, on_woken=self._on_woken)
        self._lost.clear()

    def _busy(self) -> int:
        # Asked on the lease's thread, while the loop's thread may be ending the drain.
        drain = self._drain
        return drain.held if drain is not None else 0

    def drain(self, queue: str, *, beat: Callable[[], None] = lambda: None) -> int:
        """Run what is ready in `queue`; answers how many executions were claimed."""
        if self._lost.is_set() and not self._register_again():
            return 0
        with self._stop_by_signal():
            return self._run(self._drain_queue(queue, beat))

    def _register_again(self) -> bool:
        """Become a new worker after the lease was lost; False if the database is away."""
        self._ledger.close()
        connection.close()
        try:
            self._register()
        except Error as error:
            log.warning("process.not_registered", error=str(error).strip())
            time.sleep(RETRY_SECONDS)
            return False
        return True

    async def _drain_queue(self, queue: str, beat: Callable[[], None]) -> int:
        drain = Drain(
            queue,
            ledger=self._ledger,
            performer=self._performer,
            must_stop=self._stopping.is_set,
            beat=beat,
        )
        self._drain = drain
        try:
            return await drain.run()
        finally:
            self._drain = None

    def _run(self, work: Coroutine[Any, Any, int]) -> int:
        return self._loop.run_until_complete(work)

    def tidy(self) -> None:
        """Between drains, now and then: what a loop that stands still leaves undone."""
        self._loop.run_until_complete(self._tidy())

    async def _tidy(self) -> None:
        await close_expired()
        try:
            # Not for long: whoever calls must hear of its end, also while the database is away.
            async with asyncio.timeout(TIDY_SECONDS):
                await self._ledger.release_strays()
        except (TimeoutError, LedgerClosed, psycopg2.Error, Error) as error:
            log.info("process.strays_not_released", error=str(error).strip())

    def stop(self) -> None:
        """Ask the drain to claim nothing more and to give back what it holds."""
        self._stopping.set()

    def close(self) -> None:
        """Give everything back and end all threads."""
        self.stop()
        if self._clock:
            self._clock.close()
        self._listener.close()
        self._ledger.close()
        self._lease.close()
        self._performer.close()
        self._loop.run_until_complete(close_transport())
        self._loop.close()

    @contextmanager
    def _stop_by_signal(self) -> Iterator[None]:
        """During a drain SIGTERM and SIGINT also set our flag; RQ's handlers are kept.

        `loop.add_signal_handler` would leave SIGTERM at its default afterwards.
        """
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        kept = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}

        def handler(number: int, frame: FrameType | None) -> None:
            self.stop()
            before = kept[signal.Signals(number)]
            if callable(before) and before is not signal.default_int_handler:
                before(number, frame)

        for number in kept:
            signal.signal(number, handler)
        try:
            yield
        finally:
            for number, before in kept.items():
                # RQ replaces its handlers while it stops; only ours is taken away.
                if signal.getsignal(number) is handler:
                    signal.signal(number, before)

    def _on_bell(self, queue: str, execution_id: int) -> None:
        drain = self._drain
        if drain is not None and drain.queue == queue:
            self._soon(partial(drain.ring, execution_id))

    def _on_wake(self, execution_ids: list[int]) -> None:
        drain = self._drain
        if drain is not None:
            self._soon(lambda: asyncio.ensure_future(drain.wake(execution_ids)))

    def _on_woken(self, woken: Woken) -> None:
        drain = self._drain
        if drain is not None and drain.queue in woken.queues:
            self._soon(drain.ring)
        # Redis may be slow; the ledger doesn't wait for it.
        self._soon(lambda: self._loop.run_in_executor(None, woken.tell))

    def _on_lost(self) -> None:
        self._lost.set()
        drain = self._drain
        if drain is not None:
            self._soon(drain.lose)

    def _soon(self, callback: Callable[[], Any]) -> None:
        try:
            self._loop.call_soon_threadsafe(callback)
        except RuntimeError:
            log.debug("process.loop_closed")


_process: WorkerProcess | None = None


def current() -> WorkerProcess:
    """This process's worker, made at the first call. A forked child gets its own."""
    global _process
    if _process is None or _process.pid != os.getpid():
        _process = WorkerProcess(list(settings.AUTOPILOT_QUEUES))
    return _process


def adopt(process: WorkerProcess) -> None:
    """Let jobs of this process use `process`."""
    global _process
    _process = process
