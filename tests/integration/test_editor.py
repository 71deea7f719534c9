"""The editor's pages without a browser: the form, what is asked while one writes, saving."""

from __future__ import annotations

import json
from typing import Any

import pytest
from django.test import Client

from autopilot.accounts.actors import Actor
from autopilot.accounts.roles import Role
from tests.factories import UserFactory, VersionFactory
from workflows import services
from workflows.models import Workflow, WorkflowVersion

pytestmark = pytest.mark.django_db

SYSTEM = Actor.system("tests")
BASE = "/admin/workflows/workflow/"
FIRST: dict[str, Any] = {
    "name": "Orders",
    "slug": "orders",
    "input_schema": {"type": "object", "properties": {"id": {"type": "integer"}}},
    "steps": [
        {
            "id": "note",
            "type": "action",
            "config": {"action": "noop"},
            "assign": {"due": "{{ input.id }}"},
        }
    ],
}
STRICTER = {**FIRST, "input_schema": {**FIRST["input_schema"], "required": ["id"]}}
YAML = """name: Orders
steps:
  - id: note
    type: action
    config:
      action: nope
    nxt: end
"""


@pytest.fixture
def designer(client: Client) -> Client:
    client.force_login(UserFactory.create(username="designer", role=Role.DESIGNER, is_staff=True))
    return client


@pytest.fixture
def draft() -> WorkflowVersion:
    workflow = VersionFactory.create(document=FIRST).workflow
    return services.create_version(actor=SYSTEM, workflow=workflow, document=FIRST)


def edit_url(draft: WorkflowVersion) -> str:
    return f"{BASE}{draft.workflow_id}/versions/{draft.version}/edit/"


def asked(client: Client, what: str, **body: Any) -> Any:
    return client.post(f"{BASE}editor/{what}/", json.dumps(body), "application/json")


def sent(draft: WorkflowVersion, client: Client, **fields: str) -> dict[str, str]:
    """The form as it was opened, with other fields."""
    context = client.get(edit_url(draft)).context
    opened = {"definition": context["form"].text, "stamp": context["stamp"]}
    return {**opened, "changelog": "", "language": "json", "save": "", **fields}


def test_problems_come_with_their_places(designer: Client) -> None:
    found = asked(designer, "check", text=YAML).json()
    assert [(each["path"], each["line"], each["column"]) for each in found["problems"]] == [
        ("$.steps[0].config.action", 6, 15),
        # An unknown field is marked at its name, not at its value.
        ("$.steps[0].nxt", 7, 5),
    ]
    assert [node["id"] for node in found["drawing"]["nodes"]] == ["note"]
    assert found["steps"] == [
        {"id": "note", "line": 3, "column": 5, "end_line": 7, "end_column": 13}
    ]
    assert found["guard"] is None


def test_a_text_that_can_not_be_read_says_where(designer: Client) -> None:
    found = asked(designer, "check", text='{"name": "Orders",\n  "steps": [}').json()
    assert (found["is_read"], found["problems"][0]["line"]) == (False, 2)
    assert "drawing" not in found


def test_the_guard_judges_what_is_written(designer: Client, draft: WorkflowVersion) -> None:
    text = json.dumps({**STRICTER, "version": "1.1.0"})
    found = asked(designer, "check", text=text, workflow=draft.workflow_id, number="9.0.0").json()
    assert found["names"] == {"input": {"id": {}}, "vars": ["due"], "items": []}
    guard = found["guard"]
    assert (guard["own"], guard["suggested"], guard["bump"]) == ("1.1.0", "2.0.0", "major")
    assert (guard["enough"], guard["reasons"][0]["path"]) == (False, "$.input_schema.required")


def test_the_guard_says_while_writing_what_publishing_will_say(
    designer: Client, draft: WorkflowVersion
) -> None:
    workflow = draft.workflow
    services.publish_version(actor=SYSTEM, version=draft)
    services.deprecate_version(actor=SYSTEM, version=draft)
    # 1.0.0 is live again, and 1.1.0 taken: the next texts are 1.1.1.
    text = {**FIRST, "description": "Takes orders."}

    def guard(**more: Any) -> tuple[str, str, str, bool]:
        body = json.dumps({**text, **more})
        found = asked(designer, "check", text=body, workflow=workflow.pk).json()["guard"]
        return found["own"], found["against"], found["suggested"], found["enough"]

    assert guard() == ("", "1.1.0", "1.1.1", True)
    assert guard(version="1.0.1") == ("1.0.1", "1.1.0", "1.1.1", False)
    document = {**FIRST, "version": "2.0.0"}
    major = services.create_version(actor=SYSTEM, workflow=workflow, document=document)
    services.publish_version(actor=SYSTEM, version=major)
    # An older line goes on for those who start it, whatever is live.
    assert guard(version="1.1.1") == ("1.1.1", "1.1.0", "1.1.1", True)
    assert guard(version="2.0.0")[1:] == ("2.0.0", "2.0.1", False)


