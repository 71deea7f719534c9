"""The life of a version over REST: guard and override, reviews, states, history, ranges."""

from __future__ import annotations

from typing import Any

import pytest
from rest_framework.test import APIClient

from autopilot.accounts.actors import Actor
from autopilot.accounts.roles import Role
from tests.factories import DraftFactory, ExecutionFactory, UserFactory, VersionFactory
from workflows import services
from workflows.models import Workflow, WorkflowVersion

pytestmark = pytest.mark.django_db

SYSTEM = Actor.system("tests")
AT = "/api/v1/workflows/orders/"
NOOP = {"id": "note", "type": "action", "config": {"action": "noop"}}
LOOSE = {"type": "object", "properties": {"id": {"type": "integer"}}}
FIRST: dict[str, Any] = {
    "name": "Orders",
    "slug": "orders",
    "input_schema": LOOSE,
    "steps": [NOOP],
}
YAML = """\
name: Orders
input_schema: false
steps:
  - {id: note, type: action, config: {action: noop}}
"""
STRICTER = {**FIRST, "input_schema": {**LOOSE, "required": ["id"]}}


def client(role: Role, name: str) -> APIClient:
    api = APIClient()
    api.force_authenticate(UserFactory.create(username=name, role=role))
    return api


@pytest.fixture
def designer() -> APIClient:
    return client(Role.DESIGNER, "kim")


@pytest.fixture
def workflow() -> Workflow:
    return VersionFactory.create(document=FIRST).workflow


def refusal(response: Any) -> tuple[int, str, list[str]]:
    error = response.json()["error"]
    return response.status_code, error["code"], [each["path"] for each in error["details"]]


def test_the_guard_at_publishing(designer: APIClient, workflow: Workflow) -> None:
    draft = f"{AT}versions/1.1.0/"
    designer.post(f"{AT}versions/", STRICTER, format="json")
    assert designer.post(f"{AT}suggest/").json()["suggested"] == "2.0.0"
    refused = designer.post(f"{draft}publish/")
    assert refusal(refused) == (409, "version.too_small", ["$.input_schema.required"])
    # Somebody else has saved since it was read.
    stale = designer.get(draft)["ETag"]
    designer.put(draft, {**STRICTER, "output": "done"}, format="json")
    body = {"version": "suggest"}
    half = designer.post(f"{draft}publish/", body, format="json", headers={"If-Match": stale})
    assert refusal(half)[:2] == (412, "precondition_failed")
    assert workflow.versions.get(version="1.1.0").is_draft
    overriding = {"override_reason": "Everybody sends one."}
    assert designer.post(f"{draft}publish/", overriding, format="json").status_code == 403
    published = designer.post(f"{draft}publish/", body, format="json")
    assert (published.status_code, published.json()["version"]) == (200, "2.0.0")
    assert designer.get(f"{AT}versions/2.0.0/history/").json()[0]["judgement"]["bump"] == "major"


def test_an_override_is_shown(workflow: Workflow) -> None:
    administrator = client(Role.ADMINISTRATOR, "ada")
    administrator.post(f"{AT}versions/", STRICTER, format="json")
    body = {"override_reason": "Everybody sends one."}
    # By the workflow: with what was read of that.
    match = {"If-Match": administrator.get(AT)["ETag"]}
    published = administrator.post(f"{AT}publish/", body, format="json", headers=match)
    assert published.json()["version"]["overridden"] is True
    (row,) = administrator.get(f"{AT}versions/1.1.0/history/").json()
    told = ("source", "target", "reason", "actor")
    assert [row[name] for name in told] == ["draft", "published", body["override_reason"], "ada"]
    assert (row["judgement"]["suggested"], row["judgement"]["enough"]) == ("2.0.0", False)
    assert {each["version"]: each["overridden"] for each in versions(administrator)} == {
        "1.1.0": True,
        "1.0.0": False,
    }


def versions(api: APIClient) -> list[dict[str, Any]]:
    return api.get(f"{AT}versions/").json()["results"]


@pytest.mark.parametrize(
    ("body", "path"),
    [
        ({"version": "1.2"}, "$.version"),
        ({"version": "01.2.3"}, "$.version"),
        ({"version": 2}, "$.version"),
        ({"override_reason": 7}, "$.override_reason"),
        ({"force": True}, "$.force"),
    ],
)
def test_a_bad_publication(workflow: Workflow, body: dict[str, Any], path: str) -> None:
    services.create_version(actor=SYSTEM, workflow=workflow, document=STRICTER)
    api = client(Role.ADMINISTRATOR, "ada")
    status, _, paths = refusal(api.post(f"{AT}versions/1.1.0/publish/", body, format="json"))
    assert (status, paths) == (400, [path])
    assert workflow.versions.get(version="1.1.0").is_draft


def test_a_number_for_what_is_not_saved(designer: APIClient, workflow: Workflow) -> None:
    body = designer.post(f"{AT}suggest/", STRICTER, format="json").json()
    assert (body["version"], body["against"], body["suggested"]) == (None, "1.0.0", "2.0.0")
    named = designer.post(f"{AT}suggest/", {**STRICTER, "version": "1.0.1"}, format="json").json()
    assert (named["version"], named["enough"]) == ("1.0.1", False)
    as_yaml = designer.post(f"{AT}suggest/", YAML, content_type="application/yaml").json()
    assert as_yaml["suggested"] == "2.0.0"
    nothing = designer.post(f"{AT}suggest/")
    assert refusal(nothing) == (409, "conflict", [])
    broken = designer.post(f"{AT}suggest/", {**STRICTER, "steps": []}, format="json")
    assert refusal(broken)[2] == ["$.steps"]
    assert WorkflowVersion.objects.count() == 1


