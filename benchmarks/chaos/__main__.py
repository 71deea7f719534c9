"""`python -m benchmarks.chaos`: everything is killed while it works; then the books are checked."""

from __future__ import annotations

import argparse
import json
import signal
import sys
import time
from pathlib import Path
from types import FrameType
from typing import Any

import django

from benchmarks.chaos.ground import Ground
from benchmarks.chaos.havoc import Plan
from benchmarks.stand import NotReady

SHOWN = 20


def parser() -> argparse.ArgumentParser:
    found = argparse.ArgumentParser(prog="python -m benchmarks.chaos", description=__doc__)
    found.add_argument("--executions", type=int, default=5_000, help="Started by us (5000).")
    found.add_argument("--workers", type=int, default=5, help="Worker processes (5).")
    found.add_argument("--every", type=float, default=1.0, help="Seconds between kills (1).")
    found.add_argument(
        "--spread",
        type=float,
        default=150.0,
        help="Seconds over which starts and everything but kills go on (150).",
    )
    found.add_argument(
        "--limit",
        type=float,
        default=1_800.0,
        help="Seconds after which there is peace in any case (1800).",
    )
    found.add_argument("--short", action="store_true", help="A small one, for the tests.")
    found.add_argument("--json", type=Path, metavar="FILE", help="Write the report there too.")
    found.add_argument("--keep-logs", type=Path, metavar="FOLDER", help="Copy the logs there.")
    return found


def main() -> int:
    """0 if the books are right, 1 if not or if it could not be carried out."""
    arguments = parser().parse_args()
    if arguments.short:
        arguments.executions, arguments.workers, arguments.spread = 36, 3, 4.0
        arguments.limit = 12.0
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        return _run(arguments)
    except (NotReady, TimeoutError) as error:
        return _complain(str(error))
    except KeyboardInterrupt:
        return _complain("Interrupted; everything that was started has been stopped.")


def _run(arguments: argparse.Namespace) -> int:
    clock = time.monotonic()

    def say(words: str) -> None:
        print(f"{time.monotonic() - clock:6.1f} s  {words}", flush=True)

    say("Starting PostgreSQL, Valkey and the service ...")
    with Ground() as ground:
        ground.durability()
        django.setup()
        from benchmarks.chaos.trial import Trial

        trial = Trial(ground, say)
        try:
            report = trial.run(
                executions=arguments.executions,
                plan=_plan(arguments),
                seconds=arguments.limit,
            )
        finally:
            if arguments.keep_logs:
                _copy(ground.log_folder, arguments.keep_logs)
    print(_table(report))
    if arguments.json:
        arguments.json.write_text(json.dumps(report, indent=2) + "\n")
    return 1 if report["findings"] else 0


def _plan(arguments: argparse.Namespace) -> Plan:
    if arguments.short:
        return Plan(
            workers=arguments.workers,
            every=1.0,
            restarts=1,
            crashes=0,
            flushes=1,
            away=1.0,
            leaders=1,
            spread=arguments.spread,
            kills=3,
        )
    return Plan(workers=arguments.workers, every=arguments.every, spread=arguments.spread)


def _copy(source: Path, target: Path) -> None:
    target.mkdir(parents=True, exist_ok=True)
    for path in source.glob("*.log"):
        (target / path.name).write_bytes(path.read_bytes())


def _table(report: dict[str, Any]) -> str:
    lines = ["", "What was done"]
    lines += [f"  {name:<40} {value:>10}" for name, value in report["done"].items()]
    lines += ["What came of it"]
    lines += [f"  {name:<40} {value:>10,}" for name, value in report["counts"].items()]
    lines += ["Calls beyond one for a key and attempt"]
    lines += [f"  {name:<40} {value:>10,}" for name, value in report["repeated"].items()]
    lines += ["The books: " + ("right" if not report["findings"] else "WRONG")]
    for each in report["findings"][:SHOWN]:
        lines.append(f"  {each}")
    if len(report["findings"]) > SHOWN:
        lines.append(f"  and {len(report['findings']) - SHOWN} more")
    return "\n".join(lines)


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _complain(sentence: str) -> int:
    print(sentence, file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
