"""The compiled form of a definition: immutable values that the engine's planner reads."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta

from workflows.definition.codes import matches_any
from workflows.definition.expressions import Expression
from workflows.definition.fields import StepType
from workflows.definition.redaction import NOTHING_HIDDEN, Redaction
from workflows.definition.schemas import PayloadSchema
from workflows.definition.templates import Template
from workflows.versioning.ranges import Range


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How a failed step is tried again.

    max_attempts: the first one included. The pause before the second attempt is
    `initial_interval`; each further one is `backoff` times as long, `max_interval` at most.
    jitter: share of a pause, 0 to 1, that is random. budget: bound of the time over all attempts
    and pauses. errors, excluded: patterns of error codes (see `codes.matches`).
    """

    max_attempts: int
    initial_interval: timedelta
    backoff: float
    max_interval: timedelta
    jitter: float
    budget: timedelta | None
    errors: tuple[str, ...]
    excluded: tuple[str, ...]

    def applies_to(self, code: str) -> bool:
        """Whether a step that failed with this code may be tried again; bounds aside."""
        return matches_any(self.errors, code) and not matches_any(self.excluded, code)


@dataclass(frozen=True, slots=True)
class CatchClause:
    """Where flow goes when a step has failed for good; the first clause that applies decides.

    target: None is the end of the scope. name: what expressions call the error, beside `error`.
    """

    errors: tuple[str, ...]
    target: str | None
    name: str | None

    def applies_to(self, code: str) -> bool:
        """Whether this clause catches an error with this code."""
        return matches_any(self.errors, code)


@dataclass(frozen=True, slots=True)
class CompiledScope:
    """A list of steps that flow runs down: ids in document order; never empty.

    id: empty for the document's own steps, `<step>` for those of a map or group,
    `<step>.finally` for the last ones of a group, `<step>.branches[<n>]` for those of a branch.
    """

    id: str
    first: str
    step_ids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ActionConfig:
    """Calls `action` with what `params` renders to (an object)."""

    action: str
    params: Template


@dataclass(frozen=True, slots=True)
class TransformConfig:
    """The output is what `output` renders to."""

    output: Template


@dataclass(frozen=True, slots=True)
class ChoiceBranch:
    """Taken when `when` is true; target None is the end of the scope."""

    when: Expression
    target: str | None


@dataclass(frozen=True, slots=True)
class ChoiceConfig:
    """The first true branch decides, else `default` (None is the end) if `has_default`."""

    choices: tuple[ChoiceBranch, ...]
    default: str | None
    has_default: bool


@dataclass(frozen=True, slots=True)
class WaitConfig:
    """Exactly one is set.

    duration: a literal, or a template giving seconds or a duration text (`parse_duration`).
    until: a template giving an ISO 8601 timestamp with an offset.
    """

    duration: Template | timedelta | None
    until: Template | None


@dataclass(frozen=True, slots=True)
class SucceedConfig:
    """Ends the scope; output None means the last step's output.

    continue_as_new: the input of the next execution, when this one is to be followed by one; a
    step that has it has no output and belongs to the document's own steps.
    """

    output: Template | None
    continue_as_new: Template | None


@dataclass(frozen=True, slots=True)
class FailConfig:
    """Ends the scope with an error; `error` gives the code, `message` the sentence."""

    error: Template
    message: Template


@dataclass(frozen=True, slots=True)
class GroupConfig:
    """Runs `scope`, and after it, however it ended, `last` (the `finally`)."""

    scope: CompiledScope
    last: CompiledScope | None


@dataclass(frozen=True, slots=True)
class MapConfig:
    """Runs `scope` for the items of a list; the results keep the order of the items.

    items: gives the list. name: what expressions inside call the item, beside `index`.
    max_concurrency, batch_size: 1 to 10,000; None when not given. The map fails when more items
    than `tolerated_count` have failed, or, if `tolerated_percent` (0 to 100) is given, when more
    than that share of them have; the count is 0 then.
    """

    items: Expression
    name: str
    scope: CompiledScope
    max_concurrency: int | None
    batch_size: int | None
    tolerated_count: int
    tolerated_percent: float | None


@dataclass(frozen=True, slots=True)
class SignalConfig:
    """Waits for the external event `signal`; its data is the output.

    correlation: a template giving the text or number that tells this execution's events from those
    of others. schema: what the data have to satisfy.
    """

    signal: str
    correlation: Template | None
    schema: PayloadSchema | None


