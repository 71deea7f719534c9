from __future__ import annotations

from typing import Any

import pytest
from rest_framework.test import APIClient

from autopilot.accounts.actors import Actor
from autopilot.accounts.roles import Role
from tests.factories import DraftFactory, UserFactory, VersionFactory, document
from workflows import services
from workflows.models import Workflow, WorkflowVersion

pytestmark = pytest.mark.django_db

ROOT = "/api/v1/workflows/"
SYSTEM = Actor.system("tests")
SEED = {
    "name": "Example Workflow",
    "description": "A sample workflow",
    "steps": [{"name": "Step 1", "type": "action", "config": {"action": "noop"}}],
}


def client(role: Role | None) -> APIClient:
    api = APIClient()
    api.force_authenticate(UserFactory.create(username=f"a-{role}", role=role))
    return api


@pytest.fixture
def designer() -> APIClient:
    return client(Role.DESIGNER)


def slugs(response: Any) -> list[str]:
    assert response.status_code == 200
    return [row["slug"] for row in response.json()["results"]]


# Creating and reading


def test_the_seed_form_creates_a_workflow_with_its_draft(designer: APIClient) -> None:
    response = designer.post(ROOT, SEED, format="json")
    assert response.status_code == 201
    body = response.json()
    assert response["Location"] == f"http://testserver{ROOT}example-workflow/"
    version = body.pop("version")
    for moment in ("created_at", "updated_at"):
        assert body.pop(moment).endswith("Z")
        assert version.pop(moment).endswith("Z")
    assert len(version.pop("content_hash")) == 64
    assert body == {
        "slug": "example-workflow",
        "name": "Example Workflow",
        "description": "A sample workflow",
        "labels": {},
        "review_required": False,
        "live_version": None,
        "draft_version": "1.0.0",
        "candidate_version": None,
        "candidate_percent": None,
        "created_by": "a-Designer",
    }
    assert version == {
        "workflow": "example-workflow",
        "version": "1.0.0",
        "state": "draft",
        "changelog": "",
        "author": "a-Designer",
        "approved_by": [],
        "overridden": False,
        "published_at": None,
        "definition": {
            **SEED,
            "slug": "example-workflow",
            "version": "1.0.0",
            "steps": [{"id": "step_1", **SEED["steps"][0]}],
        },
    }
    again = designer.get(f"{ROOT}example-workflow/")
    assert again.status_code == 200
    assert again["ETag"] == response["ETag"]
    assert again.json()["draft_version"] == "1.0.0"


def test_from_draft_to_published_to_the_next_draft(designer: APIClient) -> None:
    designer.post(ROOT, SEED, format="json")
    at = f"{ROOT}example-workflow/"
    published = designer.post(f"{at}publish/", {"changelog": "The first."}, format="json")
    assert published.status_code == 200
    assert published.json()["live_version"] == "1.0.0"
    assert published.json()["draft_version"] is None
    assert published.json()["version"]["state"] == "published"
    assert published.json()["version"]["changelog"] == "The first."
    second = designer.post(f"{at}versions/", SEED, format="json")
    assert second.status_code == 201
    assert second["Location"] == f"http://testserver{at}versions/1.1.0/"
    listed = designer.get(f"{at}versions/").json()
    assert [(row["version"], row["state"]) for row in listed["results"]] == [
        ("1.1.0", "draft"),
        ("1.0.0", "published"),
    ]
    assert "definition" not in listed["results"][0]
    assert designer.post(f"{at}versions/1.1.0/publish/").json()["state"] == "published"
    assert designer.get(at).json()["live_version"] == "1.1.0"


def test_what_is_read_can_be_written_back(designer: APIClient) -> None:
    version = DraftFactory()
    at = f"{ROOT}{version.workflow.slug}/versions/1.0.0/"
    read = designer.get(at)
    changed = {**read.json()["definition"], "output": "done"}
    written = designer.put(at, changed, format="json", headers={"If-Match": read["ETag"]})
    assert written.status_code == 200
    assert written.json()["definition"] == changed
    assert written["ETag"] != read["ETag"]
    assert designer.get(at).json()["definition"]["output"] == "done"


