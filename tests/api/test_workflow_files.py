"""Workflows as files over REST, and definitions sent as YAML."""

from __future__ import annotations

import io
import zipfile
from typing import Any

import pytest
import yaml
from django.core.files.uploadedfile import SimpleUploadedFile
from rest_framework.test import APIClient

from autopilot.accounts.roles import Role
from tests.factories import UserFactory, VersionFactory
from workflows.models import WorkflowVersion

pytestmark = pytest.mark.django_db

API = "/api/v1/workflows"
ORDERS: dict[str, Any] = {
    "name": "Orders",
    "slug": "orders",
    "version": "1.0.0",
    "steps": [{"id": "note", "type": "action", "config": {"action": "noop"}}],
}
TEXT = """\
name: Orders
slug: orders
version: "1.0.0"
steps:
  - id: note
    type: action
    config:
      action: noop
"""
MORE = TEXT.replace("1.0.0", "1.1.0") + "  - type: succeed\n    config: {}\n"


def client(role: Role | None) -> APIClient:
    api = APIClient()
    api.force_authenticate(UserFactory.create(role=role))
    return api


@pytest.fixture
def designer() -> APIClient:
    return client(Role.DESIGNER)


@pytest.fixture
def orders() -> WorkflowVersion:
    return VersionFactory.create(document=ORDERS)


def numbers() -> list[str]:
    return list(WorkflowVersion.objects.order_by("id").values_list("version", flat=True))


def problems(response: Any) -> list[tuple[str, str, int | None]]:
    details = response.json()["error"]["details"]
    return [(each["path"], each["code"], each.get("line")) for each in details]


@pytest.mark.parametrize("path", ["orders/export/", "orders/versions/1.0.0/export/"])
def test_a_workflow_or_a_version_is_a_file(orders: WorkflowVersion, path: str) -> None:
    api = client(Role.VIEWER)
    response = api.get(f"{API}/{path}")
    assert (response.status_code, response.content.decode()) == (200, TEXT)
    assert response["Content-Type"] == "application/yaml; charset=utf-8"
    assert response["Content-Disposition"].startswith('attachment; filename="orders')
    assert api.get(f"{API}/{path}", {"format": "json"}).json() == ORDERS
    again = api.get(f"{API}/{path}", headers={"If-None-Match": response["ETag"]})
    assert (again.status_code, again.content) == (304, b"")


def test_all_workflows_are_files_that_an_import_takes(
    orders: WorkflowVersion, designer: APIClient
) -> None:
    VersionFactory.create(document={**ORDERS, "slug": "more", "name": "More"})
    exported = designer.get(f"{API}/export/", {"workflow": "orders"}).json()
    assert exported == {"files": {"orders.yaml": TEXT}, "without": []}
    archive = designer.get(f"{API}/export/", {"format": "zip"})
    assert archive["Content-Type"] == "application/zip"
    with zipfile.ZipFile(io.BytesIO(archive.content)) as files:
        assert files.namelist() == ["more.yaml", "orders.yaml"]
        assert files.read("orders.yaml").decode() == TEXT
    result = designer.post(f"{API}/import/", {"files": exported["files"]}, "json").json()
    assert [(each["name"], each["outcome"]) for each in result["files"]] == [
        ("orders.yaml", "unchanged")
    ]


def test_a_dry_run_shows_the_difference_and_its_fingerprint_is_held_to(
    orders: WorkflowVersion, designer: APIClient
) -> None:
    wishes = {"files": {"orders.yaml": MORE}, "publish": True}
    shown = designer.post(f"{API}/import/", {**wishes, "dry_run": True}, "json")
    assert shown.status_code == 200
    body = shown.json()
    (file,) = body["files"]
    assert (body["saved"], body["valid"], numbers()) == (False, True, ["1.0.0"])
    assert (file["outcome"], file["version"], file["state"], file["against"]) == (
        "version",
        "1.1.0",
        "published",
        "1.0.0",
    )
    assert [change["kind"] for change in file["changes"]] == ["step.added"]
    assert (file["guard"]["bump"], file["guard"]["suggested"]) == ("minor", "1.1.0")
    stale = designer.post(f"{API}/import/", {**wishes, "expected": "0" * 32}, "json")
    assert (stale.status_code, stale.json()["error"]["code"]) == (409, "import.outdated")
    assert numbers() == ["1.0.0"]
    wishes["expected"] = body["fingerprint"]
    assert designer.post(f"{API}/import/", wishes, "json").json()["saved"] is True
    assert WorkflowVersion.objects.get(version="1.1.0").state == "published"


def test_files_of_a_form_are_imported(designer: APIClient) -> None:
    files = [SimpleUploadedFile("orders.yaml", TEXT.encode())]
    response = designer.post(f"{API}/import/", {"files": files, "publish": "true"}, "multipart")
    assert (response.status_code, response.json()["saved"]) == (200, True)
    assert WorkflowVersion.objects.get().state == "published"


