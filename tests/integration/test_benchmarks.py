"""`python -m benchmarks`, small: what it reports, that it checks the books and leaves nothing."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import psutil
import pytest
from django.db import connection, transaction

from autopilot.embedded.home import PROJECT
from benchmarks.machine import percentile
from benchmarks.workload import STEPS, BooksWrong, check_books, document
from executions.models import StepExecution
from tests.engine import published, run, started

pytestmark = pytest.mark.concurrency


def bench(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "benchmarks", *arguments],
        check=False,
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        cwd=PROJECT,
        timeout=90,
    )


def test_a_small_run_reports_every_work_and_leaves_no_process(tmp_path: Path) -> None:
    file = tmp_path / "report.json"
    sizes = ("--executions", "12", "--large", "20", "--singles", "3", "--repeat", "1")
    sizes = (*sizes, "--items", "15", "--passes", "40", "--calls", "3", "--signals", "5")
    sizes = (*sizes, "--parallels", "1")
    small = ("--workers", "1", "--no-web", "--commit-seconds", "0.1", "--idle-seconds", "0.1")

    # WEB, W7 and MEMORY have servers of their own, for longer than a test may take.
    works = ("W1", "W1L", "W2", "W3", "W4", "W6", "LOOP", "MAPS", "SIGNALS", "PARALLEL")

    result = bench(*works, *sizes, *small, "--json", str(file))

    assert (result.returncode, result.stderr) == (0, "")
    report = json.loads(file.read_text())
    assert [run["work"] for run in report["runs"]] == [*works]
    assert [run["result"].get("executions") for run in report["runs"]] == [
        *(12, 20, 3, 15, None, 3, 40, 165, 5, 1)
    ]
    assert all(run["commits_before"] > 0 < run["commits_after"] for run in report["runs"])
    assert report["durability"]["fsync"] == report["durability"]["synchronous_commit"] == "on"
    assert report["submitted"] == (
        "executions.bulk_start.start_many() in 1 process of its own, 250 per call and transaction; "
        "W2 one by one through executions.services.start_execution()"
    )
    first = report["runs"][0]
    assert first["result"]["steps_per_s"] == pytest.approx(STEPS * 12 / first["result"]["seconds"])
    assert report["medians"]["W1"]["steps_per_commit"] == pytest.approx(
        first["result"]["steps_per_s"] / first["commits_per_s"]
    )
    assert [each["work"] for each in report["targets"]] == [
        *("W1L", "W2", "W3", "W4", "W6", "LOOP", "SIGNALS")
    ]
    assert len(report["runs"][4]["result"]["idle"]["worker"]) == 1
    assert "steps per commit/s, steady state" in result.stdout
    assert _left_over() == []


def _left_over() -> list[psutil.Process]:
    """Processes that the benchmark started, known by the test's name in their environment."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            test = process.environ().get("PYTEST_CURRENT_TEST", "")
            if test == os.environ["PYTEST_CURRENT_TEST"] and process.pid != os.getpid():
                found.append(process)
    # The servers' keeper lets go of its lock just before it ends.
    _, alive = psutil.wait_procs(found, timeout=5)
    return alive


def test_an_unknown_work_is_a_sentence() -> None:
    result = bench("W9")

    assert result.returncode == 1
    assert (
        result.stderr
        == "There is no work 'W9'; there are W1, W1L, W2, W3, W4, W6, LOOP, MAPS, SIGNALS, "
        "PARALLEL, WEB, W7, MEMORY.\n"
    )


def test_a_size_of_zero_is_a_sentence() -> None:
    assert bench("--repeat-large", "0").stderr == "--repeat-large must be above zero.\n"


def test_more_starts_per_call_than_the_service_takes_is_a_sentence() -> None:
    assert bench("--batch", "1001").stderr == "--batch is at most 1,000: no call starts more.\n"


@pytest.mark.django_db(transaction=True)
def test_the_books_are_right_after_a_run() -> None:
    workflow = published(document()["steps"])
    execution = run(workflow)

    assert execution.output == {"n": STEPS}
    steps = check_books(_raw(), workflow_id=workflow.pk, after=0, expected=1)

    assert steps == STEPS


@pytest.mark.django_db(transaction=True)
def test_books_with_a_lost_step_are_wrong() -> None:
    workflow = published(document()["steps"])
    execution = run(workflow)
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SET LOCAL executions.purging = 'on'")
        StepExecution.objects.filter(execution=execution, seq=4).delete()

    with pytest.raises(BooksWrong, match="1 completed with the right result, 0 have each of their"):
        check_books(_raw(), workflow_id=workflow.pk, after=0, expected=1)


@pytest.mark.django_db(transaction=True)
def test_books_with_an_unfinished_execution_are_wrong() -> None:
    workflow = published(document()["steps"])
    started(workflow)

    with pytest.raises(BooksWrong, match="Of 1 executions 1 are there, 0 completed"):
        check_books(_raw(), workflow_id=workflow.pk, after=0, expected=1)


def test_percentiles_are_values_that_were_measured() -> None:
    values = [float(each) for each in range(1, 101)]

    assert (percentile(values, 0.5), percentile(values, 0.95)) == (50.0, 95.0)
    assert percentile([7.0], 0.95) == 7.0


def _raw() -> Any:
    connection.ensure_connection()
    return connection.connection
