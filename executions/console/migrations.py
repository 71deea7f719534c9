"""Moving live executions to another version in the console: plan, look, do, follow, put back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from django.core.paginator import Paginator
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponseRedirect, QueryDict
from django.http.response import HttpResponseBase
from django.urls import URLPattern, reverse

from autopilot.accounts.actors import Actor, actor_of
from autopilot.accounts.roles import Permission
from autopilot.common.admin_base import Crumb, PageAdmin, attempt, found
from autopilot.common.errors import DomainError
from autopilot.common.problems import Problem
from executions.asking import MAX_REASON_CHARS
from executions.errors import MigrationInvalid
from executions.migrating import reads, services
from executions.migrating.routes import Route, plan_of, route_of
from executions.migrating.selecting import Chosen
from executions.models import Migration, MigrationItem
from workflows.console.panels import Verb
from workflows.definition.outline import Step
from workflows.models import Workflow, WorkflowVersion
from workflows.versioning.migration import MigrationPlan, Obstacle
from workflows.versioning.states import VersionState

PER_PAGE = 50
SHOWN_ITEMS = 100
MAX_VERSIONS = 200
FIELD = "step-"
NONE = "-"
_OTHERS = "The plan that was shown is of other versions than these: look at this one first."
# How the state of an item is painted.
PAINT = {
    "pending": "initialized",
    "undoing": "running",
    "moved": "completed",
    "refused": "failed",
    "kept": "failed",
    "left": "cancelled",
    "undone": "undone",
}
ITEM_WORDS = {
    "pending": "to be moved",
    "undoing": "to be put back",
    "moved": "moved",
    "refused": "not moved",
    "kept": "not put back",
    "left": "left as it was",
    "undone": "put back",
}
STATE_WORDS = {
    "running": ("running", "moving"),
    "undoing": ("running", "putting back"),
    "done": ("completed", "done"),
    "cancelled": ("cancelled", "cancelled"),
}


@dataclass(frozen=True, slots=True)
class Line:
    """One old step in the table of the plan: what it becomes, and what speaks against it.

    choice: the new step's id, or empty for none.
    """

    old: Step
    choice: str
    is_given: bool
    standing: int
    obstacles: Sequence[Obstacle]
    depth: int

    @property
    def field(self) -> str:
        return f"{FIELD}{self.old.id}"

    @property
    def is_gone(self) -> bool:
        return not self.choice


class MigrationAdmin(PageAdmin):
    """Migrations. Rows are changed by `executions.migrating` only."""

    permission = Permission.EXECUTION_VIEW

    def pages(self) -> Sequence[URLPattern]:
        move = Permission.EXECUTION_MIGRATE
        return [
            self.page("", "changelist", self.list_page),
            self.page(
                "new/<int:workflow>/",
                "new",
                self.new_page,
                permission=(move, Permission.WORKFLOW_VIEW),
            ),
            self.page("<int:pk>/", "change", self.progress_page),
            self.page("<int:pk>/undo/", "undo", self.undo_page, permission=move),
            self.page("<int:pk>/cancel/", "cancel", self.cancel_page, permission=move),
        ]

    def list_page(self, request: HttpRequest) -> HttpResponseBase:
        """Every migration, newest first."""
        rows = self._visible(request)
        page = Paginator(rows, PER_PAGE).get_page(request.GET.get("page"))
        shown = list(page.object_list)
        counts = reads.counts_for(shown)
        return self.render(
            request,
            "migrations/list.html",
            title="Migrations",
            page=page,
            rows=[
                (row, STATE_WORDS[row.state], reads.sentence_of(row, counts[row.pk]))
                for row in shown
            ],
        )

    # Planning ------------------------------------------------------------------------------

    def new_page(self, request: HttpRequest, *, workflow: int) -> HttpResponseBase:
        """Which version, which step becomes which, what would come of it; begins it on POST."""
        actor = actor_of(request.user, request)
        row = self._workflow(actor, workflow)
        data = request.POST if request.method == "POST" else request.GET
        versions = list(row.versions.exclude(state=VersionState.DRAFT)[:MAX_VERSIONS])
        live = reads.live_by_version(row)
        source, target = _ends(versions, data, live)
        refused: DomainError | None = None
        plan: MigrationPlan | None = None
        look: reads.DryRun | None = None
        try:
            if source is not None and target is not None:
                suggested = plan_of(source, target, {})
                # Another version was chosen: what was said is about steps of the one before.
                is_same = data.get("shown") == f"{source.version} {target.version}"
                given = _mapping(data, suggested) if is_same else {}
                plan = plan_of(source, target, given)
                route = route_of(source, target, given)
                if request.method == "POST":
                    if not is_same:
                        raise MigrationInvalid(_OTHERS)
                    return self._begin(request, row, route, given, actor)
                look = reads.dry_run(route=route, chosen=Chosen.all_of(actor), actor=actor)
        except DomainError as error:
            if error.status in {401, 403}:
                raise
            refused = error
        return self.render(
            request,
            "migrations/new.html",
            status=400 if refused and request.method == "POST" else 200,
            title="Move executions",
            crumbs=_way_to(row),
            workflow=row,
            versions=[(each, live.get(each.pk, 0)) for each in versions],
            targets=[each for each in versions if each.state != VersionState.ARCHIVED],
            source=source,
            target=target,
            lines=_lines(plan, source) if plan and source else [],
            new_steps=plan.new.steps if plan else [],
            added=plan.added if plan else [],
            notices=plan.notices if plan else [],
            look=look,
            heading="Nothing was moved.",
            problems=[(each, None) for each in _problems(refused)],
            reason=data.get("reason", ""),
            max_reason=MAX_REASON_CHARS,
            back=reverse("admin:workflows_workflow_change", args=[row.pk]),
        )

    def _begin(
        self,
        request: HttpRequest,
        workflow: Workflow,
        route: Route,
        mapping: Mapping[str, str | None],
        actor: Actor,
    ) -> HttpResponseBase:
        migration = services.start_migration(
            workflow=workflow,
            actor=actor,
            source=route.source,
            target=route.target,
            mapping=dict(mapping),
            reason=request.POST.get("reason", "").strip(),
        )
        return HttpResponseRedirect(self.url("change", migration.pk))

    # Following -----------------------------------------------------------------------------

    def progress_page(self, request: HttpRequest, *, pk: int) -> HttpResponseBase:
        """How far it is, what came of each, and why some were not moved."""
        migration = self._migration(request, pk)
        counts = reads.counts_of(migration)
        chosen = request.GET.get("state", "")
        chosen = chosen if chosen in MigrationItem.State.values else ""
        items = migration.items.filter(**({"state": chosen} if chosen else {})).defer("before")
        total = sum(counts.values())
        left = counts["pending"] + counts["undoing"]
        return self.render(
            request,
            "migrations/progress.html",
            title=f"Migration {pk}",
            crumbs=[*_way_to(migration.workflow), Crumb("Migrations", self.url("changelist"))],
            migration=migration,
            state_words=STATE_WORDS[migration.state],
            sentence=reads.sentence_of(migration, counts),
            total=total,
            done=total - left,
            chips=[
                (state, ITEM_WORDS[state], PAINT[state], counts[state])
                for state in counts
                if counts[state]
            ],
            chosen=chosen,
            items=[
                (item, PAINT[item.state], ITEM_WORDS[item.state]) for item in items[:SHOWN_ITEMS]
            ],
            is_cut=(counts[chosen] if chosen else total) > SHOWN_ITEMS,
            groups=[
                {**each, "url": f"?{urlencode({'state': each['state']})}"}
                for each in reads.groups_of(migration)
            ],
            may_move=request.user.has_perm(Permission.EXECUTION_MIGRATE),
            can_undo=not migration.is_open and bool(counts["moved"] + counts["kept"]),
            max_reason=MAX_REASON_CHARS,
        )

    def undo_page(self, request: HttpRequest, *, pk: int) -> HttpResponseBase:
        """Put back what was moved and has not gone on; asked on the migration's page."""
        migration = self._migration(request, pk)
        if request.method == "POST":
            reason = request.POST.get("reason", "").strip()
            actor = actor_of(request.user, request)
            attempt(
                request,
                lambda: services.undo_migration(migration=migration, actor=actor, reason=reason),
            )
        return HttpResponseRedirect(self.url("change", pk))

    def cancel_page(self, request: HttpRequest, *, pk: int) -> HttpResponseBase:
        """Leave the rest as it is; asked on the migration's page."""
        migration = self._migration(request, pk)
        if request.method == "POST":
            actor = actor_of(request.user, request)
            attempt(request, lambda: services.cancel_migration(migration=migration, actor=actor))
        return HttpResponseRedirect(self.url("change", pk))

    def _migration(self, request: HttpRequest, pk: int) -> Migration:
        return found(self._visible(request).filter(pk=pk).first() if pk < 2**63 else None)

    def _visible(self, request: HttpRequest) -> QuerySet[Migration]:
        workflows = Workflow.objects.visible_to(actor_of(request.user, request))
        rows = Migration.objects.filter(workflow__in=workflows)
        return rows.select_related("workflow", "source", "target")

    def _workflow(self, actor: Actor, pk: int) -> Workflow:
        rows = Workflow.objects.visible_to(actor)
        workflow: Workflow = found(rows.filter(pk=pk).first() if pk < 2**63 else None)
        return workflow


