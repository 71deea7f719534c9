"""The compiled form that the engine runs."""

from __future__ import annotations

from dataclasses import FrozenInstanceError
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.unit.definition.catalogs import SEED, document, noop
from workflows.definition.compiled import (
    ActionConfig,
    ChoiceConfig,
    CompiledScope,
    DefinitionError,
    FailConfig,
    StepType,
    SucceedConfig,
    TransformConfig,
    WaitConfig,
    compile_definition,
)

NOW = datetime(2030, 1, 31, tzinfo=UTC)


def test_the_seed_form() -> None:
    compiled = compile_definition(SEED)
    assert compiled.name == "Example Workflow"
    assert compiled.slug is None
    assert compiled.input_schema is None
    assert compiled.output is None
    assert compiled.timeout is None
    assert compiled.scope == CompiledScope(id="", first="step_1", step_ids=("step_1",))
    step = compiled.steps["step_1"]
    assert (step.id, step.name, step.type) == ("step_1", "Step 1", StepType.ACTION)
    assert (step.path, step.when, step.assign) == ("$.steps[0]", None, ())
    assert (step.timeout, step.next) == (None, None)
    assert isinstance(step.config, ActionConfig)
    assert step.config.action == "noop"
    assert step.config.params.render({}, now=NOW) == {}


def test_every_type_that_runs() -> None:
    compiled = compile_definition(
        document(
            noop(
                id="a",
                when="input.go",
                timeout="5m",
                assign={"n": "{{ 1 + 1 }}"},
                config={"action": "noop", "with": {"x": "{{ input.x }}"}},
            ),
            {"id": "b", "type": "transform", "config": {"output": {"y": "{{ input.x * 2 }}"}}},
            {
                "id": "c",
                "type": "choice",
                "config": {
                    "choices": [
                        {"when": "input.x > 1", "next": "f"},
                        {"when": "true", "next": "end"},
                    ],
                    "default": "d",
                },
            },
            {"id": "d", "type": "wait", "config": {"duration": "PT1M"}, "next": "e"},
            {"id": "e", "type": "succeed", "config": {"output": "{{ input.x }}"}},
            {
                "id": "f",
                "type": "fail",
                "config": {"error": "order.bad", "message": "{{ input.x }}!"},
            },
            slug="example",
            input_schema={"type": "object"},
            output_schema=True,
            output="{{ steps.b.output }}",
        )
    )
    assert tuple(compiled.steps) == compiled.scope.step_ids == ("a", "b", "c", "d", "e", "f")
    assert [step.next for step in compiled.steps.values()] == ["b", "c", "d", "e", "f", None]
    a, b, c, d, e, f = compiled.steps.values()
    assert a.when is not None
    assert a.when.evaluate({"input": {"go": True}}, now=NOW) is True
    assert a.timeout == timedelta(minutes=5)
    assert [(name, value.render({}, now=NOW)) for name, value in a.assign] == [("n", 2)]
    assert isinstance(b.config, TransformConfig)
    assert b.config.output.render({"input": {"x": 4}}, now=NOW) == {"y": 8}
    assert isinstance(c.config, ChoiceConfig)
    assert [branch.target for branch in c.config.choices] == ["f", None]
    assert (c.config.default, c.config.has_default) == ("d", True)
    assert d.config == WaitConfig(duration=timedelta(minutes=1), until=None)
    assert isinstance(e.config, SucceedConfig)
    assert e.config.output is not None
    assert isinstance(f.config, FailConfig)
    assert f.config.error.value == "order.bad"
    assert f.config.message.render({"input": {"x": 3}}, now=NOW) == "3!"
    assert compiled.input_schema is not None
    assert [p.path for p in compiled.input_schema.problems(3, root="$.input")] == ["$.input"]
    assert compiled.output is not None


def config_of(step: dict[str, Any]) -> Any:
    return next(iter(compile_definition(document(step)).steps.values())).config


def test_a_choice_may_end_the_scope_by_default_or_have_none() -> None:
    ways = [{"when": "input.x", "next": "end"}]
    with_end = config_of({"type": "choice", "config": {"choices": ways, "default": "end"}})
    assert (with_end.default, with_end.has_default) == (None, True)
    without = config_of({"type": "choice", "config": {"choices": ways}})
    assert (without.default, without.has_default) == (None, False)


def test_waits_with_templates() -> None:
    config = config_of({"type": "wait", "config": {"duration": "{{ input.n }}"}})
    assert config.until is None
    assert config.duration.render({"input": {"n": 5}}, now=NOW) == 5
    config = config_of({"type": "wait", "config": {"until": "2030-01-31T09:00:00Z"}})
    assert config.duration is None
    assert config.until.value == "2030-01-31T09:00:00Z"


def test_a_result_that_is_left_out_differs_from_null() -> None:
    assert config_of({"type": "succeed"}).output is None
    assert config_of({"type": "succeed", "config": {}}).output is None
    assert config_of({"type": "succeed", "config": {"output": None}}).output.value is None
    assert compile_definition(document(noop())).output is None
    compiled = compile_definition(document(noop(), output=None))
    assert compiled.output is not None
    assert compiled.output.value is None


def test_the_compiled_form_cannot_be_changed() -> None:
    compiled = compile_definition(SEED)
    with pytest.raises(FrozenInstanceError):
        compiled.name = "other"  # type: ignore[misc]
    with pytest.raises(TypeError):
        compiled.steps["x"] = compiled.steps["step_1"]  # type: ignore[index]
    assert not hasattr(compiled.steps["step_1"], "__dict__")


def test_a_document_with_problems_is_refused_with_all_of_them() -> None:
    with pytest.raises(DefinitionError) as caught:
        compile_definition(document(noop(next="nowhere"), {"type": "x"}))
    assert caught.value.code == "definition.invalid"
    assert caught.value.status == 400
    assert [(p.path, p.code) for p in caught.value.details] == [
        ("$.steps[1].type", "step.type_unknown"),
        ("$.steps[0].next", "step.next_unknown"),
    ]


def test_actions_are_not_looked_up() -> None:
    compile_definition(document(noop(config={"action": "unknown.here"})))
