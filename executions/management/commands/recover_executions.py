"""`manage.py recover_executions`: what nobody goes on with, why, and putting it right."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from typing import Any

from django.core.management.base import BaseCommand, CommandParser
from django.db import Error

from autopilot.common.words import plural
from executions.management.operator import execution_id, not_ready, operator
from executions.recovering import Stuck, find_stuck, recover_executions

DONE, SOME_LEFT, NOT_READY = 0, 1, 2


class Command(BaseCommand):
    help = (
        "Say which executions nobody goes on with, why, and what would be done about each; with "
        "--free, do it. Rarely needed: the clock does most of it within seconds. "
        "Exit code: 0 nothing is stuck, or all of it was freed; 1 something is, or was left; "
        "2 PostgreSQL does not answer."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--id",
            type=execution_id,
            action="append",
            dest="ids",
            metavar="ID",
            help="Only this one; may be given several times.",
        )
        how = parser.add_mutually_exclusive_group()
        how.add_argument("--free", action="store_true", help="Do it, rather than only say it.")
        how.add_argument(
            "--dry-run", action="store_true", help="Only say it: what happens without --free, too."
        )
        parser.add_argument("--json", action="store_true", help="One JSON object a line.")

    def handle(self, *args: Any, **options: Any) -> None:
        ask = recover_executions if options["free"] else find_stuck
        try:
            found = ask(actor=operator(), ids=options["ids"])
        except Error as error:
            self.stderr.write(not_ready(error))
            sys.exit(NOT_READY)
        for one in found:
            self.stdout.write(json.dumps(asdict(one)) if options["json"] else _line(one))
        if not options["json"]:
            self.stdout.write(_summary(found, freed=options["free"]))
        if any(not one.freed for one in found):
            sys.exit(SOME_LEFT)


def _line(one: Stuck) -> str:
    words = {
        None: "",
        True: "Done: ",
        False: "Not done, for somebody else holds it or is before it: ",
    }
    then = f" {words[one.freed]}{one.remedy}" if one.remedy else ""
    return f"{one.execution_id}\t{one.code}\t{one.sentence}{then}"


def _summary(found: list[Stuck], *, freed: bool) -> str:
    if not found:
        return "Nothing is stuck."
    count = len({one.execution_id for one in found})
    if freed:
        done = len({one.execution_id for one in found if one.freed})
        return f"Of {plural(count, 'execution')} {done} went on."
    odd = len({one.execution_id for one in found if not one.is_expected})
    said = f"{plural(count, 'execution')}: nothing was changed. --free does what is said."
    if odd:
        said += f" {odd} of them should not be possible: please report how it came to that."
    return said
