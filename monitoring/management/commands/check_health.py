"""`manage.py check_health`: every dependency and every sign of trouble, and what to do."""

from __future__ import annotations

import json
import os
import sys
import threading
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from django.core.management.base import BaseCommand, CommandParser
from django.db import connection

from autopilot.common import clock
from autopilot.common.words import plural
from monitoring.checks.base import Check, Level, problem
from monitoring.checks.everything import Report, look_at_everything

OK, PROBLEM, WARNING = 0, 1, 2
# Each check has its own, shorter bound; this is for a server that takes connections and is silent.
SECONDS = 30.0


class Command(BaseCommand):
    help = (
        "Look at PostgreSQL, Redis, workers, clock, queues, executions, mails and disk: a line "
        "each, with what to do. Exit code: 0 no problem, 1 a problem, 2 with --strict warnings."
    )
    # What is wrong with the settings is said by `manage.py check`; this one has to answer.
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--json", action="store_true", help="One JSON object, for programs.")
        parser.add_argument(
            "--strict", action="store_true", help="Exit with 2 if there are only warnings."
        )
        parser.add_argument(
            "--quiet", action="store_true", help="Only what is not ok; nothing if all is."
        )
        parser.add_argument(
            "--timeout",
            type=float,
            default=SECONDS,
            metavar="SECONDS",
            help="After which the whole is given up as a problem (30).",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        report, is_done = within(options["timeout"])
        self._write(report, options)
        if not is_done:
            # A thread still waits for an answer; nobody waits for it.
            self.stdout.flush()
            os._exit(PROBLEM)
        if report.level is Level.PROBLEM:
            sys.exit(PROBLEM)
        if report.level is Level.WARNING and options["strict"]:
            sys.exit(WARNING)

    def _write(self, report: Report, options: dict[str, Any]) -> None:
        checks = report.checks
        if options["json"]:
            body = {"level": report.level, "checks": [asdict(each) for each in checks]}
            self.stdout.write(json.dumps(body, default=str))
            return
        shown = [each for each in checks if not options["quiet"] or each.level is not Level.OK]
        for each in shown:
            self.stdout.write(f"{each.level:<8} {each.name:<28} {each.message}")
            if each.advice:
                self.stdout.write(f"{'':<8} {'':<28} -> {each.advice}")
        if shown:
            self.stdout.write(_summary(checks))


def _summary(checks: Sequence[Check]) -> str:
    counts = {level: sum(each.level is level for each in checks) for level in Level}
    return (
        f"{plural(counts[Level.PROBLEM], 'problem')}, {plural(counts[Level.WARNING], 'warning')}, "
        f"{counts[Level.OK]} ok."
    )


def within(seconds: float) -> tuple[Report, bool]:
    """What was found in time, and whether that is all; if not, the last check says so."""
    found: list[Check] = []
    failed: list[BaseException] = []

    def look() -> None:
        try:
            for each in look_at_everything():
                found.append(each)
        except BaseException as error:  # noqa: BLE001 - raised again below
            failed.append(error)
        finally:
            connection.close()

    thread = threading.Thread(target=look, name="health", daemon=True)
    thread.start()
    thread.join(seconds)
    if failed:
        raise failed[0]
    is_done = not thread.is_alive()
    checks = tuple(found)
    if not is_done:
        checks += (_given_up(checks, seconds),)
    return Report(clock.now(), checks), is_done


def _given_up(checks: Sequence[Check], seconds: float) -> Check:
    if not checks:
        return problem(
            "postgres.answers",
            f"There was no answer within {seconds:g} seconds.",
            "PostgreSQL takes connections and says nothing: see its process, disk and log.",
        )
    return problem(
        "health.unfinished",
        f"What comes after {checks[-1].name} was not found out within {seconds:g} seconds.",
        "PostgreSQL is very busy, or has fallen silent: see its process, disk and log, or give "
        "it longer with --timeout.",
    )
