"""Retries while workers run: every failed execution is taken up once, and none is lost."""

from __future__ import annotations

from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest
from django.db import connection

from executions import bulk
from executions.bulk import Selection
from executions.engine.events import Verb
from executions.models import Execution, StateTransition, StepExecution
from executions.services import retry_execution
from tests.concurrency.conftest import Workers
from tests.engine import SYSTEM, published, reread, started, wait_until

pytestmark = [pytest.mark.concurrency, pytest.mark.timeout(120)]


def flaky(folder) -> dict:
    params = {"file": str(folder), "key": "{{ input.key }}", "fail": True}
    config = {"action": "probe.fail_first", "with": params}
    return {"id": "a", "type": "action", "config": config}


def test_fifty_failed_executions_are_retried_at_once_while_workers_run(workers: Workers, tmp_path):
    workflow = published([flaky(tmp_path)])
    made = [started(workflow, {"key": f"k{n}"}) for n in range(50)]
    workers.start()
    workers.start()
    failed = Execution.objects.filter(workflow=workflow, state="failed")
    wait_until(lambda: failed.count() == 50, seconds=60)
    selection = Selection.of_ids([each.pk for each in made], actor=SYSTEM)
    results = [
        each
        for batch in bulk.apply(verb=Verb.RETRY, selection=selection, actor=SYSTEM)
        for each in batch
    ]
    assert Counter(each.outcome for each in results) == {"pending": 50}
    done = Execution.objects.filter(workflow=workflow, state="completed", output=2)
    wait_until(lambda: done.count() == 50, seconds=60)
    rows = StepExecution.objects.values_list("seq", "attempt", "state")
    assert Counter(rows) == {(1, 1, "failed"): 50, (1, 2, "completed"): 50}


def test_retries_of_one_execution_at_the_same_moment_are_one(workers: Workers, tmp_path):
    execution = started(published([flaky(tmp_path)]), {"key": "k"})
    workers.start()
    wait_until(lambda: reread(execution).state == "failed", seconds=60)

    def ask(_: int) -> str:
        try:
            retry_execution(execution=execution, actor=SYSTEM)
        except Exception as error:
            return type(error).__name__
        finally:
            connection.close()
        return "asked"

    with ThreadPoolExecutor(8) as pool:
        answers = Counter(pool.map(ask, range(8)))
    assert set(answers) <= {"asked", "TransitionRefused", "ExecutionEnded"}
    assert answers["asked"] >= 1
    wait_until(lambda: reread(execution).state == "completed", seconds=30)
    taken = StateTransition.objects.filter(execution=execution, source="failed", target="resumed")
    assert taken.count() == 1
    assert reread(execution).output == 2
