"""Moving executions to another version over the API: plan, look, do, read, put back."""

from __future__ import annotations

from typing import Any

import pytest
from rest_framework.test import APIClient

from autopilot.accounts.roles import Role
from executions.migrating.batches import advance_all
from executions.models import Execution, Migration
from tests.engine import published, reread, run
from tests.factories import UserFactory
from tests.migrating import next_version
from workflows.models import Workflow

pytestmark = pytest.mark.django_db(transaction=True)

WAIT = {"id": "pay", "type": "signal", "config": {"signal": "paid"}}
GONE = {"id": "gone", "type": "wait", "config": {"duration": "1h"}}


def client(role: Role) -> APIClient:
    made = APIClient()
    made.force_authenticate(UserFactory.create(role=role))
    return made


@pytest.fixture
def api() -> APIClient:
    return client(Role.DESIGNER)


@pytest.fixture
def workflow() -> Workflow:
    found = published([WAIT, GONE])
    next_version(
        found,
        [{**WAIT, "id": "payment"}, {"id": "note", "type": "action", "config": {"action": "noop"}}],
    )
    return found


def address(workflow: Workflow, rest: str = "") -> str:
    return f"/api/v1/workflows/{workflow.slug}/migrations/{rest}"


ROUTE = {"from": "1.0.0", "to": "1.1.0"}


def test_from_plan_to_undo(api: APIClient, workflow: Workflow) -> None:
    execution = run(workflow, version="1.0.0")
    plan = api.post(address(workflow, "plan/"), ROUTE, format="json").json()
    assert plan["mapping"] == {"pay": "payment", "gone": None}
    assert [(each["old"]["id"], each["standing"]) for each in plan["steps"]] == [
        ("pay", 1),
        ("gone", 0),
    ]
    assert [each["id"] for each in plan["added"]] == ["note"]
    look = api.post(address(workflow, "dry-run/"), ROUTE, format="json").json()
    assert (look["sentence"], look["movable"], look["reasons"]) == (
        "1 of 1 execution can be moved now.",
        1,
        [],
    )
    assert reread(execution).version.version == "1.0.0"
    made = api.post(address(workflow), {**ROUTE, "reason": "clearer"}, format="json")
    assert (made.status_code, made.json()["state"], made.json()["counts"]["pending"]) == (
        201,
        "running",
        1,
    )
    advance_all()
    one = address(workflow, f"{made.json()['id']}/")
    shown = api.get(one).json()
    assert (shown["state"], shown["from"], shown["to"], shown["sentence"]) == (
        "done",
        "1.0.0",
        "1.1.0",
        "Of 1 execution: 1 moved.",
    )
    (item,) = api.get(f"{one}items/", {"state": "moved"}).json()["results"]
    assert (item["execution"], item["state"], item["code"]) == (execution.pk, "moved", "")
    assert reread(execution).current_step == "payment"
    assert [each["id"] for each in api.get(address(workflow)).json()["results"]] == [shown["id"]]
    assert api.post(f"{one}undo/", {"reason": "too soon"}, format="json").json()["state"] == (
        "undoing"
    )
    advance_all()
    assert (reread(execution).current_step, reread(execution).version.version) == ("pay", "1.0.0")
    over = api.post(f"{one}cancel/")
    assert (over.status_code, over.json()["error"]["code"]) == (409, "migration.over")


def test_what_is_wrong_has_its_place_and_nothing_is_begun(
    api: APIClient, workflow: Workflow
) -> None:
    execution = run(workflow, version="1.0.0")

    def refused(body: Any, rest: str = "") -> list[tuple[str, str]]:
        answer = api.post(address(workflow, rest), body, format="json")
        assert answer.status_code == 400, answer.json()
        return [(each["path"], each["code"]) for each in answer.json()["error"]["details"]]

    bad = {**ROUTE, "mapping": {"pay": "paymnt", "nothing": "note"}}
    expected = [
        ("$.mapping.nothing", "mapping.unknown_source"),
        ("$.mapping.pay", "mapping.unknown_target"),
    ]
    assert refused(bad) == expected
    assert refused(bad, "dry-run/") == expected
    problems = api.post(address(workflow, "plan/"), bad, format="json").json()["problems"]
    assert problems[1]["message"] == ('Version 1.1.0 has no step "paymnt". Did you mean "payment"?')
    assert refused({"from": "1.0.0"}) == [("$.to", "field.missing")]
    assert refused({**ROUTE, "mapping": []}) == [("$.mapping", "field.type")]
    assert refused({**ROUTE, "ids": [0]}) == [("$.ids[0]", "field.type")]
    assert refused({**ROUTE, "ids": [1], "filter": {}}) == [("$.ids", "field.unknown")]
    assert refused({**ROUTE, "filter": {"stat": "waiting"}}) == [
        ("$.filter.stat", "filter.unknown")
    ]
    assert not Migration.objects.exists()
    none = {**ROUTE, "mapping": {"pay": None}, "ids": [execution.pk]}
    look = api.post(address(workflow, "dry-run/"), none, format="json").json()
    assert [(each["code"], each["path"], each["sample"]) for each in look["reasons"]] == [
        ("migration.step_unmapped", "$.steps[0]", [execution.pk])
    ]


def test_operators_may_look_and_designers_may_move(workflow: Workflow) -> None:
    run(workflow, version="1.0.0")
    operator = client(Role.OPERATOR)
    assert operator.post(address(workflow, "dry-run/"), ROUTE, format="json").status_code == 200
    assert operator.post(address(workflow), ROUTE, format="json").status_code == 403
    assert client(Role.VIEWER).get(address(workflow)).status_code == 200
    assert client(Role.DESIGNER).get(address(workflow, "999/")).status_code == 404
    assert Execution.objects.get().version.version == "1.0.0"
