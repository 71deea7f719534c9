from __future__ import annotations

import json

import pytest
from django.contrib.auth import get_user_model
from django.test import Client
from rest_framework.test import APIClient

from autopilot.accounts.models import SecurityEvent

pytestmark = pytest.mark.urls("tests.api.probe_urls")

REQUEST_ID = "a-request-id-of-ours"


@pytest.fixture
def api() -> APIClient:
    client = APIClient(raise_request_exception=False)
    client.credentials(HTTP_X_REQUEST_ID=REQUEST_ID)
    return client


def error(code: str, message: str, details: list[dict[str, str]] | None = None) -> dict:
    return {
        "error": {
            "code": code,
            "message": message,
            "details": details or [],
            "request_id": REQUEST_ID,
        }
    }


@pytest.mark.parametrize("kind", ["fail", "plain"])
@pytest.mark.parametrize(
    ("how", "status", "code", "message"),
    [
        ("conflict", 409, "conflict", "The execution has ended."),
        (
            "precondition",
            412,
            "precondition_failed",
            "Somebody changed it since you read it; read it again and repeat your change.",
        ),
        ("surrogate", 409, "conflict", "half \\ud83d a pair"),
        (
            "bug",
            500,
            "internal",
            "Something went wrong on our side; the request id helps to find out what.",
        ),
        (
            "django-denied",
            403,
            "permission_denied",
            "You do not have the permission that this needs.",
        ),
        (
            "suspicious",
            400,
            "invalid",
            "The request is not one this server can answer.",
        ),
    ],
)
def test_failures_become_envelopes(
    api: APIClient, kind: str, how: str, status: int, code: str, message: str
) -> None:
    response = api.get(f"/api/probe/{kind}/{how}/")
    assert response.status_code == status
    assert response["Content-Type"] == "application/json"
    assert response["X-Request-Id"] == REQUEST_ID
    assert response.json() == error(code, message)


@pytest.mark.parametrize("kind", ["fail", "plain"])
def test_a_database_that_is_away_is_503_with_a_time_to_wait(api: APIClient, kind: str) -> None:
    response = api.get(f"/api/probe/{kind}/database/")
    assert response.status_code == 503
    assert response["Retry-After"] == "2"
    assert response.json()["error"]["code"] == "unavailable"
    assert "10.1.2.3" not in response.content.decode()


def test_a_bug_shows_neither_trace_nor_message(api: APIClient) -> None:
    text = api.get("/api/probe/fail/bug/").content.decode()
    assert "secret" not in text
    assert "Traceback" not in text
    assert "ZeroDivisionError" not in text


def test_what_the_framework_does_not_find_is_404(api: APIClient) -> None:
    response = api.get("/api/probe/fail/http404/")
    assert response.status_code == 404
    assert response.json() == error("not_found", "There is no such thing, or you may not see it.")


def test_throttling_says_how_long_to_wait(api: APIClient) -> None:
    response = api.get("/api/probe/fail/throttled/")
    assert response.status_code == 429
    assert response["Retry-After"] == "7"
    assert response.json() == error("throttled", "Too many requests; wait and try again.")


def test_a_body_too_big_for_django_is_413(api: APIClient) -> None:
    response = api.get("/api/probe/fail/too-big/")
    assert response.status_code == 413
    assert response.json()["error"]["code"] == "request.too_large"


def test_problems_of_a_model_have_paths(api: APIClient) -> None:
    response = api.get("/api/probe/fail/model/")
    assert response.status_code == 400
    assert response.json() == error(
        "invalid",
        "The request has 2 problems; see details.",
        [
            {"path": "$.name", "code": "invalid", "message": "Too short."},
            {"path": "$", "code": "invalid", "message": "Odd."},
        ],
    )


