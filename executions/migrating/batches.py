"""Doing what migrations ask for, a batch of executions at a time, by whoever has time for it.

A batch is one transaction: the migration's row is its lock, so that two never do the same, and
whoever dies in the middle of one has done nothing of it. The clock's leader looks for what is open;
a command does its own at once.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import structlog
from django.db import Error, InterfaceError, OperationalError, connection, transaction

from autopilot.accounts import audit
from autopilot.accounts.actors import Actor
from autopilot.common import clock
from autopilot.common.beside import Beside
from autopilot.common.database_time import database_now
from autopilot.common.errors import DomainError
from executions.engine.errors import ENGINE_INTERNAL
from executions.errors import MigrationInvalid
from executions.migrating import changing, sealing
from executions.migrating.examining import NOT_AT_REST, Findings, Hindrance, examine
from executions.migrating.routes import Route, route_of
from executions.migrating.trees import Tree, ids_of, read_trees
from executions.models import Migration, MigrationItem
from executions.models.migration import MoveState
from executions.runtime.faults import fault

log = structlog.get_logger(__name__)

BATCH = 100
# Of all rows that a transaction locks, unless a single tree has more.
MAX_ROWS = 2_000
LOCK_TIMEOUT = "5s"
# What is being worked on is looked at again so often, with a pause in between.
MAX_TRIES = 6
PAUSE_SECONDS = 1.0

_State = MigrationItem.State
# The database was busy or went away; anything else is about what was written.
AWAY = (OperationalError, InterfaceError)


@dataclass(slots=True)
class Done:
    """What a batch has come to. items: looked at, whatever came of them. waits: only things that
    are being worked on are left, which are better looked at a little later."""

    items: int = 0
    waits: bool = False
    is_over: bool = False
    counts: dict[str, int] = field(default_factory=dict)


def advance(migration_id: int, *, limit: int | None = None) -> Done | None:
    """Do the next batch of a migration; None if somebody else is at it, or nothing is left."""
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute("SELECT set_config('lock_timeout', %s, true)", [LOCK_TIMEOUT])
        rows = Migration.objects.select_for_update(skip_locked=True, of=("self",))
        row = (
            rows.select_related("source", "target", "workflow")
            .filter(pk=migration_id, state__in=[Migration.State.RUNNING, Migration.State.UNDOING])
            .first()
        )
        if row is None:
            return None
        work = _move if row.state == Migration.State.RUNNING else _undo
        done = work(row, limit or BATCH)
        fault("migrating.before_commit")
    fault("migrating.after_commit")
    return done


# Moving --------------------------------------------------------------------------------------


def _move(migration: Migration, limit: int) -> Done:
    items = _next_items(migration, _State.PENDING, limit)
    if not items:
        _end(migration)
        return Done(is_over=True)
    now = database_now()
    try:
        route = route_of(migration.source, migration.target, migration.mapping)
    except MigrationInvalid as refused:
        # The target was archived, or this release can't read one of them.
        return _refuse_all(migration, refused)
    trees, stale = _locked([item.execution_id for item in items])
    moving: list[tuple[Tree, Findings]] = []
    by_head = {item.execution_id: item for item in items}
    waits = 0
    for head, tree in trees.items():
        item = by_head[head]
        findings = examine(tree, route, now)
        hindrance = findings.hindrance
        if hindrance is None and head in stale:
            hindrance = Hindrance(NOT_AT_REST, "It was being worked on at that very moment.")
        if hindrance is None:
            moving.append((tree, findings))
        elif hindrance.passes and item.tries + 1 < MAX_TRIES:
            item.tries += 1
            waits += 1
            _explain(item, hindrance)
        else:
            _explain(item, hindrance)
            item.state = _State.REFUSED
    if moving:
        _move_trees(migration, route, moving, by_head, now)
    _write(items)
    return Done(len(items), waits=waits == len(items))


# As one statement: Django's own bulk update costs a millisecond an item.
_WRITE = """
UPDATE executions_migrationitem i
   SET state = x.state, code = x.code, path = x.path, message = x.message, about = x.about,
       tries = x.tries, before = NULLIF(x.before, 'null'), moved_at = x.moved_at,
       undone_at = x.undone_at
  FROM json_to_recordset(%s) AS x(
       id bigint, state text, code text, path text, message text, about bigint, tries int,
       before jsonb, moved_at timestamptz, undone_at timestamptz)
 WHERE i.id = x.id
