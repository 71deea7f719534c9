"""Retry, skip and rerun over REST and from the terminal."""

from __future__ import annotations

import io

import pytest
from django.core.management import call_command
from rest_framework.test import APIClient

from autopilot.accounts.roles import Role
from executions.models import Execution
from executions.reads import context_of
from tests.engine import drain, published, reread, run
from tests.factories import UserFactory

pytestmark = pytest.mark.django_db(transaction=True)

URL = "/api/v1/executions/"
FIRST = {"id": "first", "type": "transform", "config": {"output": 1}}
STOP = {
    "id": "stop",
    "type": "fail",
    "when": "not input",
    "config": {"error": "my.error", "message": "No."},
}
LAST = {"id": "last", "type": "transform", "config": {"output": "{{ steps.first.output }}"}}


@pytest.fixture
def api() -> APIClient:
    client = APIClient()
    client.force_authenticate(UserFactory.create(role=Role.OPERATOR))
    return client


@pytest.fixture
def failed() -> Execution:
    return run(published([FIRST, STOP, LAST]))


def post(api: APIClient, execution: Execution, verb: str, body: object = None):
    return api.post(f"{URL}{execution.pk}/{verb}/", body or {}, format="json")


def test_a_retry_waits_for_a_worker(api: APIClient, failed: Execution):
    answer = post(api, failed, "retry", {"reason": "again"})
    assert (answer.status_code, answer.data["state"]) == (202, "resumed")
    assert (answer.data["pending"], answer.data["error_code"]) == (["retry"], "")
    assert answer.data["why"]["code"] in {"pending.retry", "queued.no_worker"}
    assert post(api, failed, "retry").status_code == 200
    drain()
    assert reread(failed).state == "failed"


def test_a_skip_takes_an_output(api: APIClient, failed: Execution):
    assert post(api, failed, "skip", {"output": {"a": 1}}).status_code == 202
    drain()
    assert (reread(failed).state, reread(failed).output) == ("completed", 1)
    again = post(api, failed, "skip")
    assert (again.status_code, again.json()["error"]["code"]) == (409, "execution.ended")


def test_a_rerun_answers_the_new_execution(api: APIClient, failed: Execution):
    body = {"from_step": "stop", "input": {"any": 1}, "outputs": {"first": 7}}
    answer = post(api, failed, "rerun", body)
    assert (answer.status_code, answer.data["rerun_of"]) == (201, failed.pk)
    assert answer["Location"].endswith(f"{URL}{answer.data['id']}/")
    drain()
    steps = api.get(f"{URL}{answer.data['id']}/steps/").data["results"]
    assert [(each["step"], each["taken_over"]) for each in steps] == [
        ("first", True),
        ("stop", False),
        ("last", False),
    ]
    assert Execution.objects.get(pk=answer.data["id"]).output == 7


def test_a_bad_rerun_names_its_place(api: APIClient, failed: Execution):
    answer = post(api, failed, "rerun", {"from_step": "last"})
    error = answer.json()["error"]
    assert (answer.status_code, error["code"]) == (400, "execution.rerun_invalid")
    assert [(each["path"], each["code"]) for each in error["details"]] == [
        ("$.from_step", "rerun.never_ran")
    ]
    for body, path in (
        ({"form_step": "a"}, "$.form_step"),
        ({"outputs": []}, "$.outputs"),
        ({"from_step": 7}, "$.from_step"),
    ):
        answer = post(api, failed, "rerun", body)
        assert (answer.status_code, answer.json()["error"]["details"][0]["path"]) == (400, path)
    assert Execution.objects.count() == 1


def test_a_rerun_with_a_key_answers_the_first_with_200(api: APIClient, failed: Execution):
    url, body = f"{URL}{failed.pk}/rerun/", {"from_step": "stop"}
    first = api.post(url, body, format="json", headers={"Idempotency-Key": "k"})
    again = api.post(url, {**body, "idempotency_key": "k"}, format="json")
    assert (first.status_code, again.status_code) == (201, 200)
    assert again.data["id"] == first.data["id"]
    other = api.post(url, {}, format="json", headers={"Idempotency-Key": "k"})
    assert (other.status_code, other.json()["error"]["code"]) == (409, "idempotency.conflict")
    assert Execution.objects.count() == 2