def test_problems_of_nested_serializers_have_json_paths(api: APIClient) -> None:
    body = {"title": "x", "steps": [{"name": "good"}, {"name": "too long", "tags": [1, "two"]}]}
    response = api.post("/api/probe/echo/", body, format="json")
    assert response.status_code == 400
    assert response.json() == error(
        "invalid",
        "The request has 2 problems; see details.",
        [
            {
                "path": "$.steps[1].name",
                "code": "max_length",
                "message": "Ensure this field has no more than 5 characters.",
            },
            {
                "path": "$.steps[1].tags[1]",
                "code": "invalid",
                "message": "A valid integer is required.",
            },
        ],
    )


def test_one_problem_is_the_message(api: APIClient) -> None:
    body = {"title": "odd", "steps": []}
    response = api.post("/api/probe/echo/", body, format="json")
    assert response.json() == error(
        "invalid",
        "$: The parts do not fit.",
        [{"path": "$", "code": "misfit", "message": "The parts do not fit."}],
    )


def test_a_body_that_is_no_object_is_told_so(api: APIClient) -> None:
    response = api.post("/api/probe/echo/", [1], format="json")
    assert response.status_code == 400
    assert response.json()["error"]["details"] == [
        {
            "path": "$",
            "code": "invalid",
            "message": "Invalid data. Expected a dictionary, but got list.",
        }
    ]


def test_malformed_json_is_a_sentence_with_its_place(api: APIClient) -> None:
    response = api.post("/api/probe/echo/", b'{"title": }', content_type="application/json")
    assert response.status_code == 400
    message = "The body is not valid JSON: Expecting value at line 1, column 11 (character 10)."
    assert response.json() == error(
        "invalid", message, [{"path": "$", "code": "json.malformed", "message": message}]
    )


def test_a_body_over_the_limit_is_413(api: APIClient, settings) -> None:
    settings.DATA_UPLOAD_MAX_MEMORY_SIZE = 100
    response = api.post(
        "/api/probe/echo/", json.dumps({"title": "x" * 100}), content_type="application/json"
    )
    assert response.status_code == 413
    assert response.json() == error(
        "request.too_large",
        "The request's body is larger than 100 bytes, the most this server accepts.",
    )


def test_another_media_type_is_415(api: APIClient) -> None:
    response = api.post("/api/probe/echo/", "title=x", content_type="text/plain")
    assert response.status_code == 415
    assert response.json() == error(
        "unsupported_media_type",
        "The body has to be JSON, sent as Content-Type: application/json.",
    )


def test_another_method_is_405_and_names_the_right_ones(api: APIClient) -> None:
    response = api.delete("/api/probe/echo/")
    assert response.status_code == 405
    assert response["Allow"] == "POST, OPTIONS"
    assert response.json() == error("method_not_allowed", 'Method "DELETE" not allowed.')


def test_an_accept_header_without_json_is_406(api: APIClient) -> None:
    response = api.post("/api/probe/echo/", {}, format="json", HTTP_ACCEPT="text/csv")
    assert response.status_code == 406
    assert response.json()["error"]["code"] == "not_acceptable"


@pytest.mark.parametrize("debug", [False, True])
def test_an_unknown_address_of_the_api_is_json(api: APIClient, settings, debug: bool) -> None:
    settings.DEBUG = debug
    response = api.get("/api/v1/nothing/here/")
    assert response.status_code == 404
    assert response.json() == error("not_found", "There is no /api/v1/nothing/here/.")


def test_a_write_without_the_final_slash_is_told_the_right_address(api: APIClient) -> None:
    response = api.post("/api/probe/echo", {}, format="json")
    assert response.status_code == 404
    assert response.json() == error(
        "not_found", "There is no /api/probe/echo; /api/probe/echo/ was probably meant."
    )


def test_a_read_without_the_final_slash_is_redirected(api: APIClient) -> None:
    response = api.get("/api/v1/monitoring/health/live")
    assert response.status_code == 301
    assert response["Location"] == "/api/v1/monitoring/health/live/"


