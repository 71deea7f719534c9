"""The models of every step type and of the fields that steps share."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from workflows.definition.fields import (
    ActionName,
    Assignments,
    Description,
    Duration,
    ErrorGlobs,
    ExpressionText,
    LocalName,
    Model,
    Name,
    PayloadSchemaJson,
    Slug,
    StepId,
    Target,
    TemplateJson,
    Tolerance,
    WaitDuration,
    WaitFor,
    refuse,
)

FIRST_PAUSE = timedelta(seconds=1)
LONGEST_PAUSE = timedelta(minutes=5)


class Retry(Model):
    """How often and how far apart a failed step is tried again."""

    max_attempts: int = Field(
        default=3, ge=1, le=100, description="How many attempts in all, the first one included."
    )
    initial_interval: Duration | None = Field(
        default=None, description="Pause before the second attempt; default: a second."
    )
    backoff: float = Field(
        default=2.0,
        ge=1,
        le=10,
        description="Factor by which the pause grows after every attempt.",
    )
    max_interval: Duration | None = Field(
        default=None,
        description="The longest pause; default: five minutes, or the first one if that is longer.",
    )
    jitter: float = Field(
        default=0.0,
        ge=0,
        le=1,
        description="Share of the pause that is random, from 0 to 1.",
    )
    budget: Duration | None = Field(
        default=None, description="Bound of the time over all attempts and pauses."
    )
    errors: ErrorGlobs | None = Field(
        default=None, description="Error codes or patterns that are tried again; default: all."
    )
    except_: ErrorGlobs | None = Field(
        default=None, alias="except", description="Error codes or patterns never tried again."
    )

    @property
    def first_pause(self) -> timedelta:
        """The pause before the second attempt."""
        return FIRST_PAUSE if self.initial_interval is None else self.initial_interval

    @property
    def longest_pause(self) -> timedelta:
        """The bound of every pause."""
        given = self.max_interval
        return max(LONGEST_PAUSE, self.first_pause) if given is None else given

    @model_validator(mode="after")
    def _pauses_fit(self) -> Retry:
        first = self.first_pause.total_seconds()
        if self.longest_pause < self.first_pause:
            message = (
                '"max_interval" must be at least the first pause ("initial_interval"), '
                f"which is {first:g} s."
            )
            raise refuse("retry.max_interval", message, "max_interval")
        if self.max_attempts > 1 and self.budget is not None and self.budget < self.first_pause:
            message = (
                f'The "budget" is over before the second attempt: the first pause alone '
                f'("initial_interval") is {first:g} s.'
            )
            raise refuse("retry.budget", message, "budget")
        return self


class Catch(Model):
    """Where the flow goes on when a step has failed for good."""

    errors: ErrorGlobs = Field(description="Error codes or patterns that this entry catches.")
    next: Target = Field(description='Id of the step that goes on, or "end".')
    as_: LocalName | None = Field(
        default=None, alias="as", description="Name under which the error can be read."
    )


class ActionCall(Model):
    """A call of a registered action."""

    action: ActionName = Field(description='Name of the action, such as "http.request".')
    with_: dict[str, Any] | None = Field(
        default=None,
        alias="with",
        description="Parameters of the action; every text in them is a template.",
    )


class Compensation(ActionCall):
    """The call that undoes a step, tried by its own rules."""

    retry: Retry | None = Field(
        default=None,
        description="How a failed call is tried again; default: five attempts in all.",
    )
    timeout: Duration | None = Field(
        default=None, description="How long one attempt of the call may take."
    )


class BaseStep(Model):
    """The fields that every step may have."""

    id: StepId | None = Field(
        default=None,
        description="Identifier, unique in the document; derived from the name if absent.",
    )
    name: Name | None = Field(default=None, description="What people call the step.")
    description: Description | None = Field(default=None, description="What the step is for.")
    when: ExpressionText | None = Field(
        default=None, description="Expression; the step is skipped when it is false."
    )
    assign: Assignments | None = Field(
        default=None, description="Variables of the execution that are set after the step."
    )
    retry: Retry | None = Field(default=None, description="How failures are tried again.")
    timeout: Duration | None = Field(
        default=None, description="How long one attempt of the step may take."
    )
    heartbeat: Duration | None = Field(
        default=None, description="Longest silence of a running action before it counts as lost."
    )
    catch: list[Catch] | None = Field(
        default=None,
        min_length=1,
        max_length=50,
        description="What happens after the last attempt failed; the first match wins.",
    )
    compensate: Compensation | None = Field(
        default=None,
        description="Action that undoes this step when the execution fails later or is cancelled.",
    )
    next: Target | None = Field(
        default=None,
        description='Id of the next step in the same scope, or "end"; default: the one below.',
    )


class ActionStep(BaseStep):
    """Calls a registered action; its answer is the output."""

    type: Literal["action"] = Field(description="Kind of the step.")
    config: ActionCall = Field(description="Which action is called, and with what.")


class TransformConfig(Model):
    """What a transform builds."""

    output: TemplateJson = Field(description="Template of the output.")


class TransformStep(BaseStep):
    """Builds data from what is known."""

    type: Literal["transform"] = Field(description="Kind of the step.")
    config: TransformConfig = Field(description="What is built.")


class ChoiceBranch(Model):
    """One way that a choice can take."""

    when: ExpressionText = Field(description="Expression; the first true one decides.")
    next: Target = Field(description='Id of the step to go to, or "end".')


class ChoiceConfig(Model):
    """The ways that a choice can take."""

    choices: list[ChoiceBranch] = Field(
        min_length=1, max_length=100, description="The ways, looked at in order."
    )
    default: Target | None = Field(
        default=None,
        description='Where to go when none is true, or "end"; without it that is an error.',
    )


class ChoiceStep(BaseStep):
    """Goes to one of several steps."""

    type: Literal["choice"] = Field(description="Kind of the step.")
    config: ChoiceConfig = Field(description="The ways to choose from.")


class ParallelBranch(Model):
    """One of the scopes that run side by side."""

    name: Name = Field(description="Name of the branch; the output has its result under it.")
    steps: list[AnyStep] = Field(min_length=1, description="The steps of the branch.")


class ParallelConfig(Model):
    """The scopes that run side by side."""

    branches: list[ParallelBranch] = Field(
        min_length=1, max_length=100, description="The branches."
    )
    wait_for: WaitFor = Field(
        default="all",
        description='How many branches must be done: "all", "any" or a number; '
        "the rest are cancelled.",
    )


class ParallelStep(BaseStep):
    """Runs scopes side by side; the output is a mapping by branch name."""

    type: Literal["parallel"] = Field(description="Kind of the step.")
    config: ParallelConfig = Field(description="The branches and how many must be done.")


class MapConfig(Model):
    """What is done for every item of a list."""

    items: ExpressionText = Field(description="Expression that gives the list.")
    as_: LocalName = Field(
        default="item", alias="as", description="Name of the item inside the steps."
    )
    steps: list[AnyStep] = Field(min_length=1, description="The steps done for every item.")
    max_concurrency: int | None = Field(
        default=None, ge=1, le=10_000, description="How many items run at the same time."
    )
    batch_size: int | None = Field(
        default=None, ge=1, le=10_000, description="How many items go into one run of the steps."
    )
    tolerated_failures: Tolerance | None = Field(
        default=None, description='How many items may fail: a count or a share such as "10%".'
    )


class MapStep(BaseStep):
    """Runs one scope per item of a list; the results keep the order of the items."""

    type: Literal["map"] = Field(description="Kind of the step.")
    config: MapConfig = Field(description="The items and what is done for each.")


class WaitConfig(Model):
    """How long a wait lasts: exactly one of `duration` and `until`."""

    duration: WaitDuration | None = Field(
        default=None,
        description="How long: a duration, or a template that gives one or a number of seconds.",
    )
    until: TemplateJson = Field(
        default=None, description="Template that gives an ISO 8601 point in time with an offset."
    )

    @model_validator(mode="after")
    def _exactly_one(self) -> WaitConfig:
        if (self.duration is None) == (self.until is None):
            raise refuse("wait.duration_or_until", 'Give exactly one of "duration" and "until".')
        return self


class WaitStep(BaseStep):
    """Waits for a time that survives restarts."""

    type: Literal["wait"] = Field(description="Kind of the step.")
    config: WaitConfig = Field(description="How long the wait lasts.")


class SignalConfig(Model):
    """Which external event a signal step waits for."""

    signal: Name = Field(description="Name of the event.")
    correlation: TemplateJson = Field(
        default=None, description="Template that tells events of this execution from others."
    )
    schema_: PayloadSchemaJson | None = Field(
        default=None, alias="schema", description="JSON Schema of the event's data."
    )


class SignalStep(BaseStep):
    """Waits for an external event; its data is the output."""

    type: Literal["signal"] = Field(description="Kind of the step.")
    config: SignalConfig = Field(description="The event that is waited for.")


class Assignees(Model):
    """Who may decide."""

    users: list[TemplateJson] | None = Field(
        default=None, max_length=200, description="User names or templates that give them."
    )
    groups: list[TemplateJson] | None = Field(
        default=None, max_length=200, description="Group names or templates that give them."
    )


class ApprovalConfig(Model):
    """What is asked, and who decides."""

    title: Name = Field(description="The question in one line; a template.")
    description: Description | None = Field(
        default=None, description="What the person has to know; a template."
    )
    context: TemplateJson = Field(
        default=None, description="Template of the data that is shown to whoever decides."
    )
    assignees: Assignees | None = Field(
        default=None,
        description="Who may decide; default: everybody with the permission to decide.",
    )
    quorum: int = Field(default=1, ge=1, le=100, description="How many people have to agree.")
    form: PayloadSchemaJson | None = Field(
        default=None, description="JSON Schema of what the person fills in."
    )
    allow_requester: bool = Field(
        default=False, description="Whether the one who started the execution may decide too."
    )
    remind_after: Duration | None = Field(
        default=None, description="Time after which the assignees are reminded."
    )
    escalate_to: Assignees | None = Field(
        default=None, description="Who may decide as well once the reminder is over."
    )

    @model_validator(mode="after")
    def _escalates_at_some_time(self) -> ApprovalConfig:
        if self.escalate_to is not None and self.remind_after is None:
            message = (
                'Give "remind_after" too: it says after which time those in "escalate_to" '
                "may decide."
            )
            raise refuse("approval.remind_after", message, "escalate_to")
        return self


class ApprovalStep(BaseStep):
    """Waits for a person's decision; rejection is the error `approval.rejected`."""

    type: Literal["approval"] = Field(description="Kind of the step.")
    config: ApprovalConfig = Field(description="The question and those who answer it.")


