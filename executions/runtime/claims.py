"""What a claim brings back: the rows of an execution as the planner's snapshot."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, NamedTuple

import psycopg2
import structlog
from django.conf import settings
from django.db import Error

from autopilot.common.crypto import Undecipherable
from autopilot.common.errors import DomainError
from executions.engine.commands import ChildKind
from executions.engine.errors import ENGINE_INTERNAL, SEALED_UNREADABLE, ErrorInfo
from executions.engine.events import (
    CHILDREN,
    DELIVERIES,
    Asked,
    ChildrenEnded,
    ChildResult,
    Delivered,
    Told,
    Verb,
)
from executions.engine.snapshot import Phase, Position, Snapshot
from executions.engine.states import State
from executions.hidden.veil import Veil
from executions.moved import called_as
from executions.runtime import children_sql, statements
from executions.runtime.checkpoint import Counters
from executions.runtime.control import NOWHERE, Control, control_from_json
from executions.runtime.definitions import UNRUNNABLE, is_known, runnable_version
from executions.runtime.outers import Outers, item_names
from executions.runtime.rows import cursor, load_steps
from workflows.definition.compiled import CompiledDefinition, ParallelConfig
from workflows.definition.outline import branch_scope_id

log = structlog.get_logger(__name__)

# Going on after these is up to whoever asked: the database may come back.
DATABASE_ERRORS = (Error, psycopg2.Error)


# Parts of their parent's run, of its document and its data.
_PARTS = frozenset({ChildKind.ITEM, ChildKind.BRANCH})


class Row(NamedTuple):
    """What a claim returns, in the order of `statements.CLAIM`."""

    id: int
    epoch: int
    revision: int
    claims: int
    version_id: int
    state: str
    input: str | None
    variables: str | None
    current_step: str
    current_seq: int
    current_phase: str
    current_attempt: int
    current_since: datetime | None
    wait_until: datetime | None
    steps_entered: int
    started_at: datetime | None
    inbox_seq: int
    seen_seq: int
    transition_seq: int
    log_seq: int
    control: str | None
    deadline_at: datetime | None
    paused_at: datetime | None
    parent_id: int | None
    parent_step: str
    generation: int
    item_index: int | None
    children_generation: int
    children_open: int
    children_failed: int
    children_tolerated: int
    children_total: int
    children_needed: int
    kind: str
    claimed_at: datetime
    slot_key: str
    slot_held: bool
    step_names: str | None


@dataclass(frozen=True, slots=True)
class Message:
    """One inbox message as the planner's event, and what of it is hidden."""

    execution_id: int
    seq: int
    event: Asked | Told | Delivered
    veil: Veil


@dataclass(slots=True)
class Claim:
    """One execution this worker owns since `epoch`, as it was found.

    broken: why its definition can't be run by this release, if it can't; the snapshot's is empty.
    child_of: the parent's id, step and generation. children_open, children_failing: whether any of
    its own children are under way, whether more have failed than may, and whether as many have
    succeeded as its step needs.
    """

    snapshot_id: int
    epoch: int
    revision: int
    claims: int
    counters: Counters
    snapshot: Snapshot
    veil: Veil
    broken: ErrorInfo | None = None
    child_of: tuple[int, str, int] | None = None
    children_open: bool = False
    children_failing: bool = False
    # The concurrency key that it holds a slot of or wants one of; empty: none.
    slot_key: str = ""
    children_enough: bool = False
    # By the database's clock, which has found it due: this host's may be behind.
    claimed_at: datetime | None = None
    messages: list[Message] = field(default_factory=list)


def reads_nothing(rows: Sequence[tuple[Any, ...]]) -> bool:
    """Whether `read_claims` has all it needs in these rows, and asks the database nothing."""
    found = [Row(*row) for row in rows]
    return all(
        not row.steps_entered
        and row.inbox_seq <= row.seen_seq
        and row.kind not in _PARTS
        and is_known(row.version_id)
        for row in found
    )


def read_claims(rows: Sequence[tuple[Any, ...]], outers: Outers) -> list[Claim]:
    """Build claims from the rows that the claim returned, reading what else they need.

    One that can't be read comes as `broken` and takes no other with it: all of them are owned
    already, and an error here would leave them with an owner who doesn't know of them.
    """
    found = [Row(*row) for row in rows]
    try:
        return _read(found, outers)
    except DATABASE_ERRORS:
        raise
    except Exception:  # noqa: BLE001 - whatever it is, it is looked for one by one
        return [_read_alone(row, outers) for row in found]


