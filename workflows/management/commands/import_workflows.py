"""`manage.py import_workflows`: let workflows be what the files of a folder say."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, NoReturn

from django.core.management.base import BaseCommand, CommandParser
from django.db import Error

from autopilot.accounts.operators import acting_as, not_ready
from autopilot.common.errors import DomainError
from autopilot.common.words import plural
from workflows.files.folders import read_folder
from workflows.files.importing import import_files
from workflows.files.results import ImportResult
from workflows.files.telling import lines_of

DONE, DECLINED, REFUSED = 0, 1, 2


class Command(BaseCommand):
    help = (
        "Import the files of DIR (or one file): all of them or none. What differs is shown first, "
        "then it asks. New content becomes a draft, and with --publish it goes live; the guard "
        "holds either way, and a file without a version gets the lowest honest number. "
        "The exit code is 0 when done, or nothing was to be done; 1 when the question was "
        "answered with no; 2 when something is refused, and then nothing has changed."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("folder", metavar="DIR", type=Path)
        parser.add_argument(
            "--dry-run", action="store_true", help="Show what would be done, and don't ask."
        )
        parser.add_argument(
            "--publish", action="store_true", help="Publish what is imported, and equal drafts."
        )
        parser.add_argument(
            "--replace-drafts",
            action="store_true",
            help="Drafts that say something else give way; without it they are a refusal.",
        )
        parser.add_argument("--yes", action="store_true", help="Don't ask.")
        parser.add_argument(
            "--as",
            dest="username",
            metavar="USER",
            help="Act as this user, with their permissions; default: the system.",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            self._import(options)
        except DomainError as error:
            self._refuse(error.message)
        except Error as error:
            self._refuse(not_ready(error))

    def _import(self, options: dict[str, Any]) -> None:
        files = read_folder(options["folder"])
        if not files:
            self._refuse(f"There is no .yaml, .yml or .json file in {options['folder']}.")
        wishes = {
            "actor": acting_as(options["username"]),
            "files": files,
            "publish": options["publish"],
            "replace_drafts": options["replace_drafts"],
        }
        shown = import_files(**wishes, dry_run=True)
        for line in lines_of(shown):
            self.stdout.write(line)
        if shown.is_refused:
            refused = sum(bool(each.problems) for each in shown.files)
            self._refuse(f"{plural(refused, 'file')} refused: nothing is imported.")
        if not shown.changes_something or options["dry_run"]:
            self.stdout.write(_nothing_done(shown))
            return
        if not options["yes"] and not self._confirmed(shown):
            self.stdout.write("Nothing is imported.")
            sys.exit(DECLINED)
        done = import_files(**wishes, expected=shown.fingerprint)
        changed = sum(each.changes_something for each in done.files)
        self.stdout.write(f"{plural(changed, 'file')} imported.")

    def _confirmed(self, shown: ImportResult) -> bool:
        changed = sum(each.changes_something for each in shown.files)
        if not sys.stdin.isatty():
            self._refuse("Nobody can be asked here: give --yes to import, or --dry-run.")
        try:
            answer = input(f"Import {plural(changed, 'file')}? [y/N] ")
        except EOFError:
            answer = ""
            self.stdout.write("")
        return answer.strip().lower() in ("y", "yes")

    def _refuse(self, message: str) -> NoReturn:
        self.stderr.write(message)
        sys.exit(REFUSED)


def _nothing_done(shown: ImportResult) -> str:
    if shown.changes_something:
        return "This was a dry run: nothing is imported."
    return "Nothing is to be done: everything is there as the files say."
