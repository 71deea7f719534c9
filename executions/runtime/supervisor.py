"""`manage.py worker`: RQ while Redis is there, direct drains while it is away."""

from __future__ import annotations

import os
import signal
import sys
import threading
from types import FrameType

import structlog
from django.conf import settings
from redis import Redis
from redis.exceptions import RedisError
from rq import Queue
from rq.serializers import JSONSerializer

from autopilot.common.memory import keep_what_is_loaded
from executions.runtime import dispatch
from executions.runtime.process import WorkerProcess, adopt
from executions.runtime.rq_workers import SupervisedWorker

log = structlog.get_logger(__name__)


class Supervisor:
    """Keeps one worker process at work until it is told to stop."""

    def __init__(self, queues: list[str], *, with_clock: bool = True) -> None:
        self._queues = queues
        self._stopping = threading.Event()
        self._process = WorkerProcess(queues, with_clock=with_clock)
        adopt(self._process)
        keep_what_is_loaded()

    def run(self, *, once: bool = False) -> None:
        """Until SIGTERM or SIGINT. once: drain each queue one time and return."""
        try:
            while not self._stopping.is_set():
                self._handle_signals()
                if once:
                    self._drain_directly()
                    break
                if dispatch.is_reachable():
                    self._work()
                else:
                    self._drain_directly()
                if self._process.needs_recycling:
                    log.warning("worker.recycles")
                    break
        finally:
            self._process.close()
        if self._process.needs_recycling and not self._stopping.is_set():
            # Threads that never end can't be stopped, only left behind with their process.
            os.execv(sys.executable, sys.orig_argv)  # noqa: S606 - the command that started us
        if self._process.has_stuck_threads:
            # Python would wait for them before it ends. All they had was given back above.
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(0)

    def _handle_signals(self) -> None:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._stop)

    def _stop(self, number: int, frame: FrameType | None) -> None:
        self._stopping.set()
        self._process.stop()

    def _work(self) -> None:
        """RQ's loop, until it is asked to stop or Redis goes away."""
        redis = Redis.from_url(settings.REDIS_URL)
        worker = SupervisedWorker(
            [Queue(name, connection=redis, serializer=JSONSerializer) for name in self._queues],
            connection=redis,
            serializer=JSONSerializer,
        )
        # Work that was accepted before anybody listened has no bell.
        for queue in self._queues:
            dispatch.ring(queue)
        try:
            worker.work(logging_level="WARNING")
        except (RedisError, OSError) as error:
            log.warning("worker.redis_lost", error=str(error))
        if worker.was_asked_to_stop:
            self._stopping.set()

    def _drain_directly(self) -> None:
        for queue in self._queues:
            if not self._stopping.is_set():
                self._process.drain(queue)
