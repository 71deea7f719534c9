"""A worker that freezes, dies or stumbles the n-th time it passes a named point."""

from __future__ import annotations

import itertools
import os
import signal
from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from executions.runtime import faults
from executions.runtime.supervisor import Supervisor


class Command(BaseCommand):
    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("point")
        parser.add_argument("time", type=int)
        parser.add_argument("--signal", default="SIGSTOP")

    def handle(self, *args: Any, **options: Any) -> None:
        passes = itertools.count(1)
        number = signal.Signals[options["signal"]]

        def stumble() -> None:
            if next(passes) == options["time"]:
                os.kill(os.getpid(), number)

        faults.inject(options["point"], stumble)
        Supervisor(["default"]).run()
