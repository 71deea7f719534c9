"""Items of a map that wait for their turn say so: in API, console and on the terminal."""

from __future__ import annotations

import io

import pytest
from django.core.management import call_command
from django.test import Client
from rest_framework.test import APIClient

from autopilot.accounts.roles import Role
from executions.models import Execution
from executions.services import pause_execution
from executions.situations import situation_of
from tests.engine import SYSTEM, drain, published, reread, run
from tests.factories import UserFactory

pytestmark = pytest.mark.django_db(transaction=True)


def test_an_item_says_that_it_waits_for_its_turn():
    body = [{"id": "nap", "name": "nap", "type": "wait", "config": {"duration": "1h"}}]
    config = {"items": "range(3)", "as": "item", "steps": body, "max_concurrency": 1}
    parent = run(published([{"id": "each", "type": "map", "config": config}]))
    first, second, _ = Execution.objects.filter(parent=parent).order_by("item_index")
    assert situation_of(first).why.code == "timer"
    sentence = "Accepted; waits for its turn: one item of step “each” may run at once."
    user = UserFactory.create(role=Role.OPERATOR, is_staff=True)
    api = APIClient()
    api.force_authenticate(user)
    rows = api.get("/api/v1/executions/", {"parent": parent.pk}).data["results"]
    assert [row["why"]["code"] for row in rows] == ["queued.turn", "queued.turn", "timer"]
    assert rows[0]["why"]["sentence"] == sentence
    assert rows[0]["why"]["details"]["max_concurrency"] == 1
    client = Client()
    client.force_login(user)
    words = "waits for its turn: one item of step <strong>each</strong> may run at once."
    base = "/admin/executions/execution/"
    for page in (f"{base}{parent.pk}/items/each/", f"{base}{second.pk}/"):
        assert words in client.get(page).content.decode(), page
    out = io.StringIO()
    call_command("executions", "why", second.pk, stdout=out)
    assert sentence in out.getvalue()
    pause_execution(execution=parent, actor=SYSTEM)
    drain()
    assert reread(parent).state == "paused"
    why = situation_of(reread(second)).why
    assert why.code == "queued.turn"
    assert why.sentence.endswith(f"may run at once, and execution {parent.pk} around it is paused.")
