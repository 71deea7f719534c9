"""`manage.py check_schema_compatibility`: the comparison of schemas against verdicts of others."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from workflows.versioning.schema_compatibility import Answer
from workflows.versioning.scoring import Score, score

NEEDED = 0.85


class Command(BaseCommand):
    help = (
        "Compare schemas and print how often the answer is the expected one. Fails when a change "
        "is called compatible that is not, or when fewer than 85 % are right."
    )
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "files",
            nargs="*",
            metavar="FILE",
            help="JSON Lines with verdicts; default: those in tests/data/schema-compatibility.",
        )
        parser.add_argument("--all", action="store_true", help="List every case that differs.")

    def handle(self, *args: Any, **options: Any) -> None:
        files = [Path(each) for each in options["files"]] or sorted(
            (Path(settings.BASE_DIR) / "tests/data/schema-compatibility").glob("*.jsonl")
        )
        if not files:
            raise CommandError("There is no data: name a file with verdicts, as JSON Lines.")
        whole = Score()
        for file in files:
            self._one(file, whole, list_all=options["all"])
        if len(files) > 1:
            self._print("all", whole)
        if whole.wrongly_compatible:
            message = f"{whole.wrongly_compatible} changes are called compatible and are not."
            raise CommandError(message)
        if whole.share < NEEDED:
            raise CommandError(f"Only {whole.share:.1%} are right; {NEEDED:.0%} are needed.")

    def _one(self, file: Path, whole: Score, *, list_all: bool) -> None:
        try:
            lines = file.read_text(encoding="utf-8").splitlines()
            rows = [json.loads(line) for line in lines if line.strip()]
        except (OSError, UnicodeError, ValueError) as error:
            raise CommandError(f"{file} can't be read as JSON Lines: {error}") from error
        start = time.perf_counter()
        found = score(row for row in rows if isinstance(row, dict))
        if not found.total:
            raise CommandError(f"{file} has no verdicts on schemas.")
        self._print(file.name, found, time.perf_counter() - start)
        for case, answer in found.differing:
            if list_all or (answer == Answer.COMPATIBLE and not case.compatible):
                expected = "compatible" if case.compatible else "breaking"
                self.stdout.write(f"  {answer} instead of {expected}: {case.name}")
        whole.counts.update(found.counts)
        whole.differing.extend(found.differing)

    def _print(self, name: str, found: Score, seconds: float | None = None) -> None:
        unknown = sum(count for (answer, _), count in found.counts.items() if answer == "unknown")
        took = f", {seconds:.1f} s" if seconds is not None else ""
        self.stdout.write(
            f"{name}: {found.right} of {found.total} right ({found.share:.1%}), "
            f"{found.wrongly_compatible} wrongly compatible, "
            f"{found.counts[Answer.BREAKING, True]} wrongly breaking, {unknown} unknown{took}"
        )