def test_versions_are_ordered_by_precedence(designer: APIClient) -> None:
    workflow = VersionFactory(document=document(version="1.2.0")).workflow
    for number in ("1.9.0", "1.10.0"):
        draft = services.create_version(
            actor=SYSTEM, workflow=workflow, document=document(), version=number
        )
        services.publish_version(actor=SYSTEM, version=draft)
    rows = designer.get(f"{ROOT}{workflow.slug}/versions/").json()["results"]
    assert [row["version"] for row in rows] == ["1.10.0", "1.9.0", "1.2.0"]
    assert designer.get(f"{ROOT}{workflow.slug}/").json()["live_version"] == "1.10.0"


def test_name_description_and_labels_are_changed(designer: APIClient) -> None:
    workflow = DraftFactory().workflow
    at = f"{ROOT}{workflow.slug}/"
    etag = designer.get(at)["ETag"]
    change = {"name": "New", "labels": {"team": "crm"}}
    response = designer.patch(at, change, format="json", headers={"If-Match": etag})
    assert response.status_code == 200
    assert (response.json()["name"], response.json()["labels"]) == ("New", {"team": "crm"})
    assert response.json()["draft_version"] == "1.0.0"
    assert response["ETag"] != etag


def test_a_draft_is_deleted(designer: APIClient) -> None:
    draft = DraftFactory()
    at = f"{ROOT}{draft.workflow.slug}/versions/1.0.0/"
    assert designer.delete(at).status_code == 204
    assert designer.get(at).status_code == 404


def test_an_unchanged_workflow_is_not_sent_again(designer: APIClient) -> None:
    workflow = DraftFactory().workflow
    at = f"{ROOT}{workflow.slug}/"
    etag = designer.get(at)["ETag"]
    assert designer.get(at, headers={"If-None-Match": etag}).status_code == 304
    services.publish_version(actor=SYSTEM, version=workflow.versions.get())
    assert designer.get(at, headers={"If-None-Match": etag}).status_code == 200


# Lists


@pytest.fixture
def three(db: None) -> None:
    VersionFactory(document=document(name="Refund", labels={"team": "crm", "tier": "1"}))
    VersionFactory(document=document(name="Order check", labels={"team": "shop"}))
    DraftFactory(document=document(name="Order import", description="Nightly", slug="nightly"))


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("", ["order-check", "nightly", "refund"]),
        ("?search=order", ["order-check", "nightly"]),
        ("?search=ORDER+night", ["nightly"]),
        ("?search=100%25", []),
        ("?label=team", ["order-check", "refund"]),
        ("?label=team:crm", ["refund"]),
        ("?label=team:crm,tier:2", []),
        ("?label=team:crm,tier", ["refund"]),
        ("?state=draft", ["nightly"]),
        ("?state=published", ["order-check", "refund"]),
        ("?ordering=-name", ["refund", "nightly", "order-check"]),
        ("?ordering=slug", ["nightly", "order-check", "refund"]),
        ("?page_size=1&page=2", ["nightly"]),
    ],
)
def test_lists_are_narrowed_and_ordered(
    designer: APIClient, three: None, query: str, expected: list[str]
) -> None:
    assert slugs(designer.get(ROOT + query)) == expected


def test_a_list_costs_the_same_with_more_rows(
    designer: APIClient, three: None, django_assert_max_num_queries: Any
) -> None:
    with django_assert_max_num_queries(6) as few:
        designer.get(ROOT)
    for _ in range(5):
        VersionFactory()
    with django_assert_max_num_queries(len(few)):
        assert designer.get(ROOT).json()["count"] == 8


@pytest.mark.parametrize(
    ("query", "paths"),
    [
        ("?state=odd", ["$.state"]),
        ("?ordering=secret", ["$.ordering"]),
        ("?search=%00", ["$"]),
        ("?label=a:%00", ["$"]),
    ],
)
def test_a_bad_filter_is_refused(designer: APIClient, query: str, paths: list[str]) -> None:
    response = designer.get(ROOT + query)
    assert response.status_code == 400
    assert [problem["path"] for problem in response.json()["error"]["details"]] == paths


# What a definition may use