"""
_FIELDS = ("state", "code", "path", "message", "about", "tries", "before")
_MOMENTS = ("moved_at", "undone_at")


def _write(items: Sequence[MigrationItem]) -> None:
    rows = [
        {
            "id": item.pk,
            **{name: getattr(item, name) for name in _FIELDS},
            **{name: str(getattr(item, name) or "") or None for name in _MOMENTS},
        }
        for item in items
    ]
    with connection.cursor() as cursor:
        cursor.execute(_WRITE, [json.dumps(rows)])


def _move_trees(
    migration: Migration,
    route: Route,
    moving: Sequence[tuple[Tree, Findings]],
    by_head: dict[int, MigrationItem],
    now: datetime,
) -> None:
    note = _note(migration, "execution.moved", migration.actor, migration.reason, now)
    before = changing.move(moving, route, note, changing.latest_row())
    for tree, _ in moving:
        sealing.seal(tree, route)
        item = by_head[tree.head_id]
        _explain(item, None)
        item.state, item.moved_at, item.before = _State.MOVED, now, before[tree.head_id]
    _audit(migration, "execution.moved", [tree for tree, _ in moving], migration.reason)


def _refuse_all(migration: Migration, refused: DomainError) -> Done:
    rows = migration.items.filter(state=_State.PENDING)
    path = refused.details[0].path if refused.details else ""
    count = rows.update(state=_State.REFUSED, code=refused.code, message=refused.message, path=path)
    _end(migration)
    return Done(count, is_over=True)


# Undoing -------------------------------------------------------------------------------------


def _undo(migration: Migration, limit: int) -> Done:
    items = _next_items(migration, _State.UNDOING, limit)
    if not items:
        _end(migration)
        return Done(is_over=True)
    now = database_now()
    trees, _ = _locked([item.execution_id for item in items])
    kept: dict[int, Any] = {}
    back: list[MigrationItem] = []
    for item in items:
        tree = trees[item.execution_id]
        hindrance = _moved_on(tree, item.before)
        if hindrance is not None:
            _explain(item, hindrance)
            item.state = _State.KEPT
            continue
        kept[item.execution_id] = item.before
        _explain(item, None)
        item.state, item.undone_at, item.before = _State.UNDONE, now, None
        back.append(item)
    if kept:
        note = _note(migration, "execution.moved_back", migration.undone_by, "", now)
        changing.put_back(kept, trees, note)
        moved = [trees[item.execution_id] for item in back]
        _audit(migration, "execution.moved_back", moved, migration.undo_reason)
    _write(items)
    return Done(len(items))


def _moved_on(tree: Tree, before: Any) -> Hindrance | None:
    """Whether anything of it has run since it was moved: a claim raises the epoch."""
    known = {row["id"]: row for row in (before or {}).get("rows", ())}
    if not known or tree.head is None or not known.keys() <= tree.rows.keys():
        return Hindrance("migration.gone_on", "It has ended, or a part of it has.")
    for pk, was in known.items():
        row = tree.rows[pk]
        if row.owner_id is not None or (row.epoch, row.revision) != (was["epoch"], was["revision"]):
            about = None if pk == tree.head_id else pk
            message = "Something of it has run since it was moved."
            return Hindrance("migration.gone_on", message, about=about)
    return None


# Both ----------------------------------------------------------------------------------------


def _next_items(migration: Migration, state: MoveState, limit: int) -> list[MigrationItem]:
    """Those that were tried least, as many as a transaction may lock the rows of."""
    rows = migration.items.filter(state=state).order_by("tries", "execution_id")
    found = list(rows[:limit])
    sizes = ids_of([item.execution_id for item in found])
    taken: list[MigrationItem] = []
    total = 0
    for item in found:
        total += len(sizes.get(item.execution_id, ()))
        if taken and total > MAX_ROWS:
            break
        taken.append(item)
    return taken


def _locked(heads: Sequence[int]) -> tuple[dict[int, Tree], set[int]]:
    """The trees with all their rows locked, and those of which a part was made meanwhile."""
    trees = read_trees(heads, lock=True)
    members = ids_of(heads)
    stale = {
        head
        for head, tree in trees.items()
        if not set(members.get(head, ())) <= tree.rows.keys() | {head}
    }
    return trees, stale


def _explain(item: MigrationItem, hindrance: Hindrance | None) -> None:
    item.code = hindrance.code if hindrance else ""
    item.path = hindrance.path[:500] if hindrance else ""
    item.message = hindrance.message if hindrance else ""
    item.about = hindrance.about if hindrance else None


def _note(migration: Migration, event: str, by: str, reason: str, now: datetime) -> changing.Note:
    ends = (migration.source.version, migration.target.version)
    source, target = ends if event == "execution.moved" else ends[::-1]
    fields = {"from": source, "to": target, "by": by, "migration": migration.pk}
    reason = reason or (migration.undo_reason if event != "execution.moved" else "")
    return changing.Note(event, {**fields, **({"reason": reason} if reason else {})}, now)


def _audit(migration: Migration, action: str, trees: Sequence[Tree], reason: str) -> None:
    ends = ({"version": migration.source.version}, {"version": migration.target.version})
    before, after = ends if action == "execution.moved" else ends[::-1]
    by = migration.actor if action == "execution.moved" else migration.undone_by
    audit.record_many(
        actor=Actor.system(f"migration {migration.pk} of {by}"),
        action=action,
        changes=[(tree.rows[tree.head_id], before, {**after, "reason": reason}) for tree in trees],
    )


def _end(migration: Migration) -> None:
    migration.state, migration.ended_at = Migration.State.DONE, clock.now()
    migration.save(update_fields=["state", "ended_at"])


def advance_safely(migration_id: int) -> Done | None:
    """The next batch; an execution that can't even be looked at is refused and stops no other."""
    try:
        return advance(migration_id)
    except AWAY:
        raise
    except Exception:
        log.exception("migrating.batch_failed", migration=migration_id)
    try:
        return advance(migration_id, limit=1)
    except AWAY:
        raise
    except Exception as error:
        log.exception("migrating.item_failed", migration=migration_id)
        return _give_up(migration_id, error)


