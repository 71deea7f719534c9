"""From what the planner decided to what the ledger writes: one checkpoint, one commit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, get_args

import orjson

from executions.engine.commands import (
    Because,
    Block,
    Call,
    CallUndo,
    Close,
    Closing,
    Command,
    Finish,
    LineUp,
    Open,
    Promise,
    RecordStep,
    Reject,
    Rest,
    SetControl,
    Settle,
    SetVariables,
    Spawn,
    StartOther,
    Survey,
    TellChildren,
    Transit,
    WriteLog,
    Yield,
)
from executions.engine.events import Verb
from executions.engine.snapshot import Phase, Snapshot
from executions.engine.states import ENDED, Reason, State, is_legal
from executions.hidden.veil import Veil
from executions.runtime import columns, veiling
from executions.runtime.columns import MAX_ACTOR_CHARS, MAX_REASON_CHARS
from executions.runtime.control import control_to_json

Directive = Call | CallUndo | Survey | Yield | Rest | Block | Finish
# `isinstance` is several times as fast with a tuple as with a union.
_DIRECTIVES = get_args(Directive)


class IllegalTransition(Exception):
    """A plan would take a transition that the table of states does not have."""


@dataclass(slots=True)
class Counters:
    """The sequences of one execution, as its owner counts them on."""

    transition_seq: int
    log_seq: int
    seen_seq: int

    def copy(self) -> Counters:
        return Counters(self.transition_seq, self.log_seq, self.seen_seq)


@dataclass(slots=True)
class Checkpoint:
    """Everything that one commit says about one execution.

    epoch and revision fence it: the row must be owned by this worker, claimed the epoch-th time and
    written the revision-th time, or nothing of the checkpoint is written.
    """

    execution_id: int
    epoch: int
    revision: int
    row: dict[str, Any]
    directive: Directive
    # Up to which message its runner has read; beyond that it is told.
    read_seq: int = 0
    steps: list[dict[str, Any]] = field(default_factory=list)
    transitions: list[dict[str, Any]] = field(default_factory=list)
    log: list[dict[str, Any]] = field(default_factory=list)
    # States between the first and the last, if a plan took several transitions.
    hops: list[str] = field(default_factory=list)
    spawn: list[dict[str, Any]] = field(default_factory=list)
    tell: list[dict[str, Any]] = field(default_factory=list)
    # Waits for news from outside that begin and end here, and news that didn't suit; by kind.
    opens: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    closes: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    rejects: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    # A wait for news has ended by time, so all news up to now must have been heard.
    heeds: bool = False
    # How steps are undone that completed here, and what came of undoing others.
    promises: list[dict[str, Any]] = field(default_factory=list)
    settles: list[dict[str, Any]] = field(default_factory=list)
    # The start of the workflow that hears of this failure.
    owes: dict[str, Any] | None = None
    # Executions of their own that a step has started.
    starts: list[dict[str, Any]] = field(default_factory=list)
    # The execution that continues this one, by its id and the next input.
    follows: dict[str, Any] | None = None
    # The parent's id, step and generation, if this ends a child; not if another one follows it,
    # which takes its place.
    ends: tuple[int, str, int] | None = None
    # The parent's id, if what follows is its child.
    parent: int | None = None
    # The concurrency key of which it gives a slot back or wants one; empty: neither.
    slot_key: str = ""
    # The limit of calls for whose place it waits from here on; 0: none. Whether it leaves a call
    # for which it may have places or turns.
    lines_up: int = 0
    leaves_limits: bool = False

    @property
    def makes_ready(self) -> bool:
        """Whether others may have something to do now, besides a parent."""
        handed_on = self.slot_key or self.leaves_limits or self.lines_up
        return bool(self.spawn or self.starts or self.tell or self.follows or handed_on)

    @property
    def releases(self) -> bool:
        return bool(self.row["release"])


def build(
    *,
    commands: Sequence[Command],
    after: Snapshot,
    epoch: int,
    revision: int,
    counters: Counters,
    now: datetime,
    child_of: tuple[int, str, int] | None = None,
    slot_key: str = "",
    veil: Veil | None = None,
    limited: tuple[int, int] | None = None,
    read_seq: int = 0,
) -> Checkpoint:
    """Write down what `commands` made of an execution; moves `counters` on.

    child_of: the parent's id, step and generation, if it is a child. slot_key: the concurrency
    key that it has a slot of or wants one of. veil: what is known to be hidden; it learns what the
    definition hides of all this first, for what a later command hides an earlier one may say too.
    limited: number and attempt of the step for whose call it may have places in limits. read_seq:
    the last message that was read, planned for or not.

    Raises IllegalTransition, and NoEncryptionKey, before anything is sent anywhere.
    """
    veil = Veil() if veil is None else veil
    veiling.learn(veil, commands)
    directive = directive_of(commands)
    row: dict[str, Any] = {
        "id": after.execution_id,
        "state": after.state.value,
        "steps_entered": after.entered,
        "started_at": after.started_at,
        "release": isinstance(directive, (Block, Finish)),
        "runnable_at": directive.until if isinstance(directive, Block) else None,
        **columns.position_columns(after.position),
    }
    checkpoint = Checkpoint(after.execution_id, epoch, revision, row, directive, read_seq)
    for command in commands:
        match command:
            case RecordStep():
                checkpoint.steps.append(columns.step_row(after.execution_id, command, veil))
                _add_log(checkpoint, command, counters, veil)
            case WriteLog():
                _add_log(checkpoint, command, counters, veil)
            case Open() | Close() | Reject():
                _add_outside(checkpoint, command, veil)
            case Promise():
                checkpoint.promises.append(columns.promise_row(after.execution_id, command, veil))
            case Settle():
                checkpoint.settles.append(columns.settle_row(after.execution_id, command, veil))
            case Because(reason):
                row["reason"] = reason
            case SetVariables():
                row["variables"] = veiling.variables(veil, command)
            case SetControl():
                row["control"] = control_to_json(command, veiling.writer(veil))
                row["deadline_at"] = command.deadline
            case Spawn():
                checkpoint.spawn.extend(columns.spawn_rows(after.execution_id, command, veil))
            case StartOther():
                checkpoint.starts.append(columns.start_row(after.execution_id, command, veil))
            case TellChildren():
                _add_tell(checkpoint, command, veil)
            case LineUp(limit_id) if _is_limited(after):
                checkpoint.lines_up = limit_id
            case Transit():
                _add_transition(checkpoint, command, counters, now, veil)
            case Finish():
                _finish(checkpoint, command, after, counters, now, veil)
                if checkpoint.follows is None:
                    checkpoint.ends = None if command.again else child_of
                elif child_of is not None:
                    checkpoint.parent = child_of[0]
            case _:
                pass
    row["transition_seq"] = counters.transition_seq
    row["log_seq"] = counters.log_seq
    row["seen_seq"] = counters.seen_seq
    if after.state is State.PAUSED and checkpoint.transitions:
        row["paused_at"] = now
    _note_slot(checkpoint, after, slot_key)
    checkpoint.leaves_limits = limited is not None and limited != call_of(after)
    return checkpoint


def _is_limited(after: Snapshot) -> bool:
    position = after.position
    return (
        after.undo is None
        and after.state is State.WAITING
        and position is not None
        and position.phase is Phase.LIMITED
    )


def call_of(after: Snapshot) -> tuple[int, int] | None:
    """Number and attempt of the step that it calls the action of, or waits to."""
    position = after.position
    if position is None or after.state not in (State.RUNNING, State.WAITING):
        return None
    # What undoes something asks no limit, and stands where it failed until it calls something.
    if after.undo is not None or position.phase not in (Phase.CALL, Phase.LIMITED):
        return None
    return (position.seq, position.attempt)


def _note_slot(checkpoint: Checkpoint, after: Snapshot, slot_key: str) -> None:
    """Whether this is the moment at which a slot is given back or asked for."""
    if not slot_key or not checkpoint.releases:
        return
    row = checkpoint.row
    if after.state in ENDED or after.state is State.PAUSED:
        checkpoint.slot_key = slot_key
    elif after.wants_slot and after.state in (State.INITIALIZED, State.RESUMED):
        checkpoint.slot_key = slot_key
        row["paused_at"] = after.paused_at
        if after.state is State.INITIALIZED:
            row["reason"] = Reason.SLOT.value


def _finish(
    checkpoint: Checkpoint,
    finish: Finish,
    after: Snapshot,
    counters: Counters,
    now: datetime,
    veil: Veil,
) -> None:
    row, error, output = checkpoint.row, finish.error, finish.output
    if finish.next_input is not None:
        follower = columns.follower(after.execution_id, finish.next_input, finish.next_slot, veil)
        checkpoint.follows = follower
    row["ended_at"] = now
    row["output"] = orjson.Fragment(veil.payload(output, veil.output)) if output else None
    row["error"] = veiling.error(veil, error)
    row["error_code"] = veil.mask(error.code)[:100] if error else ""
    workflow = after.definition.on_failure.workflow
    if after.state is State.FAILED and workflow and after.outer is None and not finish.again:
        checkpoint.owes = {
            "execution_id": after.execution_id,
            "seq": counters.transition_seq,
            "workflow": workflow,
        }


def directive_of(commands: Sequence[Command]) -> Directive:
    """What to do once it is durable: the last word counts, an end is an end."""
    found: list[Directive] = [each for each in commands if isinstance(each, _DIRECTIVES)]
    for each in found:
        if isinstance(each, Finish):
            return each
    return found[-1] if found else Yield()


def _add_outside(checkpoint: Checkpoint, command: Open | Close | Reject, veil: Veil) -> None:
    row: dict[str, Any] = {
        "execution": checkpoint.execution_id,
        "step": command.step_id,
        "seq": command.seq,
        "attempt": command.attempt,
    }
    if isinstance(command, Open):
        opened = checkpoint.opens.setdefault(command.kind, [])
        opened.append({**row, "data": veiling.opened(veil, command)})
    elif isinstance(command, Reject):
        rejected = checkpoint.rejects.setdefault(command.kind, [])
        reason = veil.mask(command.reason)
        rejected.append({**row, "data": command.data, "reason": reason})
    else:
        checkpoint.heeds = checkpoint.heeds or command.outcome == Closing.EXPIRED
        opened = checkpoint.opens.get(command.kind, [])
        own = [each for each in opened if each["seq"] == command.seq]
        if own:
            # Begun and ended before anybody could know of it.
            opened.remove(own[0])
            return
        closed = checkpoint.closes.setdefault(command.kind, [])
        closed.append({**row, "outcome": command.outcome})


def _add_tell(checkpoint: Checkpoint, command: TellChildren, veil: Veil) -> None:
    """One wish for the children of a step: the last word counts, a cancel is the last."""
    row = columns.tell_row(checkpoint.execution_id, command, veil)
    for earlier in checkpoint.tell:
        if (earlier["step"], earlier["generation"]) == (row["step"], row["generation"]):
            if earlier["verb"] != Verb.CANCEL:
                earlier.update(row)
            return
    checkpoint.tell.append(row)


def _add_log(
    checkpoint: Checkpoint, step: RecordStep | WriteLog, counters: Counters, veil: Veil
) -> None:
    for line in step.log:
        counters.log_seq += 1
        checkpoint.log.append(
            {
                "execution_id": checkpoint.execution_id,
                "seq": counters.log_seq,
                "step_id": step.step_id,
                "attempt": step.attempt,
                "level": line.level,
                "event": veil.mask(line.event),
                "fields": veil.masked(line.fields),
                "at": line.at,
            }
        )


def _add_transition(
    checkpoint: Checkpoint, transit: Transit, counters: Counters, now: datetime, veil: Veil
) -> None:
    if not is_legal(transit.source, transit.target):
        raise IllegalTransition(f"{transit.source} to {transit.target} is not in the table.")
    counters.transition_seq += 1
    reason = veil.mask(transit.reason)[:MAX_REASON_CHARS]
    if checkpoint.transitions:
        checkpoint.hops.append(transit.source.value)
    checkpoint.transitions.append(
        {
            "execution_id": checkpoint.execution_id,
            "seq": counters.transition_seq,
            "source": transit.source.value,
            "target": transit.target.value,
            "reason": reason,
            "actor": transit.actor[:MAX_ACTOR_CHARS],
            "at": now,
        }
    )
    checkpoint.row["reason"] = reason


__all__ = [
    "Checkpoint",
    "Counters",
    "Directive",
    "IllegalTransition",
    "build",
    "call_of",
    "directive_of",
]
