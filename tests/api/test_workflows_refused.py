"""What the workflow API refuses: the code, the place, a sentence, and nothing saved."""

from __future__ import annotations

import json
from typing import Any

import pytest
from rest_framework.test import APIClient

from autopilot.accounts.models import AuditEntry
from autopilot.accounts.roles import Role
from tests.factories import DraftFactory, UserFactory, VersionFactory, document
from workflows.models import Workflow, WorkflowVersion

pytestmark = pytest.mark.django_db

ROOT = "/api/v1/workflows/"
STEP = {"name": "Step 1", "type": "action", "config": {"action": "noop"}}


@pytest.fixture
def api() -> APIClient:
    api = APIClient()
    api.force_authenticate(UserFactory.create(role=Role.DESIGNER))
    return api


def error(response: Any) -> tuple[int, str, list[tuple[str, str]]]:
    body = response.json()["error"]
    assert body["message"]
    assert "Traceback" not in response.content.decode()
    return (
        response.status_code,
        body["code"],
        [(problem["path"], problem["code"]) for problem in body["details"]],
    )


def step(**fields: Any) -> dict[str, Any]:
    return {**STEP, **fields}


BAD_DOCUMENTS: list[tuple[str, Any, list[tuple[str, str]]]] = [
    ("a list", [STEP], [("$", "definition.no_object")]),
    ("a text", "workflow", [("$", "definition.no_object")]),
    ("null", None, [("$", "definition.no_object")]),
    ("nothing in it", {}, [("$.name", "field.missing"), ("$.steps", "field.missing")]),
    ("no steps", document(steps=[]), [("$.steps", "field.too_short")]),
    ("steps as a mapping", document(steps={"a": STEP}), [("$.steps", "field.type")]),
    ("a number as name", document(name=5), [("$.name", "field.type")]),
    ("a long name", document(name="x" * 201), [("$.name", "field.too_long")]),
    (
        "an unknown step type",
        document(steps=[step(type="magic")]),
        [("$.steps[0].type", "step.type_unknown")],
    ),
    (
        "a name that can't be used yet",
        document(steps=[step(config={"action": "noop", "with": {"key": "{{ secrets.KEY }}"}})]),
        [("$.steps[0].config.with.key", "not_supported_yet")],
    ),
    (
        "an unknown action",
        document(steps=[step(config={"action": "nop"})]),
        [("$.steps[0].config.action", "action.unknown")],
    ),
    (
        "duplicate ids",
        document(steps=[step(id="a"), step(id="a")]),
        [("$.steps[1].id", "step.id_duplicate")],
    ),
    (
        "next to nowhere",
        document(steps=[step(next="nowhere")]),
        [("$.steps[0].next", "step.next_unknown")],
    ),
    (
        "a step nobody reaches",
        document(steps=[step(id="a", next="c"), step(id="b"), step(id="c")]),
        [("$.steps[1]", "step.unreachable")],
    ),
    (
        "an expression that doesn't parse",
        document(steps=[step(when="input.total >")]),
        [("$.steps[0].when", "expression.invalid")],
    ),
    (
        "an expression that names what can't exist",
        document(steps=[step(when="steps.later.output")]),
        [("$.steps[0].when", "expression.step_not_available")],
    ),
    ("a version that is none", document(version="1.0"), [("$.version", "field.version")]),
    ("a pre-release", document(version="1.0.0-rc.1"), [("$.version", "field.version")]),
    ("a slug that is none", document(slug="My Flow"), [("$.slug", "field.slug")]),
    (
        "too big",
        document(
            description="x", steps=[step(config={"action": "noop", "with": {"x": "y" * 2**20}})]
        ),
        [("$", "definition.too_large")],
    ),
    ("a misspelt field", document(lables={}), [("$.lables", "field.unknown")]),
]


