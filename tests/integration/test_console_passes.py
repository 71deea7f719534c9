"""The items of a map in a loop: each pass has its own, and its own tries."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client

from autopilot.accounts.roles import Role
from executions.console.passes import passes_of
from executions.models import Execution
from tests.engine import published, run
from tests.factories import UserFactory

pytestmark = pytest.mark.django_db(transaction=True)


def pure(id_: str, output: Any, **fields: Any) -> dict[str, Any]:
    return {"id": id_, "name": id_, "type": "transform", "config": {"output": output}, **fields}


@pytest.fixture
def execution(tmp_path) -> Execution:
    """Three passes of two items each; in the second pass the second item succeeds at its second
    try."""
    params = {"file": str(tmp_path), "key": "{{ vars.n }}-{{ index }}"}
    item = {
        "id": "once",
        "name": "once",
        "type": "action",
        "config": {
            "action": "probe.fail_first",
            "with": {**params, "fail": "{{ vars.n == 2 and index == 1 }}"},
        },
    }
    steps = [
        pure("count", "{{ default(vars.n, 0) + 1 }}", assign={"n": "{{ steps.count.output }}"}),
        {
            "id": "each",
            "name": "each",
            "type": "map",
            "config": {"items": "[vars.n * 10, vars.n * 10 + 1]", "as": "item", "steps": [item]},
            "retry": {"max_attempts": 2, "initial_interval": 0.01},
        },
        {
            "id": "enough",
            "name": "enough",
            "type": "choice",
            "config": {"choices": [{"when": "vars.n < 3", "next": "count"}], "default": "end"},
        },
    ]
    found = run(published(steps))
    assert found.state == "completed", found.error
    return found


def test_every_pass_has_its_own_items_and_tries(
    execution: Execution, django_assert_num_queries: Any
):
    with django_assert_num_queries(3):
        passes = passes_of(execution)["each"]
    assert [(each.number, each.seq, each.generations, each.items.words) for each in passes] == [
        (1, 2, (1,), "2 items"),
        (2, 5, (2, 3), "2 items"),
        (3, 8, (4,), "2 items"),
    ]
    assert [each.items.counts for each in passes] == [{"completed": 2}] * 3


def shown(answer: Any) -> list[tuple[int, Any, int]]:
    return [(row.item_index, row.input, number) for row, _, _, number in answer.context["lines"]]


def test_the_page_shows_one_pass_and_lets_choose(execution: Execution):
    client = Client()
    client.force_login(UserFactory.create(role=Role.VIEWER, is_staff=True))
    page = f"/admin/executions/execution/{execution.pk}/items/each/"
    assert shown(client.get(page)) == [(0, 30, 1), (1, 31, 1)]
    second = client.get(page, {"pass": "5"})
    assert shown(second) == [(0, 20, 1), (1, 21, 1), (1, 21, 2)]
    assert "Try 2" in second.content.decode()
    assert shown(client.get(page, {"pass": "5", "try": "2"})) == [(1, 21, 2)]
    assert shown(client.get(page, {"pass": "5", "state": "failed"})) == [(1, 21, 1)]
    assert shown(client.get(page, {"generation": "3"})) == shown(second)
    assert shown(client.get(page, {"pass": "2"})) == [(0, 10, 1), (1, 11, 1)]
    assert shown(client.get(page, {"pass": "x", "try": "9"})) == [(0, 30, 1), (1, 31, 1)]


def test_every_run_of_the_step_leads_to_its_own_pass(execution: Execution):
    client = Client()
    client.force_login(UserFactory.create(role=Role.VIEWER, is_staff=True))
    base = f"/admin/executions/execution/{execution.pk}/"
    for page in (base, f"{base}steps/each/"):
        body = client.get(page).content.decode()
        assert [f"items/each/?pass={seq}" in body for seq in (2, 5, 8)] == [True] * 3, page
