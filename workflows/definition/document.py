"""The model of a whole definition document: the single source of the exported JSON Schema."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, PlainValidator, WithJsonSchema

from workflows.definition.fields import (
    Description,
    Duration,
    ExpressionText,
    Labels,
    Model,
    Name,
    PayloadSchemaJson,
    Slug,
    TemplateJson,
    Version,
    refuse,
)
from workflows.definition.redaction import REDACT_SCHEMA, parse_pointers
from workflows.definition.steps import AnyStep, Retry

MAX_STEPS = 1000


class Defaults(Model):
    """What applies to steps that don't say."""

    retry: Retry | None = Field(default=None, description="How failures are tried again.")
    timeout: Duration | None = Field(
        default=None, description="How long one attempt of a step may take."
    )


class Concurrency(Model):
    """How many executions with the same key may run at the same time."""

    key: ExpressionText = Field(description="Expression over `input` that gives the key.")
    limit: int = Field(default=1, ge=1, le=100_000, description="How many may run.")
    on_limit: Literal["queue", "reject", "cancel_oldest"] = Field(
        default="queue", description="What happens to one more."
    )


class ErrorWorkflow(Model):
    """The workflow that is started when an execution fails."""

    workflow: Slug = Field(description="Slug of the workflow.")
    compensate: bool = Field(
        default=False, description="Whether what was done is undone before that."
    )


def _on_failure(value: object) -> str | ErrorWorkflow:
    if value == "compensate":
        return "compensate"
    if isinstance(value, dict) and {"workflow"} <= set(value) <= {"workflow", "compensate"}:
        return ErrorWorkflow.model_validate(value)
    raise refuse(
        "field.on_failure",
        'Expected "compensate", {"workflow": "<slug>"}, or both: '
        '{"workflow": "<slug>", "compensate": true}.',
    )


OnFailure = Annotated[
    str | ErrorWorkflow,
    PlainValidator(_on_failure),
    WithJsonSchema(
        {
            "anyOf": [
                {"const": "compensate"},
                {
                    "type": "object",
                    "properties": {
                        "workflow": {"type": "string"},
                        "compensate": {"type": "boolean"},
                    },
                    "required": ["workflow"],
                    "additionalProperties": False,
                },
            ]
        }
    ),
]
Redact = Annotated[
    tuple[str, ...],
    PlainValidator(parse_pointers),
    WithJsonSchema(REDACT_SCHEMA),
]


class Document(Model):
    """A workflow definition."""

    name: Name = Field(description="What people call the workflow.")
    slug: Slug | None = Field(
        default=None, description="Name in addresses and references; default: from the name."
    )
    version: Version | None = Field(
        default=None, description='Semantic version such as "1.4.0"; default: given on saving.'
    )
    description: Description | None = Field(default=None, description="What the workflow is for.")
    labels: Labels | None = Field(
        default=None, description="Short texts by which workflows are found and grouped."
    )
    input_schema: PayloadSchemaJson | None = Field(
        default=None,
        description="JSON Schema 2020-12 that an input must satisfy before anything starts.",
    )
    output_schema: PayloadSchemaJson | None = Field(
        default=None, description="JSON Schema 2020-12 that the result must satisfy."
    )
    steps: list[AnyStep] = Field(
        min_length=1,
        max_length=MAX_STEPS,
        description="The steps; flow runs down the list unless `next` says otherwise.",
    )
    output: TemplateJson = Field(
        default=None, description="Template of the result; default: the last step's output."
    )
    timeout: Duration | None = Field(
        default=None, description="How long an execution may take as a whole."
    )
    defaults: Defaults | None = Field(
        default=None, description="`retry` and `timeout` of steps that don't say."
    )
    concurrency: Concurrency | None = Field(
        default=None, description="How many executions may run at the same time."
    )
    on_failure: OnFailure | None = Field(
        default=None, description="What happens when an execution fails."
    )
    redact: Redact | None = Field(
        default=None,
        description="JSON pointers to values that are stored encrypted and never shown.",
    )