def _give_up(migration_id: int, error: Exception) -> Done | None:
    """Refuse the item that would be the next one."""
    with transaction.atomic():
        migration = Migration.objects.select_for_update().get(pk=migration_id)
        is_moving = migration.state == Migration.State.RUNNING
        state = _State.PENDING if is_moving else _State.UNDOING
        for item in _next_items(migration, state, 1):
            item.state = _State.REFUSED if is_moving else _State.KEPT
            kind = type(error).__name__
            _explain(item, Hindrance(ENGINE_INTERNAL, f"It could not be looked at: {kind}."))
            item.save(update_fields=["state", "code", "path", "message", "about"])
    return Done(1)


class Mover(Beside):
    """Beside the clock: goes on with open migrations whenever the leader says so."""

    name = "migrations"

    def turn(self) -> float:
        try:
            advance_all(until=lambda: self.is_stopping)
        except Error as error:
            log.warning("migrating.database_unavailable", error=str(error).strip())
        except Exception:
            log.exception("migrating.failed")
        finally:
            # There is nothing to do for most of the time.
            connection.close()
        return PAUSE_SECONDS


def advance_all(*, until: Callable[[], bool] = lambda: False) -> int:
    """Go on with everything that is open, as long as it gets somewhere; answers the batches."""
    batches = 0
    open_states = [Migration.State.RUNNING, Migration.State.UNDOING]
    for pk in Migration.objects.filter(state__in=open_states).order_by("pk").values_list("pk"):
        while not until():
            done = advance_safely(pk[0])
            if done is None or done.is_over or done.waits:
                break
            batches += 1
    return batches
