"""Running an ended execution again as a new one: from the start, or from a step that it ran."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from django.conf import settings
from django.db import transaction

from autopilot.accounts import audit
from autopilot.accounts.actors import Actor
from autopilot.accounts.roles import Permission
from autopilot.common.committed import after_commit
from autopilot.common.errors import DomainError
from autopilot.common.problems import Problem
from executions.accepting import Started, check_input, earlier_of, hashes_of, prepare
from executions.asking import MAX_REASON_CHARS, Answer, check_reason
from executions.engine.commands import SetControl
from executions.engine.errors import EngineError
from executions.engine.payload import encode
from executions.engine.replay import Taken, replay
from executions.engine.snapshot import Phase, Snapshot, StepFact
from executions.engine.states import State, StepState
from executions.engine.undo import STEP_TYPE as UNDO_TYPE
from executions.errors import ExecutionNotFound, RerunInvalid, TransitionRefused
from executions.fairness import get_in, look
from executions.hidden.marks import kept
from executions.hidden.veil import Veil
from executions.holding import refuse_start
from executions.models import Execution, StepExecution
from executions.moved import steps_named
from executions.noting import transition_of
from executions.runtime import dispatch
from executions.runtime.control import Write, control_to_json, error_to_json
from executions.slots import insert_with_slot, note_slot, settle_later
from executions.suiting import was_undone
from workflows.compiled import compiled_version
from workflows.definition.compiled import CompiledDefinition, MapConfig
from workflows.definition.paths import quote
from workflows.services import resolve_version

KEEP: Final = object()
BATCH = 500


@dataclass(frozen=True, slots=True)
class RerunOptions:
    """How an execution is to be run again.

    from_step: id of a step that it ran; None = from the start. input: KEEP = the same. outputs:
    what steps before that one are to count as having come to. version: None = the same.
    """

    from_step: str | None = None
    input: Any = KEEP
    outputs: Mapping[str, Any] = field(default_factory=dict)
    version: str | None = None

    def request(self) -> list[Any]:
        """All of it as plain JSON, to tell one request from another."""
        changed = [] if self.input is KEEP else [self.input]
        return [self.from_step, changed, dict(self.outputs), self.version]


def rerun_execution(
    *,
    execution: Execution,
    actor: Actor,
    from_step: str | None = None,
    input: Any = KEEP,
    outputs: Mapping[str, Any] | None = None,
    version: str | None = None,
    reason: str = "",
    idempotency_key: str = "",
) -> Started:
    """Accept a new execution that does what an ended one did; `rerun_of` is the old one.

    With `from_step` the steps that ended before the last time it ran are taken over: their
    outputs are copied or edited, and what they assign is worked out again from those.
    idempotency_key: the same key by the same actor answers the first new execution again; starts
    and reruns of a workflow share their keys.
    Raises PermissionDenied, TransitionRefused while it has not ended, RerunInvalid with the place
    of what does not fit, InputInvalid, InputTooLarge, StartInvalid, IdempotencyConflict, and what
    `resolve_version` raises.
    """
    actor.require(Permission.EXECUTION_CONTROL)
    actor.require(Permission.EXECUTION_START)
    check_reason(reason)
    options = RerunOptions(from_step, input, outputs or {}, version)
    with transaction.atomic():
        return _rerun(execution, actor, options, reason, idempotency_key)


def rerun_many(
    *,
    ids: Collection[int],
    actor: Actor,
    options: RerunOptions,
    reason: str = "",
    key: str = "",
) -> dict[int, Answer]:
    """Rerun each of these in one transaction; what can't be rerun is its answer and stops no other.

    The answers hold the new executions. key: of the whole call; what it has made of one of these
    before is answered again. Raises PermissionDenied.
    """
    actor.require(Permission.EXECUTION_CONTROL)
    actor.require(Permission.EXECUTION_START)
    check_reason(reason)
    missing = ExecutionNotFound()
    answers = {pk: Answer(refusal=missing) for pk in ids}
    with transaction.atomic():
        rows = Execution.objects.filter(pk__in=ids).select_related("workflow", "version")
        for row in rows.order_by("pk"):
            try:
                with transaction.atomic():
                    own = f"{key}:{row.pk}" if key else ""
                    answers[row.pk] = Answer(_rerun(row, actor, options, reason, own).execution)
            except DomainError as refusal:
                answers[row.pk] = Answer(refusal=refusal)
    return answers


def _rerun(
    source: Execution, actor: Actor, options: RerunOptions, reason: str, key: str
) -> Started:
    if source.parent_id is not None:
        message = f"It is part of execution {source.parent_id}: only a whole one can be rerun."
        raise RerunInvalid(message, details=[Problem("$", "rerun.part", message)])
    number = options.version or source.version.version
    row = prepare(
        workflow=source.workflow,
        actor=actor,
        input=source.input if options.input is KEEP else kept(options.input, source.input),
        version=number,
        priority=source.priority,
        queue=source.queue,
        labels=source.labels,
        correlation_id=source.correlation_id,
        idempotency_key=key,
    )
    if key:
        asked = ["rerun", source.pk, *options.request(), reason]
        row.request_hash, *row.older_hashes = hashes_of(asked)
    # Before anything that may have changed since: a repeated request gets the same answer.
    earlier = earlier_of(row)
    if earlier is not None:
        return Started(earlier, created=False)
    if not source.has_ended:
        raise TransitionRefused(
            f"The execution is {source.state}; only one that has ended can be rerun."
        )
    line = look(row)
    if line.has_holds:
        refuse_start(workflow=source.workflow, queue=row.queue)
    row.version = resolve_version(workflow=source.workflow, version=number)
    row.rerun_of = source
    row.is_test = source.is_test
    veil = check_input(row)
    note_slot(row, veil)
    copies = _place(row, source, options)
    get_in(row, line)
    earlier = insert_with_slot(row)
    if earlier is not None:
        return Started(earlier, created=False)
    if copies:
        _take_over(row, source, copies, veil)
    transition_of(row, source="", actor=actor, now=row.created_at).save(force_insert=True)
    audit.record(
        actor=actor,
        action="execution.rerun",
        target=row,
        after={
            "rerun_of": source.pk,
            "version": row.version.version,
            "from_step": options.from_step,
            "edited": ["input"] * (options.input is not KEEP) + sorted(options.outputs),
            "reason": reason,
        },
    )
    after_commit(dispatch.ring, row.queue)
    settle_later([row])
    return Started(row, created=True)


def _place(row: Execution, source: Execution, options: RerunOptions) -> list[StepExecution]:
    """Where the new execution begins; answers copies of the steps before that, not saved."""
    step_id = options.from_step
    if step_id is None:
        if options.outputs:
            raise _wrong(
                "$.outputs",
                "rerun.nothing_taken_over",
                "From the start no step is taken over, so no output can be edited; say from_step.",
            )
        return []
    if was_undone(source):
        raise _wrong(
            "$.from_step",
            "rerun.undone",
            f"What execution {source.pk} did has been undone, so none of its steps can be taken "
            "over: rerun it from the start.",
        )
    definition = compiled_version(row.version_id)
    _check_step(definition, step_id, row.version.version)
    ran = steps_named(source).filter(now_id=step_id).exclude(type=UNDO_TYPE)
    last = ran.order_by("-seq").first()
    if last is None:
        raise _wrong(
            "$.from_step",
            "rerun.never_ran",
            f"Execution {source.pk} never ran the step {step_id}, so nothing can be rerun from it.",
        )
    copies = _copies(source, last.seq, options.outputs, definition)
    row.current_step = step_id
    row.current_seq = row.steps_entered = last.seq
    row.current_phase = Phase.ENTER.value
    row.current_since = row.created_at
    return copies


def _check_step(definition: CompiledDefinition, step_id: str, number: str) -> None:
    step = definition.steps.get(step_id)
    if step is None:
        raise _wrong(
            "$.from_step",
            "rerun.unknown_step",
            f'Version {number} has no step "{quote(step_id)}".',
        )
    if step.scope:
        outer = step.scope.split(".")[0]
        raise _wrong(
            "$.from_step",
            "rerun.inside",
            f"The step {step_id} is inside {outer}, which can only be rerun as a whole: "
            f"say from_step {_outermost(definition, outer)}.",
        )


def _outermost(definition: CompiledDefinition, step_id: str) -> str:
    while scope := definition.steps[step_id].scope:
        step_id = scope.split(".")[0]
    return step_id


def _copies(
    source: Execution, seq: int, outputs: Mapping[str, Any], definition: CompiledDefinition
) -> list[StepExecution]:
    """The last attempt of every step before that one, in the order in which they ended."""
    # By the names that they have now, for nothing is known of moves in the new execution.
    rows = steps_named(source).filter(seq__lt=seq, now_id__isnull=False)
    found = sorted(
        rows.order_by("seq", "-attempt").distinct("seq").defer("params"), key=lambda row: row.pk
    )
    for row in found:
        row.step_id = row.now_id
    latest = {row.step_id: row for row in sorted(found, key=lambda row: row.seq)}
    for step_id, value in outputs.items():
        if step_id not in latest:
            raise _wrong(
                f"$.outputs.{quote(step_id)}",
                "rerun.not_taken_over",
                f'No step "{quote(step_id)}" ran before that, so it has no output to edit.',
            )
        _check_output(step_id, value, definition)
        row = latest[step_id]
        row.state, row.error = StepState.COMPLETED.value, None
        row.output = kept(value, row.output)
    return [
        StepExecution(
            seq=row.seq,
            attempt=row.attempt,
            step_id=row.step_id,
            name=row.name,
            type=row.type,
            state=row.state,
            output=row.output,
            error=row.error,
            started_at=row.started_at,
            ended_at=row.ended_at,
            taken_over=True,
        )
        for row in found
    ]


def _check_output(step_id: str, value: Any, definition: CompiledDefinition) -> None:
    step = definition.steps.get(step_id)
    is_map = step is not None and isinstance(step.config, MapConfig)
    limit = settings.AUTOPILOT["MAX_JOINED_BYTES" if is_map else "MAX_OUTPUT_BYTES"]
    try:
        encode(value, limit=limit, what=f"The output of step `{step_id}`")
    except EngineError as error:
        raise _wrong(f"$.outputs.{step_id}", error.info.code, error.info.message) from None


def _take_over(row: Execution, source: Execution, copies: list[StepExecution], veil: Veil) -> None:
    """Store the copies, and what they have left in variables and catches.

    veil: what is known to be hidden; all that is hidden in the copies is added before any of it
    is written.
    """
    snapshot = Snapshot(
        execution_id=row.pk,
        definition=compiled_version(row.version_id),
        workflow=row.workflow.slug,
        version=row.version.version,
        state=State.INITIALIZED,
        input=veil.reveal(row.input),
        started_at=source.started_at,
        max_output_bytes=settings.AUTOPILOT["MAX_OUTPUT_BYTES"],
    )
    try:
        after = replay(snapshot, [_taken(copy, veil) for copy in copies])
    except EngineError as error:
        message = f"What the step {error.info.step} assigns: {error.info.message}"
        raise _wrong("$.outputs", error.info.code, message) from None
    control = SetControl((), after.caught, after.names, None, 0, 0, 0, None)
    hide: Write = lambda value, step: veil.conceal(value, veil.redaction.steps.get(step))  # noqa: E731
    row.variables = {name: hide(value, "") for name, value in after.vars.items()}
    row.control = control_to_json(control, hide)
    Execution.objects.filter(pk=row.pk).update(variables=row.variables, control=row.control)
    for copy in copies:
        copy.execution = row
        copy.output = hide(copy.output, copy.step_id)
        copy.error = error_to_json(copy.error, hide) if copy.error else None
    StepExecution.objects.bulk_create(copies, batch_size=BATCH)


def _taken(row: StepExecution, veil: Veil) -> Taken:
    started_at: datetime = row.started_at
    output = veil.reveal(row.output)
    veil.learn_at(output, veil.redaction.steps.get(row.step_id))
    fact = StepFact(StepState(row.state), output, veil.reveal(row.error), row.attempt)
    return Taken(row.step_id, row.seq, started_at, fact)


def _wrong(path: str, code: str, message: str) -> RerunInvalid:
    return RerunInvalid(message, details=[Problem(path, code, message)])


__all__ = ["KEEP", "MAX_REASON_CHARS", "RerunOptions", "rerun_execution", "rerun_many"]
