from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from django.core.management import call_command
from django.test import Client

ROOT = Path(__file__).resolve().parents[2]
COMMAND = "manage.py spectacular --file docs/openapi.yaml --validate --fail-on-warn"


@pytest.fixture(scope="module")
def generated(tmp_path_factory: pytest.TempPathFactory) -> str:
    file = tmp_path_factory.mktemp("openapi") / "openapi.yaml"
    # Raises on a warning, and on a document that is no valid OpenAPI.
    call_command("spectacular", file=str(file), validate=True, fail_on_warn=True)
    return file.read_text()


def operations(document: str) -> list[tuple[str, dict[str, Any]]]:
    paths = yaml.safe_load(document)["paths"]
    return [
        (f"{method} {path}", operation)
        for path, methods in paths.items()
        for method, operation in methods.items()
    ]


def test_the_committed_document_is_what_the_code_says(generated: str) -> None:
    committed = (ROOT / "docs" / "openapi.yaml").read_text()
    assert committed == generated, f"run {COMMAND} and look at what changed"


def test_every_operation_says_how_it_refuses(generated: str) -> None:
    error = {"$ref": "#/components/schemas/Error"}
    for name, operation in operations(generated):
        responses = operation["responses"]
        assert responses["default"]["content"]["application/json"]["schema"] == error, name
        if {} not in operation.get("security", [{}]):
            assert {"401", "403"} <= set(responses), name
        if "requestBody" in operation:
            assert {"400", "413", "415"} <= set(responses), name


def test_every_operation_has_a_summary_and_says_who_may_call_it(generated: str) -> None:
    for name, operation in operations(generated):
        assert operation.get("summary"), name
        if operation.get("security"):
            signed_in = [{"bearer": []}, {"cookieAuth": []}]
            if name.endswith("/events/"):
                # A browser opens these without a header.
                signed_in.insert(0, {"ticket": []})
            assert operation["security"] in (signed_in, [{}]), name


def test_the_schema_is_open_and_served_as_openapi() -> None:
    response = Client().get("/api/schema", HTTP_AUTHORIZATION="Bearer x.y.z")
    assert response.status_code == 200
    assert response["Content-Type"] == "application/vnd.oai.openapi; charset=utf-8"
    assert yaml.safe_load(response.content)["openapi"].startswith("3.")


@pytest.mark.parametrize("path", ["/api/docs", "/api/docs?script=", "/api/redoc"])
def test_the_documentation_comes_from_here_alone(path: str) -> None:
    response = Client().get(path)
    assert response.status_code == 200
    loaded = re.findall(r'(?:src|href|url)\s*[=:]\s*"([^"]+)"', response.content.decode())
    assert [url for url in loaded if re.match(r"(https?:)?//", url)] == []
