"""Telling workers that there is work: RQ jobs that carry nothing, and publishes. Knows RQ.

The work is a row; a bell only says "look". So a bell may be lost, doubled or late, and none of that
loses work: the clock rings again for what nobody was told about. Redis being down or slow must not
slow down whoever starts an execution: timeouts are short, and after a failure nothing is tried for
a moment.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable
from functools import lru_cache

import structlog
from django.conf import settings
from django.db import connection
from redis import Redis
from redis.exceptions import RedisError
from rq import Queue
from rq.serializers import JSONSerializer

from executions.runtime.faults import fault

log = structlog.get_logger(__name__)

JOB = "executions.runtime.jobs.drain"
TIMEOUT_SECONDS = 0.5
# A waiting bell starts after now and will see the row, so a few per queue wake every idle worker.
ENOUGH_BELLS = 4
SILENCE_SECONDS = 2.0
FAILURE_TTL_SECONDS = 3600

_silent_until = 0.0
_lock = threading.Lock()


@lru_cache(maxsize=1)
def _client(url: str) -> Redis:
    return Redis.from_url(
        url, socket_timeout=TIMEOUT_SECONDS, socket_connect_timeout=TIMEOUT_SECONDS
    )


def client() -> Redis:
    """A client that gives up after half a second."""
    return _client(settings.REDIS_URL)


def bell_channel() -> str:
    """Where running drains hear that a queue has work. Channels know no database numbers."""
    return f"autopilotcx:{connection.settings_dict['NAME']}:bell"


def wake_channel() -> str:
    """Where owners hear that one of their executions has a message."""
    return f"autopilotcx:{connection.settings_dict['NAME']}:wake"


def ring(queue: str, execution_id: int = 0) -> None:
    """Say that `queue` has something ready. To be called after the commit; never raises.

    execution_id: what it is, if it is one execution.
    """
    fault("dispatch.before_ring")
    if time.monotonic() < _silent_until:
        return
    try:
        redis = client()
        # Drains that run hear it first; whether a job is needed is asked in the same round trip.
        pipe = redis.pipeline(transaction=False)
        pipe.publish(bell_channel(), f"{execution_id}:{queue}")
        pipe.llen(f"{Queue.redis_queue_namespace_prefix}{queue}")
        _, waiting = pipe.execute()
        if waiting < ENOUGH_BELLS:
            bells = Queue(queue, connection=redis, serializer=JSONSerializer)
            bells.enqueue_call(
                JOB, args=(queue,), timeout=-1, result_ttl=0, failure_ttl=FAILURE_TTL_SECONDS
            )
    except (RedisError, OSError) as error:
        _be_silent(error)


def wake(execution_ids: Iterable[int]) -> None:
    """Say to the owners of these executions that there is a message. Never raises."""
    fault("dispatch.before_wake")
    if time.monotonic() < _silent_until:
        return
    try:
        client().publish(wake_channel(), ",".join(str(each) for each in execution_ids))
    except (RedisError, OSError) as error:
        _be_silent(error)


def failed_bells(queue: str) -> int:
    """How many jobs of this queue have failed and are still kept. Raises RedisError, OSError."""
    bells = Queue(queue, connection=client(), serializer=JSONSerializer)
    return len(bells.failed_job_registry)


def is_reachable() -> bool:
    """Whether Redis answers within the timeout."""
    try:
        client().ping()
    except (RedisError, OSError):
        return False
    return True


def _be_silent(error: Exception) -> None:
    global _silent_until
    with _lock:
        _silent_until = time.monotonic() + SILENCE_SECONDS
    log.warning("dispatch.redis_unreachable", error=str(error))
