"""The compiled form of what handles failures, runs scopes inside steps and hides values."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.unit.definition.catalogs import document, noop
from workflows.definition.compiled import (
    CatchClause,
    CompiledDefinition,
    CompiledScope,
    CompiledStep,
    GroupConfig,
    MapConfig,
    RetryPolicy,
    SucceedConfig,
    compile_definition,
)

NOW = datetime(2030, 1, 31, tzinfo=UTC)


def compiled(*steps: dict[str, Any], **fields: Any) -> CompiledDefinition:
    return compile_definition(document(*steps, **fields))


def step_of(step: dict[str, Any], **fields: Any) -> CompiledStep:
    return next(iter(compiled(step, **fields).steps.values()))


def items(**config: Any) -> dict[str, Any]:
    given = {"items": "input.rows", "steps": [noop(id="inner")], **config}
    return {"id": "m", "type": "map", "config": given}


def test_a_retry_with_everything() -> None:
    step = step_of(
        noop(
            retry={
                "max_attempts": 5,
                "initial_interval": "2s",
                "backoff": 3,
                "max_interval": "1m",
                "jitter": 0.5,
                "budget": "10m",
                "errors": ["http.*", "timeout.step"],
                "except": ["http.4xx"],
            }
        )
    )
    assert step.retry == RetryPolicy(
        max_attempts=5,
        initial_interval=timedelta(seconds=2),
        backoff=3.0,
        max_interval=timedelta(minutes=1),
        jitter=0.5,
        budget=timedelta(minutes=10),
        errors=("http.*", "timeout.step"),
        excluded=("http.4xx",),
    )
    assert step.retry.applies_to("http.503")
    assert step.retry.applies_to("timeout.step")
    assert not step.retry.applies_to("http.404")
    assert not step.retry.applies_to("expression")


def test_a_retry_that_says_nothing() -> None:
    assert step_of(noop(retry={})).retry == RetryPolicy(
        max_attempts=3,
        initial_interval=timedelta(seconds=1),
        backoff=2.0,
        max_interval=timedelta(minutes=5),
        jitter=0.0,
        budget=None,
        errors=("*",),
        excluded=(),
    )
    policy = step_of(noop(retry={"initial_interval": "1h"})).retry
    assert policy is not None
    assert policy.max_interval == timedelta(hours=1)
    assert policy.applies_to("anything.at_all")


def test_catches_in_their_order() -> None:
    definition = compiled(
        noop(
            id="a",
            catch=[
                {"errors": ["http.4xx", "action.Refused"], "next": "b", "as": "problem"},
                {"errors": ["*"], "next": "end"},
            ],
        ),
        noop(id="b"),
    )
    assert definition.steps["a"].catch == (
        CatchClause(errors=("http.4xx", "action.Refused"), target="b", name="problem"),
        CatchClause(errors=("*",), target=None, name=None),
    )
    assert definition.steps["b"].catch == ()
    first, second = definition.steps["a"].catch
    assert first.applies_to("http.404")
    assert first.applies_to("action.Refused")
    assert not first.applies_to("action.refused")
    assert second.applies_to("limit.output")


def test_defaults_apply_where_a_step_does_not_say() -> None:
    definition = compiled(
        noop(id="a"),
        noop(id="own", retry={"max_attempts": 1}, timeout="5s"),
        {"id": "t", "type": "transform", "config": {"output": 1}},
        {"id": "w", "type": "wait", "config": {"duration": "1h"}},
        {"id": "g", "type": "group", "config": {"steps": [noop(id="in_group")]}},
        items(),
        defaults={"retry": {"max_attempts": 7}, "timeout": "30s"},
    )
    attempts = {
        id_: None if step.retry is None else step.retry.max_attempts
        for id_, step in definition.steps.items()
    }
    assert attempts == {
        "a": 7,
        "own": 1,
        "t": None,
        "w": None,
        "g": 7,
        "in_group": 7,
        "m": 7,
        "inner": 7,
    }
    timeouts = {id_: step.timeout for id_, step in definition.steps.items() if step.timeout}
    assert timeouts == {
        "a": timedelta(seconds=30),
        "own": timedelta(seconds=5),
        "in_group": timedelta(seconds=30),
        "inner": timedelta(seconds=30),
    }


def test_without_defaults_nothing_applies() -> None:
    step = step_of(noop())
    assert (step.retry, step.timeout, step.heartbeat, step.catch) == (None, None, None, ())
    empty = step_of(noop(), defaults={})
    assert (empty.retry, empty.timeout) == (None, None)


def test_heartbeat_timeouts_and_redaction() -> None:
    definition = compiled(
        noop(id="a", heartbeat="20s"),
        {"id": "g", "type": "group", "timeout": "1m", "config": {"steps": [noop()]}},
        items() | {"timeout": "2m"},
        timeout="1h",
        redact=["/input/card", "/steps/a/output/x~1y", "/output"],
    )
    assert definition.steps["a"].heartbeat == timedelta(seconds=20)
    assert definition.steps["g"].timeout == timedelta(minutes=1)
    assert definition.steps["m"].timeout == timedelta(minutes=2)
    assert definition.timeout == timedelta(hours=1)
    assert definition.redact == ("/input/card", "/steps/a/output/x~1y", "/output")
    assert compiled(noop()).redact == ()


def test_the_scopes_of_groups_and_maps() -> None:
    definition = compiled(
        noop(id="a"),
        {
            "id": "g",
            "type": "group",
            "config": {"steps": [noop(id="b"), items()], "finally": [noop(id="last")]},
        },
        noop(id="z"),
    )
    root = CompiledScope(id="", first="a", step_ids=("a", "g", "z"))
    body = CompiledScope(id="g", first="b", step_ids=("b", "m"))
    item = CompiledScope(id="m", first="inner", step_ids=("inner",))
    last = CompiledScope(id="g.finally", first="last", step_ids=("last",))
    assert definition.scope == root
    assert definition.scopes == {"": root, "g": body, "m": item, "g.finally": last}
    assert list(definition.steps) == ["a", "g", "b", "m", "inner", "last", "z"]
    assert {id_: step.scope for id_, step in definition.steps.items()} == {
        "a": "",
        "g": "",
        "b": "g",
        "m": "g",
        "inner": "m",
        "last": "g.finally",
        "z": "",
    }
    assert {id_: step.next for id_, step in definition.steps.items()} == {
        "a": "g",
        "g": "z",
        "b": "m",
        "m": None,
        "inner": None,
        "last": None,
        "z": None,
    }
    assert definition.steps["g"].config == GroupConfig(scope=body, last=last)
    with pytest.raises(TypeError):
        definition.scopes["x"] = root  # type: ignore[index]


@pytest.mark.parametrize("config", [{}, {"finally": None}])
def test_a_group_without_finally(config: dict[str, Any]) -> None:
    step = step_of({"id": "g", "type": "group", "config": {"steps": [noop(id="b")], **config}})
    assert isinstance(step.config, GroupConfig)
    assert step.config.last is None


def test_a_map_with_everything() -> None:
    config = step_of(
        items(**{"as": "row"}, max_concurrency=8, batch_size=50, tolerated_failures=3)
    ).config
    assert isinstance(config, MapConfig)
    assert config.items.evaluate({"input": {"rows": [1, 2]}}, now=NOW) == [1, 2]
    assert (config.name, config.scope.id) == ("row", "m")
    assert (config.max_concurrency, config.batch_size) == (8, 50)
    assert (config.tolerated_count, config.tolerated_percent) == (3, None)


@pytest.mark.parametrize(
    ("written", "count", "percent"),
    [(None, 0, None), (0, 0, None), ("10%", 0, 10.0), ("2.5%", 0, 2.5), ("100%", 0, 100.0)],
)
def test_tolerated_failures(written: object, count: int, percent: float | None) -> None:
    config = step_of(items(tolerated_failures=written)).config
    assert isinstance(config, MapConfig)
    assert (config.name, config.max_concurrency, config.batch_size) == ("item", None, None)
    assert (config.tolerated_count, config.tolerated_percent) == (count, percent)


def test_going_on_as_a_new_execution() -> None:
    following = {"continue_as_new": {"input": {"page": "{{ input.page + 1 }}"}}}
    config = step_of({"type": "succeed", "config": following}).config
    assert isinstance(config, SucceedConfig)
    assert config.output is None
    assert config.continue_as_new is not None
    assert config.continue_as_new.render({"input": {"page": 1}}, now=NOW) == {"page": 2}
    null = step_of({"type": "succeed", "config": {"continue_as_new": {"input": None}}}).config
    assert isinstance(null, SucceedConfig)
    assert null.continue_as_new is not None
    plain = step_of({"type": "succeed", "config": {"output": 1}}).config
    assert isinstance(plain, SucceedConfig)
    assert plain.continue_as_new is None