def _read_alone(row: Row, outers: Outers) -> Claim:
    try:
        return _read([row], outers)[0]
    except DATABASE_ERRORS:
        raise
    except Undecipherable as error:
        log.error("claims.undecipherable", execution_id=row.id, error=str(error))
        # Once the key is back, a retry goes on where it stood.
        snapshot = replace(_empty(row), position=_position(row, NOWHERE))
        message = f"What is stored hidden of the execution can't be read. {error}"
        return _new_claim(row, snapshot, Veil(), ErrorInfo(SEALED_UNREADABLE, message))
    except Exception as error:
        log.exception("claims.unreadable", execution_id=row.id)
        message = f"What is stored of the execution can't be read: {type(error).__name__}."
        return _new_claim(row, _empty(row), Veil(), ErrorInfo(ENGINE_INTERNAL, message))


def _empty(row: Row) -> Snapshot:
    """Enough of an execution to end it."""
    return Snapshot(
        execution_id=row.id,
        definition=UNRUNNABLE.definition,
        workflow="",
        version="",
        state=State(row.state),
        input=None,
        entered=row.steps_entered,
        started_at=_utc(row.started_at),
    )


def _read(found: list[Row], outers: Outers) -> list[Claim]:
    claims = [_claim(row) for row in found]
    moved = {row.id for row in found if row.step_names is not None}
    _load_steps([each for each in claims if each.snapshot.entered], moved)
    _load_outers(found, claims, outers)
    behind = {row.id: row.seen_seq for row in found if row.inbox_seq > row.seen_seq}
    if behind:
        by_id = {each.snapshot_id: each for each in claims}
        known = {row.id: row.inbox_seq for row in found}
        for message in read_messages(behind):
            # What came after the row was read is news: of the last child's end the row's counts
            # know nothing, and whoever took that as heard would wait for it forever.
            if message.seq <= known[message.execution_id]:
                by_id[message.execution_id].messages.append(message)
    return claims


def read_messages(seen: dict[int, int]) -> list[Message]:
    """Messages of these executions after the given sequence numbers, in order."""
    with cursor() as opened:
        opened.execute(statements.LOAD_MESSAGES, {"ids": list(seen), "after": list(seen.values())})
        return [_message(*row) for row in opened.fetchall()]


def _message(pk: int, seq: int, kind: str, payload: str, actor: str) -> Message:
    veil = Veil()
    return Message(pk, seq, _event(kind, veil.load(payload), actor), veil)


def _event(kind: str, said: dict[str, Any], actor: str) -> Asked | Told | Delivered:
    if kind == CHILDREN:
        return Told()
    if kind in DELIVERIES:
        return Delivered(kind, said["seq"], said["attempt"], said["data"], actor)
    return Asked(
        Verb(kind),
        actor,
        said.get("reason", ""),
        said.get("seq", 0),
        said.get("output"),
        bool(said.get("compensate")),
    )


def read_children(parent: int, step: str, base: int, veil: Veil) -> ChildrenEnded:
    """What the children of a step came to, in the order of the items.

    veil: the parent's; it learns what of that is hidden.
    """
    with cursor() as opened:
        opened.execute(children_sql.RESULTS, {"parent": parent, "step": step, "base": base})
        return ChildrenEnded(
            tuple(
                ChildResult(
                    index, state == State.COMPLETED, veil.load(output), veil.load(error), pk
                )
                for index, state, output, error, pk in opened.fetchall()
            )
        )


def _claim(row: Row) -> Claim:
    broken = None
    try:
        runnable = runnable_version(row.version_id)
    except DomainError as error:
        broken = ErrorInfo(error.code, error.message)
        runnable = UNRUNNABLE
    veil = _veil(row, runnable.definition)
    control = control_from_json(veil.load(row.control))
    snapshot = Snapshot(
        execution_id=row.id,
        definition=runnable.definition,
        workflow=runnable.workflow,
        version=runnable.version,
        state=State(row.state),
        input=veil.load(row.input),
        vars=veil.load(row.variables),
        position=_position(row, control),
        entered=row.steps_entered,
        started_at=_utc(row.started_at),
        frames=control.frames,
        caught=control.caught,
        names=control.names,
        deadline=_utc(row.deadline_at),
        paused_at=_utc(row.paused_at),
        max_steps=settings.AUTOPILOT["MAX_STEPS"],
        max_input_bytes=settings.AUTOPILOT["MAX_INPUT_BYTES"],
        max_output_bytes=settings.AUTOPILOT["MAX_OUTPUT_BYTES"],
        max_joined_bytes=settings.AUTOPILOT["MAX_JOINED_BYTES"],
        scope_id=_scope_id(row),
        generation=row.children_generation,
        wants_slot=bool(row.slot_key) and not row.slot_held,
        undo=control.undo,
    )
    if row.step_names is not None:
        snapshot.called_as = called_as(json.loads(row.step_names))
    return _new_claim(row, snapshot, veil, broken)