@dataclass(frozen=True, slots=True)
class Branch:
    """One of the scopes that run side by side; the output has its result under `name`."""

    name: str
    scope: CompiledScope


@dataclass(frozen=True, slots=True)
class ParallelConfig:
    """Runs the branches side by side until `needed` of them, 1 to all, have succeeded."""

    branches: tuple[Branch, ...]
    needed: int


@dataclass(frozen=True, slots=True)
class ApprovalConfig:
    """Asks people and waits for their decision; the step's timeout is when the question expires.

    title, description: texts. context: shown to whoever decides. users, groups: templates, each of
    a name or of a list of names; with neither, everybody with the permission may decide.
    quorum: so many different people have to agree. form: schema of the answer. remind_after: time
    after which there is a reminder, and those in the `later` templates may decide as well.
    """

    title: Template
    description: Template
    context: Template
    users: Template | None
    groups: Template | None
    quorum: int
    form: PayloadSchema | None
    allow_requester: bool
    remind_after: timedelta | None
    later_users: Template | None
    later_groups: Template | None


@dataclass(frozen=True, slots=True)
class WorkflowConfig:
    """Runs the workflow with the slug `workflow`, in the highest version within `range`.

    range: None is the highest published version. input: of the child, an empty object if it isn't
    given. wait: whether the step waits for its end, or starts it and goes on.
    """

    workflow: str
    range: Range | None
    input: Template | None
    wait: bool


StepConfig = (
    ActionConfig
    | TransformConfig
    | ChoiceConfig
    | WaitConfig
    | SucceedConfig
    | FailConfig
    | GroupConfig
    | MapConfig
    | SignalConfig
    | ParallelConfig
    | ApprovalConfig
    | WorkflowConfig
)


@dataclass(frozen=True, slots=True)
class Compensation:
    """The call that undoes a step: `action` with what `params` renders to (an object).

    timeout: bounds one attempt; None = the default of all actions.
    """

    action: str
    params: Template
    retry: RetryPolicy
    timeout: timedelta | None


@dataclass(frozen=True, slots=True)
class OnFailure:
    """What follows when an execution fails.

    compensate: what was done is undone first. workflow: slug of the workflow that is started then.
    """

    compensate: bool = False
    workflow: str | None = None


@dataclass(frozen=True, slots=True)
class CompiledStep:
    """One step.

    path: JSON path in the document. scope: id of the scope it is in.
    next: id of the step that follows by list order or `next`; None is the end of the scope. A
        choice, `fail` or `succeed` is only followed by it when `when` skips the step.
    retry, timeout: the step's own, else the document's defaults where those apply: `retry` to
        actions, groups, maps, parallels and workflows, `timeout` to actions. timeout bounds one
        attempt.
    heartbeat: longest silence of a running action.
    """

    id: str
    name: str
    type: StepType
    path: str
    scope: str
    when: Expression | None
    assign: tuple[tuple[str, Template], ...]
    retry: RetryPolicy | None
    timeout: timedelta | None
    heartbeat: timedelta | None
    catch: tuple[CatchClause, ...]
    next: str | None
    config: StepConfig
    compensate: Compensation | None = None


@dataclass(frozen=True, slots=True)
class ConcurrencyRule:
    """How many executions with the same key may run at once.

    key: over `input` only. on_limit: `queue`, `reject` or `cancel_oldest`, what one more does.
    """

    key: Expression
    limit: int
    on_limit: str


@dataclass(frozen=True, slots=True)
class CompiledDefinition:
    """A whole definition.

    steps: all steps of the document by id, also those inside others, in document order.
    scopes: all scopes by id; `scope` is the one with the empty id.
    redact: JSON pointers (RFC 6901) that begin with `/input`, `/output` or `/steps/<id>/output`;
    redaction: the same, ready to be followed.
    """

    name: str
    slug: str | None
    input_schema: PayloadSchema | None
    output_schema: PayloadSchema | None
    output: Template | None
    timeout: timedelta | None
    redact: tuple[str, ...]
    scope: CompiledScope
    scopes: Mapping[str, CompiledScope]
    steps: Mapping[str, CompiledStep]
    concurrency: ConcurrencyRule | None = None
    redaction: Redaction = NOTHING_HIDDEN
    on_failure: OnFailure = OnFailure()
