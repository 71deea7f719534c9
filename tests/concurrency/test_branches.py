"""Parallels over several real workers: joins hold, whoever ends when, and whoever dies."""

from __future__ import annotations

from collections import Counter

import pytest

from executions.asking import ask
from executions.engine.events import Verb
from executions.models import Execution, InboxMessage, StepExecution
from executions.services import resume_execution
from tests.concurrency.conftest import Workers
from tests.engine import SYSTEM, published, reread, started, wait_until
from workflows.models import Workflow

pytestmark = [pytest.mark.concurrency, pytest.mark.timeout(120)]


def racing(count: int, wait_for: str | int, seconds: float = 0.02) -> Workflow:
    """Branches that all take as long, so that they end together."""
    branches = [
        {
            "name": f"b{n}",
            "steps": [
                {
                    "id": f"s{n}",
                    "name": f"s{n}",
                    "type": "action",
                    "config": {"action": "probe.trace", "with": {"seconds": seconds}},
                }
            ],
        }
        for n in range(count)
    ]
    config = {"branches": branches, "wait_for": wait_for}
    return published([{"id": "p", "type": "parallel", "config": config}])


def check(made: list[Execution], needed: int) -> None:
    """Each joined once, with as many results as it needs, and left nothing behind."""
    for execution in made:
        row = reread(execution)
        assert (row.state, row.children_open) == ("completed", 0), row.error
        assert sum(value is not None for value in row.output.values()) >= needed
        told = InboxMessage.objects.filter(execution=execution, kind="children").count()
        assert told in (1, 2)
    recorded = Counter(StepExecution.objects.values_list("execution_id", "seq", "attempt"))
    assert set(recorded.values()) == {1}
    assert not Execution.objects.filter(ended_at__isnull=True).exists()


def all_ended() -> bool:
    return not Execution.objects.filter(ended_at__isnull=True).exists()


def test_branches_that_end_at_once_are_joined_once(workers: Workers):
    workers.start()
    workers.start()
    both = [started(racing(2, "all")) for _ in range(60)]
    first = [started(racing(2, "any")) for _ in range(60)]
    wait_until(all_ended, seconds=60)
    check(both, 2)
    check(first, 1)
    for execution in both:
        assert InboxMessage.objects.filter(execution=execution, kind="children").count() == 1


def test_a_worker_killed_while_branches_end_loses_none(workers: Workers):
    made = [started(racing(4, wait_for, 0.1)) for wait_for in ("all", 3) for _ in range(15)]
    first = workers.start()
    workers.start()
    wait_until(lambda: StepExecution.objects.count() > 20, seconds=40)
    workers.kill(first)
    wait_until(all_ended, seconds=60)
    check(made[:15], 4)
    check(made[15:], 3)


def test_a_pause_against_branches_that_end(workers: Workers):
    """A pause that comes while they end holds what it still finds, and nothing is stuck after."""
    workers.start()
    workers.start()
    made = [started(racing(3, 2, 0.05)) for _ in range(30)]
    wait_until(lambda: StepExecution.objects.count() > 5, seconds=40)
    ids = [each.pk for each in made]
    answers = ask(ids=ids, verb=Verb.PAUSE, actor=SYSTEM)
    assert any(answer.execution for answer in answers.values())

    def settled() -> bool:
        rows = Execution.objects.filter(pk__in=ids)
        return not rows.exclude(state__in=("paused", "completed")).exists()

    wait_until(settled, seconds=40)
    for execution in made:
        row = reread(execution)
        if row.state == "paused":
            resume_execution(execution=row, actor=SYSTEM)
    wait_until(all_ended, seconds=60)
    check(made, 2)
