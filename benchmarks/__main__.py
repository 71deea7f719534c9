"""`python -m benchmarks`: measure this checkout on servers of its own; see README.md here."""

from __future__ import annotations

import argparse
import json
import signal
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType

import django

from benchmarks.stand import NotReady, Stand
from benchmarks.workload import BooksWrong

# What executions.bulk_start.start_many takes; it can't be imported before the servers are there.
MAX_BATCH = 1_000
# These take long, so they are measured when they are asked for.
ONLY_ASKED = ("W7", "MEMORY")
ALWAYS = ("W1", "W1L", "W2", "W3", "W4", "W6", "LOOP", "MAPS", "SIGNALS", "PARALLEL", "WEB")
WORKS = (*ALWAYS, *ONLY_ASKED)


def parser() -> argparse.ArgumentParser:
    found = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    found.add_argument(
        "works",
        nargs="*",
        help=f"Which: {', '.join(WORKS)}; by default all but {', '.join(ONLY_ASKED)}.",
    )
    found.add_argument("--workers", type=int, default=2, help="Worker processes (2).")
    found.add_argument("--executions", type=int, default=500, help="Of W1 and W4 (500).")
    found.add_argument("--large", type=int, default=10_000, help="Executions of W1L (10000).")
    found.add_argument("--singles", type=int, default=100, help="Executions of W2 (100).")
    found.add_argument(
        "--repeat", type=int, default=3, help="Runs of W1, W2, W3, W6 and SIGNALS (3)."
    )
    found.add_argument("--repeat-large", type=int, default=1, help="Runs of the others (1).")
    found.add_argument("--items", type=int, default=1_000, help="Items of W3 and MAPS (1000).")
    found.add_argument("--passes", type=int, default=10_000, help="Passes of LOOP (10000).")
    found.add_argument("--calls", type=int, default=200, help="Calls of W6 (200).")
    found.add_argument("--signals", type=int, default=1_000, help="Signals of SIGNALS (1000).")
    found.add_argument("--parallels", type=int, default=20, help="Runs of PARALLEL (20).")
    found.add_argument(
        "--ended",
        type=int,
        default=1_000_000,
        help="Ended executions of W7's large side (1000000).",
    )
    found.add_argument(
        "--ended-small", type=int, default=1_000, help="And of its small side (1000)."
    )
    found.add_argument("--rounds", type=int, default=5, help="Rounds of W7 (5).")
    found.add_argument("--growth", type=int, default=20_000, help="Executions of MEMORY (20000).")
    found.add_argument("--submitters", type=int, default=1, help="Submitting processes (1).")
    found.add_argument(
        "--batch",
        type=int,
        default=250,
        help="Starts per call of start_many (250, at most 1000); 1 = start_execution, one by one.",
    )
    found.add_argument(
        "--commit-seconds", type=float, default=3.0, help="Length of a measured commit rate (3)."
    )
    found.add_argument(
        "--idle-seconds", type=float, default=3.0, help="Wait before W4 looks at idle memory (3)."
    )
    found.add_argument("--no-web", action="store_true", help="Without the web server.")
    found.add_argument(
        "--profile",
        type=Path,
        metavar="FOLDER",
        help="Say where the first worker's time goes (py-spy), and write the stacks there;"
        " what is measured is slower for it.",
    )
    found.add_argument("--json", type=Path, metavar="FILE", help="Write everything there too.")
    return found


def main() -> int:
    """0 if everything ran and the books were right; targets are reported, not enforced."""
    arguments = parser().parse_args()
    works = list(dict.fromkeys(each.upper() for each in arguments.works)) or list(ALWAYS)
    if unknown := [each for each in works if each not in WORKS]:
        return _complain(f"There is no work {unknown[0]!r}; there are {', '.join(WORKS)}.")
    counts: tuple[str, ...] = (
        "workers",
        "executions",
        "large",
        "singles",
        "repeat",
        "repeat_large",
        "submitters",
    )
    counts = (*counts, "items", "passes", "calls", "signals", "batch")
    counts = (*counts, "ended", "ended_small", "rounds", "growth")
    for name in (*counts, "commit_seconds", "idle_seconds"):
        if getattr(arguments, name) <= 0:
            return _complain(f"--{name.replace('_', '-')} must be above zero.")
    if arguments.batch > MAX_BATCH:
        return _complain(f"--batch is at most {MAX_BATCH:,}: no call starts more.")
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        return _measure(arguments, works)
    except BooksWrong as error:
        return _complain(f"The books are wrong, no figure counts: {error}")
    except (NotReady, TimeoutError) as error:
        return _complain(str(error))
    except KeyboardInterrupt:
        return _complain("Interrupted; everything that was started has been stopped.")


def _measure(arguments: argparse.Namespace, works: list[str]) -> int:
    started, clock = datetime.now(UTC), time.monotonic()

    def say(words: str) -> None:
        print(f"{time.monotonic() - clock:6.1f} s  {words}", flush=True)

    say("Starting PostgreSQL, Valkey and the processes ...")
    with Stand(workers=arguments.workers, web=not arguments.no_web) as stand:
        durability = stand.durability()
        say(", ".join(f"{name} = {value}" for name, value in durability.items()))
        django.setup()
        from benchmarks.report import report_of, table_of
        from benchmarks.works import Bench, Sizes

        sizes = Sizes(
            executions=arguments.executions,
            executions_large=arguments.large,
            singles=arguments.singles,
            repeat=arguments.repeat,
            repeat_large=arguments.repeat_large,
            commit_seconds=arguments.commit_seconds,
            idle_seconds=arguments.idle_seconds,
            submitters=arguments.submitters,
            batch=arguments.batch,
            items=arguments.items,
            passes=arguments.passes,
            calls=arguments.calls,
            signals=arguments.signals,
            parallels=arguments.parallels,
            ended=arguments.ended,
            ended_small=arguments.ended_small,
            rounds=arguments.rounds,
            growth=arguments.growth,
        )
        bench = Bench(stand, sizes, say, arguments.profile)
        say("Warming up ...")
        bench.warm_up()
        for work in works:
            bench.run(work)
        report = report_of(bench, durability, started)
    print(table_of(report))
    if arguments.json:
        arguments.json.write_text(json.dumps(report, indent=2) + "\n")
    return 0


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _complain(sentence: str) -> int:
    print(sentence, file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
