"""The clock: rings for what falls due, frees what dead workers held. One leader at a time.

Every worker process offers to be the leader; an advisory lock in PostgreSQL picks one, and lets go
by itself when its holder dies. A holder that is frozen or cut off keeps the lock and does nothing,
so the others look for what a leader would have done long ago, do it, and take the lock from it.

It goes by PostgreSQL's clock, as claims and leases do, whatever its host's may say.
"""

from __future__ import annotations

import threading
from datetime import datetime, timedelta

import structlog
from django.conf import settings
from django.db import Error, connection
from django.db.models.functions import Now

from autopilot.common.database_time import database_now
from executions import holding, limiting, rollouts, slots
from executions.approvals.mail import Postman
from executions.failing import start_owed
from executions.migrating.batches import Mover
from executions.migrating.reads import has_open
from executions.models import Execution, Worker
from executions.querysets import ExecutionQuerySet
from executions.runtime import dispatch, matching
from executions.runtime.lease import free_lost_workers

log = structlog.get_logger(__name__)

# "AutopilotCX clock": two numbers that no other advisory lock of the project uses.
LOCK = (0x41435831, 1)
LEADER_TRIES_SECONDS = 2.0
WORKERS_EVERY_SECONDS = 1.0
# For slots, limits and switches.
SWEEP_SECONDS = 0.5
# Ready this long without an owner: its bell was lost, or every worker was busy. Ring again.
RING_AGAIN_SECONDS = 5.0
# Waits for signals and signals of the last moments are matched every second, should the process
# that made them have died; all of them more rarely.
MATCH_EVERY_SECONDS = 1.0
LATE_SECONDS = 10.0
MATCH_ALL_EVERY_SECONDS = 30.0
PURGE_EVERY_SECONDS = 60.0
# Whether a version that is being rolled out fails too much.
JUDGE_EVERY_SECONDS = 5.0
# Migrations of executions to other versions that somebody has begun.
MOVE_EVERY_SECONDS = 0.5
# A worker that should have been freed this long ago shows that the leader does not lead.
ASLEEP_SECONDS = 3.0

DEPOSE = """
SELECT pg_terminate_backend(pid) FROM pg_locks
 WHERE locktype = 'advisory' AND classid = %s AND objid = %s AND objsubid = 2 AND granted
   AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
"""


