"""Comparing the versions of a workflow: the smallest honest number, and the difference."""

from __future__ import annotations

from typing import Any

import pytest
from rest_framework.test import APIClient

from autopilot.accounts.actors import Actor
from autopilot.accounts.roles import Role
from tests.factories import UserFactory, VersionFactory
from workflows import services
from workflows.models import Workflow, WorkflowVersion

pytestmark = pytest.mark.django_db

SYSTEM = Actor.system("tests")
SLUG = "/api/v1/workflows/orders"
FIRST: dict[str, Any] = {
    "name": "Orders",
    "slug": "orders",
    "input_schema": {"type": "object", "properties": {"id": {"type": "integer"}}},
    "steps": [{"id": "note", "type": "action", "config": {"action": "noop"}}],
}
STRICTER = {**FIRST, "input_schema": {**FIRST["input_schema"], "required": ["id"]}}


@pytest.fixture
def viewer() -> APIClient:
    api = APIClient()
    api.force_authenticate(UserFactory.create(username="viewer", role=Role.VIEWER))
    return api


@pytest.fixture
def workflow() -> Workflow:
    return VersionFactory.create(document=FIRST).workflow


def draft(workflow: Workflow, **fields: Any) -> WorkflowVersion:
    document = {**STRICTER, **fields}
    return services.create_version(actor=SYSTEM, workflow=workflow, document=document)


def test_the_smallest_honest_number(viewer: APIClient, workflow: Workflow) -> None:
    before = draft(workflow).updated_at
    response = viewer.post(f"{SLUG}/versions/1.1.0/compatibility/")
    assert (response.status_code, response.json()) == (
        200,
        {
            "version": "1.1.0",
            "against": "1.0.0",
            "bump": "major",
            "suggested": "2.0.0",
            "enough": False,
            "reasons": [
                {
                    "path": "$.input_schema.required",
                    "kind": "input.narrowed",
                    "sentence": "An input that was taken is refused now: The field "
                    '"id" is missing.',
                    "bump": "major",
                    "example": "{}",
                }
            ],
            "more": 0,
        },
    )
    assert workflow.versions.get(version="1.1.0").updated_at == before


def test_a_number_that_is_high_enough(viewer: APIClient, workflow: Workflow) -> None:
    draft(workflow, version="2.0.0")
    body = viewer.post(f"{SLUG}/versions/2.0.0/compatibility/", {"against": "1.0.0"}, "json").json()
    assert (body["enough"], body["suggested"]) == (True, "2.0.0")


def test_the_first_version_breaks_nobody(viewer: APIClient, workflow: Workflow) -> None:
    body = viewer.post(f"{SLUG}/versions/1.0.0/compatibility/").json()
    assert (body["against"], body["bump"], body["suggested"], body["enough"]) == (
        *(None, "none", "1.0.0"),
        True,
    )


def test_the_difference(viewer: APIClient, workflow: Workflow) -> None:
    draft(workflow)
    response = viewer.get(f"{SLUG}/diff/", {"from": "1.0.0", "to": "1.1.0"})
    assert (response.status_code, response.json()) == (
        200,
        {
            "old": "1.0.0",
            "new": "1.1.0",
            "changes": [
                {
                    "kind": "schema.changed",
                    "path": "$.input_schema",
                    "was": "$.input_schema",
                    "step": "",
                    "old_step": "",
                    "type": "",
                    "name": "",
                    "field_changes": [
                        {"path": "$.input_schema.required", "text": False, "after": ["id"]}
                    ],
                }
            ],
        },
    )


@pytest.mark.parametrize(
    ("numbers", "path"),
    [({"from": "1.0.0", "to": "9.9.9"}, "$.to"), ({"to": "1.0.0"}, "$.from")],
)
def test_a_version_that_is_not_there(
    viewer: APIClient, workflow: Workflow, numbers: dict[str, str], path: str
) -> None:
    response = viewer.get(f"{SLUG}/diff/", numbers)
    assert response.status_code == 404
    assert [each["path"] for each in response.json()["error"]["details"]] == [path]


def test_nobody_without_a_role(workflow: Workflow) -> None:
    api = APIClient()
    api.force_authenticate(UserFactory.create(username="nobody", role=None))
    assert api.get(f"{SLUG}/diff/", {"from": "1.0.0", "to": "1.0.0"}).status_code == 403
    assert api.post(f"{SLUG}/versions/1.0.0/compatibility/").status_code == 403


def test_a_document_that_is_not_saved(viewer: APIClient, workflow: Workflow) -> None:
    body = {"document": {**FIRST, "version": "1.0.1", "description": "Notes orders."}}
    response = viewer.post(f"{SLUG}/diff/", body, "json")
    assert response.status_code == 200
    found = response.json()
    assert (found["old"], found["new"]) == ("1.0.0", "1.0.1")
    assert [(each["kind"], each["path"]) for each in found["changes"]] == [
        ("document.changed", "$.description")
    ]
    assert workflow.versions.count() == 1


def test_a_document_that_is_wrong_or_has_nothing_to_be_compared_with(
    viewer: APIClient, workflow: Workflow
) -> None:
    wrong = {**FIRST, "steps": [{"id": "note", "type": "dance"}]}
    response = viewer.post(f"{SLUG}/diff/", {"document": wrong}, "json")
    assert response.status_code == 400
    details = response.json()["error"]["details"]
    assert "$.steps[0].type" in [each["path"] for each in details]
    response = viewer.post(f"{SLUG}/diff/", {"old": "7.0.0", "document": FIRST}, "json")
    assert (response.status_code, response.json()["error"]["details"][0]["path"]) == (404, "$.old")