def _scope_id(row: Row) -> str:
    """Which scope of the document it runs."""
    if row.kind == ChildKind.BRANCH:
        return branch_scope_id(row.parent_step, row.item_index or 0)
    return row.parent_step if row.kind == ChildKind.ITEM else ""


def _veil(row: Row, definition: CompiledDefinition) -> Veil:
    """Nothing is known yet. What a part comes to is a part of what its step comes to."""
    redaction = definition.redaction
    index = row.item_index or 0
    if row.kind == ChildKind.ITEM:
        return Veil(redaction, redaction.of_part(row.parent_step, str(index)))
    if row.kind == ChildKind.BRANCH:
        step = definition.steps.get(row.parent_step)
        config = step.config if step else None
        names = config.branches if isinstance(config, ParallelConfig) else ()
        name = names[index].name if index < len(names) else ""
        return Veil(redaction, redaction.of_part(row.parent_step, name))
    return Veil(redaction, redaction.output)


def _new_claim(row: Row, snapshot: Snapshot, veil: Veil, broken: ErrorInfo | None) -> Claim:
    claim = Claim(
        snapshot_id=row.id,
        epoch=row.epoch,
        revision=row.revision,
        claims=row.claims,
        counters=Counters(row.transition_seq, row.log_seq, row.seen_seq),
        snapshot=snapshot,
        veil=veil,
        broken=broken,
        children_open=row.children_open > 0,
        children_failing=row.children_failed > row.children_tolerated,
        slot_key=row.slot_key,
        children_enough=0 < row.children_needed <= _succeeded(row),
        claimed_at=_utc(row.claimed_at),
    )
    if row.parent_id is not None:
        claim.child_of = (row.parent_id, row.parent_step, row.generation)
    return claim


def _succeeded(row: Row) -> int:
    """How many of its children have, those that a later generation has kept included."""
    return row.children_total - row.children_open - row.children_failed


def _position(row: Row, control: Control) -> Position | None:
    if not row.current_step:
        return None
    return Position(
        step_id=row.current_step,
        seq=row.current_seq,
        phase=Phase(row.current_phase),
        started_at=_utc(row.current_since),
        attempt=row.current_attempt,
        wait_until=_utc(row.wait_until),
        entered_at=control.entered_at,
        generation=control.generation,
        base=control.base,
        spent=control.spent,
    )


def _utc(moment: datetime | None) -> Any:
    return moment.astimezone(UTC) if moment else None


def _load_steps(claims: list[Claim], moved: set[int]) -> None:
    """Fill in the latest result of each step, and the output that would be the result so far."""
    if not claims:
        return
    veils = {each.snapshot_id: each.veil for each in claims}
    loaded = load_steps(veils, moved & veils.keys())
    for claim in claims:
        snapshot = claim.snapshot
        snapshot.steps, outputs = loaded[claim.snapshot_id]
        for _, seq, value in sorted(outputs, key=lambda each: each[0]):
            snapshot.note_output(seq, value)


def _load_outers(rows: list[Row], claims: list[Claim], outers: Outers) -> None:
    """Give items and branches what they see of the execution around them."""
    items = [
        (row, claim, (row.parent_id, row.generation, row.version_id, row.step_names or ""))
        for row, claim in zip(rows, claims, strict=True)
        if row.kind in _PARTS and row.parent_id is not None and claim.broken is None
    ]
    if not items:
        return
    outers.load((key, claim.snapshot.definition) for _, claim, key in items)
    for row, claim, key in items:
        snapshot = claim.snapshot
        outer, hidden = outers.get(key)
        snapshot.outer = outer
        claim.veil.include(hidden)
        own = item_names(snapshot.definition, row.parent_step, snapshot.input, row.item_index or 0)
        snapshot.item_names = {**outer.names, **own}
