"""A worker that freezes, dies or stumbles the n-th time it passes a named point."""

from __future__ import annotations

import itertools
import signal
import threading
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
                # To this thread itself: another one might take a signal to the process, and this
                # one would go on for a moment, past the point.
                signal.pthread_kill(threading.get_ident(), number)

        faults.inject(options["point"], stumble)
        Supervisor(["default"]).run()
