"""Redis: does it answer, has it room, did bells fail?"""

from __future__ import annotations

from collections.abc import Iterator

from django.conf import settings
from redis.exceptions import RedisError

from autopilot.common.words import plural
from executions.runtime import dispatch
from monitoring.checks.base import Check, ok, warning

FULL = 0.9


def redis() -> Iterator[Check]:
    """Redis holds what may vanish, so that nothing of it is worse than a warning."""
    try:
        info = dispatch.client().info("memory")
        yield ok("redis.answers", "Redis answers.")
        yield _memory(info)
        yield _bells()
    except (RedisError, OSError) as error:
        yield warning(
            "redis.answers",
            f"Redis does not answer: {error}",
            "Start it, or check REDIS_URL. Nothing is lost: starts are accepted, and workers look "
            "for work by themselves, a little later than else.",
        )


def _memory(info: dict[str, object]) -> Check:
    used, most = int(str(info["used_memory"])), int(str(info.get("maxmemory", 0)))
    policy = str(info.get("maxmemory_policy", "noeviction"))
    facts = {"used_bytes": used, "max_bytes": most, "policy": policy}
    size = f"{used / 1e6:,.0f} MB"
    if not most:
        return ok("redis.memory", f"Redis uses {size} and has no bound of its own.", **facts)
    message = f"Redis uses {size} of {most / 1e6:,.0f} MB; its policy is {policy}."
    if used < FULL * most:
        return ok("redis.memory", message, **facts)
    return warning(
        "redis.memory",
        message,
        "Raise maxmemory. When it is full bells are lost or refused, and work is found later.",
        **facts,
    )


def _bells() -> Check:
    failed = {name: dispatch.failed_bells(name) for name in settings.AUTOPILOT_QUEUES}
    count = sum(failed.values())
    if not count:
        return ok("redis.bells", "No bell has failed in the last hour.", failed=failed)
    return warning(
        "redis.bells",
        f"{plural(count, 'bell')} failed in the last hour: a worker died in a drain, or it broke.",
        "Look at the workers' logs of that time. Executions are taken up by others.",
        failed=failed,
    )
