"""What the pages of large maps cost: as many queries as those of small ones, and no more HTML."""

from __future__ import annotations

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from autopilot.accounts.roles import Role
from autopilot.common.json_html import beginning, pretty
from tests.effort import takes_less_than
from tests.engine import published, run
from tests.factories import UserFactory

BASE = "/admin/executions/execution/"
PARTS = f"{BASE}{{pk}}/items/each/"
PAGES = ("/admin/", BASE, f"{BASE}{{pk}}/", f"{BASE}{{pk}}/steps/each/", PARTS)


@pytest.mark.django_db(transaction=True)
def test_pages_ask_as_often_for_many_items_as_for_few() -> None:
    body = [{"id": "one", "name": "one", "type": "transform", "config": {"output": "{{ item }}"}}]
    config = {"items": "range(input.count)", "as": "item", "steps": body}
    workflow = published([{"id": "each", "type": "map", "config": config}])
    client = Client()
    client.force_login(UserFactory.create(role=Role.OPERATOR, is_staff=True))
    asked: dict[int, list[int]] = {}
    for count in (2, 300):
        pk = run(workflow, {"count": count}).pk
        asked[count] = []
        for page in PAGES:
            url = page.format(pk=pk)
            assert client.get(url).status_code == 200
            with CaptureQueriesContext(connection) as queries:
                client.get(url)
            asked[count].append(len(queries))
    assert asked[2] == asked[300]
    assert max(asked[300]) <= 20


def test_a_large_value_costs_what_is_shown_of_it() -> None:
    value = [{"name": f"item {n}", "scores": [n, n + 0.5, None, True]} for n in range(200_000)]
    assert takes_less_than(0.1, lambda: beginning(value))
    text, is_cut = beginning(value, 5_000)
    assert (len(text), is_cut) == (5_000, True)
    assert pretty(value[:100]).startswith(text[:-10])
    assert beginning({"a": 1}) == (pretty({"a": 1}), False)
