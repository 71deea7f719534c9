"""The tree of an execution, and what a child says of its place in it."""

from __future__ import annotations

import io

import pytest
from django.core.management import call_command
from rest_framework.test import APIClient

from autopilot.accounts.roles import Role
from executions.models import Execution
from tests.engine import published, run
from tests.factories import UserFactory
from tests.integration.test_parallel import parallel, value

pytestmark = pytest.mark.django_db(transaction=True)
ROOT = "/api/v1/executions/"


@pytest.fixture
def api() -> APIClient:
    client = APIClient()
    client.force_authenticate(UserFactory(role=Role.VIEWER))
    return client


@pytest.fixture
def family() -> Execution:
    published([value("s", 1)], slug="child")
    called = {"id": "call", "name": "call", "type": "workflow", "config": {"workflow": "child"}}
    let_go = {**called, "id": "go", "config": {"workflow": "child", "wait": False}}
    return run(published([parallel(pay=called, tell=value("t", 2)), let_go], slug="above"))


def test_the_tree_is_the_same_from_each_of_its_executions(api, family):
    pay, tell = Execution.objects.filter(parent=family).order_by("item_index")
    child = Execution.objects.get(parent=pay)
    body = api.get(f"{ROOT}{child.pk}/tree/").json()
    assert (body["root"], body["is_cut"]) == (family.pk, False)
    keys = ("id", "parent", "kind", "depth", "step", "branch", "workflow", "state")
    assert [tuple(node[key] for key in keys) for node in body["nodes"]] == [
        (family.pk, None, "root", 0, "", "", "above", "completed"),
        (pay.pk, family.pk, "branch", 1, "p", "pay", "above", "completed"),
        (child.pk, pay.pk, "child", 2, "call", "", "child", "completed"),
        (tell.pk, family.pk, "branch", 1, "p", "tell", "above", "completed"),
    ]
    assert api.get(f"{ROOT}{family.pk}/tree/").json() == body


def test_a_tree_too_large_to_be_shown_says_what_is_left_out(family):
    from executions.trees import tree_of

    found = list(tree_of(family, limit=3).walk())
    assert [(depth, node.has_more) for depth, node in found] == [(0, False), (1, True), (1, False)]


def test_children_name_their_branch_and_what_was_let_go_its_origin(api, family):
    rows = api.get(f"{ROOT}?parent={family.pk}").json()["results"]
    assert [
        (row["kind"], row["parent_step"], row["item_index"], row["branch"]) for row in rows
    ] == [
        ("branch", "p", 1, "tell"),
        ("branch", "p", 0, "pay"),
    ]
    (other,) = api.get(f"{ROOT}?started_by_execution={family.pk}").json()["results"]
    assert (other["kind"], other["started_by_execution"]) == ("root", family.pk)


def test_the_command_shows_the_tree(family):
    pay, tell = Execution.objects.filter(parent=family).order_by("item_index")
    child = Execution.objects.get(parent=pay)
    other = Execution.objects.get(started_by_execution=family)
    out = io.StringIO()
    call_command("executions", "show", str(pay.pk), str(family.pk), stdout=out)
    lines = out.getvalue().splitlines()
    tree = [
        f"    {family.pk}  above 1.0.0  completed",
        f"      {pay.pk}  branch pay of p  completed  <- this one",
        f"        {child.pk}  child 1.0.0  completed",
        f"      {tell.pk}  branch tell of p  completed",
    ]
    start = lines.index("  Tree") + 1
    assert lines[start : start + 4] == tree
    assert f"  started  execution {other.pk}: completed" in lines
