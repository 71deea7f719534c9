"""An expression tried against what an execution came to."""

from __future__ import annotations

from typing import Any

import pytest
from rest_framework.test import APIClient

from autopilot.accounts.roles import Role
from executions.models import Execution
from tests.engine import published, run
from tests.factories import UserFactory

pytestmark = pytest.mark.django_db(transaction=True)

STEPS: list[dict[str, Any]] = [
    {"id": "sum", "type": "transform", "config": {"output": {"total": "{{ input.price * 2 }}"}}},
    {
        "id": "each",
        "type": "map",
        "config": {
            "items": "[1, 2]",
            "as": "part",
            "steps": [
                {"id": "add", "type": "transform", "config": {"output": "{{ part + 1 }}"}},
            ],
        },
    },
    {"id": "last", "type": "transform", "config": {"output": "{{ steps.sum.output.total }}"}},
]


@pytest.fixture
def viewer() -> APIClient:
    api = APIClient()
    api.force_authenticate(UserFactory.create(username="viewer", role=Role.VIEWER))
    return api


@pytest.fixture
def execution() -> Execution:
    return run(published(STEPS, redact=["/input/card"]), {"price": 4, "card": "4242"})


def tried(api: APIClient, execution: Execution, **body: Any) -> tuple[int, Any]:
    response = api.post(f"/api/v1/executions/{execution.pk}/evaluate/", body, "json")
    return response.status_code, response.json()


def test_what_an_expression_comes_to(viewer: APIClient, execution: Execution) -> None:
    assert tried(viewer, execution, expression="steps.last.output + 1") == (
        200,
        {"value": 9, "step": ""},
    )
    template = {"text": "{{ input.price }} each", "card": "{{ input.card }}"}
    # What is hidden stays so.
    assert tried(viewer, execution, template=template)[1]["value"] == {
        "text": "4 each",
        "card": "•••",
    }
    item = Execution.objects.get(parent=execution, item_index=1)
    expression = "[part, index, input.price, steps.sum.output.total, 'last' in keys(steps)]"
    assert tried(viewer, item, expression=expression)[1]["value"] == [2, 1, 4, 8, False]


def test_as_it_was_seen_at_a_step(viewer: APIClient, execution: Execution) -> None:
    seen = "default(steps.last.state, 'nothing')"
    assert tried(viewer, execution, expression=seen, step="last") == (
        200,
        {"value": "nothing", "step": "last"},
    )
    assert tried(viewer, execution, expression=seen, step="never")[1] == {
        "value": "completed",
        "step": "",
    }


WRONG: list[tuple[dict[str, Any], str, str]] = [
    ({"expression": "input.prize"}, "$.expression", "prize"),
    ({"expression": "1 +"}, "$.expression", "1 +"),
    ({"template": {"a": ["{{ nope }}"]}}, "$.template.a[0]", "nope"),
    ({"expression": "9 ** 9 ** 9"}, "$.expression", ""),
    ({"expression": "secrets.KEY"}, "$.expression", "Secrets are only read"),
    ({}, "$.expression", "Either an expression or a template was expected."),
    ({"expression": "1", "template": 1}, "$.expression", "Either"),
    ({"expression": 1}, "$.expression", "A text was expected."),
    ({"expression": "1", "at": "sum"}, "$.at", "There is no field"),
]


def test_what_comes_to_nothing_says_why(viewer: APIClient, execution: Execution) -> None:
    for body, path, words in WRONG:
        code, answer = tried(viewer, execution, **body)
        details = answer["error"]["details"]
        assert (code, details[0]["path"]) == (400, path), body
        assert words in details[0]["message"]


def test_only_for_who_may_see_executions(execution: Execution) -> None:
    api = APIClient()
    api.force_authenticate(UserFactory.create(username="nobody", role=None))
    assert tried(api, execution, expression="1")[0] == 403
