"""Moving executions in tests: two versions of a workflow, and what stands in the middle of one."""

from __future__ import annotations

from typing import Any

from executions.migrating.batches import advance
from executions.migrating.reads import dry_run
from executions.migrating.selecting import Chosen
from executions.migrating.services import read_route, start_migration, undo_migration
from executions.models import Execution, Migration, MigrationItem
from tests.engine import SYSTEM
from workflows.models import Workflow
from workflows.services import create_version, publish_version


def next_version(workflow: Workflow, steps: list[dict[str, Any]], **document: Any) -> None:
    """The same workflow with these steps, published as its next minor version, honest or not."""
    named = [{"name": each.get("id", "step"), **each} for each in steps]
    body = {"name": "Test", "steps": named, **document}
    draft = create_version(actor=SYSTEM, workflow=workflow, document=body)
    publish_version(actor=SYSTEM, version=draft, override_reason="a number that tests know")


def moved(
    workflow: Workflow,
    mapping: dict[str, str | None] | None = None,
    *,
    source: str = "1.0.0",
    target: str = "1.1.0",
    ids: list[int] | None = None,
    reason: str = "",
) -> Migration:
    """A migration of all that is under way, or of these, brought to its end."""
    migration = start_migration(
        workflow=workflow,
        actor=SYSTEM,
        source=source,
        target=target,
        mapping=mapping,
        chosen=Chosen.of_ids(ids, SYSTEM) if ids else None,
        reason=reason,
    )
    return finished(migration)


def finished(migration: Migration) -> Migration:
    """Batch by batch until nothing is left to do."""
    while True:
        done = advance(migration.pk)
        if done is None or done.is_over:
            return Migration.objects.get(pk=migration.pk)


def undone(migration: Migration, **options: Any) -> Migration:
    return finished(undo_migration(migration=migration, actor=SYSTEM, **options))


def item_of(migration: Migration, execution: Execution) -> MigrationItem:
    return MigrationItem.objects.get(migration=migration, execution=execution)


def looked_at(
    workflow: Workflow, mapping: dict[str, str | None] | None = None, **options: Any
) -> dict[int, str]:
    """What a dry run says: by id the reason's code, or empty for what can be moved."""
    route = read_route(
        workflow=workflow,
        actor=SYSTEM,
        source=options.get("source", "1.0.0"),
        target=options.get("target", "1.1.0"),
        mapping=mapping,
    )
    chosen = options.get("chosen") or Chosen.all_of(SYSTEM)
    found = dry_run(route=route, chosen=chosen, actor=SYSTEM)
    return {each.id: each.hindrance.code if each.hindrance else "" for each in found.looks}


def place_of(execution: Execution) -> dict[str, Any]:
    """Everything of a row that a move could touch, as it is stored."""
    row = Execution.objects.filter(pk=execution.pk).values().get()
    row.pop("log_seq")
    return row
