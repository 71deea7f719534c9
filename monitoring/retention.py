"""Deleting executions whose time is over, in small steps that disturb nobody.

A step is one transaction of `executions.purging`, as large as fits into STEP_SECONDS. Between two
steps it rests, for longer while executions wait for a worker: they come first.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import structlog
from django.db import OperationalError
from django.db.models import F
from django.db.models.functions import Now

from autopilot.accounts import audit
from autopilot.accounts.actors import Actor
from autopilot.accounts.roles import Permission
from autopilot.common import clock
from autopilot.common.errors import Invalid
from autopilot.common.problems import Problem
from executions.engine.states import ENDED
from executions.holding import live_holds
from executions.models import Execution, Hold, Worker
from executions.narrowing import first_accepted
from executions.purging import Due, Purged, due_below, preview_trees, purge_trees
from monitoring.models import Purge
from workflows.models import Workflow

log = structlog.get_logger(__name__)

# What a step is to take, how many trees it begins with, and the most that it grows to.
STEP_SECONDS = 0.1
FIRST_STEP, LARGEST_STEP = 20, 200
# As long again as it worked, so that at least half of the time belongs to others.
REST_SHARE = 1.0
# Somebody has waited for a worker for so long: the next step is put off, at most for so long.
WAITED = timedelta(seconds=1)
BUSY_REST_SECONDS, BUSY_LOOK_SECONDS = 1.0, 0.1
# Due and kept for what goes in the same run: looked at again, so often.
MAX_PASSES = 5


@dataclass(frozen=True, slots=True)
class Terms:
    """What is to go: executions that ended before `before`, in these states, of this workflow."""

    before: datetime
    states: tuple[str, ...] = tuple(sorted(state.value for state in ENDED))
    workflow: Workflow | None = None

    def due(self) -> Due:
        """Raises Invalid with every problem."""
        problems = []
        if self.before > clock.now():
            problems.append(
                Problem("$.before", "invalid", "A moment that has passed was expected.")
            )
        known = sorted(state.value for state in ENDED)
        if not self.states or set(self.states) - set(known):
            message = f"States in which executions end were expected: {', '.join(known)}."
            problems.append(Problem("$.states", "invalid", message))
        if problems:
            raise Invalid(problems[0].message, details=problems)
        workflows = None if self.workflow is None else (self.workflow.pk,)
        return Due(self.before, tuple(sorted(set(self.states))), workflows)


@dataclass(slots=True)
class Found:
    """What would be deleted. kept: trees that are due and have to stay, by why."""

    trees: int = 0
    executions: int = 0
    kept: Counter[str] = field(default_factory=Counter)


def preview_purge(*, terms: Terms, actor: Actor) -> Found:
    """What `purge_executions` would delete now. Raises PermissionDenied, Invalid."""
    actor.require(Permission.EXECUTION_PURGE)
    due, found = terms.due(), Found()
    for roots in _slices(due):
        would = preview_trees(roots)
        found.trees += would.roots
        found.executions += would.executions
        found.kept.update(would.kept)
    return found


def purge_executions(
    *,
    terms: Terms,
    actor: Actor,
    archive: Callable[[list[str]], None] | None = None,
    archive_name: str = "",
    on_progress: Callable[[Purge], None] = lambda purge: None,
    rest: Callable[[float], None] = time.sleep,
) -> tuple[Purge, Counter[str]]:
    """Delete them; answers the record of it, and why some that are due were kept.

    archive: gets a line of JSON of each execution before those are deleted; when it returns, the
    lines must be safe. If the delete then fails, they come again another time. rest: waits so
    many seconds.

    Raises PermissionDenied, Invalid.
    """
    actor.require(Permission.EXECUTION_PURGE)
    due = terms.due()
    purge = Purge.objects.create(
        actor=actor.name[:200],
        before=due.before,
        states=list(due.states),
        workflow=terms.workflow.slug if terms.workflow else "",
        archive=archive_name,
        started_at=clock.now(),
    )
    said = {"before": due.before, "states": list(due.states), "workflow": purge.workflow}
    asked = {**said, "archive": archive_name}
    audit.record(actor=actor, action="executions.purge_started", target=purge, after=asked)
    run = _Run(due, purge, archive, on_progress, rest)
    kept = run.passes()
    Purge.objects.filter(pk=purge.pk).update(ended_at=clock.now(), kept=kept.total())
    purge = Purge.objects.get(pk=purge.pk)
    counts = {name: getattr(purge, name) for name in ("trees", "executions", "steps", "kept")}
    audit.record(actor=actor, action="executions.purged", target=purge, after={**said, **counts})
    log.info("retention.purged", purge_id=purge.pk, **counts)
    return purge, kept


def _slices(due: Due, size: int = LARGEST_STEP) -> Iterator[list[int]]:
    """The roots that are due, newest first, a few at a time."""
    below: int | None = first_accepted(due.before)
    while below is not None:
        roots, below = due_below(due, below)
        for first in range(0, len(roots), size):
            yield roots[first : first + size]


class _Run:
    """One purge as it goes on."""

    def __init__(
        self,
        due: Due,
        purge: Purge,
        archive: Callable[[list[str]], None] | None,
        on_progress: Callable[[Purge], None],
        rest: Callable[[float], None],
    ) -> None:
        self._due = due
        self._purge = purge
        self._archive = archive
        self._on_progress = on_progress
        self._rest = rest
        self._size = FIRST_STEP

    def passes(self) -> Counter[str]:
        """Until nothing more goes; answers how many are kept, by why."""
        for _ in range(MAX_PASSES):
            kept, count = self._pass()
            # What refers to something older may have gone after that was looked at.
            if not (count and kept["referred to"]):
                break
        return kept

    def _pass(self) -> tuple[Counter[str], int]:
        kept: Counter[str] = Counter()
        count = 0
        for roots in _slices(self._due):
            while roots:
                some, roots = roots[: self._size], roots[self._size :]
                purged = self._step(some)
                kept.update(purged.kept)
                count += purged.roots
                roots = purged.left + roots
        return kept, count

    def _step(self, roots: list[int]) -> Purged:
        began = time.monotonic()
        try:
            purged = purge_trees(roots, self._due, archive=self._archive, keep=self._note)
        except OperationalError as error:
            # Somebody holds what has to be waited for; it is due the next time, too.
            log.warning("retention.step_failed", error=str(error).strip())
            purged = Purged(kept={"busy": len(roots)})
        lasted = time.monotonic() - began
        self._purge.trees += purged.roots
        self._purge.executions += purged.executions
        self._purge.steps += purged.steps
        self._on_progress(self._purge)
        grown = self._size * STEP_SECONDS / max(lasted, STEP_SECONDS / 4)
        self._size = max(1, min(LARGEST_STEP, int((self._size + grown) / 2)))
        self._rest(lasted * REST_SHARE)
        waited = 0.0
        while waited < BUSY_REST_SECONDS and _is_somebody_waiting():
            self._rest(BUSY_LOOK_SECONDS)
            waited += BUSY_LOOK_SECONDS
        return purged

    def _note(self, purged: Purged) -> None:
        Purge.objects.filter(pk=self._purge.pk).update(
            trees=F("trees") + purged.roots,
            executions=F("executions") + purged.executions,
            steps=F("steps") + purged.steps,
        )


def _is_somebody_waiting() -> bool:
    """Whether something waits that a worker would take; what is switched off may wait for days."""
    now = clock.now()
    lists = Worker.objects.filter(lease_until__gt=Now()).values_list("queues", flat=True)
    off = live_holds(now).filter(mode=Hold.Mode.ALL).values_list("queue", flat=True)
    ready = Execution.objects.ready(now - WAITED).order_by()
    return any(
        ready.filter(queue=queue)[:1].exists()
        for queue in {name for names in lists for name in names} - set(off)
    )


__all__ = ["Found", "Terms", "preview_purge", "purge_executions"]
