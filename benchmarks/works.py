"""The works, each between two measurements of the machine's commit rate."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import mean, median
from typing import Any, TypeVar

from psycopg2.extensions import connection as Connection

from benchmarks import machine
from benchmarks.branches import PARALLEL, Parallel, run_parallel
from benchmarks.burst import Burst, run_burst
from benchmarks.growth import FAIL, Growth, Workflows, run_growth
from benchmarks.profile import Profile, profiled
from benchmarks.scale.work import Scale, flat, run_scale
from benchmarks.shapes import (
    CALL,
    LOOP,
    MAP,
    Calls,
    Loop,
    MapRun,
    Maps,
    publish,
    run_calls,
    run_loop,
    run_map,
    run_maps,
)
from benchmarks.single import run_single
from benchmarks.stand import Stand
from benchmarks.waits import WAITING, Signals, run_signals
from benchmarks.web import Web, figures_of, serve
from benchmarks.workload import STEPS, document

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
    items: int = 1_000
    passes: int = 10_000
    calls: int = 200
    signals: int = 1_000
    parallels: int = 20
    ended: int = 1_000_000
    ended_small: int = 1_000
    rounds: int = 5
    growth: int = 20_000


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

    def __init__(
        self,
        stand: Stand,
        sizes: Sizes,
        say: Callable[[str], None],
        profiles: Path | None = None,
    ) -> None:
        """profiles: the folder for what the first worker does meanwhile; None = nobody looks."""
        self.stand = stand
        self.profiles = profiles
        self.sizes = sizes
        self.say = say
        self.connection: Connection = stand.connect()
        self.runs: list[Run] = []
        self._tens = publish(document())
        self.workflow_id = self._tens.pk
        self._map = publish(MAP)
        self._loops = publish(LOOP)
        self._call = publish(CALL)
        self._waiting = publish(WAITING)
        self._sides = publish(PARALLEL)
        self._failing = publish(FAIL)

    def warm_up(self) -> None:
        """Imports, caches and connections of every process, and the planner's statistics."""
        self._burst(max(10, self.sizes.executions // 5))
        run_single(self.connection, workflow_id=self.workflow_id, count=10)
        run_map(self.stand, self.connection, self._map, 20)
        if self.stand.web is not None:
            for _ in range(20):
                for path in ("/api/v1/monitoring/health/ready/", "/admin/login/", "/api/schema"):
                    self.stand.get(path)

    def run(self, work: str) -> None:
        """Run `work` as often as it is to be repeated. Raises BooksWrong, NotReady."""
        measure: Callable[[], Any] = {
            "W1": self._w1,
            "W1L": self._w1l,
            "W2": self._w2,
            "W3": self._w3,
            "W4": self._w4,
            "W6": self._w6,
            "LOOP": self._loop,
            "MAPS": self._maps,
            "SIGNALS": self._signals,
            "WEB": self._web,
            "PARALLEL": self._parallel,
            "W7": self._w7,
            "MEMORY": self._memory,
        }[work]
        often = {"W1", "W2", "W3", "W6", "SIGNALS"}
        repeat = self.sizes.repeat if work in often else self.sizes.repeat_large
        for number in range(repeat):
            run = self._between_commits(work, measure)
            self.runs.append(run)
            self.say(f"{work} {number + 1}/{repeat}: {summary(run)}")

    def _between_commits(self, work: str, measure: Callable[[], Any]) -> Run:
        machine.settle(self.connection)
        load = os.getloadavg()[0]
        before = machine.commit_rate(self.connection, self.sizes.commit_seconds)
        with ExitStack() as watched:
            profile: Profile | None = None
            if self.profiles is not None:
                name = f"{work}-{len(self.runs) + 1}"
                profile = watched.enter_context(profiled(self.stand, self.profiles, name))
            result = asdict(measure())
        for line in profile.lines() if profile else ():
            self.say(f"  {line}")
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

    def _w3(self) -> MapRun:
        return run_map(self.stand, self.connection, self._map, self.sizes.items)

    def _maps(self) -> Maps:
        return run_maps(self.stand, self.connection, self._map, self.sizes.items)

    def _signals(self) -> Signals:
        return run_signals(self.stand, self.connection, self._waiting, self.sizes.signals)

    def _parallel(self) -> Parallel:
        return run_parallel(self.stand, self.connection, self._sides, self.sizes.parallels)

    def _loop(self) -> Loop:
        return run_loop(self.stand, self.connection, self._loops, self.sizes.passes)

    def _web(self) -> Web:
        return serve(self.stand, self.connection, self.workflow_id)

    def _w7(self) -> Scale:
        """On databases of its own; no worker is there but the measured claims."""
        sizes = self.sizes
        return run_scale(self.stand, sizes.ended_small, sizes.ended, sizes.rounds, self.say)

    def _w6(self) -> Calls:
        """By one worker process, warmed by a few calls."""
        count = self.stand.worker_count
        self.stand.have_workers(1)
        try:
            run_calls(self.stand, self.connection, self._call, 5)
            return run_calls(self.stand, self.connection, self._call, self.sizes.calls)
        finally:
            self.stand.have_workers(count)

    def _memory(self) -> Growth:
        """By one worker process, a new one."""
        count = self.stand.worker_count
        self.stand.have_workers(0)
        self.stand.have_workers(1)
        workflows = Workflows(self._tens, self._map, self._waiting, self._failing)
        try:
            return run_growth(self.stand, self.connection, workflows, self.sizes.growth)
        finally:
            self.stand.have_workers(count)

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
    if run.work == "WEB":
        return figures_of(result)
    if run.work == "W7":
        return flat(result)
    if run.work == "MEMORY":
        quarters = {f"quarter_{n}_mb": mb for n, mb in enumerate(result["quarters_mb"], 1)}
        last = result["quarters_mb"][-1]
        names = ("steps", "seconds", "warm_mb")
        return (
            {name: result[name] for name in names}
            | quarters
            | {"growth_ratio": last / result["warm_mb"]}
        )
    if run.work != "W4":
        return {name: value for name, value in result.items() if name != "executions"}
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
        "W3": "{seconds:.2f} s",
        "W6": "{seconds:.2f} s",
        "LOOP": "{short_ms:.2f} ms per pass of ten, {long_ms:.2f} of many, {ratio:.2f}",
        "WEB": "start x{start_ratio:.2f}, list x{list_ratio:.2f}, events p95 {p95_ms:.0f} ms",
        "MAPS": "{seconds:.2f} s and {seconds_large:.2f} s, {time_ratio:.2f}",
        "PARALLEL": "{seconds:.3f} s, the longest {longest_seconds:.3f} s",
        "SIGNALS": "{seconds:.2f} s, sent in {send_seconds:.2f} s",
        "MEMORY": "{warm_mb:.0f} MB, after {steps:,.0f} steps {quarter_4_mb:.0f}, "
        "x{growth_ratio:.3f}",
        "W4": "idle {idle_mb:.0f} MB, peak {peak_mb:.0f} MB",
        "W7": "at worst {worst_ratio:.2f} times, {large_gb:.1f} GB",
    }[run.work]
    return words.format(**figures(run)) + (
        f"  (commits/s {run.commits_before:,.0f} before, {run.commits_after:,.0f} after;"
        f" load {run.load_before:.1f})"
    )
