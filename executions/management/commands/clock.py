"""`manage.py clock`: the clock in a process of its own."""

from __future__ import annotations

import signal
from typing import Any

from django.core.management.base import BaseCommand

from executions.runtime.clock import Clock


class Command(BaseCommand):
    help = (
        "Ring for what falls due and free what dead workers held. Every worker does this too if "
        "no other process leads, so this command is only for those who want it apart."
    )

    def handle(self, *args: Any, **options: Any) -> None:
        clock = Clock()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: clock.stop())
        if options["verbosity"]:
            self.stdout.write("The clock runs. Ctrl-C stops it.")
        clock.run_forever()
