"""RQ's worker as this project runs it: no fork, no SIGALRM, JSON."""

from __future__ import annotations

from typing import Any

import redis.exceptions
from rq import SimpleWorker
from rq.exceptions import DequeueTimeout, StopRequested
from rq.timeouts import TimerDeathPenalty

from executions.runtime.process import current

DEQUEUE_SECONDS = 30


class DrainWorker(SimpleWorker):
    """Hears bells. A drain ends by its own budget, so no timer interrupts it."""

    # With a timeout of -1 this one sets no alarm at all.
    death_penalty_class = TimerDeathPenalty

    def dequeue_job_and_maintain_ttl(
        self, timeout: int | None, max_idle_time: int | None = None
    ) -> Any:
        if current().needs_recycling:
            # Its drains claim nothing any more, so a bell would be wasted on this process.
            raise StopRequested
        return self._next_bell(timeout, max_idle_time)

    def heartbeat(self, timeout: int | None = None, pipeline: Any = None) -> None:
        """Also whenever no bell has rung for a while."""
        super().heartbeat(timeout, pipeline)
        current().tidy()

    def _next_bell(self, timeout: int | None, max_idle_time: int | None) -> Any:
        return super().dequeue_job_and_maintain_ttl(timeout, max_idle_time)


class RedisAway(StopRequested):
    """Redis does not answer; RQ's loop ends and whoever runs it drains directly."""


class SupervisedWorker(DrainWorker):
    """Leaves its loop when Redis goes away, instead of sleeping until it is back."""

    def _next_bell(self, timeout: int | None, max_idle_time: int | None) -> Any:
        self.set_state("idle")
        while True:
            try:
                self.heartbeat()
                if self.should_run_maintenance_tasks:
                    self.run_maintenance_tasks()
                found = self.queue_class.dequeue_any(
                    self._ordered_queues,
                    None if timeout is None else DEQUEUE_SECONDS,
                    connection=self.connection,
                    job_class=self.job_class,
                    serializer=self.serializer,
                    death_penalty_class=self.death_penalty_class,
                )
            except DequeueTimeout:
                continue
            except (redis.exceptions.ConnectionError, redis.exceptions.TimeoutError) as error:
                raise RedisAway from error
            if found is not None:
                self.reorder_queues(reference_queue=found[1])
            return found

    @property
    def was_asked_to_stop(self) -> bool:
        return bool(self._stop_requested or self._shutdown_requested_date)
