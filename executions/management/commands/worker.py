"""`manage.py worker`: execute workflows until told to stop."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import Error

from executions.runtime.supervisor import Supervisor


class Command(BaseCommand):
    help = (
        "Execute workflows in this process until SIGTERM or Ctrl-C. Run several for more capacity; "
        "each offers to lead the clock."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "queues", nargs="*", help="Queues to serve; all configured ones by default."
        )
        parser.add_argument(
            "--no-clock", action="store_true", help="Never lead the clock from this process."
        )
        parser.add_argument(
            "--once", action="store_true", help="Run what is ready now, then exit; needs no Redis."
        )

    def handle(self, *args: Any, **options: Any) -> None:
        known = list(settings.AUTOPILOT_QUEUES)
        queues = list(options["queues"]) or known
        unknown = [name for name in queues if name not in known]
        if unknown:
            raise CommandError(
                f"The queue {unknown[0]!r} is not configured; AUTOPILOT_QUEUES has "
                f"{', '.join(known)}."
            )
        if options["verbosity"]:
            self.stdout.write(f"Working on {', '.join(queues)}. Ctrl-C stops.")
            self.stdout.flush()
        try:
            supervisor = Supervisor(queues, with_clock=not options["no_clock"])
        except Error as error:
            reason = str(error).strip().splitlines()[0]
            raise CommandError(
                f"PostgreSQL is not ready ({reason}): check DATABASE_URL, or run "
                "scripts/migrate.sh if its tables are missing."
            ) from None
        supervisor.run(once=options["once"])