def test_converting_keeps_the_document(designer: Client) -> None:
    text = json.dumps(FIRST)
    as_yaml = asked(designer, "convert", text=text, to="yaml").json()["text"]
    assert as_yaml.startswith("name: Orders\nslug: orders\n")
    back = asked(designer, "convert", text=as_yaml, to="json").json()["text"]
    assert json.loads(back) == FIRST
    refused = asked(designer, "convert", text='{"name" 1}', to="yaml")
    assert (refused.status_code, refused.json()["problems"][0]["line"]) == (400, 1)
    refused = asked(designer, "convert", text=text, to="xml")
    assert refused.json()["message"] == "One of json and yaml was expected as the language."


@pytest.mark.parametrize("body", [b"{", b"[]", b'{"text": 1}', b'{"text": "{}", "workflow": 0}'])
def test_questions_that_make_no_sense(designer: Client, body: bytes) -> None:
    response = designer.post(f"{BASE}editor/check/", body, "application/json")
    assert response.status_code in (400, 404)


def test_a_number_that_is_none_is_refused(designer: Client, draft: WorkflowVersion) -> None:
    body = {"text": json.dumps(FIRST), "workflow": draft.workflow_id, "number": "1.2"}
    refused = asked(designer, "check", **body)
    assert (refused.status_code, refused.json()["problems"][0]["path"]) == (400, "$.number")


def test_only_who_may_edit_asks(client: Client) -> None:
    client.force_login(UserFactory.create(username="viewer", role=Role.VIEWER, is_staff=True))
    assert asked(client, "check", text=YAML).status_code == 403
    assert asked(client, "convert", text=YAML, to="json").status_code == 403


def test_a_draft_is_written_without_a_script(designer: Client, draft: WorkflowVersion) -> None:
    wrong = designer.post(edit_url(draft), sent(draft, designer, definition=YAML))
    assert wrong.status_code == 400
    page = wrong.content.decode()
    assert "2 things are wrong; nothing is saved." in page
    assert "line 6" in page
    assert wrong.context["form"].text == YAML
    assert WorkflowVersion.objects.get(pk=draft.pk).definition == draft.definition

    right = YAML.replace("nope", "noop").replace("nxt", "next")
    fine = designer.post(edit_url(draft), sent(draft, designer, definition=right, check="1"))
    assert "The definition has no problems." in fine.content.decode()
    converted = designer.post(
        edit_url(draft), sent(draft, designer, definition=right, convert="json")
    )
    assert json.loads(converted.context["form"].text)["steps"][0]["next"] == "end"
    saved = designer.post(edit_url(draft), sent(draft, designer, definition=right))
    assert saved.status_code == 302
    assert WorkflowVersion.objects.get(pk=draft.pk).definition["steps"][0]["next"] == "end"


def test_nobody_writes_over_what_they_have_not_seen(
    designer: Client, draft: WorkflowVersion
) -> None:
    form = sent(draft, designer, definition=YAML.replace("nope", "noop").replace("nxt", "next"))
    services.update_draft(actor=SYSTEM, version=draft, document=STRICTER)
    refused = designer.post(edit_url(draft), form)
    assert refused.status_code == 412
    assert "Somebody has saved this draft since you opened it." in refused.content.decode()
    assert refused.context["form"].text == form["definition"]
    assert WorkflowVersion.objects.get(pk=draft.pk).definition["input_schema"]["required"] == ["id"]

    told = designer.post(edit_url(draft), form, headers={"X-Part": "save"})
    assert told.status_code == 412
    over = {**form, "over": told.json()["theirs"]}
    saved = designer.post(edit_url(draft), over, headers={"X-Part": "save"})
    assert (saved.status_code, saved.json()["message"]) == (200, "Draft 1.1.0 is saved.")
    assert "input_schema" not in WorkflowVersion.objects.get(pk=draft.pk).definition


def test_a_draft_that_was_published_meanwhile_keeps_what_was_typed(
    designer: Client, draft: WorkflowVersion
) -> None:
    form = sent(draft, designer, definition=json.dumps(STRICTER))
    WorkflowVersion.objects.filter(pk=draft.pk).update(
        state="published", published_at=draft.updated_at
    )
    refused = designer.post(edit_url(draft), form)
    assert refused.status_code in (409, 412)
    assert json.loads(refused.context["form"].text) == STRICTER
    assert WorkflowVersion.objects.get(pk=draft.pk).definition == draft.definition


def test_a_new_workflow_tells_where_it_is_now(designer: Client) -> None:
    form = {"definition": json.dumps(FIRST), "language": "json"}
    told = designer.post(f"{BASE}add/", form, headers={"X-Part": "save"}).json()
    version = WorkflowVersion.objects.get()
    assert (told["edit_url"], told["number"]) == (edit_url(version), "1.0.0")
    taken = designer.post(f"{BASE}add/", form, headers={"X-Part": "save"})
    assert (taken.status_code, taken.json()["problems"][0]["path"]) == (409, "$.slug")
    assert Workflow.objects.count() == 1


def test_trying_needs_an_execution(designer: Client) -> None:
    body = json.dumps({"text": "1 + 1", "execution": "first"})
    refused = designer.post("/admin/executions/execution/evaluate/", body, "application/json")
    assert refused.status_code == 404
    assert refused.json()["message"] == (
        'There is no execution "first": the id of an execution is a whole number.'
    )
