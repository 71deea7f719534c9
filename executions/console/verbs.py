"""What can be asked of an execution from its page, and what each would do to it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from executions.console.undoing import calls_of
from executions.engine.events import Verb
from executions.engine.states import State
from executions.engine.wishes import OVER
from executions.models import Execution
from executions.services import (
    cancel_execution,
    compensate_execution,
    pause_execution,
    resume_execution,
    retry_execution,
    skip_step,
)
from executions.suiting import is_undoing, suitable, was_undone


@dataclass(frozen=True, slots=True)
class ControlVerb:
    """One verb, and when it is offered; it has a page of its own."""

    name: str
    title: str
    icon: str
    states: frozenset[str]


@dataclass(frozen=True, slots=True)
class AskedVerb(ControlVerb):
    """One that needs no more than a question: what it will do, and the service that does it."""

    done: str
    is_danger: bool
    consequences: Callable[[Execution], Sequence[str]]
    service: Callable[..., Execution]


def _pause(execution: Execution) -> list[str]:
    return [
        "It stops before its next step; a step that is running now ends first."
        if execution.owner_id
        else "It stops where it stands; the step it is at does not begin.",
        "Nothing is lost: resume it and it goes on from there.",
        "Its own deadline stands still while it is paused.",
    ]


def _resume(execution: Execution) -> list[str]:
    where = f" at step “{execution.current_step}”" if execution.current_step else ""
    return [
        f"It goes on{where} as soon as a worker is free.",
        "Steps that have completed are not repeated.",
    ]


def _cancel(execution: Execution) -> list[str]:
    if is_undoing(execution):
        return [
            "It stops undoing what it did and ends; what has not been undone stays as it is.",
            "What is left is named in its error.",
        ]
    return [
        "A step that is running now is interrupted; what it has done outside may stay half done."
        if execution.owner_id
        else "No further step runs.",
        "What completed steps have done outside stays, unless it is undone first.",
        "It can't be resumed afterwards; start a new execution instead.",
    ]


def _retry(execution: Execution) -> list[str]:
    where = f" at step “{execution.current_step}”" if execution.current_step else ""
    return [
        f"It goes on{where} with a further attempt, as soon as a worker is free.",
        "Steps and items that have succeeded are not repeated.",
        "Its timeout, if it has one, begins anew.",
    ]


def _skip(execution: Execution) -> list[str]:
    then = (
        "The execution stays paused; resume it and it goes on with the step after."
        if execution.state == State.PAUSED
        else "The execution goes on with the step after."
    )
    return [
        f"Step “{execution.current_step}” is recorded as skipped, without an output.",
        then,
        "Items of the step that are still under way are cancelled.",
    ]


def _compensate(execution: Execution) -> list[str]:
    return [
        "The steps that completed are undone with the calls below, one after the other.",
        "Then it is failed again with the error it has; what could not be undone is named there.",
        "It can't be retried afterwards, only rerun from the start.",
    ]


VERBS: dict[str, AskedVerb] = {
    "pause": AskedVerb(
        name="pause",
        title="Pause",
        icon="pause",
        done="Asked to pause.",
        is_danger=False,
        states=frozenset({State.INITIALIZED, State.RUNNING, State.WAITING, State.RESUMED}),
        consequences=_pause,
        service=pause_execution,
    ),
    "resume": AskedVerb(
        name="resume",
        title="Resume",
        icon="play_arrow",
        done="Resumed.",
        is_danger=False,
        states=frozenset({State.PAUSED}),
        consequences=_resume,
        service=resume_execution,
    ),
    "cancel": AskedVerb(
        name="cancel",
        title="Cancel",
        icon="stop",
        done="Asked to cancel.",
        is_danger=True,
        states=frozenset(
            {State.INITIALIZED, State.RUNNING, State.WAITING, State.RESUMED, State.PAUSED}
        ),
        consequences=_cancel,
        service=cancel_execution,
    ),
    "retry": AskedVerb(
        name="retry",
        title="Retry",
        icon="replay",
        done="It goes on where it failed.",
        is_danger=False,
        states=frozenset({State.FAILED}),
        consequences=_retry,
        service=retry_execution,
    ),
    "skip": AskedVerb(
        name="skip",
        title="Skip step",
        icon="skip_next",
        done="Asked to skip the step.",
        is_danger=True,
        states=suitable(Verb.SKIP),
        consequences=_skip,
        service=skip_step,
    ),
    "compensate": AskedVerb(
        name="compensate",
        title="Undo",
        icon="undo",
        done="It undoes what it did.",
        is_danger=True,
        states=suitable(Verb.COMPENSATE),
        consequences=_compensate,
        service=compensate_execution,
    ),
}


RERUN = ControlVerb(name="rerun", title="Rerun", icon="restart_alt", states=suitable(Verb.RERUN))


def offered(execution: Execution, pending: Sequence[str]) -> Sequence[ControlVerb]:
    """The verbs that make sense now, seen what has been asked for already."""
    if execution.has_ended:
        pending = ()  # what nobody heeded before the end is void
    if "cancel" in pending:
        return []
    if pending and pending[-1] == "skip":
        return [VERBS["cancel"]]
    if pending and pending[-1] == "pause":
        return [VERBS["resume"], VERBS["cancel"]]
    if pending and pending[-1] == "resume":
        return [VERBS["pause"], VERBS["cancel"]]
    return [
        verb
        for verb in (*VERBS.values(), RERUN)
        if execution.state in verb.states and _fits(verb, execution)
    ]


def _fits(verb: ControlVerb, execution: Execution) -> bool:
    """Whether there is what the verb is about."""
    if verb.name == "compensate":
        return calls_of(execution).total > 0
    if is_undoing(execution):
        # Cancelled it can be only from a pause: a second click must not leave half of it undone.
        allowed = ("resume", "cancel") if execution.state == State.PAUSED else ("pause",)
        return verb.name in allowed
    if was_undone(execution) and verb.name in ("retry", "skip"):
        return False
    if verb.name == "skip":
        return bool(execution.current_step) and execution.current_phase not in OVER
    # A part of another execution is only rerun with it.
    return verb is not RERUN or execution.parent_id is None
