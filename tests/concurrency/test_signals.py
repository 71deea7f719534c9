"""Signals and real processes: whoever dies or comes first, each is consumed once, none lost."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from django.db import connection

from executions.models import Execution, Signal, SignalWait
from executions.signalling import SignalRequest, send_signal, send_signals
from tests.concurrency.conftest import Workers
from tests.engine import SYSTEM, published, reread, started, wait_until

pytestmark = [pytest.mark.concurrency, pytest.mark.timeout(120)]

CONFIG = {"signal": "paid", "correlation": "{{ input.order }}"}
RACES = 30


def own_connection(work: Callable[[], Any]) -> Any:
    try:
        return work()
    finally:
        connection.close()


def test_a_worker_killed_between_the_checkpoint_and_the_matching_loses_no_early_signal(
    workers: Workers,
):
    workflow = published([{"id": "pay", "type": "signal", "config": CONFIG}])
    signal = send_signal(name="paid", actor=SYSTEM, correlation="A", payload=7).signal
    execution = started(workflow, {"order": "A"})
    deadly = workers.start(
        "worker_with_fault", "ledger.before_matching", "1", "--signal", "SIGKILL"
    )
    assert deadly.wait(timeout=40) == -9
    assert (reread(execution).state, SignalWait.objects.count()) == ("waiting", 1)
    assert Signal.objects.get(pk=signal.pk).state == "kept"
    workers.start()
    wait_until(lambda: reread(execution).has_ended, seconds=40)
    assert (reread(execution).output, SignalWait.objects.count()) == (7, 0)
    assert Signal.objects.get(pk=signal.pk).state == "consumed"
    _races(workers, workflow)


def _races(workers: Workers, workflow: Any) -> None:
    """Two workers; each order has two executions that begin to wait just as one signal comes, and
    time that is over for half of them just then."""
    workers.start()
    timed = published(
        [{"id": "pay", "type": "signal", "timeout": 1, "config": CONFIG}], slug="timed"
    )
    orders = [f"race-{number}" for number in range(RACES)]

    def begin(order: str) -> list[int]:
        first = started(workflow if order.endswith(("1", "3", "5")) else timed, {"order": order})
        return [first.pk, started(timed, {"order": order}).pk]

    def send(order: str) -> int:
        return send_signal(name="paid", actor=SYSTEM, correlation=order, payload=order).signal.pk

    with ThreadPoolExecutor(3) as pool:
        begun = pool.map(lambda each: own_connection(lambda: begin(each)), orders)
        early = pool.map(lambda each: own_connection(lambda: send(each)), orders[::2])
        ids = [pk for pair in begun for pk in pair]
        kept = list(early)
        # About when the time of those is over that nobody has sent anything yet.
        wait_until(lambda: Execution.objects.filter(error_code="signal.timeout").exists())
        late = own_connection(
            lambda: send_signals(
                signals=[SignalRequest("paid", each, each) for each in orders[1::2]], actor=SYSTEM
            )
        )
    signals = [*kept, *(each.signal.pk for each in late)]
    rows = Execution.objects.filter(pk__in=ids)
    wait_until(lambda: not rows.filter(version__workflow=timed, ended_at=None).exists(), seconds=30)
    wait_until(lambda: not Signal.objects.filter(consumed_at=None, wait__isnull=False).exists())
    consumed = Signal.objects.filter(pk__in=signals, consumed_at__isnull=False)
    done = rows.filter(state="completed")
    # Each consumed by one, and whoever completed has consumed the one it shows.
    assert sorted(consumed.values_list("execution_id", "correlation")) == sorted(
        done.values_list("pk", "output")
    )
    assert set(rows.exclude(state="completed").values_list("error_code", flat=True)) <= {
        "",
        "signal.timeout",
    }
    # None is lost: what nobody consumed is kept, and nobody waits for it.
    free = Signal.objects.filter(pk__in=signals, consumed_at__isnull=True)
    assert all(each.state == "kept" for each in free)
    waiting = set(SignalWait.objects.values_list("correlation", flat=True))
    assert not waiting & set(free.values_list("correlation", flat=True))