@pytest.mark.parametrize("address", ["/api/v1/auth/me/?x=%00", "/api/v1/a%00b/"])
def test_a_nul_in_the_address_is_refused(api: APIClient, address: str) -> None:
    response = api.get(address)
    assert response.status_code == 400
    assert response.json() == error(
        "invalid",
        "The address contains a NUL character.",
        [
            {
                "path": "$",
                "code": "text.nul",
                "message": "The address contains a NUL character.",
            }
        ],
    )


def test_a_foreign_host_is_refused_as_json(api: APIClient) -> None:
    response = api.get("/api/v1/monitoring/health/live/", HTTP_HOST="evil.example")
    assert response.status_code == 400
    assert response.json()["error"]["code"] == "invalid"


@pytest.mark.parametrize(
    ("path", "status", "title"),
    [
        ("/nothing/", 404, "There is nothing here"),
        ("/page/bug/", 500, "Something went wrong on our side"),
        ("/page/django-denied/", 403, "You may not do this"),
        ("/page/conflict/", 409, "Not possible right now"),
        ("/page/database/", 503, "Not available right now"),
    ],
)
def test_people_get_pages(path: str, status: int, title: str) -> None:
    response = Client(raise_request_exception=False).get(path, HTTP_X_REQUEST_ID=REQUEST_ID)
    text = response.content.decode()
    assert response.status_code == status
    assert response["Content-Type"] == "text/html; charset=utf-8"
    assert f"<h1>{title}</h1>" in text
    assert REQUEST_ID in text
    assert "secret" not in text


def test_a_request_id_of_strange_characters_is_replaced() -> None:
    response = Client().get("/api/v1/monitoring/health/live/", HTTP_X_REQUEST_ID='x" onload="y')
    assert len(response["X-Request-Id"]) == 32
    assert response["X-Request-Id"].isalnum()


@pytest.mark.parametrize(
    ("path", "script"),
    [
        ("/api/v1/monitoring/health/live/", None),
        ("/api/docs", "script-src 'self'"),
        ("/api/redoc", "script-src 'self'"),
        ("/nothing/", "script-src 'self'"),
        ("/admin/login/", "script-src 'self' 'unsafe-eval'"),
    ],
)
@pytest.mark.django_db
def test_every_answer_has_a_content_security_policy(path: str, script: str | None) -> None:
    policy = Client().get(path)["Content-Security-Policy"]
    directives = policy.split("; ")
    assert "frame-ancestors 'none'" in directives
    if script is None:
        assert "default-src 'none'" in directives
    else:
        assert "default-src 'self'" in directives
        assert script in directives
    assert "http:" not in policy
    assert "https:" not in policy


@pytest.mark.django_db
def test_a_view_lets_in_only_by_what_it_declares(api: APIClient) -> None:
    user = get_user_model().objects.create_user("vera", password="a password of vera")
    assert api.get("/api/probe/declared/").status_code == 401
    api.force_authenticate(user)

    missing = api.get("/api/probe/declared/")
    assert missing.status_code == 403
    assert missing.json() == error(
        "permission_denied", "vera does not have the permission workflows.view_workflow."
    )
    assert api.put("/api/probe/declared/").status_code == 200

    undeclared = api.post("/api/probe/declared/")
    assert undeclared.status_code == 403
    assert undeclared.json() == error(
        "permission_denied", "DeclaredView declares no permission for 'post'."
    )
    assert api.patch("/api/probe/declared/").status_code == 405
    assert list(SecurityEvent.objects.order_by("id").values_list("kind", "user_id", "message")) == [
        ("permission_denied", user.pk, missing.json()["error"]["message"]),
        ("permission_denied", user.pk, undeclared.json()["error"]["message"]),
    ]


@pytest.mark.django_db
def test_nobody_in_particular_is_told_how_to_sign_in(api: APIClient) -> None:
    response = api.get("/api/probe/declared/")
    assert response.status_code == 401
    assert response["WWW-Authenticate"] == 'Bearer realm="api"'
    assert response.json() == error(
        "not_authenticated",
        "Say who you are first: a bearer token or a signed-in session is expected.",
    )
