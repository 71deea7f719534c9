"""`manage.py switch`: pause and resume workflows and queues, from a terminal."""

from __future__ import annotations

import sys
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandParser
from django.db import Error

from autopilot.accounts.actors import Actor
from autopilot.common import clock
from autopilot.common.errors import DomainError
from executions import holding
from executions.management.operator import not_ready, operator
from executions.models import Hold
from workflows.definition.durations import DurationError, parse_duration
from workflows.models import Workflow

DONE, REFUSED, USAGE = 0, 1, 2


class Command(BaseCommand):
    help = (
        "Pause a workflow or a queue, let it go on, or list what is paused. "
        "Exit code: 0 done, 1 refused, 2 wrong use."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        tasks = parser.add_subparsers(dest="task", required=True, metavar="TASK")
        tasks.add_parser("list", help="What is paused, by whom, why, until when.")
        pausing = tasks.add_parser("pause", help="No new starts, or nothing runs.")
        resuming = tasks.add_parser("resume", help="Let it go on.")
        for each in (pausing, resuming):
            of = each.add_mutually_exclusive_group(required=True)
            of.add_argument("--workflow", metavar="SLUG")
            of.add_argument("--queue", choices=settings.AUTOPILOT_QUEUES)
        pausing.add_argument(
            "--mode",
            choices=Hold.Mode.values,
            help="starts: nothing new is accepted (default of workflows); "
            "all: nothing runs (default of queues).",
        )
        pausing.add_argument("--reason", default="", help="Shown to everybody who is held up.")
        pausing.add_argument("--for", dest="duration", metavar="30m", help="Goes on by itself.")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            self._run(options)
        except DomainError as error:
            self.stderr.write(error.message)
            sys.exit(REFUSED)
        except DurationError as error:
            self.stderr.write(f"--for: {error}")
            sys.exit(USAGE)
        except Error as error:
            self.stderr.write(not_ready(error))
            sys.exit(REFUSED)

    def _run(self, options: dict[str, Any]) -> None:
        if options["task"] == "list":
            self._list()
            return
        actor = operator()
        queue = options["queue"]
        workflow = None if queue else self._workflow(options["workflow"])
        name = f"queue {queue}" if queue else f"workflow {options['workflow']}"
        if options["task"] == "pause":
            self._pause(workflow, queue, actor, options)
            self.stdout.write(f"The {name} is paused.")
            return
        if workflow is None:
            holding.resume_queue(queue=queue, actor=actor)
        else:
            holding.resume_workflow(workflow=workflow, actor=actor)
        self.stdout.write(f"The {name} goes on.")

    def _pause(
        self, workflow: Workflow | None, queue: str, actor: Actor, options: dict[str, Any]
    ) -> None:
        until = None
        if options["duration"]:
            until = clock.now() + max(parse_duration(options["duration"]), timedelta(0))
        given = {"actor": actor, "reason": options["reason"], "until": until}
        if options["mode"]:
            given["mode"] = options["mode"]
        if workflow is None:
            holding.pause_queue(queue=queue, **given)
        else:
            holding.pause_workflow(workflow=workflow, **given)

    def _workflow(self, slug: str) -> Workflow:
        found: Workflow | None = Workflow.objects.filter(slug=slug).first()
        if found is None:
            self.stderr.write(f"There is no workflow {slug!r:.80}.")
            sys.exit(USAGE)
        return found

    def _list(self) -> None:
        for hold in holding.live_holds(clock.now()).select_related("workflow"):
            until = f" until {hold.until:%Y-%m-%d %H:%M} UTC" if hold.until else ""
            because = f": {hold.reason}" if hold.reason else ""
            self.stdout.write(f"{hold}\t{hold.mode}\tby {hold.actor}{until}{because}")
