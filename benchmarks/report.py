"""What a run of the benchmarks says: a table for people, JSON for programs."""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from benchmarks import machine
from benchmarks.scale.work import WORK
from benchmarks.works import Bench, Run, Sizes, medians

SUBMITTED = (
    "executions.{service} in {submitters} process{es} of {their} own, {each}; "
    "W2 one by one through executions.services.start_execution()"
)
# Work, figure, where the target is, whether more is better.
TARGETS = (
    ("W1L", "window_steps_per_commit", 3.4, True),
    ("W2", "p50_ms", 15.0, False),
    ("W3", "seconds", 0.8, False),
    ("W4", "idle_worker_mb", 120.0, False),
    ("W6", "seconds", 3.0, False),
    ("MEMORY", "growth_ratio", 1.1, False),
    ("LOOP", "ratio", 1.3, False),
    ("SIGNALS", "seconds", 2.0, False),
    ("W7", "worst_ratio", 1.2, False),
    # 300 starts a second with the CPU of two threads.
    ("WEB", "start_loop_cpu_ms", 6.67, False),
    ("WEB", "start_ratio", 0.9, True),
    ("WEB", "list_ratio", 0.9, True),
)
CPU = (
    ("CPU ms per execution, all", "cpu_ms", ".1f"),
    ("  worker processes", "cpu_worker_ms", ".1f"),
    ("  PostgreSQL", "cpu_postgres_ms", ".1f"),
    ("  submitters", "cpu_submit_ms", ".1f"),
)
ROWS = {
    "W1": (
        ("executions/s", "executions_per_s", ",.0f"),
        ("steps/s, first submit to last end", "steps_per_s", ",.0f"),
        ("steps per commit/s", "steps_per_commit", ".2f"),
        ("submitted/s", "submits_per_s", ",.0f"),
        *CPU,
    ),
    "W1L": (
        ("steps/s, steady state", "window_steps_per_s", ",.0f"),
        ("steps per commit/s, steady state", "window_steps_per_commit", ".2f"),
        ("steps/s, whole run", "steps_per_s", ",.0f"),
        ("steps per commit/s, whole run", "steps_per_commit", ".2f"),
        ("submitted/s", "submits_per_s", ",.0f"),
        *CPU,
    ),
    "W2": (
        ("p50, ms", "p50_ms", ".1f"),
        ("p95, ms", "p95_ms", ".1f"),
        ("  start_execution, ms", "submit_ms", ".1f"),
        ("  from created to claimed, ms", "claim_ms", ".1f"),
        ("  from claimed to ended, ms", "run_ms", ".1f"),
        ("p50 in commits of this machine", "p50_commits", ".0f"),
    ),
    "W3": (
        ("one map, from start to join, s", "seconds", ".2f"),
        ("largest worker at its peak, MB", "worker_mb", ".0f"),
    ),
    "W6": (("calls of a second each, s", "seconds", ".2f"),),
    "LOOP": (
        ("a pass of ten, ms", "short_ms", ".2f"),
        ("a pass of many, ms", "long_ms", ".2f"),
        ("ratio", "ratio", ".2f"),
        ("last tenth to first tenth of many", "drift", ".2f"),
        ("CPU of a pass of ten, ms", "cpu_short_ms", ".2f"),
        ("CPU of a pass of many, ms", "cpu_long_ms", ".2f"),
        ("ratio of CPU", "cpu_ratio", ".2f"),
    ),
    "MAPS": (
        ("a map, s", "seconds", ".2f"),
        ("a map of ten times as many, s", "seconds_large", ".2f"),
        ("per item, large to small", "time_ratio", ".2f"),
        ("workers and web grew by, MB", "grown_mb", ".0f"),
        ("  with ten times as many, MB", "grown_large_mb", ".0f"),
    ),
    "SIGNALS": (
        ("signals accepted, s", "send_seconds", ".2f"),
        ("all executions completed, s", "seconds", ".2f"),
    ),
    "PARALLEL": (
        ("100 branches joined, s", "seconds", ".3f"),
        ("the longest, s", "longest_seconds", ".3f"),
    ),
    "WEB": (
        ("starts/s, a server of threads", "start_threads_per_s", ",.0f"),
        ("starts/s, ours", "start_loop_per_s", ",.0f"),
        ("  ratio", "start_ratio", ".2f"),
        ("CPU of a start, threads, ms", "start_threads_cpu_ms", ".2f"),
        ("CPU of a start, ours, ms", "start_loop_cpu_ms", ".2f"),
        ("lists/s, a server of threads", "list_threads_per_s", ",.0f"),
        ("lists/s, ours", "list_loop_per_s", ",.0f"),
        ("  ratio", "list_ratio", ".2f"),
        ("CPU of a list, threads, ms", "list_threads_cpu_ms", ".2f"),
        ("CPU of a list, ours, ms", "list_loop_cpu_ms", ".2f"),
        ("idle connections, threads", "connections_threads", ".0f"),
        ("idle connections, ours", "connections_loop", ".0f"),
        ("listeners of one process", "listeners", ".0f"),
        ("  connections with them", "listener_connections", ".0f"),
        ("  commit to event, p50, ms", "p50_ms", ".0f"),
        ("  commit to event, p95, ms", "p95_ms", ".0f"),
    ),
    "W7": (
        *(
            row
            for what in WORK
            for row in (
                (f"{what}, small, ms", f"{what}_small_ms", ".2f"),
                (f"{what}, large, ms", f"{what}_large_ms", ".2f"),
                ("  ratio", f"{what}_ratios", ".2f"),
            )
        ),
        ("the worst of what is judged", "worst_ratio", ".2f"),
        ("size of the large database, GB", "large_gb", ".1f"),
        ("purged", "purged", ",.0f"),
        ("  in, s", "purge_seconds", ".0f"),
        ("start p95 without a purge, ms", "start_quiet_ms", ".2f"),
        ("start p95 beside it, ms", "start_purging_ms", ".2f"),
        ("claim p95 without a purge, ms", "claim_one_quiet_ms", ".2f"),
        ("claim p95 beside it, ms", "claim_one_purging_ms", ".2f"),
    ),
    "MEMORY": (
        ("steps after the warm-up", "steps", ",.0f"),
        ("worker after the warm-up, MB", "warm_mb", ".1f"),
        ("  after a quarter of the steps", "quarter_1_mb", ".1f"),
        ("  after half of them", "quarter_2_mb", ".1f"),
        ("  after three quarters", "quarter_3_mb", ".1f"),
        ("  after all of them", "quarter_4_mb", ".1f"),
        ("all of it to the warm-up", "growth_ratio", ".3f"),
    ),
    "W4": (
        ("idle, all processes, MB", "idle_mb", ".0f"),
        ("peak of W1, all processes, MB", "peak_mb", ".0f"),
        ("largest worker, idle, MB", "idle_worker_mb", ".0f"),
        ("largest worker, peak, MB", "peak_worker_mb", ".0f"),
    ),
}


