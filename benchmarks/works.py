"""The works, each between two measurements of the machine's commit rate."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from statistics import mean, median
from typing import Any, TypeVar

from psycopg2.extensions import connection as Connection

from benchmarks import machine
from benchmarks.burst import Burst, run_burst
from benchmarks.single import run_single
from benchmarks.stand import Stand
from benchmarks.workload import ACTOR, STEPS, document

Outcome = TypeVar("Outcome")


@dataclass(frozen=True, slots=True)
class Sizes:
    """How much of each work to run, and how often."""

    executions: int = 500
    executions_large: int = 10_000
    singles: int = 100
    repeat: int = 3
    repeat_large: int = 1
    commit_seconds: float = 3.0
    # Longer than a drain lingers, so that idle workers are back in RQ's loop.
    idle_seconds: float = 3.0
    submitters: int = 1
    batch: int = 250


@dataclass(slots=True)
class Run:
    """One run of one work. commits_per_s: the median (of two: the mean) of before and after."""

    work: str
    commits_before: float
    commits_after: float
    load_before: float
    result: dict[str, Any] = field(default_factory=dict)

    @property
    def commits_per_s(self) -> float:
        return mean((self.commits_before, self.commits_after))


class Bench:
    """Runs works on a stand and keeps what came out."""

    def __init__(self, stand: Stand, sizes: Sizes, say: Callable[[str], None]) -> None:
        self.stand = stand
        self.sizes = sizes
        self.say = say
        self.connection: Connection = stand.connect()
        self.runs: list[Run] = []
        self.workflow_id = _publish()

    def warm_up(self) -> None:
        """Imports, caches and connections of every process, and the planner's statistics."""
        self._burst(max(10, self.sizes.executions // 5))
        run_single(self.connection, workflow_id=self.workflow_id, count=10)
        if self.stand.web is not None:
            for _ in range(20):
                for path in ("/api/v1/monitoring/health/ready/", "/admin/login/", "/api/schema"):
                    self.stand.get(path)

    def run(self, work: str) -> None:
        """Run `work` as often as it is to be repeated. Raises BooksWrong, NotReady."""
        measure = {"W1": self._w1, "W1L": self._w1l, "W2": self._w2, "W4": self._w4}[work]
        repeat = self.sizes.repeat if work in {"W1", "W2"} else self.sizes.repeat_large
        for number in range(repeat):
            run = self._between_commits(work, measure)
            self.runs.append(run)
            self.say(f"{work} {number + 1}/{repeat}: {summary(run)}")

    def _between_commits(self, work: str, measure: Callable[[], Any]) -> Run:
        machine.settle(self.connection)
        load = os.getloadavg()[0]
        before = machine.commit_rate(self.connection, self.sizes.commit_seconds)
        result = asdict(measure())
        after = machine.commit_rate(self.connection, self.sizes.commit_seconds)
        return Run(work, before, after, load, result)

    def _burst(self, count: int) -> Burst:
        return run_burst(
            self.stand,
            self.connection,
            workflow_id=self.workflow_id,
            count=count,
            submitters=self.sizes.submitters,
            batch=self.sizes.batch,
        )

    def _w1(self) -> Burst:
        return self._burst(self.sizes.executions)

    def _w1l(self) -> Burst:
        return self._burst(self.sizes.executions_large)

    def _w2(self) -> Any:
        return run_single(self.connection, workflow_id=self.workflow_id, count=self.sizes.singles)

    def _w4(self) -> MemoryUse:
        time.sleep(self.sizes.idle_seconds)
        idle = machine.memory_of(self.stand)
        with machine.PeakMemory(self.stand) as watch:
            self._burst(self.sizes.executions)
        return MemoryUse(idle, watch.peak)


@dataclass(frozen=True, slots=True)
class MemoryUse:
    """Before and at the peak of W1."""

    idle: machine.Memory
    peak: machine.Memory


def _publish() -> int:
    from autopilot.accounts.actors import Actor
    from workflows.services import create_workflow, publish_version

    actor = Actor.system(ACTOR)
    draft = create_workflow(actor=actor, document=document())
    return publish_version(actor=actor, version=draft).workflow.pk


def figures(run: Run) -> dict[str, float]:
    """What is reported of a run; of several runs, the median of each."""
    result = run.result
    names: tuple[str, ...]
    if run.work == "W1":
        names = ("executions_per_s", "steps_per_s", "submits_per_s", "submit_limited")
        found = {name: result[name] for name in names} | _cpu_ms(result)
        return {**found, "steps_per_commit": result["steps_per_s"] / run.commits_per_s}
    if run.work == "W1L":
        names = ("window_steps_per_s", "steps_per_s", "submits_per_s", "submit_limited")
        found = {name: result[name] for name in names} | _cpu_ms(result)
        return {
            **found,
            "executions_per_s": result["window_steps_per_s"] / STEPS,
            "window_steps_per_commit": result["window_steps_per_s"] / run.commits_per_s,
            "steps_per_commit": result["steps_per_s"] / run.commits_per_s,
        }
    if run.work == "W2":
        names = ("p50_ms", "p95_ms", "submit_ms", "claim_ms", "run_ms")
        found = {name: result[name] for name in names}
        return {**found, "p50_commits": result["p50_ms"] / 1000 * run.commits_per_s}
    idle, peak = result["idle"], result["peak"]
    return {
        "idle_worker_mb": max(idle["worker"]),
        "peak_worker_mb": max(peak["worker"]),
        "idle_mb": sum(idle["worker"]) + sum(idle["web"]),
        "peak_mb": sum(peak["worker"]) + sum(peak["web"]),
    }


def _cpu_ms(result: dict[str, Any]) -> dict[str, float]:
    """Milliseconds of CPU per execution: what hardly moves when the machine is shared."""
    taken: dict[str, float] = result["cpu_seconds"]
    each = {f"cpu_{role}_ms": value * 1000 / result["executions"] for role, value in taken.items()}
    return {**each, "cpu_ms": sum(each.values())}


def medians(runs: list[Run]) -> dict[str, float]:
    """The median of each figure over the runs of one work."""
    each = [{**figures(run), "commits_per_s": run.commits_per_s} for run in runs]
    return {name: median(one[name] for one in each) for name in each[0]}


def summary(run: Run) -> str:
    """One line for the screen while the rest still runs."""
    words = {
        "W1": "{steps_per_s:,.0f} steps/s, {steps_per_commit:.2f} per commit/s",
        "W1L": "{window_steps_per_s:,.0f} steps/s, {window_steps_per_commit:.2f} per commit/s",
        "W2": "p50 {p50_ms:.1f} ms, p95 {p95_ms:.1f} ms",
        "W4": "idle {idle_mb:.0f} MB, peak {peak_mb:.0f} MB",
    }[run.work]
    return words.format(**figures(run)) + (
        f"  (commits/s {run.commits_before:,.0f} before, {run.commits_after:,.0f} after;"
        f" load {run.load_before:.1f})"
    )