def test_the_schema_of_definitions(designer: APIClient) -> None:
    body = designer.get(f"{ROOT}definition-schema/").json()
    assert body["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert sorted(body["required"]) == ["name", "steps"]


def test_the_catalog_of_actions(designer: APIClient) -> None:
    rows = {row["name"]: row for row in designer.get(f"{ROOT}actions/").json()}
    assert rows["noop"] == {
        "name": "noop",
        "description": "Return the parameters as the output; `{}` when there are none.",
        "idempotent": True,
        "params_schema": {"type": "object"},
    }
    assert rows["log"]["params_schema"]["required"] == ["message"]


def test_validating_saves_nothing(designer: APIClient) -> None:
    good = designer.post(f"{ROOT}validate/", SEED, format="json")
    assert (good.status_code, good.json()) == (200, {"valid": True, "problems": []})
    bad = designer.post(f"{ROOT}validate/", {**SEED, "steps": []}, format="json")
    assert bad.status_code == 200
    assert bad.json()["valid"] is False
    assert [(row["path"], row["code"]) for row in bad.json()["problems"]] == [
        ("$.steps", "field.too_short")
    ]
    assert Workflow.objects.count() == 0


# Who may

EVERY_CALL = [
    ("get", "", None, "read"),
    ("get", "w/", None, "read"),
    ("get", "w/versions/", None, "read"),
    ("get", "w/versions/1.0.0/", None, "read"),
    ("get", "definition-schema/", None, "read"),
    ("get", "actions/", None, "read"),
    ("post", "validate/", SEED, "read"),
    ("post", "", SEED, "write"),
    ("patch", "w/", {"name": "New"}, "write"),
    ("post", "w/versions/", SEED, "write"),
    ("put", "w/versions/1.0.0/", SEED, "write"),
    ("delete", "w/versions/1.0.0/", None, "write"),
    ("post", "w/publish/", None, "write"),
    ("post", "w/versions/1.0.0/publish/", None, "write"),
    ("get", "w/versions/1.0.0/history/", None, "read"),
    ("get", "w/versions/1.0.0/reviews/", None, "read"),
    ("get", "w/versions/1.0.0/impact/?verb=deprecate", None, "read"),
    ("post", "w/suggest/", SEED, "read"),
]
# A designer gets another answer here: the draft is in no state for it, or it takes more.
MORE_CALLS = [
    ("post", "w/versions/1.0.0/deprecate/", None, "write"),
    ("post", "w/versions/1.0.0/reviews/", {"verdict": "approved", "content_hash": "x"}, "write"),
    ("post", "w/require-review/", {"required": True}, "write"),
]


def rows() -> tuple[list[Any], list[Any]]:
    return list(Workflow.objects.values()), list(WorkflowVersion.objects.values())


@pytest.mark.parametrize(("method", "path", "body", "kind"), [*EVERY_CALL, *MORE_CALLS])
@pytest.mark.parametrize("role", [None, Role.VIEWER, Role.OPERATOR])
def test_who_may_only_read_can_not_write(
    role: Role | None, method: str, path: str, body: Any, kind: str
) -> None:
    DraftFactory(document=document(slug="w"))
    before = rows()
    response = getattr(client(role), method)(ROOT + path, body, format="json")
    if role is not None and kind == "read":
        assert response.status_code == 200
    else:
        assert response.status_code == 403
        assert response.json()["error"]["code"] == "permission_denied"
    assert rows() == before


@pytest.mark.parametrize(("method", "path", "body", "kind"), EVERY_CALL)
def test_a_stranger_gets_nothing(method: str, path: str, body: Any, kind: str) -> None:
    DraftFactory(document=document(slug="w"))
    before = rows()
    response = getattr(APIClient(), method)(ROOT + path, body, format="json")
    assert response.status_code == 401
    assert response.json()["error"]["code"] == "not_authenticated"
    assert rows() == before


@pytest.mark.parametrize(("method", "path", "body", "kind"), EVERY_CALL)
def test_a_designer_may(designer: APIClient, method: str, path: str, body: Any, kind: str) -> None:
    draft = DraftFactory(document=document(slug="w"))
    if path == "w/versions/" and method == "post":
        services.publish_version(actor=SYSTEM, version=draft)
    response = getattr(designer, method)(ROOT + path, body, format="json")
    assert response.status_code in (200, 201, 204)
