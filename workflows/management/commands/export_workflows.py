"""`manage.py export_workflows`: workflows as files that people read and git keeps."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, NoReturn

from django.core.management.base import BaseCommand, CommandParser
from django.db import Error

from autopilot.accounts.operators import not_ready, operator
from autopilot.common.errors import DomainError
from autopilot.common.words import plural
from workflows.definition.paths import quote
from workflows.files.exporting import export_workflows
from workflows.files.folders import Done, Written, write_folder
from workflows.models import Workflow

FINE, DIFFERS, REFUSED = 0, 1, 2


class Command(BaseCommand):
    help = (
        "Write workflows to DIR, one YAML file each: its live version, or with --drafts its draft. "
        "A file that says the same already stays as it is, with its comments. The exit code is 0; "
        "1 with --check if something would be written or removed; 2 refused."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("folder", metavar="DIR", type=Path, help="Made if it is not there.")
        parser.add_argument(
            "--workflow",
            action="append",
            metavar="SLUG",
            help="Only this one; may be given several times. Other files are not looked at.",
        )
        parser.add_argument(
            "--drafts", action="store_true", help="A draft goes before the live version."
        )
        parser.add_argument(
            "--prune",
            action="store_true",
            help="Remove files of workflows that are not there; without it they are named.",
        )
        parser.add_argument(
            "--check", action="store_true", help="Write nothing; say what would be written."
        )

    def handle(self, *args: Any, **options: Any) -> None:
        slugs = options["workflow"]
        try:
            export = export_workflows(actor=operator(), slugs=slugs, drafts=options["drafts"])
            known = None if slugs else set(Workflow.objects.values_list("slug", flat=True))
            done = write_folder(
                options["folder"],
                export.files,
                known=known,
                prune=options["prune"],
                check=options["check"],
            )
        except DomainError as error:
            self._refuse(error.message)
        except Error as error:
            self._refuse(not_ready(error))
        for each in done:
            self._say(each)
        for slug in export.without:
            what = "no version" if options["drafts"] else "no published version"
            self.stdout.write(f"{slug}: not written, it has {what}")
        same = sum(each.done == Done.SAME for each in done)
        if same:
            self.stdout.write(f"{plural(same, 'file')} unchanged.")
        changed = any(each.done not in (Done.SAME, Done.STALE) for each in done)
        if options["check"] and changed:
            sys.exit(DIFFERS)

    def _say(self, each: Written) -> None:
        if each.done == Done.STALE:
            self.stderr.write(f"{quote(each.name, 200)}: {each.note}", style_func=str)
        elif each.done != Done.SAME:
            self.stdout.write(f"{quote(each.name, 200)}: {each.done} ({each.note})")

    def _refuse(self, message: str) -> NoReturn:
        self.stderr.write(message)
        sys.exit(REFUSED)
