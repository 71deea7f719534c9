"""`manage.py migrate_executions`: move live executions to another version, from a terminal."""

from __future__ import annotations

import sys
import time
from typing import Any

from django.core.management.base import BaseCommand, CommandParser
from django.db import Error

from autopilot.accounts.actors import Actor
from autopilot.common.errors import DomainError
from executions.api.selecting import matching
from executions.management.operator import not_ready, operator
from executions.migrating import reads, services
from executions.migrating.batches import PAUSE_SECONDS, advance_safely
from executions.migrating.selecting import Chosen
from executions.models import Migration
from workflows.models import Workflow

DONE, REFUSED, USAGE = 0, 1, 2
SHOWN = 20


class Command(BaseCommand):
    help = (
        "Move live executions of a workflow from one version to another, each with its items and "
        "branches, or put back what was moved. "
        "Exit code: 0 all moved, 1 some or all were refused, 2 wrong use."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("slug", help="The workflow's slug.")
        parser.add_argument("--from", dest="source", metavar="1.2.0", help="What they run now.")
        parser.add_argument("--to", dest="target", metavar="1.3.0", help="What they go on by.")
        parser.add_argument(
            "--map",
            dest="pairs",
            action="append",
            default=[],
            metavar="OLD=NEW",
            help="A step, and what it becomes where that isn't plain; OLD= for none. Repeatable.",
        )
        parser.add_argument(
            "--where",
            dest="filters",
            action="append",
            default=[],
            metavar="NAME=VALUE",
            help="A filter of the list, such as label=team:crm or state=failed. Repeatable.",
        )
        parser.add_argument("--dry-run", action="store_true", help="Only say what would be.")
        parser.add_argument("--reason", default="", help="Kept with each execution.")
        parser.add_argument(
            "--undo", type=int, metavar="ID", help="Put back what this migration has moved."
        )

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            sys.exit(self._run(options))
        except DomainError as error:
            self.stderr.write(error.message)
            for each in error.details if len(error.details) > 1 else ():
                self.stderr.write(f"  {each.path}: {each.message}")
            sys.exit(USAGE)
        except Error as error:
            self.stderr.write(not_ready(error))
            sys.exit(REFUSED)
        except KeyboardInterrupt:
            self.stderr.write("\nStopped looking; the clock goes on with it.")
            sys.exit(REFUSED)

    def _run(self, options: dict[str, Any]) -> int:
        workflow = Workflow.objects.filter(slug=options["slug"]).first()
        if workflow is None:
            return self._wrong(f"There is no workflow {options['slug']!r:.80}.")
        actor = operator()
        if options["undo"] is not None:
            return self._undo(workflow, options["undo"], actor, options["reason"])
        if not options["source"] or not options["target"]:
            return self._wrong("Say --from and --to, each the number of a version.")
        mapping, wrong = _pairs(options["pairs"])
        filters, bad = _filters(options["filters"])
        if wrong or bad:
            return self._wrong(f"{wrong or bad!r:.80} has to be written NAME=VALUE.")
        chosen = Chosen.all_of(actor)
        if filters:
            rows = matching(filters, actor=actor, root="--where")
            chosen = Chosen(rows, says_state="state" in filters)
        asked: dict[str, Any] = {
            "workflow": workflow,
            "actor": actor,
            "source": options["source"],
            "target": options["target"],
            "mapping": mapping,
        }
        if options["dry_run"]:
            return self._look(asked, chosen)
        migration = services.start_migration(**asked, chosen=chosen, reason=options["reason"])
        return self._follow(migration)

    def _look(self, asked: dict[str, Any], chosen: Chosen) -> int:
        route = services.read_route(**asked)
        for notice in route.plan.notices:
            self.stdout.write(f"Note: {notice.message}")
        found = reads.dry_run(route=route, chosen=chosen, actor=asked["actor"])
        self.stdout.write(found.sentence)
        for group in found.groups:
            ids = ", ".join(map(str, group.sample[:5]))
            more = " ..." if group.count > 5 else ""
            self.stdout.write(f"{group.count:>8,}  {group.code}  {group.message}  ({ids}{more})")
        return REFUSED if found.refused else DONE

    def _follow(self, migration: Migration) -> int:
        """Do it here and now; the clock's leader may do some of it too."""
        said = ""
        while migration.is_open:
            done = advance_safely(migration.pk)
            if done is None or done.waits:
                time.sleep(PAUSE_SECONDS)
            migration.refresh_from_db()
            sentence = reads.sentence_of(migration, reads.counts_of(migration))
            if sentence != said:
                said = sentence
                self.stdout.write(f"Migration {migration.pk}: {said}")
        for each in reads.groups_of(migration)[:SHOWN]:
            self.stdout.write(f"{each['count']:>8,}  {each['code']}  {each['message']}")
        counts = reads.counts_of(migration)
        return REFUSED if counts["refused"] or counts["kept"] or counts["left"] else DONE

    def _undo(self, workflow: Workflow, pk: int, actor: Actor, reason: str) -> int:
        migration = Migration.objects.filter(workflow=workflow, pk=pk).first()
        if migration is None:
            return self._wrong(f"{workflow.slug} has no migration {pk}.")
        undone = services.undo_migration(migration=migration, actor=actor, reason=reason)
        return self._follow(undone)

    def _wrong(self, message: str) -> int:
        self.stderr.write(message)
        return USAGE


def _pairs(texts: list[str]) -> tuple[dict[str, str | None], str]:
    """What was written, and the first that can't be read."""
    found: dict[str, str | None] = {}
    for text in texts:
        old, equals, new = text.partition("=")
        if not equals or not old:
            return {}, text
        found[old] = new or None
    return found, ""


def _filters(texts: list[str]) -> tuple[dict[str, Any], str]:
    found: dict[str, Any] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not name:
            return {}, text
        found[name] = [*found[name], value] if name in found else [value]
    return {name: value if len(value) > 1 else value[0] for name, value in found.items()}, ""
