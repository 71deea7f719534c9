"""`manage.py run_workflow`: start a workflow, follow it, and answer with an exit code."""

from __future__ import annotations

import sys
import time
from datetime import timedelta
from typing import Any, NoReturn

from django.core.management.base import BaseCommand, CommandParser
from django.db import Error

from autopilot.common.errors import DomainError, Invalid
from autopilot.common.words import duration_words
from executions.api.workflows import started_workflow
from executions.engine.states import State
from executions.following import Lines, Rhythm, Standing, follow, result_text
from executions.management.operator import labels_of, not_ready, operator, read_json
from executions.models import Execution, Priority, StepExecution
from executions.services import start_execution
from workflows.definition.durations import DurationError, parse_duration

COMPLETED, FAILED, REFUSED, CANCELLED, TIMED_OUT, INTERRUPTED = 0, 1, 2, 3, 4, 130
CODES = {
    State.COMPLETED.value: COMPLETED,
    State.FAILED.value: FAILED,
    State.CANCELLED.value: CANCELLED,
}
PRIORITIES = {label: value for value, label in Priority.choices}


class TimedOut(Exception):
    """It has not ended in the time that was given."""


class Command(BaseCommand):
    help = (
        "Start an execution of a published workflow. With --follow its result comes on stdout and "
        "its progress on stderr, and the exit code tells the outcome: 0 completed, 1 failed, "
        "2 refused, 3 cancelled, 4 not ended within --timeout."
    )

    def create_parser(self, *args: Any, **kwargs: Any) -> CommandParser:
        # Django's own --version, of Django, gives way to the workflow's.
        return super().create_parser(*args, conflict_handler="resolve", **kwargs)

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("slug", help="The workflow's slug.")
        parser.add_argument(
            "--input",
            default="",
            metavar="JSON",
            help="JSON, or @FILE to read it from a file, @- from standard input; default: {}.",
        )
        parser.add_argument(
            "--version",
            metavar="VERSION",
            help="A version such as 1.2.0, or a range such as ^1.2 of which the highest published "
            "one runs; default: the live one.",
        )
        parser.add_argument(
            "--label",
            action="append",
            default=[],
            metavar="KEY=VALUE",
            help="To find it by; may be given several times.",
        )
        parser.add_argument("--priority", choices=list(PRIORITIES), default="normal")
        parser.add_argument("--queue", help="Default: the first configured queue.")
        parser.add_argument(
            "--idempotency-key",
            default="",
            help="The same key with the same request answers the first execution again.",
        )
        parser.add_argument("--correlation-id", default="", help="What it is about elsewhere.")
        parser.add_argument(
            "--follow", action="store_true", help="Stay until it has ended and show its progress."
        )
        parser.add_argument(
            "--timeout",
            metavar="DURATION",
            help="Follow no longer than this, such as 90, 30s or 5m; the execution goes on.",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            limit = parse_duration(_number(options["timeout"])) if options["timeout"] else None
            execution = self._start(options)
        except DomainError as error:
            self._refuse(error)
        except (DurationError, OSError, ValueError) as error:
            self.stderr.write(str(error))
            sys.exit(REFUSED)
        except Error as error:
            self.stderr.write(not_ready(error))
            sys.exit(REFUSED)
        if not options["follow"]:
            return
        sys.exit(self._follow(execution, limit))

    def _start(self, options: dict[str, Any]) -> Execution:
        actor = operator()
        started = start_execution(
            workflow=started_workflow(options["slug"], actor),
            actor=actor,
            input=_read_input(options["input"]),
            version=options["version"],
            labels=labels_of(options["label"]),
            priority=PRIORITIES[options["priority"]],
            queue=options["queue"],
            idempotency_key=options["idempotency_key"],
            correlation_id=options["correlation_id"],
        )
        execution = started.execution
        what = "accepted" if started.created else "had been started by this key before"
        line = (
            f"Execution {execution.pk} of {execution.workflow.slug} "
            f"{execution.version.version} {what}."
        )
        # Who follows wants nothing but the result on stdout.
        if options["follow"]:
            self.stderr.write(line, style_func=str)
        else:
            self.stdout.write(line)
        return execution

    def _follow(self, execution: Execution, limit: timedelta | None) -> int:
        lines = Lines(self.stderr)
        rhythm = Rhythm()
        deadline = time.monotonic() + limit.total_seconds() if limit else None

        def pause() -> None:
            if deadline is not None and time.monotonic() > deadline:
                raise TimedOut
            rhythm.wait()

        try:
            for item in follow(execution.pk, pause):
                if isinstance(item, StepExecution):
                    rhythm.happened()
                    lines.step(item)
                elif isinstance(item, Standing):
                    lines.standing(item.execution, item.items)
                else:
                    return self._end(item, lines)
        except TimedOut:
            waited = duration_words(limit)
            lines.say(f"It has not ended after {waited}. {self._goes_on(execution)}")
            return TIMED_OUT
        except KeyboardInterrupt:
            lines.say(self._goes_on(execution))
            return INTERRUPTED
        raise AssertionError("what is followed ends, or following is given up")

    def _end(self, execution: Execution, lines: Lines) -> int:
        lines.end(execution)
        if execution.state == State.COMPLETED.value:
            self.stdout.write(result_text(execution))
        elif execution.error:
            lines.result(execution)
        return CODES[execution.state]

    @staticmethod
    def _goes_on(execution: Execution) -> str:
        return f"The execution goes on: manage.py executions why {execution.pk}"

    def _refuse(self, error: DomainError) -> NoReturn:
        self.stderr.write(error.message)
        for each in error.details:
            if each.message not in error.message:
                self.stderr.write(f"  {each.path}: {each.message}")
        sys.exit(REFUSED)


def _read_input(text: str) -> Any:
    """Raises Invalid for what is no JSON, OSError in words for a file that can't be read."""
    if not text:
        return {}
    try:
        return read_json(text)
    except Invalid as error:
        message = error.message.replace("The body", "The input")
        raise Invalid(message, details=error.details) from None


def _number(text: str) -> str | float:
    try:
        return float(text)
    except ValueError:
        return text
