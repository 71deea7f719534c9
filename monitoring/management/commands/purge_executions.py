"""`manage.py purge_executions`: delete what has ended long ago."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandParser
from django.db import Error

from autopilot.common import clock
from autopilot.common.errors import DomainError
from autopilot.common.words import plural
from executions.engine.states import ENDED
from executions.management.operator import not_ready, operator
from monitoring.models import Purge
from monitoring.retention import Terms, preview_purge, purge_executions
from workflows.definition.durations import DurationError, parse_duration
from workflows.models import Workflow

REFUSED, USAGE = 1, 2
# Progress is said after so many trees.
SAID_EVERY = 10_000


class Command(BaseCommand):
    help = (
        "Delete executions that ended long ago, with their parts and everything that is recorded "
        "of them, a few at a time and beside the work. What a kept execution refers to stays. "
        "Exit code: 0 done, 1 refused, 2 wrong use."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--older-than", required=True, metavar="90d", help="Ended at least so long ago."
        )
        parser.add_argument(
            "--state",
            action="append",
            choices=sorted(state.value for state in ENDED),
            help="Only what ended so; may be given several times.",
        )
        parser.add_argument("--workflow", metavar="SLUG", help="Only of this workflow.")
        parser.add_argument("--dry-run", action="store_true", help="Only count.")
        parser.add_argument(
            "--archive",
            type=Path,
            metavar="FILE",
            help="Append each execution to FILE as a line of JSON before it is deleted.",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            self._run(options)
        except DomainError as error:
            self.stderr.write(error.message)
            sys.exit(REFUSED)
        except DurationError as error:
            self.stderr.write(f"--older-than: {error}")
            sys.exit(USAGE)
        except OSError as error:
            self.stderr.write(f"{options['archive']} can't be written: {error.strerror}.")
            sys.exit(REFUSED)
        except Error as error:
            self.stderr.write(not_ready(error))
            sys.exit(REFUSED)
        except KeyboardInterrupt:
            self.stderr.write("Interrupted; what was deleted so far is deleted.")
            sys.exit(REFUSED)

    def _run(self, options: dict[str, Any]) -> None:
        terms = Terms(
            before=clock.now() - parse_duration(options["older_than"]),
            workflow=self._workflow(options["workflow"]),
            **({"states": tuple(options["state"])} if options["state"] else {}),
        )
        actor = operator()
        if options["dry_run"]:
            found = preview_purge(terms=terms, actor=actor)
            said = _trees(found.trees, found.executions)
            self.stdout.write(f"{said} would be deleted.{_kept(found.kept)}")
            return
        with _archive(options["archive"]) as keep:
            purge, kept = purge_executions(
                terms=terms,
                actor=actor,
                archive=keep,
                archive_name=str(options["archive"] or ""),
                on_progress=self._progress(),
            )
        said = _trees(purge.trees, purge.executions)
        self.stdout.write(f"{said} deleted, with {plural(purge.steps, 'step')}.{_kept(kept)}")

    def _progress(self) -> Callable[[Purge], None]:
        said = 0

        def progress(purge: Purge) -> None:
            nonlocal said
            if purge.trees - said >= SAID_EVERY:
                said = purge.trees
                self.stdout.write(f"{said:,} deleted so far ...")

        return progress

    def _workflow(self, slug: str | None) -> Workflow | None:
        if slug is None:
            return None
        found: Workflow | None = Workflow.objects.filter(slug=slug).first()
        if found is None:
            self.stderr.write(f"There is no workflow {slug!r:.80}.")
            sys.exit(USAGE)
        return found


def _trees(trees: int, executions: int) -> str:
    parts = executions - trees
    return plural(trees, "execution") + (f" with {plural(parts, 'part')}" if parts else "")


def _kept(kept: Mapping[str, int]) -> str:
    if not sum(kept.values()):
        return ""
    why = ", ".join(f"{count:,} {reason}" for reason, count in sorted(kept.items()))
    return f" Kept though old enough: {why}."


@contextmanager
def _archive(path: Path | None) -> Iterator[Callable[[list[str]], None] | None]:
    """What takes lines and returns when they are on the disk; None without a path."""
    if path is None:
        yield None
        return
    # It holds what executions held: not for everybody who has an account here.
    with open(os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600), "w") as file:

        def keep(lines: list[str]) -> None:
            file.writelines(f"{line}\n" for line in lines)
            file.flush()
            os.fsync(file.fileno())

        yield keep
