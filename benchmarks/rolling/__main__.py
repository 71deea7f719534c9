"""`python -m benchmarks.rolling`: restart every process in turn under load; check the books."""

from __future__ import annotations

import argparse
import json
import signal
import sys
import time
from pathlib import Path
from types import FrameType

import django

from benchmarks.chaos.ground import Ground
from benchmarks.stand import NotReady


def parser() -> argparse.ArgumentParser:
    found = argparse.ArgumentParser(prog="python -m benchmarks.rolling", description=__doc__)
    found.add_argument("--workers", type=int, default=3, help="Worker processes (3).")
    found.add_argument("--rounds", type=int, default=3, help="How often all are restarted (3).")
    found.add_argument("--rate", type=float, default=20.0, help="Starts a second over REST (20).")
    found.add_argument("--short", action="store_true", help="A small one, for the tests.")
    found.add_argument("--json", type=Path, metavar="FILE", help="Write the report there too.")
    return found


def main() -> int:
    """0 if nothing was lost, doubled or refused; 1 otherwise."""
    arguments = parser().parse_args()
    if arguments.short:
        arguments.workers, arguments.rounds, arguments.rate = 2, 1, 10.0
    signal.signal(signal.SIGTERM, _interrupt)
    clock = time.monotonic()

    def say(words: str) -> None:
        print(f"{time.monotonic() - clock:6.1f} s  {words}", flush=True)

    say("Starting PostgreSQL, Valkey, the web server and the service ...")
    try:
        with Ground(web=True) as ground:
            ground.durability()
            django.setup()
            from benchmarks.rolling.trial import Trial

            report = Trial(ground, say).run(
                workers=arguments.workers, rounds=arguments.rounds, rate=arguments.rate
            )
    except (NotReady, TimeoutError) as error:
        print(error, file=sys.stderr)
        return 1
    for name, value in report.items():
        print(f"  {name:<24} {value}")
    if arguments.json:
        arguments.json.write_text(json.dumps(report, indent=2) + "\n")
    return 1 if report["findings"] else 0


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
