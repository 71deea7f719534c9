"""Running workflows inside a test's own process, with the real engine."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from autopilot.accounts.actors import Actor
from executions.models import Execution
from executions.runtime.process import WorkerProcess
from executions.services import start_execution
from workflows.models import Workflow
from workflows.services import create_workflow, publish_version

SYSTEM = Actor.system("tests")
NOOP = {"type": "action", "config": {"action": "noop"}}


def published(steps: list[dict[str, Any]], **document: Any) -> Workflow:
    """A workflow with these steps as its published version 1.0.0."""
    named = [{"name": each.get("id", "step"), **each} for each in steps]
    draft = create_workflow(actor=SYSTEM, document={"name": "Test", "steps": named, **document})
    return publish_version(actor=SYSTEM, version=draft).workflow


def started(workflow: Workflow, data: Any = None, **options: Any) -> Execution:
    return start_execution(workflow=workflow, actor=SYSTEM, input=data, **options).execution


@contextmanager
def worker() -> Iterator[WorkerProcess]:
    """A worker in this process, without a clock; `drain` it by hand."""
    process = WorkerProcess(["default"], with_clock=False)
    try:
        yield process
    finally:
        process.close()


def drain() -> int:
    """Run what is ready until nothing is; answers how many executions were claimed."""
    with worker() as process:
        return process.drain("default")


def wait_until(condition: Callable[[], bool], *, seconds: float = 10.0) -> None:
    """Poll until the condition holds; fail after `seconds`."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"not within {seconds} seconds"
        time.sleep(0.01)


def reread(execution: Execution) -> Execution:
    """The row as it is now; `refresh_from_db` does not go with a protected state."""
    return Execution.objects.get(pk=execution.pk)


def run(workflow: Workflow, data: Any = None, **options: Any) -> Execution:
    """Start one execution, run it until it is at rest, and answer it."""
    execution = started(workflow, data, **options)
    drain()
    return reread(execution)