def test_many_are_skipped_with_an_output_and_rerun_once(api: APIClient, failed: Execution):
    skip = {"verb": "skip", "ids": [failed.pk], "skip": {"output": {"a": 1}}}
    assert api.post(f"{URL}bulk/", skip, format="json").data["outcomes"]["pending"] == 1
    drain()
    assert context_of(reread(failed))["steps"]["stop"] == {
        "state": "skipped",
        "output": {"a": 1},
        "error": None,
        "attempts": 2,
    }
    rerun = {
        "verb": "rerun",
        "filter": {"state": "completed"},
        "rerun": {"from_step": "last", "outputs": {"first": 7}},
        "idempotency_key": "k",
    }
    first = api.post(f"{URL}bulk/", rerun, format="json").data["results"]
    drain()
    again = api.post(f"{URL}bulk/", rerun, format="json").data["results"]
    assert [each["created"] for each in first] == [each["created"] for each in again]
    assert Execution.objects.get(pk=first[0]["created"]).output == 7
    other = api.post(f"{URL}bulk/", {**rerun, "reason": "x"}, format="json")
    assert (other.status_code, other.json()["error"]["code"]) == (409, "idempotency.conflict")
    for body, path in (
        ({**skip, "verb": "retry"}, "$.skip"),
        ({**skip, "idempotency_key": "k"}, "$.idempotency_key"),
        ({**rerun, "rerun": {"outputs": []}}, "$.rerun.outputs"),
    ):
        answer = api.post(f"{URL}bulk/", body, format="json")
        assert (answer.status_code, answer.json()["error"]["details"][0]["path"]) == (400, path)
    assert Execution.objects.count() == 2


def test_a_viewer_may_do_none_of_it(failed: Execution):
    client = APIClient()
    client.force_authenticate(UserFactory.create(role=Role.VIEWER))
    assert [post(client, failed, verb).status_code for verb in ("retry", "skip", "rerun")] == [
        403
    ] * 3
    assert (reread(failed).state, Execution.objects.count()) == ("failed", 1)


def test_many_are_rerun_from_a_step_after_a_look(api: APIClient, failed: Execution):
    body = {"verb": "rerun", "filter": {"state": "failed"}, "rerun": {"from_step": "stop"}}
    seen = api.post(f"{URL}bulk/", {**body, "dry_run": True}, format="json").data
    assert (seen["count"], seen["sentence"]) == (1, "1 execution would be rerun.")
    done = api.post(f"{URL}bulk/", body, format="json").data
    assert (done["sentence"], done["results"][0]["outcome"]) == ("1 rerun.", "done")
    assert Execution.objects.get(pk=done["results"][0]["created"]).rerun_of_id == failed.pk
    wrong = api.post(f"{URL}bulk/", {**body, "verb": "retry"}, format="json")
    assert wrong.json()["error"]["details"][0]["path"] == "$.rerun"


def test_the_terminal_retries_skips_and_reruns(failed: Execution):
    def said(*arguments: object) -> str:
        out = io.StringIO()
        call_command("executions", *map(str, arguments), stdout=out, stderr=io.StringIO())
        return out.getvalue().strip()

    assert said("retry", failed.pk) == f"{failed.pk}  pending  resumed"
    drain()
    text = said("rerun", failed.pk, "--from-step", "stop")
    new = Execution.objects.get(rerun_of=failed)
    assert text == f"{failed.pk}  done  as {new.pk}"
    assert said("skip", failed.pk) == f"{failed.pk}  pending  resumed"
    drain()
    assert reread(failed).state == "completed"
    how = ("--from-step", "last", "--output", "first=[7]", "--input", "{}", "--idempotency-key")
    text = said("rerun", failed.pk, *how, "k")
    assert said("rerun", failed.pk, *how, "k") == text
    drain()
    assert Execution.objects.latest("pk").output == [7]
    assert Execution.objects.filter(rerun_of=failed).count() == 2
    for arguments in (("--output", "first"), ("--input", "{"), ("--input", "@/nowhere")):
        with pytest.raises(SystemExit) as refused:
            said("rerun", failed.pk, *arguments)
        assert refused.value.code == 2
    assert Execution.objects.filter(rerun_of=failed).count() == 2