class Clock:
    """A thread that leads if nobody else does."""

    def __init__(self) -> None:
        self._stop = threading.Event()
        self._is_leader = False
        self._rang_until: datetime | None = None
        self._rang_all_at: datetime | None = None
        self._freed_at: datetime | None = None
        self._swept_at: datetime | None = None
        self._swept_key = ""
        # Slots that nobody but this clock handed out.
        self.slots_swept = 0
        self._postman = Postman()
        self._mover = Mover()
        # When each of the rarer duties was last done.
        self._did: dict[str, datetime] = {}
        self._thread = threading.Thread(target=self._work, name="clock", daemon=True)

    @property
    def is_leader(self) -> bool:
        return self._is_leader

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        self._stop.set()
        self._thread.join(timeout=5)
        self._postman.close()
        self._mover.close()

    def run_forever(self) -> None:
        """In the calling thread, until `stop`."""
        self._work()

    def stop(self) -> None:
        self._stop.set()

    def _work(self) -> None:
        pause = 0.0
        try:
            while not self._stop.wait(pause):
                try:
                    pause = self._tick()
                except Error as error:
                    # The lock went with the connection; so did the leadership.
                    log.warning("clock.database_unavailable", error=str(error).strip())
                    self._is_leader = False
                    connection.close()
                    pause = LEADER_TRIES_SECONDS
                except Exception:
                    # A clock that stands still would leave timers and lost workers to nobody.
                    log.exception("clock.failed")
                    pause = LEADER_TRIES_SECONDS
        finally:
            connection.close()

    def _tick(self) -> float:
        """Do what is due; answers the seconds until the next look."""
        if not self._is_leader:
            self._is_leader = self._try_to_lead()
            if not self._is_leader:
                self._stand_in(database_now())
                return LEADER_TRIES_SECONDS
            log.info("clock.leads")
        now = database_now()
        self._postman.look()
        if self._is_time("migrations", MOVE_EVERY_SECONDS, now) and has_open():
            self._mover.look()
        queues = self._free_workers(now)
        self._sweep(now)
        start_owed()
        if self._is_time("judge", JUDGE_EVERY_SECONDS, now):
            rollouts.tend(now)
        queues |= self._due(now)
        queues |= self._match(now)
        for queue in sorted(queues):
            dispatch.ring(queue)
        return self._pause(now)

    def _try_to_lead(self) -> bool:
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_try_advisory_lock(%s, %s)", LOCK)
            return bool(cursor.fetchone()[0])

    def _stand_in(self, now: datetime) -> None:
        """Do what the leader has left undone; depose one that has stopped leading."""
        overdue = Now() - timedelta(seconds=ASLEEP_SECONDS)
        if Worker.objects.filter(lease_until__lt=overdue).exists():
            log.warning("clock.leader_asleep")
            with connection.cursor() as cursor:
                cursor.execute(DEPOSE, LOCK)
            queues = free_lost_workers()
        else:
            since = now - timedelta(seconds=2 * RING_AGAIN_SECONDS)
            queues = self._with_work(Execution.objects.ready(since))
        for queue in sorted(queues):
            dispatch.ring(queue)

    def _free_workers(self, now: datetime) -> set[str]:
        if self._freed_at and now - self._freed_at < timedelta(seconds=WORKERS_EVERY_SECONDS):
            return set()
        self._freed_at = now
        return free_lost_workers()

    def _sweep(self, now: datetime) -> None:
        """What holds executions up on purpose: let go what need not wait, put aside what must."""
        if self._swept_at and now - self._swept_at < timedelta(seconds=SWEEP_SECONDS):
            return
        self._swept_at = now
        self._swept_key, count = slots.sweep(self._swept_key)
        self.slots_swept += count
        limiting.sweep()
        holding.end_expired(now)
        holding.tend()

    def _match(self, now: datetime) -> set[str]:
        """Queues with something that was given a signal here."""
        if self._is_time("purge", PURGE_EVERY_SECONDS, now):
            matching.purge()
        if self._is_time("match_all", MATCH_ALL_EVERY_SECONDS, now):
            return matching.match_all()
        if self._is_time("match", MATCH_EVERY_SECONDS, now):
            return matching.match_late(LATE_SECONDS)
        return set()

    def _is_time(self, duty: str, every_seconds: float, now: datetime) -> bool:
        """Whether so long has passed since this was last answered with yes."""
        last = self._did.get(duty)
        if last is not None and now - last < timedelta(seconds=every_seconds):
            return False
        self._did[duty] = now
        return True

    def _due(self, now: datetime) -> set[str]:
        """Queues with something that fell due since the last look, or that nobody has taken."""
        ready = Execution.objects.ready(now)
        since = self._rang_until
        again = self._rang_all_at is None or now - self._rang_all_at > timedelta(
            seconds=RING_AGAIN_SECONDS
        )
        if again or since is None:
            self._rang_all_at = now
        else:
            ready = ready.filter(runnable_at__gt=since)
        self._rang_until = now
        return self._with_work(ready)

    @staticmethod
    def _with_work(ready: ExecutionQuerySet) -> set[str]:
        return {
            queue
            for queue in settings.AUTOPILOT_QUEUES
            if ready.filter(queue=queue).order_by()[:1].exists()
        }

    def _pause(self, now: datetime) -> float:
        """Until the next execution falls due, at most a beat."""
        beat: float = settings.AUTOPILOT["CLOCK_SECONDS"]
        upcoming = (
            Execution.objects.filter(owner__isnull=True, runnable_at__gt=now)
            .order_by("runnable_at")
            .values_list("runnable_at", flat=True)
            .first()
        )
        if upcoming is None:
            return beat
        return min(beat, max(0.005, (upcoming - database_now()).total_seconds()))