def report_of(bench: Bench, durability: dict[str, str], started: datetime) -> dict[str, Any]:
    """Everything that was measured, as JSON can hold it."""
    by_work: dict[str, list[Run]] = {}
    for run in bench.runs:
        by_work.setdefault(run.work, []).append(run)
    results = {work: medians(runs) for work, runs in by_work.items()}
    return {
        "date": started.isoformat(timespec="seconds"),
        "seconds": round((datetime.now(UTC) - started).total_seconds(), 1),
        "machine": {**machine.facts(), "postgresql": durability["server_version"]},
        "durability": durability,
        "workers": bench.stand.worker_count,
        "submitted": _how(bench.sizes),
        "sizes": asdict(bench.sizes),
        "medians": results,
        "targets": _targets(results),
        "runs": [{**asdict(run), "commits_per_s": run.commits_per_s} for run in bench.runs],
    }


def _how(sizes: Sizes) -> str:
    several = sizes.submitters > 1
    one_by_one = sizes.batch == 1
    return SUBMITTED.format(
        service="services.start_execution()" if one_by_one else "bulk_start.start_many()",
        submitters=sizes.submitters,
        es="es" if several else "",
        their="their" if several else "its",
        each="one by one" if one_by_one else f"{sizes.batch} per call and transaction",
    )


def _targets(results: dict[str, dict[str, float]]) -> list[dict[str, Any]]:
    found = []
    for work, name, target, more in TARGETS:
        if work in results:
            value = results[work][name]
            met = value >= target if more else value <= target
            found.append(
                {"work": work, "figure": name, "target": target, "value": value, "met": met}
            )
    return found


def table_of(report: dict[str, Any]) -> str:
    """The report as lines for a terminal."""
    facts, durable = report["machine"], report["durability"]
    on = ", ".join(f"{name} {value}" for name, value in durable.items() if value == "on")
    lines = [
        "",
        f"{facts['cores']} cores, {facts['memory_gib']:g} GiB, {facts['system']}, "
        f"Python {facts['python']}, PostgreSQL {facts['postgresql']} ({on})",
        f"{report['workers']} worker processes; submitted by {report['submitted']}",
        "",
    ]
    for work, rows in ROWS.items():
        if (found := report["medians"].get(work)) is None:
            continue
        count = sum(run["work"] == work for run in report["runs"])
        lines.append(f"{work}  (median of {count})" if count > 1 else work)
        for title, name, shape in (
            *rows,
            ("commits/s of the same minute", "commits_per_s", ",.0f"),
        ):
            lines.append(f"    {title:<36} {format(found[name], shape):>10}")
        if "submit_limited" in found:
            limited = "yes" if found["submit_limited"] else "no"
            lines.append(f"    {'was submission the bottleneck?':<36} {limited:>10}")
    for each in report["targets"]:
        word = "met" if each["met"] else "MISSED"
        lines.append(
            f"target {each['work']} {each['figure']}: {each['target']:g}, "
            f"measured {each['value']:.2f}: {word}"
        )
    return "\n".join(lines)
