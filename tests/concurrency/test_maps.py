"""Maps over several real workers, with one killed in the middle."""

from __future__ import annotations

from collections import Counter

import pytest

from executions.models import Execution, InboxMessage, StepExecution
from executions.services import cancel_execution
from tests.concurrency.conftest import Workers
from tests.engine import SYSTEM, published, reread, started, wait_until
from workflows.models import Workflow

pytestmark = [pytest.mark.concurrency, pytest.mark.timeout(180)]


def mapping(seconds: float, **config) -> Workflow:
    body = [
        {
            "id": "work",
            "name": "work",
            "type": "action",
            "config": {"action": "probe.trace", "with": {"seconds": seconds}},
        },
        {"id": "back", "name": "back", "type": "transform", "config": {"output": "{{ item }}"}},
    ]
    step = {
        "id": "each",
        "type": "map",
        "config": {"items": "range(input.count)", "as": "item", "steps": body, **config},
    }
    return published([step])


def check(execution: Execution, count: int) -> None:
    row = reread(execution)
    assert (row.state, row.output) == ("completed", list(range(count)))
    assert row.children_open == 0
    recorded = Counter(StepExecution.objects.values_list("execution_id", "seq"))
    assert set(recorded.values()) == {1}
    assert not Execution.objects.filter(owner__isnull=False).exists()
    assert Execution.objects.filter(parent=execution).count() == count
    # The last end of the generation was told once, by whoever came last.
    assert InboxMessage.objects.filter(execution=execution, kind="children").count() == 1


@pytest.mark.parametrize("limit", [None, 7])
def test_two_workers_share_a_map_and_join_it_once(workers: Workers, limit: int | None):
    workflow = mapping(0.005, **({"max_concurrency": limit} if limit else {}))
    workers.start()
    workers.start()
    execution = started(workflow, {"count": 300})
    wait_until(lambda: reread(execution).has_ended, seconds=60)
    check(execution, 300)


@pytest.mark.parametrize("limit", [None, 20])
def test_a_worker_killed_inside_a_map_loses_no_item(workers: Workers, limit: int | None):
    workflow = mapping(0.2, **({"max_concurrency": limit} if limit else {}))
    execution = started(workflow, {"count": 120})
    first = workers.start()
    workers.start()
    wait_until(lambda: StepExecution.objects.count() > 40, seconds=60)
    workers.kill(first)
    wait_until(lambda: reread(execution).has_ended, seconds=60)
    check(execution, 120)


def test_many_maps_at_once_cancelled_while_their_items_end(workers: Workers):
    workflow = mapping(0.01, max_concurrency=3)
    made = [started(workflow, {"count": 30}) for _ in range(12)]
    workers.start()
    workers.start()
    wait_until(lambda: StepExecution.objects.count() > 60, seconds=60)
    for execution in made[::2]:
        cancel_execution(execution=execution, actor=SYSTEM)
    wait_until(lambda: not Execution.objects.filter(ended_at__isnull=True).exists(), seconds=60)
    assert {reread(each).state for each in made[::2]} == {"cancelled"}
    assert {reread(each).state for each in made[1::2]} == {"completed"}
    for execution in made[1::2]:
        assert reread(execution).output == list(range(30))
