"""`python -m benchmarks.hosts`: two hosts with a worker each, one of them cut off and back."""

from __future__ import annotations

import argparse
import json
import signal
import sys
import time
from dataclasses import asdict
from pathlib import Path
from types import FrameType

import django

from benchmarks.hosts.ground import Ground
from benchmarks.hosts.network import NoNamespaces
from benchmarks.stand import NotReady


def parser() -> argparse.ArgumentParser:
    found = argparse.ArgumentParser(prog="python -m benchmarks.hosts", description=__doc__)
    found.add_argument("--executions", type=int, default=600, help="Started (600).")
    found.add_argument("--cut", type=float, default=15.0, help="Seconds without a network (15).")
    found.add_argument("--json", type=Path, metavar="FILE", help="Write the report there too.")
    return found


def main() -> int:
    """0 if the books are right, 1 if not, or if it could not be carried out."""
    arguments = parser().parse_args()
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        return _run(arguments)
    except (NoNamespaces, NotReady, TimeoutError) as error:
        return _complain(str(error))
    except KeyboardInterrupt:
        return _complain("Interrupted; everything that was started has been stopped.")


def _run(arguments: argparse.Namespace) -> int:
    clock = time.monotonic()

    def say(words: str) -> None:
        print(f"{time.monotonic() - clock:6.1f} s  {words}", flush=True)

    say("Making the hosts, PostgreSQL and Valkey ...")
    with Ground(("north", "south")) as ground:
        django.setup()
        from benchmarks.hosts.trial import run_trial

        report = run_trial(
            ground, executions=arguments.executions, cut_seconds=arguments.cut, say=say
        )
    for name, value in asdict(report).items():
        shown = f"{value:.1f}" if isinstance(value, float) else value
        if name != "findings":
            print(f"  {name.replace('_', ' '):<20} {shown:>8}")
    print("The books: " + ("WRONG" if report.findings else "right"))
    for finding in report.findings:
        print(f"  {finding}")
    if arguments.json:
        arguments.json.write_text(json.dumps(asdict(report), indent=2) + "\n")
    return 1 if report.findings else 0


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _complain(sentence: str) -> int:
    print(sentence, file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
