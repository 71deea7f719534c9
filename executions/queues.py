"""How the queues are doing: what is ready, since when, who serves them, whether they are paused."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from datetime import datetime

from django.conf import settings
from django.db.models.functions import Now

from autopilot.common import clock
from executions.holding import live_holds
from executions.models import Execution, Hold, Worker

# Nobody counts further than this.
MAX_COUNTED = 10_000


@dataclass(frozen=True, slots=True)
class QueueState:
    """One configured queue.

    ready: executions that a worker may take now, at most MAX_COUNTED. running: those that workers
    have. oldest_ready: since when the first of them is ready. workers: live ones that serve it.
    """

    name: str
    ready: int
    ready_is_capped: bool
    running: int
    oldest_ready: datetime | None
    workers: int
    hold: Hold | None


def queue_states() -> list[QueueState]:
    """All configured queues, in their order."""
    now = clock.now()
    holds = {each.queue: each for each in live_holds(now).exclude(queue="")}
    workers: Counter[str] = Counter()
    for queues in Worker.objects.filter(lease_until__gt=Now()).values_list("queues", flat=True):
        workers.update(set(queues))
    return [_state(name, now, workers[name], holds.get(name)) for name in settings.AUTOPILOT_QUEUES]


def _state(name: str, now: datetime, workers: int, hold: Hold | None) -> QueueState:
    ready = Execution.objects.ready(now).filter(queue=name).order_by()
    count = ready[: MAX_COUNTED + 1].count()
    running = Execution.objects.filter(queue=name, owner__isnull=False).order_by()
    return QueueState(
        name=name,
        ready=min(count, MAX_COUNTED),
        ready_is_capped=count > MAX_COUNTED,
        running=running[:MAX_COUNTED].count(),
        oldest_ready=ready.order_by("runnable_at").values_list("runnable_at", flat=True).first(),
        workers=workers,
        hold=hold,
    )