@pytest.mark.parametrize(
    ("body", "details"),
    [(body, details) for _, body, details in BAD_DOCUMENTS],
    ids=[name for name, _, _ in BAD_DOCUMENTS],
)
def test_a_bad_definition_is_refused_everywhere(
    api: APIClient, body: Any, details: list[tuple[str, str]]
) -> None:
    live = VersionFactory(document=document(slug="live")).workflow
    DraftFactory(document=document(slug="draft"))
    before = list(WorkflowVersion.objects.values())
    audited = AuditEntry.objects.count()
    raw = json.dumps(body)
    for method, path in (
        ("post", ROOT),
        ("post", f"{ROOT}{live.slug}/versions/"),
        ("put", f"{ROOT}draft/versions/1.0.0/"),
    ):
        response = getattr(api, method)(path, raw, content_type="application/json")
        status, code, found = error(response)
        assert (status, code) == (400, "definition.invalid"), path
        extra = [("$.slug", "slug.mismatch")] if body == document(slug="My Flow") else []
        assert [item for item in found if path == ROOT or item not in extra] == details
    checked = api.post(f"{ROOT}validate/", raw, content_type="application/json")
    assert checked.status_code == 200
    assert [(row["path"], row["code"]) for row in checked.json()["problems"]] == details
    assert list(WorkflowVersion.objects.values()) == before
    assert Workflow.objects.count() == 2
    assert AuditEntry.objects.count() == audited


@pytest.mark.parametrize(
    ("raw", "details"),
    [
        (b'{"name": ', [("$", "json.malformed")]),
        (b'{"name": "a\\u0000b", "steps": []}', [("$.name", "text.nul")]),
        (b'{"name": "a\\ud800b", "steps": []}', [("$.name", "text.surrogate")]),
        (b'{"name": NaN}', [("$.name", "json.not_a_number")]),
        (b'{"name": "a", "name": "b"}', [("$", "json.duplicate_key")]),
        (b'{"name": "\xff"}', [("$", "json.malformed")]),
        (b"[" * 5_000 + b"]" * 5_000, None),
    ],
)
def test_what_is_no_json_is_refused(
    api: APIClient, raw: bytes, details: list[tuple[str, str]] | None
) -> None:
    for path in (ROOT, f"{ROOT}validate/"):
        status, _, found = error(api.post(path, raw, content_type="application/json"))
        assert status == 400
        assert details is None or found == details
    assert Workflow.objects.count() == 0


def test_an_empty_body_is_no_definition(api: APIClient) -> None:
    response = api.post(ROOT, b"", content_type="application/json")
    missing = [("$.name", "field.missing"), ("$.steps", "field.missing")]
    assert error(response) == (400, "definition.invalid", missing)


def test_a_form_is_not_a_definition(api: APIClient) -> None:
    response = api.post(ROOT, "name=a", content_type="application/x-www-form-urlencoded")
    assert error(response)[:2] == (415, "unsupported_media_type")
    assert response.json()["error"]["message"] == (
        "The body has to be JSON or YAML, sent as Content-Type: application/json or "
        "application/yaml."
    )


def test_a_taken_slug_is_a_conflict(api: APIClient) -> None:
    DraftFactory(document=document(slug="orders"))
    response = api.post(ROOT, document(slug="orders"), format="json")
    assert error(response) == (409, "conflict", [("$.slug", "slug.taken")])
    assert Workflow.objects.count() == 1


def test_publishing_twice_is_a_conflict(api: APIClient) -> None:
    at = f"{ROOT}{VersionFactory().workflow.slug}/"
    response = api.post(f"{at}versions/1.0.0/publish/")
    assert error(response) == (409, "conflict", [("$.state", "version.not_draft")])
    assert error(api.post(f"{at}publish/"))[:2] == (409, "conflict")


def test_a_published_version_is_not_edited_or_deleted(api: APIClient) -> None:
    version = VersionFactory()
    before = list(WorkflowVersion.objects.values())
    at = f"{ROOT}{version.workflow.slug}/versions/1.0.0/"
    for response in (api.put(at, document(output=1), format="json"), api.delete(at)):
        assert error(response) == (409, "conflict", [("$.state", "version.not_draft")])
    assert list(WorkflowVersion.objects.values()) == before


def test_a_number_below_the_published_ones_is_a_conflict(api: APIClient) -> None:
    workflow = VersionFactory(document=document(version="2.0.0")).workflow
    at = f"{ROOT}{workflow.slug}/versions/"
    for number, code in (("1.0.0", "version.too_low"), ("2.0.0", "version.taken")):
        response = api.post(at, document(version=number), format="json")
        assert error(response) == (409, "conflict", [("$.version", code)])
    assert workflow.versions.count() == 1


