"""What can be wrong with a request about an execution."""

from __future__ import annotations

from autopilot.common.errors import Conflict, DomainError, Invalid, NotFound


class InputInvalid(Invalid):
    """The input breaks the workflow's input schema."""

    code = "validation.input"


class InputTooLarge(Invalid):
    """The input is larger than an execution may start with."""

    code = "limit.input"
    status = 413


class StartInvalid(Invalid):
    """The execution cannot be started as asked."""

    code = "execution.start_invalid"


class IdempotencyConflict(Conflict):
    """This idempotency key was used before, for a different request."""

    code = "idempotency.conflict"


class ConcurrencyReached(Conflict):
    """As many executions with this concurrency key are running as may."""

    code = "limit.concurrency"


class WorkflowPaused(Conflict):
    """The workflow is paused; it takes no new starts."""

    code = "workflow.paused"


class QueuePaused(Conflict):
    """The queue is paused; it takes no new executions."""

    code = "queue.paused"


class NotPaused(Conflict):
    """It is not paused."""

    code = "not_paused"


class HoldInvalid(Invalid):
    """It cannot be paused as asked."""

    code = "pause.invalid"


class QueueUnknown(NotFound):
    """There is no such queue."""

    code = "queue.not_found"


class LimitInvalid(Invalid):
    """The limit does not say what it has to."""

    code = "limit.invalid"


class LimitConflict(Conflict):
    """There is a limit for that already."""

    code = "limit.exists"


class ExecutionEnded(Conflict):
    """The execution has ended; nothing can be asked of it any more."""

    code = "execution.ended"


class TransitionRefused(Conflict):
    """The execution is in a state that does not allow this."""

    code = "execution.state"


class NothingToUndo(Conflict):
    """None of the steps that completed says how it is undone, so there is nothing to undo."""

    code = "execution.nothing_to_undo"


class ExecutionNotFound(NotFound):
    """There is no such execution, or you may not see it."""

    code = "execution.not_found"


class BulkNothing(Invalid):
    """Nothing matches, so nothing was done."""

    code = "bulk.nothing"


class BulkTooMany(Invalid):
    """More executions match than one call may touch."""

    code = "bulk.too_many"


class SignalInvalid(Invalid):
    """The signal cannot be sent like this."""

    code = "signal.invalid"


class SignalTooLarge(Invalid):
    """The data of the signal are larger than a step's output may be."""

    code = "limit.signal"
    status = 413


class SignalRefused(Invalid):
    """The data break the schema of the step that waits for this signal."""

    code = "signal.schema"
    status = 422


class CallbackUnknown(NotFound):
    """There is no call with this token: it was not made here, or not for this."""

    code = "callback.unknown"


class CallbackUsed(Conflict):
    """The token has been used: the call was completed or failed with it before."""

    code = "callback.used"


class CallbackGone(DomainError):
    """The step does not wait for this any more: it timed out, was cancelled or tried again."""

    code = "callback.gone"
    status = 410


class CallbackInvalid(Invalid):
    """What was said about the call cannot be kept."""

    code = "callback.invalid"


class CallbackTooLarge(Invalid):
    """The output is larger than a step's output may be."""

    code = "limit.output"
    status = 413


class TaskInvalid(Invalid):
    """Tasks cannot be asked for like this."""

    code = "task.invalid"


class RerunInvalid(Invalid):
    """The execution cannot be rerun as asked."""

    code = "execution.rerun_invalid"


class MigrationInvalid(Invalid):
    """The executions cannot be moved as asked."""

    code = "migration.invalid"


class MigrationNotFound(NotFound):
    """There is no such migration, or you may not see it."""


class MigrationOver(Conflict):
    """The migration is over."""

    code = "migration.over"


class MigrationUnderWay(Conflict):
    """The migration is still under way."""

    code = "migration.under_way"
