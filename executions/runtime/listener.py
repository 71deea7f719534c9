"""Hears bells and wake-ups that are published while a drain is running."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable

import structlog
from django.conf import settings
from redis import Redis
from redis.exceptions import RedisError

from executions.runtime import dispatch

log = structlog.get_logger(__name__)

LISTEN_SECONDS = 5.0
RETRY_SECONDS = 1.0


class Listener:
    """A thread on Redis' publish channels. What it misses, the lease and the clock catch up on.

    on_bell: hears the queue, and the execution that is ready, or 0. on_wake: executions by id.
    """

    def __init__(
        self, *, on_bell: Callable[[str, int], None], on_wake: Callable[[list[int]], None]
    ) -> None:
        self._on_bell = on_bell
        self._on_wake = on_wake
        self._bells = dispatch.bell_channel()
        self._wakes = dispatch.wake_channel()
        self._own = f"{self._wakes}:{uuid.uuid4()}"
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._work, name="listener", daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._stop.set()
        try:
            # The thread sits in a read; a message of its own gets it out at once.
            dispatch.client().publish(self._own, "")
        except (RedisError, OSError):
            log.debug("listener.closes_without_redis")
        self._thread.join(timeout=3)

    def _work(self) -> None:
        while not self._stop.is_set():
            try:
                self._listen()
            except (RedisError, OSError) as error:
                log.info("listener.redis_unreachable", error=str(error))
                self._stop.wait(RETRY_SECONDS)

    def _listen(self) -> None:
        redis = Redis.from_url(settings.REDIS_URL, socket_connect_timeout=1.0)
        pubsub = redis.pubsub(ignore_subscribe_messages=True)
        try:
            pubsub.subscribe(self._bells, self._wakes, self._own)
            while not self._stop.is_set():
                message = pubsub.get_message(timeout=LISTEN_SECONDS)
                if message is not None:
                    self._hear(message["channel"].decode(), message["data"].decode())
        finally:
            pubsub.close()
            redis.close()

    def _hear(self, channel: str, data: str) -> None:
        if channel == self._bells:
            said, _, queue = data.partition(":")
            self._on_bell(queue, int(said) if said.isdecimal() else 0)
        elif channel == self._wakes:
            self._on_wake([int(each) for each in data.split(",") if each.isdecimal()])