def _way_to(workflow: Workflow) -> list[Crumb]:
    return [
        Crumb("Workflows", reverse("admin:workflows_workflow_changelist")),
        Crumb(workflow.name, reverse("admin:workflows_workflow_change", args=[workflow.pk])),
    ]


def _ends(
    versions: Sequence[WorkflowVersion], data: QueryDict, live: Mapping[int, int]
) -> tuple[WorkflowVersion | None, WorkflowVersion | None]:
    """The two that were chosen; else the newest that can be moved to, and the one before it."""
    by_number = {each.version: each for each in versions}
    usable = [each for each in versions if each.state == VersionState.PUBLISHED] or versions
    target = by_number.get(data.get("to", "")) or (usable[0] if usable else None)
    source = by_number.get(data.get("from", ""))
    if source is None and target is not None:
        older = [each for each in versions if each.number < target.number]
        busy = [each for each in versions if live.get(each.pk) and each.pk != target.pk]
        source = next(iter([*busy, *older]), None)
    return source, target


def _mapping(data: QueryDict, suggested: MigrationPlan) -> dict[str, str | None]:
    """What was chosen in the table, where it differs from the suggestion."""
    given: dict[str, str | None] = {}
    for step in suggested.old.steps:
        value = data.get(FIELD + step.id)
        if value is None:
            continue
        chosen = None if value in ("", NONE) else value
        if chosen != suggested.target(step.id):
            given[step.id] = chosen
    return given


