from __future__ import annotations

from typing import Annotated, Any, Literal

import pytest
from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from autopilot.common.problems import Problem
from workflows.actions.base import (
    Action,
    ActionError,
    InvalidParams,
    TerminalActionError,
)
from workflows.actions.context import Context


class Address(BaseModel):
    city: str
    zip: str = Field(pattern=r"^[0-9]{5}$")


class Update(BaseModel):
    model_config = ConfigDict(extra="forbid")

    contact: int = Field(ge=1)
    level: Literal["gold", "silver"] = "silver"
    tags: list[str] = Field(default_factory=list, max_length=2)
    address: Address | None = None


def call(params: Any, context: Context) -> Any:
    return params


ACTION = Action(name="crm.update", function=call, schema=Update)


def check(params: object, *, partial: bool = True) -> list[tuple[str, str, str]]:
    return [
        (problem.path, problem.code, problem.message)
        for problem in ACTION.check_params(params, partial=partial)
    ]


def test_good_parameters_have_no_problem_and_become_the_model() -> None:
    params = {"contact": 7, "tags": ["a"], "address": {"city": "Ulm", "zip": "89073"}}
    assert check(params) == []
    assert ACTION.validate(params) == Update(
        contact=7, tags=["a"], address=Address(city="Ulm", zip="89073")
    )


def test_all_problems_come_at_once_with_their_paths() -> None:
    params = {
        "level": "iron",
        "tags": ["a", 2],
        "address": {"zip": "x"},
        "odd key": 1,
    }
    assert check(params) == [
        ("$.contact", "field.missing", "This parameter is required."),
        ("$.level", "field.invalid", "One of 'gold' or 'silver' was expected."),
        ("$.tags[1]", "field.type", "A text was expected."),
        ("$.address.city", "field.missing", "This parameter is required."),
        ("$.address.zip", "field.invalid", "A text that matches ^[0-9]{5}$ was expected."),
        ('$["odd key"]', "field.unknown", "There is no such parameter."),
    ]


def test_what_a_template_fills_in_is_not_judged_before_the_run() -> None:
    params = {
        "contact": "{{ input.id }}",
        "level": "{{ input.level }}",
        "tags": "{{ input.tags }}",
        "address": {"zip": "{{ input.zip }}", "city": 5},
    }
    assert check(params) == [("$.address.city", "field.type", "A text was expected.")]
    assert [path for path, _, _ in check(params, partial=False)] == [
        "$.contact",
        "$.level",
        "$.tags",
        "$.address.city",
        "$.address.zip",
    ]


def test_a_missing_parameter_is_missing_beside_a_template_too() -> None:
    assert check({"tags": ["{{ input.tag }}"]}) == [
        ("$.contact", "field.missing", "This parameter is required.")
    ]


def test_a_template_for_all_parameters_is_not_judged() -> None:
    assert check("{{ input.params }}") == []


@pytest.mark.parametrize(
    ("params", "kind"),
    [(None, "null"), ([], "a list"), ("x", "a text"), (True, "a boolean"), (1.5, "a number")],
)
def test_parameters_that_are_no_object(params: object, kind: str) -> None:
    assert check(params) == [
        ("$", "field.type", f"The parameters are an object with names and values, not {kind}.")
    ]


def test_validate_names_every_problem_without_quoting_values() -> None:
    with pytest.raises(InvalidParams) as caught:
        ACTION.validate({"contact": 0, "level": "s3cret"})
    assert caught.value.problems == [
        Problem("$.contact", "field.invalid", "A number of at least 1 was expected."),
        Problem("$.level", "field.invalid", "One of 'gold' or 'silver' was expected."),
    ]
    assert "s3cret" not in str(caught.value)
    assert caught.value.__cause__ is None


def test_without_a_schema_any_object_passes_as_a_copy() -> None:
    action = Action(name="any", function=call)
    params = {"n": 1}
    assert action.check_params(params, partial=True) == []
    assert action.validate(params) == {"n": 1}
    assert action.validate(params) is not params
    assert action.params_schema() == {"type": "object"}


def test_the_members_of_a_union_leave_no_trace_in_the_path() -> None:
    class Card(BaseModel):
        kind: Literal["card"]
        number: str

    class Bank(BaseModel):
        kind: Literal["bank"]
        iban: str

    class Pay(BaseModel):
        source: Annotated[Card | Bank, Field(discriminator="kind")]

    action = Action(name="pay", function=call, schema=Pay)
    assert action.check_params({"source": {"kind": "bank"}}, partial=True) == [
        Problem("$.source.iban", "field.missing", "This parameter is required.")
    ]
    assert action.check_params({"source": {"kind": "{{ input.kind }}"}}, partial=True) == []


def test_a_validator_that_speaks_for_itself_is_quoted() -> None:
    class Range(BaseModel):
        low: int
        high: int

        @model_validator(mode="after")
        def ordered(self) -> Range:
            if self.low > self.high:
                raise ValueError("low must not be above high")
            return self

    action = Action(name="range", function=call, schema=Range)
    assert action.check_params({"low": 2, "high": 1}, partial=True) == [
        Problem("$", "field.invalid", "low must not be above high.")
    ]


def test_a_validator_that_breaks_is_a_problem_and_not_a_crash() -> None:
    class Fragile(BaseModel):
        name: str

        @field_validator("name")
        @classmethod
        def broken(cls, value: str) -> str:
            raise RuntimeError("s3cret")

    action = Action(name="fragile", function=call, schema=Fragile)
    assert action.check_params({"name": "x"}, partial=True) == [
        Problem(
            "$",
            "action.params_unchecked",
            "The parameters of fragile could not be checked: its schema raised RuntimeError.",
        )
    ]
    assert action.check_params({"name": "{{ input.name }}"}, partial=True) == []


def test_the_json_schema_of_the_parameters() -> None:
    schema = ACTION.params_schema()
    assert schema["required"] == ["contact"]
    assert schema["properties"]["level"] == {
        "default": "silver",
        "enum": ["gold", "silver"],
        "title": "Level",
        "type": "string",
    }


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("Refused", "action.Refused"),
        ("action.Refused", "action.Refused"),
        ("worker.lost", "action.worker.lost"),
        ("two words", "action.two_words"),
        ("", "action.Error"),
        ("..", "action.Error"),
    ],
)
def test_the_code_of_an_action_error_stands_under_action(code: str, expected: str) -> None:
    error = ActionError(code, "No.", details={"n": 1})
    assert (error.code, error.message, error.retryable, error.details) == (
        expected,
        "No.",
        True,
        {"n": 1},
    )
    assert str(error) == f"{expected}: No."


def test_a_terminal_error_is_not_retryable() -> None:
    error = TerminalActionError("Refused", "No.")
    assert isinstance(error, ActionError)
    assert error.retryable is False
