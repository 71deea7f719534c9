"""The one RQ job: a bell. It carries the name of a queue and nothing else."""

from __future__ import annotations

import structlog
from redis.exceptions import RedisError
from rq import get_current_job

from executions.runtime.process import current

log = structlog.get_logger(__name__)


def drain(queue: str) -> None:
    """Run what is ready in `queue`. May run twice, or for nothing."""
    current().drain(queue, beat=_beat)


def _beat() -> None:
    """Tell RQ that a long drain is alive."""
    job = get_current_job()
    if job is None or job.worker_name is None:
        return
    try:
        job.connection.expire(f"rq:worker:{job.worker_name}", 480)
    except (RedisError, OSError) as error:
        log.info("jobs.beat_failed", error=str(error))