class GroupConfig(Model):
    """A scope with error handling of its own."""

    steps: list[AnyStep] = Field(min_length=1, description="The steps of the group.")
    finally_: list[AnyStep] | None = Field(
        default=None, alias="finally", min_length=1, description="Steps that run in any case."
    )


class GroupStep(BaseStep):
    """Runs a scope with its own `catch`, `timeout` and `retry`."""

    type: Literal["group"] = Field(description="Kind of the step.")
    config: GroupConfig = Field(description="The steps of the group.")


class WorkflowConfig(Model):
    """Which workflow is started as a child."""

    workflow: Slug = Field(description="Slug of the workflow.")
    version: Annotated[str, Field(min_length=1, max_length=64)] | None = Field(
        default=None, description='Range of versions such as "^1.2"; default: the published one.'
    )
    input: TemplateJson = Field(default=None, description="Template of the child's input.")
    wait: bool = Field(default=True, description="Whether the step waits for the child's end.")


class WorkflowStep(BaseStep):
    """Starts another workflow; its result is the output."""

    type: Literal["workflow"] = Field(description="Kind of the step.")
    config: WorkflowConfig = Field(description="The workflow that is started.")


class FailConfig(Model):
    """The error that a scope ends with."""

    error: Annotated[str, Field(min_length=1, max_length=512)] = Field(
        description='Error code such as "order.not_payable", or a template that gives one.'
    )
    message: Annotated[str, Field(max_length=4096)] = Field(
        default="", description="What went wrong, for people; a template."
    )


