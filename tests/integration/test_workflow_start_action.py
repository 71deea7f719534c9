"""`workflow.start`: one workflow starts another, once, and goes on."""

from __future__ import annotations

import pytest

from executions.models import Execution
from tests.engine import NOOP, drain, published, reread, run
from workflows.actions.base import BuiltinError
from workflows.actions.context import Context
from workflows.actions.registry import registry

pytestmark = pytest.mark.django_db(transaction=True)


def starting(**params):
    return {"id": "go", "type": "action", "config": {"action": "workflow.start", "with": params}}


def test_it_starts_the_other_and_goes_on():
    published([{"id": "a", **NOOP}], name="Other", slug="other")
    execution = run(
        published([starting(workflow="other", input={"n": "{{ input.n }}"}, labels={"a": "b"})]),
        {"n": 7},
    )
    drain()
    other = Execution.objects.exclude(pk=execution.pk).get()
    assert execution.output == {"execution_id": other.pk, "version": "1.0.0"}
    assert (reread(other).state, other.input, other.labels) == ("completed", {"n": 7}, {"a": "b"})
    assert other.parent_id is None


def test_a_repeated_call_finds_what_the_first_one_started():
    published([{"id": "a", **NOOP}], name="Other", slug="other")
    action = registry.get("workflow.start")
    assert action is not None
    context = Context(idempotency_key="1-go-1", execution_id=1, step="go")
    params = action.validate({"workflow": "other"})
    first = action.function(params, context)
    assert action.function(params, context) == first
    assert Execution.objects.count() == 1


@pytest.mark.parametrize(
    ("params", "code", "message"),
    [
        ({"workflow": "none"}, "workflow.unknown", "There is no workflow with the slug 'none'."),
        (
            {"workflow": "other", "input": {"n": "text"}},
            "workflow.refused",
            "The input breaks the workflow's input schema.",
        ),
    ],
)
def test_what_cannot_be_started_fails_the_step(params, code, message):
    schema = {"type": "object", "properties": {"n": {"type": "integer"}}}
    published([{"id": "a", **NOOP}], name="Other", slug="other", input_schema=schema)
    execution = run(published([starting(**params)]))
    assert (execution.error["code"], execution.error["message"]) == (code, message)
    assert Execution.objects.count() == 1


def test_the_error_is_not_worth_a_retry():
    action = registry.get("workflow.start")
    assert action is not None
    context = Context(idempotency_key="1-go-1", execution_id=1, step="go")
    with pytest.raises(BuiltinError) as caught:
        action.function(action.validate({"workflow": "none"}), context)
    assert caught.value.retryable is False