def test_somebody_else_approves(designer: APIClient, workflow: Workflow) -> None:
    administrator = client(Role.ADMINISTRATOR, "ada")
    required = administrator.post(f"{AT}require-review/", {"required": True}, format="json")
    assert required.json()["review_required"] is True
    draft = f"{AT}versions/1.1.0/"
    designer.post(f"{AT}versions/", {**FIRST, "output": "done"}, format="json")
    assert refusal(designer.post(f"{draft}publish/"))[:2] == (409, "version.not_reviewed")
    content_hash = designer.get(draft).json()["content_hash"]
    body = {"verdict": "approved", "content_hash": content_hash}
    own = designer.post(f"{draft}reviews/", body, format="json")
    assert refusal(own)[:2] == (409, "version.own_review")
    other = {**body, "content_hash": "0" * 64}
    assert administrator.post(f"{draft}reviews/", other, format="json").status_code == 412
    wanted = {**body, "verdict": "changes_requested", "comment": "Why done?"}
    assert administrator.post(f"{draft}reviews/", wanted, format="json").status_code == 201
    standing = designer.get(f"{draft}reviews/").json()
    assert (standing["approved"], standing["wanted_by"], standing["writers"]) == (
        *(False, ["ada"]),
        ["kim"],
    )
    administrator.post(f"{draft}reviews/", body, format="json")
    assert designer.post(f"{draft}publish/").json()["approved_by"] == ["ada"]
    assert [
        (each["verdict"], each["reviewer"], each["comment"])
        for each in designer.get(f"{draft}reviews/").json()["reviews"]
    ] == [("changes_requested", "ada", "Why done?"), ("approved", "ada", "")]


def test_states_over_rest(designer: APIClient, workflow: Workflow) -> None:
    live = f"{AT}versions/1.0.0/"
    stale = {"If-Match": '"other"'}
    assert designer.post(f"{live}deprecate/", headers=stale).status_code == 412
    assert refusal(designer.post(f"{live}archive/")) == (
        *(409, "version.move_refused"),
        ["$.state"],
    )
    body = {"reason": "It loses orders."}
    moved = designer.post(f"{live}deprecate/", body, format="json")
    assert (moved.status_code, moved.json()["state"]) == (200, "deprecated")
    for verb, state in (("archive", "archived"), ("restore", "deprecated")):
        assert designer.post(f"{live}{verb}/").json()["state"] == state
    designer.post(f"{live}reinstate/")
    rows = designer.get(f"{live}history/").json()
    assert [(row["target"], row["reason"]) for row in rows[1:3]] == [
        ("deprecated", "It loses orders."),
        ("archived", ""),
    ]
    assert rows[-1]["target"] == "published"


def test_what_a_deprecation_would_mean(designer: APIClient, workflow: Workflow) -> None:
    draft = services.create_version(
        actor=SYSTEM, workflow=workflow, document={**FIRST, "output": "done"}
    )
    services.publish_version(actor=SYSTEM, version=draft)
    ExecutionFactory(workflow=workflow)
    calls = [
        {"id": name, "type": "workflow", "config": {"workflow": "orders", **config}}
        for name, config in (
            ("any", {}),
            ("exact", {"version": "1.1.0"}),
            ("line", {"version": "^1"}),
            ("narrow", {"version": ">=1.1 <2"}),
        )
    ]
    group = {"id": "inside", "type": "group", "config": {"steps": calls[2:]}}
    VersionFactory.create(
        document={"name": "Caller", "slug": "caller", "steps": [*calls[:2], group]}
    )
    DraftFactory.create(document={"name": "Draft", "slug": "draft", "steps": calls[:1]})
    found = designer.get(f"{AT}versions/1.1.0/impact/", {"verb": "deprecate"}).json()
    assert (found["live"], found["live_then"], found["executions"]) == ("1.1.0", "1.0.0", 1)
    # Who names the very number still gets it.
    assert [
        (each["workflow"], each["step"], each["range"], each["takes"], each["takes_then"])
        for each in found["callers"]
    ] == [
        ("caller", "any", "", "1.1.0", "1.0.0"),
        ("caller", "line", "^1", "1.1.0", "1.0.0"),
        ("caller", "narrow", ">=1.1 <2", "1.1.0", None),
    ]
    assert found["callers"][1]["path"] == "$.steps[2].config.steps[0].config.version"
    wrong = designer.get(f"{AT}versions/1.1.0/impact/", {"verb": "publish"})
    assert refusal(wrong) == (400, "invalid", ["$.verb"])


def test_a_start_names_a_range(designer: APIClient, workflow: Workflow) -> None:
    draft = services.create_version(
        actor=SYSTEM, workflow=workflow, document={**FIRST, "version": "2.0.0"}
    )
    services.publish_version(actor=SYSTEM, version=draft)
    at = "/api/v1/executions/"
    started = designer.post(at, {"workflow": "orders", "version": "^1.0"}, format="json")
    assert (started.status_code, started.json()["version"]) == (201, "1.0.0")
    for text, code in (("^3", "version.unsatisfied"), ("1.0", "field.version")):
        refused = designer.post(at, {"workflow": "orders", "version": text}, format="json")
        error = refused.json()["error"]
        assert (refused.status_code, error["details"][0]["path"]) == (400, "$.version")
        assert error["details"][0]["code"] == code
    assert workflow.executions.count() == 1
