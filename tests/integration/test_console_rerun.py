"""The page that reruns an execution, without a browser: what it offers, says, sends and keeps."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client

from autopilot.accounts.roles import Role
from executions.models import Execution
from executions.rerun_plan import Repeated, Rerun
from tests.engine import SYSTEM, drain, published, reread, run
from tests.factories import UserFactory
from workflows.services import create_version, publish_version

pytestmark = pytest.mark.django_db(transaction=True)

PAGE = "/admin/executions/execution/{}/rerun/"


@pytest.fixture
def client() -> Client:
    client = Client()
    client.force_login(UserFactory.create(role=Role.OPERATOR, is_staff=True))
    return client


def call(id_: str, action: str, **params: Any) -> dict[str, Any]:
    return {"id": id_, "name": id_, "type": "action", "config": {"action": action, "with": params}}


STOP = {
    "id": "stop",
    "name": "stop",
    "type": "fail",
    "when": "not input.go",
    "config": {"error": "my.error", "message": "No."},
}
STEPS = [
    call("read", "noop", n="{{ input.n }}"),
    call("charge", "probe.once", file="/dev/null"),
    {
        "id": "g",
        "name": "g",
        "type": "group",
        "config": {"steps": [call("inner", "noop"), STOP]},
    },
    call("tell", "noop", n="{{ steps.read.output.n }}"),
]
SCHEMA = {
    "type": "object",
    "properties": {"n": {"type": "integer"}, "go": {"type": "boolean", "default": False}},
    "required": ["n"],
}


@pytest.fixture
def failed() -> Execution:
    execution = run(published(STEPS, name="Order", slug="order", input_schema=SCHEMA), {"n": 1})
    assert execution.state == "failed", execution.error
    return execution


def form_of(context: Any, **changes: str) -> dict[str, str]:
    """What a browser would send of the page."""
    sheet = context["sheet"]
    sent = {
        "step": sheet.step,
        "version": sheet.version.version,
        "drawn": sheet.version.version,
        "shown_for": sheet.shown_for,
        "key": sheet.key,
        "mode": sheet.typing.mode,
        "reason": "",
    }
    if sheet.typing.mode == "json":
        sent["input"] = sheet.typing.text
    else:
        sent |= {each.name: each.text for each in sheet.typing.fields.fields if each.typed}
    sent |= {each.name: each.text for each in sheet.edited if each.is_shown}
    return sent | changes


def test_the_failed_step_is_proposed_with_what_comes_of_it(client: Client, failed: Execution):
    sheet = client.get(PAGE.format(failed.pk)).context["sheet"]
    assert [(each.step.step_id, each.step.state, each.obstacle) for each in sheet.choices] == [
        ("read", "completed", ""),
        ("charge", "completed", ""),
        ("g", "failed", ""),
    ]
    assert (sheet.step, sheet.beginning) == ("g", "at step “g”")
    plan = sheet.plan
    assert [each.step_id for each in plan.taken_over] == ["read", "charge"]
    assert (plan.again, plan.further, plan.repeated) == (["g", "inner", "stop"], ["tell"], [])
    earlier = client.get(PAGE.format(failed.pk), {"step": "charge"}).context["sheet"].plan
    assert earlier.repeated == [Repeated("charge", "probe.once")]
    assert [each.step_id for each in earlier.taken_over] == ["read"]


def test_what_was_not_changed_is_not_sent(client: Client, failed: Execution):
    page = client.get(PAGE.format(failed.pk))
    answer = client.post(PAGE.format(failed.pk), form_of(page.context, reason="to be sure"))
    new = Execution.objects.get(rerun_of=failed)
    assert (answer.status_code, answer["Location"]) == (
        302,
        f"/admin/executions/execution/{new.pk}/",
    )
    assert (new.input, new.current_step) == ({"n": 1}, "g")
    # The same form again, by an impatient finger.
    again = client.post(PAGE.format(failed.pk), form_of(page.context, reason="to be sure"))
    assert again["Location"] == answer["Location"]
    assert Execution.objects.count() == 2


def test_edited_input_and_output_go_to_the_new_execution(client: Client, failed: Execution):
    page = client.get(PAGE.format(failed.pk))
    changes = {"in$.go": "on", "output-read": '{"n": [5]}'}
    client.post(PAGE.format(failed.pk), form_of(page.context, **changes))
    drain()
    new = Execution.objects.get(rerun_of=failed)
    assert (new.state, new.input, new.output) == ("completed", {"n": 1, "go": True}, {"n": [5]})


def test_a_mistake_keeps_what_was_typed_and_makes_nothing(client: Client, failed: Execution):
    page = client.get(PAGE.format(failed.pk))
    wrong = {"in$.n": "one", "output-read": "{", "output-charge": "  ", "reason": "why not"}
    answer = client.post(PAGE.format(failed.pk), form_of(page.context, **wrong))
    sheet = answer.context["sheet"]
    assert (answer.status_code, sheet.reason) == (400, "why not")
    assert [(each.text, bool(each.error)) for each in sheet.edited] == [("{", True), ("  ", True)]
    body = answer.content.decode()
    assert "JSON was expected; null stands for nothing." in body
    right = {"in$.n": "one", "reason": "why not"}
    answer = client.post(PAGE.format(failed.pk), form_of(page.context, **right))
    typed = {each.key: each for each in answer.context["typing"].fields.fields}
    assert (typed["n"].text, typed["n"].errors) == ("one", ["Expected a whole number, got text."])
    assert Execution.objects.count() == 1


def test_nothing_is_done_before_its_consequences_were_on_the_page(
    client: Client, failed: Execution
):
    page = client.get(PAGE.format(failed.pk))
    answer = client.post(PAGE.format(failed.pk), form_of(page.context, step="charge"))
    assert (answer.status_code, answer.context["sheet"].step) == (200, "charge")
    assert "Side effects that repeat" in answer.content.decode()
    assert Execution.objects.count() == 1


def test_another_version_has_its_own_steps_and_fields(client: Client, failed: Execution):
    steps = [STEPS[0], STEPS[1], call("send", "noop")]
    schema = {"type": "object", "properties": {"n": {"type": "string"}, "to": {"type": "string"}}}
    document = {"name": "Order", "steps": steps, "input_schema": schema, "version": "2.0.0"}
    draft = create_version(actor=SYSTEM, workflow=failed.workflow, document=document)
    publish_version(actor=SYSTEM, version=draft)
    page = client.get(PAGE.format(failed.pk))
    sent = form_of(page.context, version="2.0.0", refresh="1")
    sheet = client.post(PAGE.format(failed.pk), {**sent, "in$.n": "17"}).context["sheet"]
    assert [(each.step.step_id, each.obstacle) for each in sheet.choices] == [
        ("read", ""),
        ("charge", ""),
        ("g", "This version has no such step."),
    ]
    assert (sheet.step, sheet.lost_step) == ("", "g")
    fields = {each.key: each.text for each in sheet.typing.fields.fields}
    assert fields == {"n": "17", "to": ""}
    assert sheet.plan.further == ["send"]


def test_a_map_says_what_its_items_repeat():
    body = [call("pay", "probe.once", file="/dev/null")]
    config = {"items": "[1, 2]", "as": "item", "steps": body}
    step = {"id": "each", "name": "each", "type": "map", "config": config}
    execution = run(published([step]))
    plan = Rerun(execution, execution.version.definition).plan("")
    assert plan.again == ["each", "pay"]
    assert plan.repeated == [Repeated("pay", "probe.once", "each")]


def test_who_may_not_and_what_can_not(client: Client, failed: Execution):
    viewer = Client()
    viewer.force_login(UserFactory.create(role=Role.VIEWER, is_staff=True))
    assert viewer.get(PAGE.format(failed.pk)).status_code == 403
    drawer = f"/admin/executions/execution/{failed.pk}/steps/stop/"
    assert f"{PAGE.format(failed.pk)}?step=g" in client.get(drawer).content.decode()
    assert "Rerun from" not in viewer.get(drawer).content.decode()
    waiting = run(published([{"id": "w", "type": "wait", "config": {"duration": "1h"}}]))
    answer = client.get(PAGE.format(waiting.pk), follow=True)
    assert "only one that has ended can be rerun" in answer.content.decode()
    assert (reread(waiting).state, Execution.objects.count()) == ("waiting", 2)
