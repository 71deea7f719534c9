"""What moving executions would come to, and what it has come to."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from django.db.models import Count

from autopilot.accounts.actors import Actor
from autopilot.accounts.roles import Permission
from autopilot.common.database_time import database_now
from autopilot.common.words import count_words, plural
from executions.migrating.examining import NOT_AT_REST, Hindrance, examine
from executions.migrating.routes import Route
from executions.migrating.selecting import HEADS, Chosen
from executions.migrating.trees import read_trees
from executions.models import Execution, Migration, MigrationItem
from workflows.models import Workflow, WorkflowVersion

# A dry run looks at so many one by one; beyond that it says that there are more.
MAX_LOOKED_AT = 1_000
BATCH = 100
COUNT_CAP = 10_000
_SAMPLE = 20


@dataclass(frozen=True, slots=True)
class Look:
    """What would come of one execution; `hindrance` None: it would be moved."""

    id: int
    state: str = ""
    step: str = ""
    hindrance: Hindrance | None = None

    @property
    def outcome(self) -> str:
        return "refused" if self.hindrance else "movable"


@dataclass(slots=True)
class Group:
    """Executions that can't be moved for one and the same reason."""

    code: str
    path: str
    message: str
    count: int = 0
    sample: list[int] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class DryRun:
    """What a migration would come to at this moment.

    total: how many are meant, up to COUNT_CAP + 1; `looks` has the first of them.
    """

    total: int
    looks: Sequence[Look]
    groups: Sequence[Group]

    @property
    def movable(self) -> int:
        return sum(each.hindrance is None for each in self.looks)

    @property
    def refused(self) -> int:
        return len(self.looks) - self.movable

    @property
    def is_cut(self) -> bool:
        return self.total > len(self.looks)

    @property
    def sentence(self) -> str:
        """`3 of 4 executions can be moved now.`"""
        if not self.looks:
            return "No execution is meant."
        of = f"the first {len(self.looks):,} of {count_words(self.total, COUNT_CAP)}"
        total = of if self.is_cut else f"{len(self.looks):,}"
        noun = "execution" if len(self.looks) == 1 else "executions"
        return f"{self.movable:,} of {total} {noun} can be moved now."


def dry_run(*, route: Route, chosen: Chosen, actor: Actor, limit: int = MAX_LOOKED_AT) -> DryRun:
    """Look at each that is meant, as it is right now; nothing is changed.

    Raises PermissionDenied.
    """
    actor.require(Permission.EXECUTION_VIEW)
    if chosen.ids is not None:
        ids, total = sorted(chosen.ids)[:limit], len(chosen.ids)
    else:
        keys = chosen.matching(route).order_by("pk").values_list("pk", flat=True)
        ids = list(keys[:limit])
        total = len(ids) if len(ids) < limit else len(keys[: COUNT_CAP + 1])
    visible = set(chosen.rows.filter(pk__in=ids).values_list("pk", flat=True))
    now = database_now()
    looks: list[Look] = []
    rest = iter(ids)
    while batch := list(islice(rest, BATCH)):
        for pk, tree in read_trees([each for each in batch if each in visible]).items():
            found = examine(tree, route, now).hindrance
            head = tree.head
            looks.append(
                Look(pk, head.state, head.current_step, found) if head else Look(pk, "", "", found)
            )
    missing = Hindrance("not_found", "There is no such execution, or you may not see it.")
    looks += [Look(pk, hindrance=missing) for pk in ids if pk not in visible]
    looks.sort(key=lambda each: each.id)
    return DryRun(total, looks, _grouped(looks))


def _grouped(looks: Iterable[Look]) -> list[Group]:
    groups: dict[tuple[str, str], Group] = {}
    for look in looks:
        found = look.hindrance
        if found is None:
            continue
        group = groups.setdefault(
            (found.code, found.path), Group(found.code, found.path, found.message)
        )
        group.count += 1
        if len(group.sample) < _SAMPLE:
            group.sample.append(look.id)
    return sorted(groups.values(), key=lambda each: -each.count)


def standing(version: WorkflowVersion) -> dict[str, int]:
    """How many executions of a version, parts included, stand at each step; "" = have not begun."""
    rows = Execution.objects.filter(version=version).under_way()
    counted = rows.order_by().values_list("current_step").annotate(count=Count("pk"))
    return dict(counted)


def live_by_version(workflow: Workflow) -> dict[int, int]:
    """By the version's id, how many executions are under way; those with none are left out."""
    rows = Execution.objects.filter(
        version__in=list(workflow.versions.values_list("pk", flat=True))
    )
    rows = rows.filter(kind__in=HEADS).under_way()
    return dict(rows.order_by().values_list("version_id").annotate(count=Count("pk")))


def counts_of(migration: Migration) -> dict[str, int]:
    """How many items are in each state; those that none is in are there with 0."""
    return counts_for([migration])[migration.pk]


def counts_for(migrations: Iterable[Migration]) -> dict[int, dict[str, int]]:
    """The same for several, by their ids; one query."""
    states = [state.value for state in MigrationItem.State]
    found = {each.pk: dict.fromkeys(states, 0) for each in migrations}
    rows = MigrationItem.objects.filter(migration__in=list(found)).order_by()
    for pk, state, count in rows.values_list("migration_id", "state").annotate(count=Count("pk")):
        found[pk][state] = count
    return found


def sentence_of(migration: Migration, counts: dict[str, int]) -> str:
    """Where it has got to, in words."""
    total = sum(counts.values())
    words = {
        "moved": "moved",
        "refused": "could not be moved",
        "left": "left as they were",
        "undone": "put back",
        "kept": "could not be put back",
        "pending": "still to be moved",
        "undoing": "still to be put back",
    }
    parts = [f"{counts[state]:,} {said}" for state, said in words.items() if counts[state]]
    return f"Of {plural(total, 'execution')}: {', '.join(parts)}."


def groups_of(migration: Migration) -> list[dict[str, Any]]:
    """Why items were refused or kept, the most frequent reason first."""
    rows = (
        migration.items.exclude(code="")
        .order_by()
        .values("state", "code", "path")
        .annotate(count=Count("pk"))
    )
    found = []
    for row in sorted(rows, key=lambda each: -each["count"])[:50]:
        first = migration.items.filter(state=row["state"], code=row["code"], path=row["path"])
        item = first.order_by("execution_id").first()
        if item is not None:
            found.append({**row, "message": item.message})
    return found


def moves_of(execution: Execution) -> list[MigrationItem]:
    """The moves of an execution to other versions, also those that were undone; latest first."""
    rows = MigrationItem.objects.filter(execution=execution, moved_at__isnull=False)
    rows = rows.select_related("migration__source", "migration__target").defer("before")
    return list(rows.order_by("-moved_at"))


def has_open() -> bool:
    """Whether any migration has something left to do."""
    open_states = [Migration.State.RUNNING, Migration.State.UNDOING]
    return Migration.objects.filter(state__in=open_states).exists()


__all__ = [
    "COUNT_CAP",
    "MAX_LOOKED_AT",
    "NOT_AT_REST",
    "DryRun",
    "Group",
    "Look",
    "counts_for",
    "counts_of",
    "dry_run",
    "groups_of",
    "has_open",
    "live_by_version",
    "moves_of",
    "sentence_of",
    "standing",
]
