"""Services for many executions at once: look at what a verb would touch, ask them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import Any

import structlog
from django.db import OperationalError, transaction
from django.db.models import Exists, OuterRef

from autopilot.accounts.actors import Actor
from autopilot.accounts.roles import Permission
from autopilot.common.errors import Unavailable
from autopilot.common.words import count_words, plural
from executions.asking import Answer, ask
from executions.bulk_once import Once, begin
from executions.compensating import calls_of
from executions.engine.events import Verb
from executions.engine.states import State
from executions.errors import (
    BulkNothing,
    BulkTooMany,
    ExecutionNotFound,
)
from executions.models import Execution, StepExecution
from executions.querysets import ExecutionQuerySet
from executions.reads import StateCount, state_counts
from executions.rerunning import RerunOptions, rerun_many
from executions.suiting import suitable
from workflows.definition.paths import quote

log = structlog.get_logger(__name__)

MAX_TOUCHED = 10_000
BATCH = 500
SAMPLE = 20
TRIES = 3


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
