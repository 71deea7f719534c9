"""The pages for many executions at once, without a browser."""

from __future__ import annotations

import re

import pytest
from django.test import Client

from autopilot.accounts.models import AuditEntry
from autopilot.accounts.roles import Role
from executions.models import Execution
from tests.engine import drain, published, reread, run, started
from tests.factories import UserFactory

pytestmark = pytest.mark.django_db(transaction=True)

LIST = "/admin/executions/execution/"
PAGE = f"{LIST}bulk/"


@pytest.fixture
def client() -> Client:
    client = Client()
    client.force_login(UserFactory.create(role=Role.OPERATOR, is_staff=True))
    return client


def pure(id_, output):
    return {"id": id_, "name": id_, "type": "transform", "config": {"output": output}}


STOP = {
    "id": "stop",
    "name": "stop",
    "type": "fail",
    "when": "not input",
    "config": {"error": "my.error", "message": "No."},
}


@pytest.fixture
def failed() -> list[Execution]:
    workflow = published([pure("first", 1), STOP, pure("last", "{{ steps.first.output }}")])
    return [run(workflow) for _ in range(2)]


def lead(answer) -> str:
    found = re.search(r'class="cx-lead"[^>]*>([^<]*)<', answer.content.decode())
    assert found is not None
    return found[1]


def test_the_list_offers_what_the_page_takes(client: Client, failed: list[Execution]):
    body = client.get(LIST, {"state": "failed"}).content.decode()
    assert all(f'name="id" value="{each.pk}"' in body for each in failed)
    assert 'name="all" value="1"' in body
    # Without a filter nothing offers to touch everything.
    assert 'name="all" value="1"' not in client.get(LIST).content.decode()
    viewer = Client()
    viewer.force_login(UserFactory.create(role=Role.VIEWER, is_staff=True))
    assert 'name="id"' not in viewer.get(LIST).content.decode()
    assert viewer.get(PAGE, {"verb": "cancel", "id": failed[0].pk}).status_code == 403


def test_all_that_match_are_rerun_once_from_a_step_with_other_data(
    client: Client, failed: list[Execution]
):
    fresh = started(failed[0].workflow)
    meant = {"verb": "rerun", "all": "1", "state": "failed"}
    seen = client.get(PAGE, meant)
    assert lead(seen) == "2 executions would be rerun."
    how = {"from_step": "last", "key": "k", "outputs": '{"first": 7}', "reason": "fixed"}
    looked = client.post(PAGE, {**meant, **how, "look": "1"})
    assert lead(looked) == (
        "2 executions would be rerun. 2 of them never ran the step last and would be refused."
    )
    how["from_step"] = "stop"
    how["input"] = '{"any": 1}'
    done = client.post(PAGE, {**meant, **how})
    assert (done.status_code, lead(done)) == (200, "2 rerun.")
    again = client.post(PAGE, {**meant, **how})
    assert lead(again) == "2 rerun."
    drain()
    made = Execution.objects.filter(rerun_of__in=failed).order_by("pk")
    assert [(each.input, each.output) for each in made] == [({"any": 1}, 7)] * 2
    assert AuditEntry.objects.filter(action="execution.rerun", after__reason="fixed").count() == 2
    assert reread(fresh).rerun_of_id is None


def test_those_ticked_are_skipped_with_an_output(client: Client, failed: list[Execution]):
    done_already = run(published([pure("only", 1)], name="Other"))
    meant = {"verb": "skip", "id": [*(each.pk for each in failed), done_already.pk]}
    answer = client.post(PAGE, {**meant, "output": '{"a": 1}'})
    assert lead(answer) == "2 asked to skip a step, 1 refused."
    assert "execution.ended" in answer.content.decode()
    drain()
    outputs = [each.steps.get(step_id="stop", attempt=2).output for each in failed]
    assert outputs == [{"a": 1}] * 2


def test_a_mistake_keeps_what_was_typed_and_does_nothing(client: Client, failed: list[Execution]):
    meant = {"verb": "rerun", "id": failed[0].pk}
    for wrong, said in (
        ({"input": "{"}, "not valid JSON"),
        ({"outputs": "[1]"}, "An object was expected"),
        ({"reason": "x" * 201}, "at most 200 characters"),
    ):
        answer = client.post(PAGE, {**meant, **wrong})
        body = answer.content.decode()
        assert (answer.status_code, said in body) == (400, True), wrong
        assert next(iter(wrong.values())) in body
    assert client.get(PAGE, {"verb": "nothing"}).status_code == 404
    nobody = client.post(PAGE, {"verb": "cancel"})
    assert (nobody.status_code, "None was ticked" in nobody.content.decode()) == (400, True)
    everything = client.post(PAGE, {"verb": "cancel", "all": "1"})
    assert "Ask for less than everything" in everything.content.decode()
    assert Execution.objects.count() == 2