def _lines(plan: MigrationPlan, source: WorkflowVersion) -> list[Line]:
    standing = reads.standing(source)
    lines = []
    for step in plan.old.steps:
        pair = plan.pairs.get(step.id)
        lines.append(
            Line(
                old=step,
                choice=pair.new.id if pair else "",
                is_given=bool(pair and pair.is_given),
                standing=standing.get(step.id, 0),
                obstacles=pair.obstacles if pair else (),
                depth=step.scope.depth - 1,
            )
        )
    return lines


def _problems(refused: DomainError | None) -> list[Problem]:
    if refused is None:
        return []
    return list(refused.details) or [Problem("$", refused.code, refused.message)]


def new_url(workflow: Workflow, target: WorkflowVersion) -> str:
    """Where live executions are moved to this version."""
    path = reverse("admin:executions_migration_new", args=[workflow.pk])
    return f"{path}?{urlencode({'to': target.version})}"


def version_verb(request: HttpRequest, version: WorkflowVersion) -> Verb | None:
    """What a version's page offers: None where nothing can be moved there."""
    may = request.user.has_perms([Permission.EXECUTION_MIGRATE, Permission.EXECUTION_VIEW])
    if not may or version.state in (VersionState.DRAFT, VersionState.ARCHIVED):
        return None
    url = new_url(version.workflow, version)
    return Verb("Move live executions here", "move_down", url, is_primary=False)


__all__: Sequence[Any] = ["MigrationAdmin", "new_url", "version_verb"]
