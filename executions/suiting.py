"""Which wish suits which execution: what can be asked of one, seen what was asked before."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from executions.engine.events import Verb
from executions.engine.states import ENDED, TRANSITIONS, UNDONE, Reason, State
from executions.engine.wishes import OVER
from executions.errors import ExecutionEnded, TransitionRefused
from executions.models import Execution, Kind

_SUITABLE: Mapping[Verb, frozenset[State]] = {
    Verb.SKIP: frozenset({State.WAITING, State.PAUSED, State.FAILED}),
    Verb.RERUN: ENDED,
}
_STOPPED = frozenset({State.PAUSED, State.RESUMED})
_CAN_UNDO = frozenset({State.RUNNING, State.WAITING}) | _STOPPED
_PARTS = frozenset({Kind.ITEM.value, Kind.BRANCH.value})


def suitable(verb: Verb) -> frozenset[State]:
    """The states in which the verb can be asked, out of the table of transitions if it is there."""
    found = frozenset(row.source for row in TRANSITIONS if row.action == verb.value)
    return found or _SUITABLE[verb]


def is_undoing(execution: Execution) -> bool:
    """Whether it is undoing what it did, or is paused while it does."""
    if execution.has_ended or execution.state not in _CAN_UNDO:
        return False
    # In a pause the reason is that of whoever asked for it.
    is_said = execution.reason == Reason.COMPENSATING or execution.state in _STOPPED
    return is_said and "undo" in (execution.control or {})


def was_undone(execution: Execution) -> bool:
    """Whether it has ended and was undone before, as far as that went."""
    # A step may fail with a code that is the same word.
    is_code = execution.reason == execution.error_code
    return execution.has_ended and execution.reason in UNDONE and not is_code


def is_new_wish(
    execution: Execution, verb: Verb, pending: Sequence[str], *, undoes: bool = False
) -> bool:
    """False if the same is under way already. Raises what explains why it can't be asked.

    pending: what was asked and has not been done, oldest first; void once the execution has ended.
    undoes: it is asked for something that undoes what was done.
    """
    if undoes and execution.kind in _PARTS:
        raise TransitionRefused(
            f"It is part of execution {execution.parent_id}, and is undone with that as a whole."
        )
    if execution.has_ended:
        return _is_for_ended(execution, verb)
    if is_undoing(execution):
        _check_undoing(execution, verb)
    if (pending and pending[-1] == verb) or (Verb.CANCEL in pending and verb is Verb.CANCEL):
        return False
    if Verb.CANCEL in pending:
        raise TransitionRefused("The execution is being cancelled.")
    return _RULES[verb](execution, pending)


def _check_undoing(execution: Execution, verb: Verb) -> None:
    if verb is Verb.SKIP:
        raise TransitionRefused("The execution is undoing what it did; no step of that is skipped.")
    if verb is Verb.CANCEL and execution.state != State.PAUSED:
        raise TransitionRefused(
            "The execution is undoing what it did and ends by itself. To stop that, pause it and "
            "cancel it then: what has not been undone stays as it is."
        )


def _is_for_ended(execution: Execution, verb: Verb) -> bool:
    if was_undone(execution) and verb in (Verb.RETRY, Verb.SKIP):
        raise TransitionRefused(
            "What the execution did has been undone, so it can't go on from there: rerun it "
            "instead, which begins a new one at the start."
        )
    if execution.state == State.FAILED and verb is Verb.COMPENSATE:
        return True
    if execution.state == State.FAILED and verb is Verb.RETRY:
        return True
    if execution.state == State.FAILED and verb is Verb.SKIP:
        return _stands_at_a_step(execution)
    raise ExecutionEnded(f"The execution has ended: it is {execution.state}.")


def _pause(execution: Execution, pending: Sequence[str]) -> bool:
    if _will_be_paused(execution, pending):
        raise TransitionRefused("The execution is paused already.")
    return True


def _resume(execution: Execution, pending: Sequence[str]) -> bool:
    if not _will_be_paused(execution, pending):
        raise TransitionRefused(
            f"The execution is {execution.state}; only a paused one can be resumed."
        )
    return True


def _will_be_paused(execution: Execution, pending: Sequence[str]) -> bool:
    turns = [each for each in pending if each in (Verb.PAUSE, Verb.RESUME)]
    return turns[-1] == Verb.PAUSE if turns else execution.state == State.PAUSED


def _retry(execution: Execution, pending: Sequence[str]) -> bool:
    if Verb.RETRY in pending:
        return False
    raise TransitionRefused(
        f"The execution is {execution.state}; only a failed one can be retried."
    )


def _compensate(execution: Execution, pending: Sequence[str]) -> bool:
    if is_undoing(execution):
        return False
    raise TransitionRefused(
        f"The execution is {execution.state}; only a failed one can be undone. One that has not "
        "ended can be cancelled with `compensate`."
    )


def _skip(execution: Execution, pending: Sequence[str]) -> bool:
    if State(execution.state) not in suitable(Verb.SKIP):
        raise TransitionRefused(
            f"The execution is {execution.state}; a step can be skipped while the execution is "
            "waiting, paused or failed."
        )
    return _stands_at_a_step(execution)


def _stands_at_a_step(execution: Execution) -> bool:
    if not execution.current_step:
        raise TransitionRefused("The execution stands at no step that could be skipped.")
    if execution.current_phase in OVER:
        raise TransitionRefused(
            f"Step {execution.current_step} is over, so there is nothing of it to skip."
        )
    return True


_RULES: Mapping[Verb, Callable[[Execution, Sequence[str]], bool]] = {
    Verb.PAUSE: _pause,
    Verb.RESUME: _resume,
    Verb.CANCEL: lambda execution, pending: True,
    Verb.RETRY: _retry,
    Verb.SKIP: _skip,
    Verb.COMPENSATE: _compensate,
}