class FailStep(BaseStep):
    """Ends the scope with an error."""

    type: Literal["fail"] = Field(description="Kind of the step.")
    config: FailConfig = Field(description="The error.")


class ContinueAsNew(Model):
    """The next execution of the same workflow."""

    input: TemplateJson = Field(description="Template of the next execution's input.")


class SucceedConfig(Model):
    """The result that a scope ends with."""

    output: TemplateJson = Field(
        default=None, description="Template of the result; default: the last step's output."
    )
    continue_as_new: ContinueAsNew | None = Field(
        default=None, description="Ends this execution and starts the next one, linked to it."
    )

    @model_validator(mode="after")
    def _one_result(self) -> SucceedConfig:
        if self.continue_as_new is not None and "output" in self.model_fields_set:
            message = (
                'Give "output" or "continue_as_new", not both: an execution that goes on as a new '
                "one has no result of its own."
            )
            raise refuse("succeed.output_or_continue", message, "output")
        return self


class SucceedStep(BaseStep):
    """Ends the scope successfully."""

    type: Literal["succeed"] = Field(description="Kind of the step.")
    config: SucceedConfig = Field(
        default_factory=SucceedConfig, description="The result of the scope."
    )


AnyStep = Annotated[
    ActionStep
    | TransformStep
    | ChoiceStep
    | ParallelStep
    | MapStep
    | WaitStep
    | SignalStep
    | ApprovalStep
    | GroupStep
    | WorkflowStep
    | FailStep
    | SucceedStep,
    Field(discriminator="type"),
]

STEP_MODELS: dict[str, type[BaseStep]] = {
    "action": ActionStep,
    "transform": TransformStep,
    "choice": ChoiceStep,
    "parallel": ParallelStep,
    "map": MapStep,
    "wait": WaitStep,
    "signal": SignalStep,
    "approval": ApprovalStep,
    "group": GroupStep,
    "workflow": WorkflowStep,
    "fail": FailStep,
    "succeed": SucceedStep,
}

for _model in (ParallelBranch, MapConfig, GroupConfig, ParallelStep, MapStep, GroupStep):
    _model.model_rebuild()