def test_bad_files_are_refused_with_a_sentence_each_and_nothing_changes(
    designer: APIClient,
) -> None:
    files = [
        SimpleUploadedFile("orders.yaml", TEXT.encode()),
        SimpleUploadedFile("all.zip", b"PK\x03\x04"),
        SimpleUploadedFile("latin.yaml", b"name: \xfc"),
        SimpleUploadedFile("empty.yaml", b""),
    ]
    response = designer.post(f"{API}/import/", {"files": files}, "multipart")
    assert response.status_code == 400
    assert problems(response) == [
        ('$.files["all.zip"]', "file.name", None),
        ('$.files["empty.yaml"]', "text.empty", 1),
        ('$.files["latin.yaml"]', "text.encoding", 1),
    ]
    twice = [SimpleUploadedFile(f"{folder}/orders.yaml", TEXT.encode()) for folder in "ab"]
    response = designer.post(f"{API}/import/", {"files": twice}, "multipart")
    assert problems(response) == [('$.files["orders.yaml"]', "file.twice", None)]
    assert numbers() == []


def test_files_that_are_too_large_together_are_refused_and_not_passed_over(
    designer: APIClient, settings: Any
) -> None:
    settings.DATA_UPLOAD_MAX_MEMORY_SIZE = 500
    # What the server hands on of a longer body: its length, and nothing or a part of it.
    for body in (b"", b"--x\r\nContent-Disposition: form-data; name=files; filename=a.yaml\r\n"):
        response = designer.generic(
            "POST",
            f"{API}/import/",
            body,
            content_type="multipart/form-data; boundary=x",
            CONTENT_LENGTH="501",
        )
        assert response.status_code == 413
        assert response.json()["error"]["code"] == "request.too_large"
    assert numbers() == []


@pytest.mark.parametrize(
    ("body", "path"),
    [
        ({}, "$.files"),
        ({"files": ["a"]}, "$.files"),
        ({"files": {"a.yaml": 1}}, "$.files"),
        ({"files": {}, "dryrun": True}, "$.dryrun"),
        ({"files": {}, "publish": "perhaps"}, "$.publish"),
    ],
)
def test_a_request_that_says_something_else_is_refused(
    designer: APIClient, body: dict[str, Any], path: str
) -> None:
    response = designer.post(f"{API}/import/", body, "json")
    assert response.status_code == 400
    assert [each[0] for each in problems(response)] == [path]


def test_who_may_not_is_refused_in_json_whatever_was_asked_for(orders: WorkflowVersion) -> None:
    viewer = client(Role.VIEWER)
    files = {"files": {"orders.yaml": MORE}}
    assert viewer.post(f"{API}/import/", files, "json").status_code == 403
    response = client(None).get(f"{API}/orders/export/")
    assert (response.status_code, response["Content-Type"]) == (403, "application/json")
    assert response.json()["error"]["code"] == "permission_denied"
    assert viewer.get(f"{API}/nothing/export/").json()["error"]["code"] == "not_found"
    assert viewer.get(f"{API}/export/", {"workflow": "nothing"}).status_code == 404
    assert viewer.get(f"{API}/export/", {"drafts": "perhaps"}).status_code == 400
    assert numbers() == ["1.0.0"]


# Definitions as YAML


def test_definitions_are_sent_as_yaml(designer: APIClient) -> None:
    kind = "application/yaml"
    assert designer.post(f"{API}/", TEXT, content_type=kind).status_code == 201
    draft = f"{API}/orders/versions/1.0.0/"
    assert designer.put(draft, MORE.replace("1.1.0", "1.0.0"), content_type=kind).status_code == 200
    assert [step["type"] for step in WorkflowVersion.objects.get().definition["steps"]] == [
        "action",
        "succeed",
    ]
    response = designer.post(f"{API}/validate/", TEXT.replace("noop", "nop"), content_type=kind)
    (problem,) = response.json()["problems"]
    assert (problem["path"], problem["line"], problem["column"]) == (
        "$.steps[0].config.action",
        8,
        15,
    )
    assert yaml.safe_load(designer.get(f"{draft}export/").content)["version"] == "1.0.0"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("a: &a 1\n", ("$.a", "yaml.anchor", 1)),
        (TEXT.replace("type: action", "type: act"), ("$.steps[0].type", "step.type_unknown", 6)),
        (b"\xff", ("$", "text.encoding", 1)),
    ],
)
def test_what_is_wrong_in_yaml_has_its_line(
    designer: APIClient, text: str, problem: tuple[str, str, int]
) -> None:
    response = designer.post(f"{API}/", text, content_type="application/yaml")
    assert (response.status_code, problems(response)) == (400, [problem])
    assert numbers() == []


def test_only_definitions_are_taken_as_yaml(orders: WorkflowVersion, designer: APIClient) -> None:
    response = designer.patch(f"{API}/orders/", "name: X", content_type="application/yaml")
    assert response.status_code == 415
