"""The worker's row and its lease, kept by a thread and a connection of its own.

A loop that is stalled by a heavy step must not lose what it owns, so nothing here runs on it.
Leases are written and compared by PostgreSQL's clock: a host whose own is wrong neither loses what
it owns nor takes it from others.
"""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Callable, Collection
from datetime import timedelta

import structlog
from django.conf import settings
from django.db import Error, InterfaceError, OperationalError, connection, transaction
from django.db.models import QuerySet
from django.db.models.expressions import CombinedExpression
from django.db.models.functions import Now

from executions.models import Execution, Worker
from executions.runtime.faults import fault

log = structlog.get_logger(__name__)

PENDING = """
SELECT id FROM executions_execution WHERE owner_id = %s AND inbox_seq > seen_seq
"""


class Lease:
    """Registers this process as a worker and renews its lease until closed.

    on_lost: called (on the lease's thread) when the row is gone and everything owned was freed.
    on_messages: called with the ids of owned executions that have messages to be read.
    """

    def __init__(
        self,
        *,
        queues: list[str],
        busy: Callable[[], int],
        on_lost: Callable[[], None],
        on_messages: Callable[[list[int]], None],
    ) -> None:
        self._queues = queues
        self._busy = busy
        self._on_lost = on_lost
        self._on_messages = on_messages
        self._stop = threading.Event()
        self.worker_id = self._register()
        self._thread = threading.Thread(target=self._keep, name="lease", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop renewing, give back what is still owned and take the row away."""
        self._stop.set()
        self._thread.join(timeout=5)
        try:
            try:
                remove_worker(self.worker_id)
            except (OperationalError, InterfaceError):
                # Nothing has been asked on this thread for long: the server may have restarted.
                connection.close()
                remove_worker(self.worker_id)
        except Error as error:
            # The clock does the same once the lease is over.
            log.warning("lease.not_removed", worker=self.worker_id, error=str(error).strip())

    def _register(self) -> int:
        host = socket.gethostname()
        worker = Worker.objects.create(
            name=f"{host}-{os.getpid()}",
            host=host,
            pid=os.getpid(),
            queues=self._queues,
            started_at=Now(),
            lease_until=_lease_end(),
            slots=settings.AUTOPILOT["SLOTS"],
        )
        return worker.pk

    def _keep(self) -> None:
        try:
            while not self._stop.wait(settings.AUTOPILOT["HEARTBEAT_SECONDS"]):
                try:
                    if not self._renew():
                        log.warning("lease.lost", worker=self.worker_id)
                        self._on_lost()
                        return
                except Error as error:
                    log.warning("lease.not_renewed", error=str(error).strip())
                    connection.close()
                except Exception:
                    # Without this thread the worker would lose its lease and never hear of it.
                    log.exception("lease.failed")
        finally:
            connection.close()

    def _renew(self) -> bool:
        """False if the row is gone."""
        fault("lease.before_heartbeat")
        mine = Worker.objects.filter(pk=self.worker_id)
        kept = mine.update(lease_until=_lease_end(), busy=self._busy())
        if not kept:
            return False
        with connection.cursor() as cursor:
            cursor.execute(PENDING, [self.worker_id])
            behind = [row[0] for row in cursor.fetchall()]
        if behind:
            self._on_messages(behind)
        return True


def _lease_end() -> CombinedExpression:
    return Now() + timedelta(seconds=settings.AUTOPILOT["LEASE_SECONDS"])


FREE = """
WITH lost AS (
    SELECT id FROM executions_execution
     WHERE owner_id = ANY(%(workers)s)
       AND (%(only)s::bigint[] IS NULL OR id = ANY(%(only)s::bigint[]))
     ORDER BY id FOR NO KEY UPDATE SKIP LOCKED)
UPDATE executions_execution e SET owner_id = NULL, runnable_at = now()
  FROM lost WHERE e.id = lost.id
RETURNING e.id, e.queue
"""


def remove_worker(worker_id: int) -> set[str]:
    """Free everything a worker owns and delete its row; answers the queues that have work now."""
    with transaction.atomic():
        locked = list(
            Worker.objects.select_for_update().filter(pk=worker_id).values_list("pk", flat=True)
        )
        return set(_free(locked).values())


def free_lost_workers() -> set[str]:
    """The same for every worker whose lease is over.

    A worker's row is locked against claims (which take a key share of it) before its executions
    are looked at, so nothing it claims can slip through. A row that is being claimed with right
    now is left for the next time.
    """
    with transaction.atomic():
        lost = _lock_lost(Worker.objects.all())
        if lost:
            log.warning("clock.workers_lost", workers=lost)
        queues = set(_free(lost).values())
    if queues:
        fault("lease.after_freeing")
    return queues


def free_of_lost_workers(ids: Collection[int]) -> set[int]:
    """The same for these executions only; answers those that were freed."""
    with transaction.atomic():
        owners = Execution.objects.filter(pk__in=ids, owner__isnull=False).values("owner_id")
        return set(_free(_lock_lost(Worker.objects.filter(pk__in=owners)), only=ids))


def _lock_lost(workers: QuerySet[Worker]) -> list[int]:
    lost = workers.select_for_update(skip_locked=True).filter(lease_until__lt=Now())
    return list(lost.values_list("pk", flat=True))


def _free(worker_ids: list[int], only: Collection[int] | None = None) -> dict[int, str]:
    """What was freed, each with its queue. only: of their executions these; None = all."""
    if not worker_ids:
        return {}
    chosen = None if only is None else list(only)
    with connection.cursor() as cursor:
        # A frozen owner may still hold its rows, until the server ends its session, and so may a
        # transaction of somebody's own. They are left for the next time; the clock has other
        # things to do until then.
        cursor.execute(FREE, {"workers": worker_ids, "only": chosen})
        freed: dict[int, str] = dict(cursor.fetchall())
    gone = Worker.objects.filter(pk__in=worker_ids)
    owned = Execution.objects.filter(owner_id__in=worker_ids)
    left = set(owned.order_by().values_list("owner_id", flat=True).distinct())
    gone.exclude(pk__in=left).delete()
    if only is None:
        # Seen to as far as that goes: nobody is to think that the clock sleeps.
        gone.filter(pk__in=left).update(lease_until=Now())
    return freed
