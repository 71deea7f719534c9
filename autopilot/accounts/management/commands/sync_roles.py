from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError

from autopilot.accounts.services import sync_roles


class Command(BaseCommand):
    help = "Make the groups Viewer, Operator, Designer and Administrator say what the matrix says."

    def handle(self, *args: Any, **options: Any) -> None:
        changes = sync_roles()
        for change in changes:
            if change.created:
                self.stdout.write(f"{change.role}: created")
            for name in change.added:
                self.stdout.write(f"{change.role}: + {name}")
            for name in change.removed:
                self.stdout.write(f"{change.role}: - {name}")
        if not any(change.changed for change in changes):
            self.stdout.write("The roles are up to date.")
        missing = sorted({name for change in changes for name in change.missing})
        if missing:
            raise CommandError(
                f"These permissions do not exist in the database: {', '.join(missing)}; "
                "run manage.py migrate, then this command again."
            )