def test_a_second_draft_is_a_conflict(api: APIClient) -> None:
    workflow = DraftFactory().workflow
    response = api.post(f"{ROOT}{workflow.slug}/versions/", document(), format="json")
    assert error(response)[:2] == (409, "conflict")
    assert workflow.versions.count() == 1


def test_a_stale_etag_stops_every_change(api: APIClient) -> None:
    version = DraftFactory()
    at = f"{ROOT}{version.workflow.slug}/"
    draft = f"{at}versions/1.0.0/"
    before = list(Workflow.objects.values()), list(WorkflowVersion.objects.values())
    stale = {"headers": {"If-Match": '"0123"'}}
    for response in (
        api.patch(at, {"name": "New"}, format="json", **stale),
        api.put(draft, document(output=1), format="json", **stale),
        api.delete(draft, **stale),
        api.post(f"{draft}publish/", **stale),
    ):
        assert error(response) == (412, "precondition_failed", [])
    assert (list(Workflow.objects.values()), list(WorkflowVersion.objects.values())) == before


def test_the_second_of_two_editors_is_told(api: APIClient) -> None:
    version = DraftFactory()
    at = f"{ROOT}{version.workflow.slug}/versions/1.0.0/"
    etag = api.get(at)["ETag"]
    match = {"headers": {"If-Match": etag}}
    assert api.put(at, document(output="first"), format="json", **match).status_code == 200
    assert error(api.put(at, document(output="second"), format="json", **match))[0] == 412
    assert WorkflowVersion.objects.get().definition["output"] == "first"


@pytest.mark.parametrize(
    ("change", "details"),
    [
        ({"nmae": "New"}, [("$.nmae", "field.unknown")]),
        ({"slug": "new"}, [("$.slug", "field.unknown")]),
        ({"name": None}, [("$.name", "null")]),
        ({"name": ""}, [("$.name", "field.too_short")]),
        ({"labels": {"a": 1}}, [("$.labels.a", "field.label")]),
        ({"labels": ["a"]}, [("$.labels", "field.type")]),
        ({"description": "x" * 4_001}, [("$.description", "field.too_long")]),
    ],
)
def test_a_bad_change_of_a_workflow_is_refused(
    api: APIClient, change: Any, details: list[tuple[str, str]]
) -> None:
    workflow = DraftFactory().workflow
    response = api.patch(f"{ROOT}{workflow.slug}/", change, format="json")
    assert error(response) == (400, "invalid", details)
    assert Workflow.objects.get().updated_at == workflow.updated_at


@pytest.mark.parametrize("body", [["x"], {"changelog": 5}, {"changelog": "x" * 4_001}, {"x": 1}])
def test_a_bad_body_does_not_publish(api: APIClient, body: Any) -> None:
    version = DraftFactory()
    at = f"{ROOT}{version.workflow.slug}/"
    for path in (f"{at}publish/", f"{at}versions/1.0.0/publish/"):
        assert error(api.post(path, body, format="json"))[0] == 400
    assert WorkflowVersion.objects.get().state == "draft"


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("get", "nobody/"),
        ("patch", "nobody/"),
        ("post", "nobody/publish/"),
        ("get", "nobody/versions/"),
        ("post", "nobody/versions/"),
        ("get", "w/versions/9.9.9/"),
        ("put", "w/versions/9.9.9/"),
        ("get", "w/versions/latest/"),
        ("get", "w/versions/1.0.0%20/"),
        ("get", "W/"),
    ],
)
def test_what_is_not_there_is_not_found(api: APIClient, method: str, path: str) -> None:
    VersionFactory(document=document(slug="w"))
    response = getattr(api, method)(ROOT + path, document(), format="json")
    assert error(response)[:2] == (404, "not_found")
    assert WorkflowVersion.objects.count() == 1


@pytest.mark.parametrize(
    ("method", "path"), [("delete", "w/"), ("put", "w/"), ("patch", "w/versions/1.0.0/")]
)
def test_what_is_not_offered_is_not_allowed(api: APIClient, method: str, path: str) -> None:
    DraftFactory(document=document(slug="w"))
    response = getattr(api, method)(ROOT + path, {}, format="json")
    assert error(response)[:2] == (405, "method_not_allowed")
