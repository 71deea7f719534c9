"""Whether an execution can be moved, with all that is inside it; and if it can't, why."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from autopilot.common.crypto import NoEncryptionKey, Undecipherable, has_key
from executions.engine.errors import EngineError
from executions.engine.slots import Slot, shown_key, slot_of
from executions.engine.snapshot import Phase
from executions.engine.states import FINAL, State
from executions.hidden.veil import Veil
from executions.migrating.dues import Dues, dues_of
from executions.migrating.lacking import lacking
from executions.migrating.routes import Route
from executions.migrating.trees import PARTS, Tree, data_of
from executions.models import Execution
from executions.runtime.control import Control
from executions.suiting import was_undone
from workflows.compiled import compiled_version
from workflows.definition.compiled import WorkflowConfig

# It may be otherwise in a moment: whoever moves executions looks at them again.
NOT_AT_REST = "migration.not_at_rest"

# Something of the step has happened that others know of, or that can't be had anew.
_BEGUN = frozenset(
    {
        Phase.TIMER.value,
        Phase.EXPIRY.value,
        Phase.OUTSIDE.value,
        Phase.CHILDREN.value,
        Phase.STOPPING.value,
    }
)
# A call is next, for which the step has to be one.
_CALLING = frozenset({Phase.LIMITED.value, Phase.CALL.value})


@dataclass(frozen=True, slots=True)
class Hindrance:
    """Why an execution is not moved.

    path: JSON path in a definition, or in the input. about: the item or branch that it is about.
    """

    code: str
    message: str
    path: str = ""
    about: int | None = None

    @property
    def passes(self) -> bool:
        """Whether it may be otherwise in a moment."""
        return self.code == NOT_AT_REST


@dataclass(slots=True)
class Findings:
    """What was found out about one tree.

    dues: what each execution that is to be moved is to be given. slot: that the head needs by the
    new version.
    """

    hindrance: Hindrance | None = None
    dues: dict[int, Dues] = field(default_factory=dict)
    slot: Slot | None = None


def examine(tree: Tree, route: Route, now: datetime) -> Findings:
    """The first thing that speaks against it, the head first; else what it takes to move it."""
    findings = Findings()
    findings.hindrance = next(_hindrances(tree, route, now, findings), None)
    return findings


def _hindrances(tree: Tree, route: Route, now: datetime, findings: Findings) -> Iterator[Hindrance]:
    head = tree.head
    if head is None:
        yield Hindrance("not_found", "There is no such execution.")
        return
    yield from _of_head(head, route)
    for row in tree.rows.values():
        yield from _at_work(row, tree)
    moving = list(tree.moving())
    for row in moving:
        control = tree.control(row)
        found = _standing(row, control, route)
        if found is None:
            dues = findings.dues[row.pk] = dues_of(row, control, route, row.paused_at or now)
            found = _in_time(row, dues, route)
        if found is not None:
            yield _about(found, row, head)
    yield from _of_data(head, route, now, findings)
    for row, lack in lacking(moving, tree, route):
        yield _about(Hindrance(lack.code, lack.text(route.target), lack.path), row, head)


def _about(found: Hindrance, row: Execution, head: Execution) -> Hindrance:
    return found if row.pk == head.pk else replace(found, about=row.pk)


def _of_head(head: Execution, route: Route) -> Iterator[Hindrance]:
    if head.workflow_id != route.workflow_id:
        yield Hindrance("migration.other_workflow", "It is an execution of another workflow.")
    if head.kind in PARTS:
        message = f"It is part of execution {head.parent_id}, and is moved with it."
        yield Hindrance("migration.part", message)
    if head.version_id != route.source_id:
        is_there = head.version_id == route.target_id
        message = f"It runs {route.target} already." if is_there else f"It runs no {route.source}."
        yield Hindrance("migration.other_version", message)
    if head.state in FINAL:
        yield Hindrance("migration.ended", f"It has ended: it is {head.state}.")
    if head.state == State.FAILED and was_undone(head):
        message = "What it did has been undone; it can only be rerun."
        yield Hindrance("migration.undone", message)
    yield from _of_parent(head, route)


def _of_parent(head: Execution, route: Route) -> Iterator[Hindrance]:
    """A child workflow goes on being what the step of its parent asked for."""
    if head.kind != "child" or head.parent_id is None:
        return
    parent = Execution.objects.only("pk", "version_id").get(pk=head.parent_id)
    step = compiled_version(parent.version_id).steps.get(head.parent_step)
    config = step.config if step else None
    if not isinstance(config, WorkflowConfig) or config.range is None:
        return
    if route.target_number not in config.range:
        message = (
            f'The step "{head.parent_step}" of execution {parent.pk} waits for a child in the '
            f"range {config.range.text}."
        )
        yield Hindrance("migration.child_range", message)


def _at_work(row: Execution, tree: Tree) -> Iterator[Hindrance]:
    """Only what nobody works on can be changed under its feet."""
    whose = "It" if row.pk == tree.head_id else f"Execution {row.pk} inside it"
    about = None if row.pk == tree.head_id else row.pk
    if row.owner_id is not None:
        message = f"{whose} is being worked on; once it waits or is paused it can be moved."
        yield Hindrance(NOT_AT_REST, message, about=about)
    if tree.control(row).undo is not None and row.state != State.FAILED:
        message = f"{whose} is undoing what it did."
        yield Hindrance("migration.undoing", message, about=about)
    if row.state == State.RUNNING and row.current_phase == Phase.CALL:
        message = (
            f'{whose} stands at "{row.current_step}", which may have been called by a worker that '
            "died; another one has to see to that first."
        )
        yield Hindrance(NOT_AT_REST, message, about=about)


def _standing(row: Execution, control: Control, route: Route) -> Hindrance | None:
    """Whether the places where it stands are there in the new version, and suit."""
    places = [(frame.position.step_id, True) for frame in control.frames]
    if row.current_step:
        # What failed is tried anew; of children that succeeded the results are kept.
        phase = row.current_phase if row.state != State.FAILED else ""
        has_begun = phase in _BEGUN or (phase in _CALLING and _other_type(row, route))
        places.append((row.current_step, has_begun or control.base > 0))
    if row.kind in PARTS:
        places.insert(0, (row.parent_step, False))
    for step_id, begun in places:
        obstacle = route.plan.obstacle(step_id, begun=begun)
        if obstacle is not None:
            return Hindrance(obstacle.code, obstacle.message, obstacle.path)
    old = route.old.steps.get(row.current_step)
    new = route.new.steps.get(route.plan.target(row.current_step) or "")
    if row.current_phase == Phase.EXPIRY and old and new and old.timeout != new.timeout:
        message = (
            f'"{row.current_step}" is to be given up before its wait is over, and {route.target} '
            "has another timeout for it; when the wait would be over isn't known any more."
        )
        return Hindrance("migration.other_timeout", message, f"{new.path}.timeout")
    return None


def _other_type(row: Execution, route: Route) -> bool:
    pair = route.plan.pairs.get(row.current_step)
    return pair is not None and pair.old.type != pair.new.type


def _in_time(row: Execution, dues: Dues, route: Route) -> Hindrance | None:
    if not dues.passed or row.state == State.FAILED:
        return None
    message = f"{dues.passed} would have taken too long by {route.target} already."
    return Hindrance("migration.too_late", message, "$.timeout")


def _of_data(
    head: Execution, route: Route, now: datetime, findings: Findings
) -> Iterator[Hindrance]:
    """What is held against the input: the schema, and the slot that the execution needs."""
    rules = (route.old.concurrency, route.new.concurrency)
    hides = bool(route.new.redaction)
    if hides and not has_key():
        message = f"{route.target} hides values, and there is no key to encrypt them with."
        yield Hindrance(NoEncryptionKey.code, message, "$.redact")
    if not route.new_input_schema and rules == (None, None):
        return
    try:
        veil = Veil(route.new.redaction)
        data = veil.reveal(data_of([head])[head.pk][0])
        veil.learn_at(data, route.new.redaction.input)
    except Undecipherable as error:
        yield Hindrance(error.code, f"What is hidden of it can't be read. {error}")
        return
    schema = route.new.input_schema if route.new_input_schema else None
    for problem in schema.problems(data, root="$.input") if schema else ():
        message = f"Its input breaks the input schema of {route.target} at {problem.path}: "
        yield Hindrance("migration.input", message + problem.message, problem.path)
    if rules != (None, None):
        yield from _of_slot(head, data, veil, route, now, findings)


def _of_slot(
    head: Execution, data: Any, veil: Veil, route: Route, now: datetime, findings: Findings
) -> Iterator[Hindrance]:
    """It keeps the slot that it has or waits for; another one it would have to wait for."""
    try:
        before, after = slot_of(route.old, data, now), slot_of(route.new, data, now)
    except EngineError as error:
        message = f"Its concurrency key can't be worked out by {route.target}: "
        why = veil.mask(error.info.message)
        yield Hindrance("migration.slot", message + why, "$.concurrency.key")
        return
    if (before.key if before else "") != (after.key if after else ""):
        has = f"is “{shown_key(head.slot_key)}”" if head.slot_key else "is none"
        gets = "another one" if after else "none"
        message = f"Its concurrency key {has}; by {route.target} it would be {gets}."
        yield Hindrance("migration.slot", message, "$.concurrency")
    findings.slot = after
