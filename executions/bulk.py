"""Services for many executions at once: start them, look at what a verb would touch, ask them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import Any

import structlog
from django.db import IntegrityError, OperationalError, transaction
from django.db.models import Exists, OuterRef

from autopilot.accounts import audit
from autopilot.accounts.actors import Actor
from autopilot.accounts.roles import Permission
from autopilot.common.errors import DomainError, Unavailable
from autopilot.common.problems import Problem
from autopilot.common.words import count_words, plural
from executions.accepting import Started, check_input, conflict_with, is_same_request, prepare
from executions.asking import Answer, ask
from executions.bulk_once import Once, begin
from executions.compensating import calls_of
from executions.engine.events import Verb
from executions.engine.states import Reason, State
from executions.errors import (
    BulkNothing,
    BulkTooMany,
    ConcurrencyReached,
    ExecutionNotFound,
    IdempotencyConflict,
    QueuePaused,
    StartInvalid,
    WorkflowPaused,
)
from executions.fairness import get_in_line
from executions.holding import refuse_start
from executions.models import Execution, StateTransition, StepExecution
from executions.noting import transition_of
from executions.querysets import ExecutionQuerySet
from executions.reads import StateCount, state_counts
from executions.rerunning import RerunOptions, rerun_many
from executions.routing import choose
from executions.runtime import dispatch
from executions.slots import note_slot, settle_later, take_or_refuse
from executions.suiting import suitable
from workflows.definition.paths import quote
from workflows.models import Workflow, WorkflowVersion
from workflows.routing import route_of
from workflows.services import resolve_version

log = structlog.get_logger(__name__)

MAX_STARTS = 1_000
MAX_TOUCHED = 10_000
BATCH = 500
SAMPLE = 20
# Every problem has its place, but not without end.
MAX_PROBLEMS = 100
TRIES = 3


# Starting --------------------------------------------------------------------------------------


def start_many(
    *, workflow: Workflow, actor: Actor, requests: Sequence[Mapping[str, Any]]
) -> list[Started]:
    """Accept up to MAX_STARTS executions of `workflow` in one transaction: all of them or none.

    requests: each what `start_execution` takes, without workflow and actor. Answers in the same
    order. A key that was used before for the same request answers the first execution, as it
    would alone. One audit entry names all the executions that were made.
    Raises PermissionDenied; StartInvalid with every problem at `$.requests[3]...`;
    IdempotencyConflict if keys that belong to other requests are all that is wrong, and
    ConcurrencyReached if the limits of concurrency keys are.
    """
    actor.require(Permission.EXECUTION_START)
    if not 1 <= len(requests) <= MAX_STARTS:
        message = f"One call starts 1 to {MAX_STARTS:,} executions, not {len(requests):,}."
        raise StartInvalid(message, details=[Problem("$.requests", "bulk.size", message)])
    batch = _Batch(workflow, actor)
    for index, request in enumerate(requests):
        batch.add(index, request)
    batch.settle()
    return batch.accept()


class _Batch:
    """Requests on their way to become executions."""

    def __init__(self, workflow: Workflow, actor: Actor) -> None:
        self._workflow = workflow
        self._actor = actor
        self._rows: dict[int, Execution] = {}
        self._asked_versions: dict[int, str | None] = {}
        self._earlier: dict[int, Execution] = {}
        self._route = route_of(workflow)
        # By what is asked for, and by what a rollout gives.
        self._versions: dict[tuple[str | None, int | None], WorkflowVersion | DomainError] = {}
        self._problems: list[Problem] = []
        self._open_queues: set[str] = set()
        self._by_key: dict[str, int] = {}

    def add(self, index: int, request: Mapping[str, Any]) -> None:
        """Take the request in, or note what is wrong with it."""
        try:
            row = prepare(workflow=self._workflow, actor=self._actor, **request)
        except DomainError as error:
            self._note(index, error)
            return
        key = row.idempotency_key
        if key and key in self._by_key:
            first = self._by_key[key]
            message = f"$.requests[{first}] has the same key; each needs one of its own."
            self._problems.append(
                Problem(f"$.requests[{index}].idempotency_key", "idempotency.repeated", message)
            )
            return
        if key:
            self._by_key[key] = index
        self._rows[index] = row
        self._asked_versions[index] = request.get("version")

    def settle(self) -> None:
        """Find those that were accepted before, check the others. Raises if anything is wrong."""
        self._find_earlier()
        for index, row in self._rows.items():
            if index in self._earlier:
                continue
            try:
                self._refuse_paused(row.queue)
                row.version = self._version(self._asked_versions[index], row)
                note_slot(row, check_input(row))
            except (WorkflowPaused, QueuePaused):
                raise
            except DomainError as error:
                if any(each.path == "$.workflow" for each in error.details):
                    raise  # nothing is published: that is not about one of them
                self._note(index, error)
        if self._problems:
            raise self._refusal()

    def accept(self) -> list[Started]:
        """Insert what is new; another caller may be inserting the same keys at this moment."""
        for _ in range(TRIES):
            known = len(self._earlier)
            try:
                with transaction.atomic():
                    self._insert([row for i, row in self._rows.items() if i not in self._earlier])
                break
            except IntegrityError:
                self._find_earlier()
                if self._problems:
                    raise self._refusal() from None
                if len(self._earlier) == known:
                    raise
        else:
            raise Unavailable("The same keys are being used elsewhere right now; try again.")
        return [
            Started(self._earlier[index], created=False)
            if index in self._earlier
            else Started(row, created=True)
            for index, row in sorted(self._rows.items())
        ]

    def _find_earlier(self) -> None:
        if not self._by_key:
            return
        index_of = self._by_key
        principal = next(iter(self._rows.values())).principal
        for earlier in Execution.objects.filter(
            workflow=self._workflow, principal=principal, idempotency_key__in=list(index_of)
        ):
            index = index_of[earlier.idempotency_key]
            if index in self._earlier:
                continue
            if not is_same_request(earlier, self._rows[index]):
                self._note(index, conflict_with(earlier))
            else:
                self._earlier[index] = earlier

    def _refuse_paused(self, queue: str) -> None:
        """Raises, for all of them, if the workflow or a queue takes no starts; asked once each."""
        if queue not in self._open_queues:
            refuse_start(workflow=self._workflow, queue=queue)
            self._open_queues.add(queue)

    def _version(self, asked: str | None, row: Execution) -> WorkflowVersion:
        candidate = choose(self._route, row)
        wanted = (asked, candidate)
        if wanted not in self._versions:
            try:
                self._versions[wanted] = resolve_version(
                    workflow=self._workflow, version=asked, candidate=candidate
                )
            except DomainError as error:
                self._versions[wanted] = error
        found = self._versions[wanted]
        if isinstance(found, DomainError):
            raise found
        return found

    def _note(self, index: int, error: DomainError) -> None:
        place = f"$.requests[{index}]"
        self._problems += [
            Problem(place + each.path.removeprefix("$"), each.code, each.message)
            for each in error.details or (Problem("$", error.code, error.message),)
        ]

    def _refusal(self) -> DomainError:
        problems = self._problems
        codes = {each.code for each in problems}
        kind: type[DomainError] = StartInvalid
        for conflict in (IdempotencyConflict, ConcurrencyReached):
            if codes == {conflict.code}:
                kind = conflict
        shown = f", the first {MAX_PROBLEMS} of them" if len(problems) > MAX_PROBLEMS else ""
        message = (
            f"{problems[0].path}: {problems[0].message} Nothing was started."
            if len(problems) == 1
            else f"The requests have {len(problems):,} problems; see details{shown}. "
            "Nothing was started."
        )
        return kind(message, details=problems[:MAX_PROBLEMS])

    def _insert(self, rows: list[Execution]) -> None:
        if not rows:
            return
        for row in rows:
            row.pk = None  # a try before this one may have been rolled back
            row.slot_held = False
        self._take_slots(rows)
        get_in_line(rows)
        Execution.objects.bulk_create(rows)
        StateTransition.objects.bulk_create(
            transition_of(row, source="", actor=self._actor, now=row.created_at) for row in rows
        )
        audit.record(
            actor=self._actor,
            action="execution.many_started",
            target=self._workflow,
            after={
                "versions": sorted({row.version.version for row in rows}),
                "count": len(rows),
                "executions": [row.pk for row in rows],
            },
        )
        for queue in sorted({row.queue for row in rows if row.reason == Reason.QUEUED}):
            transaction.on_commit(partial(dispatch.ring, queue), robust=True)
        settle_later(rows)

    def _take_slots(self, rows: list[Execution]) -> None:
        """Raises, with the place of each, if the limit of a key does not let all of them in."""
        refused = take_or_refuse(rows)
        if not refused:
            return
        known = len(self._earlier)
        self._find_earlier()
        if len(self._earlier) > known:
            raise IntegrityError  # the same requests were accepted meanwhile: once more without
        index_of = {id(row): index for index, row in self._rows.items()}
        for place, error in refused.items():
            self._note(index_of[id(rows[place])], error)
        raise self._refusal()


# Asking ----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Selection:
    """Which executions are meant.

    rows: those the actor may see, narrowed by what was asked for. ids: if they were named one by
    one; each gets a result then, also what can't be asked or isn't there. Without ids only those
    in a state that the verb can be asked in are touched.
    """

    rows: ExecutionQuerySet
    ids: tuple[int, ...] | None = None

    @classmethod
    def of_ids(cls, ids: Sequence[int], *, actor: Actor) -> Selection:
        """These, each once. Raises BulkTooMany."""
        unique = tuple(dict.fromkeys(ids))
        if len(unique) > MAX_TOUCHED:
            raise _too_many(f"{len(unique):,} ids were given")
        rows = Execution.objects.visible_to(actor).filter(pk__in=unique)
        return cls(rows, unique)


@dataclass(frozen=True, slots=True)
class Preview:
    """What a verb would touch.

    count: how many, exact up to MAX_TOUCHED, beyond it `is_capped`. by_state: everything that was
    meant. sample: the oldest few of those that would be touched. missing: ids that are not there.
    undoing: how many compensations would be called; None where the verb calls none.
    """

    verb: Verb
    count: int
    is_capped: bool
    by_state: dict[str, StateCount]
    sample: list[Execution]
    missing: int
    sentence: str
    undoing: int | None = None


@dataclass(frozen=True, slots=True)
class Result:
    """What came of the verb for one execution.

    outcome: `done`; `pending`, it is asked and a worker sees to it; `refused`, with a code.
    created: id of the new execution, if the verb makes one.
    """

    id: int
    outcome: str
    state: str = ""
    code: str = ""
    message: str = ""
    created: int | None = None


_WORDS: Mapping[Verb, tuple[str, str]] = {
    Verb.PAUSE: ("pause", "paused"),
    Verb.RESUME: ("resume", "resumed"),
    Verb.CANCEL: ("cancel", "cancelled"),
    Verb.RETRY: ("retry", "retried"),
    Verb.RERUN: ("rerun", "rerun"),
    Verb.SKIP: ("skip a step", "made to skip a step"),
    Verb.COMPENSATE: ("undo what they did", "undone"),
}


def preview(
    *,
    verb: Verb,
    selection: Selection,
    actor: Actor,
    compensate: bool = False,
    rerun: RerunOptions | None = None,
) -> Preview:
    """What the verb would touch right now; nothing is changed. Raises PermissionDenied.

    compensate: what was done would be undone before it is cancelled. rerun: how, if that is the
    verb; those that never ran its step are counted in the sentence.
    """
    actor.require(Permission.EXECUTION_CONTROL)
    counts = state_counts(selection.rows, cap=MAX_TOUCHED)
    by_state = {state: each for state, each in counts.items() if each.count}
    touched = [by_state[state] for state in suitable(verb) if state in by_state]
    count = sum(each.count for each in touched)
    is_capped = count > MAX_TOUCHED or any(each.is_capped for each in touched)
    found = sum(each.count for each in by_state.values())
    missing = len(selection.ids) - found if selection.ids is not None else 0
    sentence = _sentence(verb, MAX_TOUCHED + 1 if is_capped else count, by_state, missing)
    if verb is Verb.RERUN and rerun is not None and rerun.from_step and count:
        sentence += _without_step(_touched(selection, verb), rerun.from_step)
    sample = _touched(selection, verb).select_related("workflow").order_by("pk")[:SAMPLE]
    undoing = None
    if compensate or verb is Verb.COMPENSATE:
        keys = _touched(selection, verb).order_by("pk").values_list("pk", flat=True)
        undoing = calls_of(list(keys[:MAX_TOUCHED]))
        sentence += f" {plural(undoing, 'compensation')} would be called."
    return Preview(
        verb=verb,
        count=min(count, MAX_TOUCHED),
        is_capped=is_capped,
        by_state=by_state,
        sample=list(sample.only("id", "state", "created_at", "workflow__slug")),
        missing=missing,
        sentence=sentence,
        undoing=undoing,
    )


def apply(
    *,
    verb: Verb,
    selection: Selection,
    actor: Actor,
    reason: str = "",
    output: Any = None,
    compensate: bool = False,
    rerun: RerunOptions | None = None,
    once: Once | None = None,
) -> Iterator[list[Result]]:
    """Ask the verb of all that are meant, oldest first, batch by batch; every batch is durable
    when its results come.

    output: what a skipped step counts as having come to, if that is the verb. compensate: undo what
    was done before it is cancelled, if that is the verb. rerun: how, if that is the verb. once: the
    key of a rerun; the same call again answers what the first one has made, of the executions that
    it was about, and does what it may have left undone.
    Before the first batch everything that would refuse the whole is raised: PermissionDenied,
    BulkNothing, BulkTooMany, StartInvalid for the reason, the output or the key,
    IdempotencyConflict.
    """
    actor.require(Permission.EXECUTION_CONTROL)
    work: Callable[..., dict[int, Answer]] = partial(
        ask, verb=verb, actor=actor, reason=reason, output=output, compensate=compensate
    )
    if verb is Verb.RERUN:
        work = partial(rerun_many, actor=actor, reason=reason, options=rerun or RerunOptions())
    check = work(ids=())
    assert not check
    choose = partial(_ids, verb, selection, actor)
    if once is not None and verb is Verb.RERUN:
        call = begin(once, actor, choose)
        work = partial(work, key=f"bulk-{call.pk}")
        return _in_batches(call.executions, verb, selection, work)
    return _in_batches(choose(), verb, selection, work)


def _ids(verb: Verb, selection: Selection, actor: Actor) -> list[int]:
    if selection.ids is not None:
        if not selection.ids:
            raise BulkNothing("No ids were given, so nothing was done.")
        return sorted(selection.ids)
    keys = _touched(selection, verb).order_by("pk").values_list("pk", flat=True)
    ids = list(keys[: MAX_TOUCHED + 1])
    if not ids:
        seen = preview(verb=verb, selection=selection, actor=actor)
        raise BulkNothing(f"{seen.sentence} Nothing was done.")
    if len(ids) > MAX_TOUCHED:
        raise _too_many("the filter matches more")
    return ids


def _touched(selection: Selection, verb: Verb) -> ExecutionQuerySet:
    return selection.rows.filter(state__in=[state.value for state in suitable(verb)])


def _in_batches(
    ids: list[int], verb: Verb, selection: Selection, work: Callable[..., dict[int, Answer]]
) -> Iterator[list[Result]]:
    rest = iter(ids)
    while batch := list(islice(rest, BATCH)):
        visible = batch
        if selection.ids is not None:
            named = selection.rows.filter(pk__in=batch).order_by("pk")
            visible = list(named.values_list("pk", flat=True))
        answers = _ask(visible, verb, work)
        yield [_result(pk, answers.get(pk) or _MISSING, verb) for pk in batch]


_MISSING = Answer(refusal=ExecutionNotFound())


def _ask(ids: list[int], verb: Verb, work: Callable[..., dict[int, Answer]]) -> dict[int, Answer]:
    """One batch in one transaction. What the database was too busy for is refused, not lost
    sight of: the batches before it have been done."""
    for attempt in range(1, TRIES + 1):
        try:
            return work(ids=ids)
        except OperationalError as error:
            log.warning("bulk.batch_failed", verb=verb.value, attempt=attempt, error=str(error))
            if transaction.get_connection().in_atomic_block:
                raise
    busy = Unavailable("The database was too busy; nothing was done with this one. Ask again.")
    return dict.fromkeys(ids, Answer(refusal=busy))


def _result(pk: int, answer: Answer, verb: Verb) -> Result:
    row = answer.execution
    if row is not None:
        if verb is Verb.RERUN:
            return Result(pk, "done", row.state, created=row.pk)
        return Result(pk, "pending" if row.inbox_seq > row.seen_seq else "done", row.state)
    refusal = answer.refusal or Unavailable()
    return Result(pk, "refused", "", refusal.code, refusal.message)


def outcome_sentence(verb: Verb, counts: Counter[str]) -> str:
    """`12 paused, 3 asked to pause, 1 refused.`"""
    infinitive, past = _WORDS[verb]
    words = {"done": past, "pending": f"asked to {infinitive}", "refused": "refused"}
    parts = [f"{counts[each]:,} {word}" for each, word in words.items() if counts[each]]
    return f"{', '.join(parts)}." if parts else "Nothing was done."


def _sentence(verb: Verb, count: int, by_state: Mapping[str, StateCount], missing: int) -> str:
    past = _WORDS[verb][1]
    unknown = f"{plural(missing, 'id')} {'is' if missing == 1 else 'are'} unknown"
    if not by_state:
        return f"No execution matches{f': {unknown}' if missing else ''}."
    noun = "execution" if count == 1 else "executions"
    text = f"{count_words(count, MAX_TOUCHED)} {noun} would be {past}"
    others = [
        f"{each} {state}" for state, each in by_state.items() if State(state) not in suitable(verb)
    ]
    if others:
        text += f"; what else matches can't be {past}: {', '.join(others)}"
    if missing:
        text += f"; {unknown}"
    return f"{text}."


def _without_step(rows: ExecutionQuerySet, step_id: str) -> str:
    """How many of these would be refused because they never ran the step; empty for none."""
    ran = StepExecution.objects.filter(execution=OuterRef("pk"), step_id=step_id)
    count = rows.filter(~Exists(ran)).order_by().values("pk")[: MAX_TOUCHED + 1].count()
    if not count:
        return ""
    words = count_words(count, MAX_TOUCHED)
    return f" {words} of them never ran the step {quote(step_id)} and would be refused."


def _too_many(what: str) -> BulkTooMany:
    message = (
        f"One call touches at most {MAX_TOUCHED:,} executions, and {what}: narrow it, "
        "for example by a time."
    )
    return BulkTooMany(message)
