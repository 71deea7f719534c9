"""What the execution API refuses: the code, the place, a sentence, and nothing saved."""

from __future__ import annotations

import json
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from django.contrib.auth.models import User
from rest_framework.test import APIClient
from rest_framework_simplejwt.tokens import AccessToken

from autopilot.accounts.models import AuditEntry
from autopilot.accounts.roles import Role
from executions.errors import StartInvalid
from executions.models import Execution, InboxMessage, StateTransition
from executions.services import cancel_execution, start_execution
from tests.engine import SYSTEM, drain
from tests.factories import (
    DraftFactory,
    ExecutionFactory,
    UserFactory,
    VersionFactory,
    WorkflowFactory,
    document,
)
from workflows.services import create_version

pytestmark = pytest.mark.django_db

ROOT = "/api/v1/executions/"
SCHEMA = {
    "type": "object",
    "required": ["customer", "amount"],
    "properties": {
        "customer": {"type": "string", "minLength": 2},
        "amount": {"type": "integer"},
        "items": {"type": "array", "items": {"type": "object", "required": ["sku"]}},
    },
    "additionalProperties": False,
}


@pytest.fixture
def api() -> APIClient:
    api = APIClient()
    api.force_authenticate(UserFactory.create(role=Role.OPERATOR))
    return api


@pytest.fixture
def slug() -> str:
    return WorkflowFactory.create(document=document(name="Welcome")).slug


def error(response: Any) -> tuple[int, str, list[tuple[str, str]]]:
    body = response.json()["error"]
    assert body["message"]
    assert "Traceback" not in response.content.decode()
    return (
        response.status_code,
        body["code"],
        [(problem["path"], problem["code"]) for problem in body["details"]],
    )


def messages(response: Any) -> list[str]:
    return [problem["message"] for problem in response.json()["error"]["details"]]


def start(api: APIClient, body: Any, **headers: str) -> Any:
    return api.post(ROOT, body, format="json", headers=headers)


def raw(api: APIClient, text: str | bytes, kind: str = "application/json") -> Any:
    return api.generic("POST", ROOT, text, content_type=kind)


def nothing_was_saved() -> bool:
    started = AuditEntry.objects.filter(action__startswith="execution.").exists()
    return not (Execution.objects.exists() or StateTransition.objects.exists() or started)


BAD_BODIES: list[tuple[str, Any, list[tuple[str, str]]]] = [
    ("a list", [], [("$", "field.type")]),
    ("a text", "welcome", [("$", "field.type")]),
    ("null", None, [("$", "field.type")]),
    ("nothing in it", {}, [("$.workflow", "field.missing")]),
    ("a number as workflow", {"workflow": 5}, [("$.workflow", "field.type")]),
    ("null as workflow", {"workflow": None}, [("$.workflow", "field.type")]),
    ("no text", {"workflow": ""}, [("$.workflow", "field.empty")]),
    ("a long slug", {"workflow": "w" * 101}, [("$.workflow", "field.too_long")]),
    ("an unknown workflow", {"workflow": "welcom"}, [("$.workflow", "workflow.unknown")]),
    (
        "an unknown field",
        {"workflow": "welcome", "prioritty": "high"},
        [("$.prioritty", "field.unknown")],
    ),
    (
        "several problems",
        {"inputs": {}, "priority": 3, "labels": {"a": 1, "b": None}},
        [
            ("$.workflow", "field.missing"),
            ("$.priority", "field.choice"),
            ("$.labels.a", "field.type"),
            ("$.labels.b", "field.type"),
            ("$.inputs", "field.unknown"),
        ],
    ),
    ("a number as version", {"workflow": "welcome", "version": 1}, [("$.version", "field.type")]),
    ("no version", {"workflow": "welcome", "version": "one"}, [("$.version", "field.version")]),
    (
        "an unknown version",
        {"workflow": "welcome", "version": "7.0.0"},
        [("$.version", "version.unknown")],
    ),
    (
        "an unknown priority",
        {"workflow": "welcome", "priority": "top"},
        [("$.priority", "field.choice")],
    ),
    ("null as priority", {"workflow": "welcome", "priority": None}, [("$.priority", "field.type")]),
    (
        "a list as priority",
        {"workflow": "welcome", "priority": []},
        [("$.priority", "field.choice")],
    ),
    ("an unknown queue", {"workflow": "welcome", "queue": "vip"}, [("$.queue", "invalid")]),
    ("a number as queue", {"workflow": "welcome", "queue": 1}, [("$.queue", "field.type")]),
    (
        "a moment without a zone",
        {"workflow": "welcome", "start_at": "2030-01-31T12:00:00"},
        [("$.start_at", "field.moment")],
    ),
    (
        "a day",
        {"workflow": "welcome", "start_at": "2030-01-31"},
        [("$.start_at", "field.moment")],
    ),
    ("no moment", {"workflow": "welcome", "start_at": "soon"}, [("$.start_at", "field.moment")]),
    (
        "a number as moment",
        {"workflow": "welcome", "start_at": 1893456000},
        [("$.start_at", "field.type")],
    ),
    (
        "the first hour of time",
        {"workflow": "welcome", "start_at": "0001-01-01T00:00:00+14:00"},
        [("$.start_at", "field.moment")],
    ),
    (
        "the last hour of time",
        {"workflow": "welcome", "start_at": "9999-12-31T23:59:59-14:00"},
        [("$.start_at", "field.moment")],
    ),
    ("a list as labels", {"workflow": "welcome", "labels": []}, [("$.labels", "field.type")]),
    ("null as labels", {"workflow": "welcome", "labels": None}, [("$.labels", "field.type")]),
    (
        "too many labels",
        {"workflow": "welcome", "labels": {f"l{n}": "" for n in range(21)}},
        [("$.labels", "invalid")],
    ),
    (
        "a long label",
        {"workflow": "welcome", "labels": {"a": "x" * 101}},
        [("$.labels", "invalid")],
    ),
    (
        "a number as correlation id",
        {"workflow": "welcome", "correlation_id": 7},
        [("$.correlation_id", "field.type")],
    ),
    (
        "a long correlation id",
        {"workflow": "welcome", "correlation_id": "x" * 201},
        [("$.correlation_id", "field.too_long")],
    ),
    (
        "a long key",
        {"workflow": "welcome", "idempotency_key": "x" * 201},
        [("$.idempotency_key", "field.too_long")],
    ),
    (
        "an empty key",
        {"workflow": "welcome", "idempotency_key": ""},
        [("$.idempotency_key", "field.empty")],
    ),
]


@pytest.mark.parametrize(
    ("body", "expected"), [case[1:] for case in BAD_BODIES], ids=[case[0] for case in BAD_BODIES]
)
def test_a_body_that_breaks_a_rule(
    api: APIClient, slug: str, body: Any, expected: list[tuple[str, str]]
):
    response = raw(api, json.dumps(body))
    status, _, details = error(response)
    assert (status, details) == (400, expected)
    assert nothing_was_saved()


def test_a_misspelt_name_is_answered_with_the_nearest(api: APIClient, slug: str):
    assert messages(start(api, {"workflow": "welcom"})) == [
        'There is no workflow "welcom", or you may not see it. Did you mean "welcome"?'
    ]
    assert messages(start(api, {"workflow": slug, "prioritty": "high"})) == [
        'There is no field "prioritty" here. Did you mean "priority"?'
    ]
    assert messages(start(api, {"workflow": slug, "zzz": 1})) == [
        'There is no field "zzz" here. Known here: workflow, input, version, priority, queue, '
        "start_at, labels, correlation_id, idempotency_key."
    ]
    assert messages(start(api, {"workflow": slug, "start_at": "2030-01-31T12:00:00"})) == [
        "The moment needs a time zone, such as 2030-01-31T12:00:00Z."
    ]
    assert nothing_was_saved()


@pytest.mark.parametrize("year", [1, 1970, 9000, 9999])
def test_code_that_starts_is_told_of_a_moment_out_of_range(year: int):
    moment = datetime(year, 1, 1, tzinfo=timezone(timedelta(hours=14)))
    workflow = WorkflowFactory.create()
    with pytest.raises(StartInvalid) as refused:
        start_execution(workflow=workflow, actor=SYSTEM, start_at=moment)
    assert [problem.path for problem in refused.value.details] == ["$.start_at"]
    assert nothing_was_saved()


@pytest.mark.parametrize(
    ("body", "details"),
    [
        ('{"workflow": ', [("$", "json.malformed")]),
        ("", [("$.workflow", "field.missing")]),
        ('{"workflow": "a", "workflow": "b"}', [("$", "json.duplicate_key")]),
        ('{"workflow": "welcome", "input": {"n": NaN}}', [("$.input.n", "json.not_a_number")]),
        ('{"workflow": "welcome", "input": {"t": "a\\u0000"}}', [("$.input.t", "text.nul")]),
        ('{"workflow": "welcome", "input": ["\\ud800"]}', [("$.input[0]", "text.surrogate")]),
        (
            '{"workflow": "welcome", "input": {"\\udfff": 1}}',
            [('$.input["\\udfff"]', "text.surrogate")],
        ),
        ('{"workflow": "wel\\u0000"}', [("$.workflow", "text.nul")]),
        ('{"workflow": "welcome", "labels": {"a": "\\ud800"}}', [("$.labels.a", "text.surrogate")]),
        (
            '{"workflow": "welcome", "input": ' + "[" * 150 + "]" * 150 + "}",
            [("$.input" + "[0]" * 99, "json.too_deep")],
        ),
    ],
)
def test_json_that_cannot_be_stored(
    api: APIClient, slug: str, body: str, details: list[tuple[str, str]]
):
    assert error(raw(api, body)) == (400, "invalid", details)
    assert nothing_was_saved()


def test_a_body_that_is_no_json(api: APIClient, slug: str):
    response = raw(api, f"workflow={slug}", "application/x-www-form-urlencoded")
    assert error(response) == (415, "unsupported_media_type", [])
    assert error(raw(api, b'{"workflow": "\xff"}'))[2] == [("$", "json.malformed")]
    assert nothing_was_saved()


def test_an_input_of_5_megabytes(api: APIClient, slug: str):
    response = start(api, {"workflow": slug, "input": {"text": "x" * 5_000_000}})
    assert error(response) == (413, "limit.input", [("$.input", "limit.input")])
    assert messages(response) == [
        "The input is 5000011 bytes of JSON; at most 1048576 are allowed."
    ]
    assert nothing_was_saved()


def test_a_body_larger_than_the_server_reads(api: APIClient, slug: str):
    response = start(api, {"workflow": slug, "input": "x" * (8 * 1024 * 1024)})
    assert error(response) == (413, "request.too_large", [])
    assert nothing_was_saved()


def test_an_input_that_breaks_the_schema_is_told_all_of_it(api: APIClient):
    slug = WorkflowFactory.create(document=document(name="Refund", input_schema=SCHEMA)).slug
    body = {"customer": "A", "amount": "ten", "items": [{"sku": 1}, {}], "extra": True}
    response = start(api, {"workflow": slug, "input": body})
    paths = ["$.input.customer", "$.input.amount", "$.input.items[1].sku", "$.input"]
    expected = [(path, "validation.schema") for path in paths]
    assert error(response) == (400, "validation.input", expected)
    assert "extra" in messages(response)[3]
    assert nothing_was_saved()


@pytest.mark.parametrize("given", [[], "text", 5, True])
def test_an_input_of_another_type_than_the_schema_wants(api: APIClient, given: Any):
    slug = WorkflowFactory.create(document=document(name="Refund", input_schema=SCHEMA)).slug
    status, code, details = error(start(api, {"workflow": slug, "input": given}))
    assert (status, code, [path for path, _ in details]) == (400, "validation.input", ["$.input"])
    assert nothing_was_saved()


def test_a_workflow_without_a_published_version(api: APIClient):
    slug = DraftFactory.create().workflow.slug
    response = start(api, {"workflow": slug})
    assert error(response) == (409, "conflict", [("$.workflow", "workflow.not_published")])
    assert nothing_was_saved()


def test_a_version_that_is_a_draft(api: APIClient):
    workflow = VersionFactory.create(document=document(name="Welcome")).workflow
    create_version(
        actor=SYSTEM, workflow=workflow, document=document(name="Welcome", version="2.0.0")
    )
    response = start(api, {"workflow": workflow.slug, "version": "2.0.0"})
    assert error(response) == (409, "conflict", [("$.version", "version.not_startable")])
    assert nothing_was_saved()


def test_the_same_key_with_another_body(api: APIClient, slug: str):
    first = start(api, {"workflow": slug, "input": {"n": 1}}, **{"Idempotency-Key": "k"})
    assert first.status_code == 201
    for other in ({"input": {"n": 2}}, {"input": {"n": 1}, "priority": "high"}, {}):
        response = start(api, {"workflow": slug, **other}, **{"Idempotency-Key": "k"})
        assert error(response) == (
            409,
            "idempotency.conflict",
            [("$.idempotency_key", "idempotency.conflict")],
        )
    assert Execution.objects.get().pk == first.json()["id"]
    assert AuditEntry.objects.filter(action="execution.started").count() == 1


@pytest.mark.parametrize(
    ("header", "body", "sentence"),
    [
        (" ", {}, "The header Idempotency-Key is empty."),
        ("a", {"idempotency_key": "b"}, "The header Idempotency-Key and the body name two"),
        ("x" * 201, {}, "A text of at most 200 characters was expected."),
    ],
)
def test_a_key_that_is_none(api: APIClient, slug: str, header: str, body: Any, sentence: str):
    response = start(api, {"workflow": slug, **body}, **{"Idempotency-Key": header})
    assert error(response)[0] == 400
    assert error(response)[2][0][0] == "$.idempotency_key"
    assert messages(response)[0].startswith(sentence)
    assert nothing_was_saved()


def tokens_of(user: User) -> dict[str, tuple[str, str]]:
    expired = AccessToken.for_user(user)
    expired.set_exp(lifetime=-timedelta(seconds=1))
    good = str(AccessToken.for_user(user))
    head, payload, signature = good.split(".")
    forged = f"{head}.{payload}.{signature[::-1]}"
    return {
        "none": ("", "not_authenticated"),
        "expired": (f"Bearer {expired}", "token.expired"),
        "forged": (f"Bearer {forged}", "token.invalid"),
        "nonsense": ("Bearer x", "token.invalid"),
    }


@pytest.mark.parametrize("which", ["none", "expired", "forged", "nonsense"])
def test_a_token_that_is_not_good(slug: str, which: str):
    header, code = tokens_of(UserFactory.create(role=Role.OPERATOR))[which]
    api = APIClient(headers={"Authorization": header} if header else {})
    execution = ExecutionFactory.create()
    for method, url in [
        ("post", ROOT),
        ("get", ROOT),
        ("get", f"{ROOT}{execution.pk}/"),
        ("post", f"{ROOT}{execution.pk}/cancel/"),
        ("get", f"{ROOT}state-machine/"),
    ]:
        response = api.generic(method.upper(), url, json.dumps({"workflow": slug}))
        assert error(response) == (401, code, []), (method, url)
        assert response["WWW-Authenticate"].startswith("Bearer")
    assert Execution.objects.get().pk == execution.pk
    assert not InboxMessage.objects.exists()


def test_a_good_token_starts(slug: str):
    user = UserFactory.create(role=Role.OPERATOR)
    api = APIClient(headers={"Authorization": f"Bearer {AccessToken.for_user(user)}"})
    assert start(api, {"workflow": slug}).status_code == 201


def test_a_viewer_changes_nothing(slug: str):
    viewer = APIClient()
    viewer.force_authenticate(UserFactory.create(username="vera", role=Role.VIEWER))
    response = start(viewer, {"workflow": slug})
    assert error(response) == (403, "permission_denied", [])
    assert response.json()["error"]["message"] == (
        "vera does not have the permission executions.start_execution."
    )
    assert nothing_was_saved()
    execution = ExecutionFactory.create()
    for verb in ("pause", "resume", "cancel"):
        response = viewer.post(f"{ROOT}{execution.pk}/{verb}/")
        assert error(response) == (403, "permission_denied", [])
    assert not InboxMessage.objects.exists()


def test_somebody_without_a_role_sees_nothing(slug: str):
    nobody = APIClient()
    nobody.force_authenticate(UserFactory.create())
    execution = ExecutionFactory.create()
    for path in (
        "",
        f"{execution.pk}/",
        f"{execution.pk}/steps/",
        f"{execution.pk}/context/",
        f"{execution.pk}/logs/",
        f"{execution.pk}/transitions/",
        "state-machine/",
    ):
        assert error(nobody.get(f"{ROOT}{path}")) == (403, "permission_denied", []), path


def test_a_designer_starts_and_does_not_control(slug: str):
    designer = APIClient()
    designer.force_authenticate(UserFactory.create(role=Role.DESIGNER))
    made = start(designer, {"workflow": slug})
    assert made.status_code == 201
    response = designer.post(f"{made['Location']}cancel/")
    assert error(response) == (403, "permission_denied", [])


BAD_FILTERS: list[tuple[str, list[tuple[str, str]]]] = [
    ("stat=failed", [("$.stat", "filter.unknown")]),
    ("ordering=created_at", [("$.ordering", "filter.unknown")]),
    ("%24x=1&owner=2", [('$["$x"]', "filter.unknown"), ("$.owner", "filter.unknown")]),
    ("state=done", [("$.state", "filter.bad_value")]),
    ("state=100%25s", [("$.state", "filter.bad_value")]),
    ("workflow=a&workflow=b", [("$.workflow", "filter.repeated")]),
    ("cursor=a&cursor=b", [("$.cursor", "filter.repeated")]),
    ("parent=x", [("$.parent", "filter.bad_value")]),
    ("parent=0", [("$.parent", "filter.bad_value")]),
    ("parent=9223372036854775808", [("$.parent", "filter.bad_value")]),
    ("created_after=2030-01-31", [("$.created_after", "filter.bad_value")]),
    ("created_after=yesterday", [("$.created_after", "filter.bad_value")]),
    ("ended_before=0001-01-01T00:00:00%2B14:00", [("$.ended_before", "filter.bad_value")]),
    ("search=" + "x" * 201, [("$.search", "filter.bad_value")]),
    (
        "state=done&parent=x&when=now",
        [
            ("$.when", "filter.unknown"),
            ("$.state", "filter.bad_value"),
            ("$.parent", "filter.bad_value"),
        ],
    ),
    ("cursor=nonsense", [("$.cursor", "cursor.bad")]),
    ("page_size=0", [("$.page_size", "page_size.bad")]),
    ("search=%00", [("$", "text.nul")]),
]


@pytest.mark.parametrize(("query", "details"), BAD_FILTERS)
def test_a_bad_filter_is_no_answer(api: APIClient, query: str, details: list[tuple[str, str]]):
    ExecutionFactory.create()
    assert error(api.get(f"{ROOT}?{query}")) == (400, "invalid", details)


def test_an_unknown_filter_names_the_known_ones(api: APIClient):
    (message,) = messages(api.get(f"{ROOT}?stat=failed"))
    assert message == (
        'There is no filter "stat". Did you mean "state"? Known here: concurrency_key, '
        "correlation_id, created_after, created_before, cursor, ended_after, ended_before, "
        "error_code, label, page_size, parent, reason, search, started_after, started_before, "
        "started_by_execution, state, version, workflow."
    )
    execution = ExecutionFactory.create()
    for path in ("steps", "transitions", "logs"):
        response = api.get(f"{ROOT}{execution.pk}/{path}/?state=failed")
        assert messages(response) == ['There is no filter "state". Known here: cursor, page_size.']


@pytest.mark.parametrize(
    "pk", ["abc", "-1", "0", "1.5", "99", "9" * 19, "9" * 60, "²", "%00", "1%27", "x" * 300]
)
def test_an_id_that_is_none(api: APIClient, pk: str):
    for path in ("", "steps/", "transitions/", "context/", "logs/"):
        status, code, _ = error(api.get(f"{ROOT}{pk}/{path}"))
        expected = (400, "invalid") if pk == "%00" else (404, "execution.not_found")
        assert (status, code) == expected, path
    for verb in ("pause", "resume", "cancel"):
        status, code, _ = error(api.post(f"{ROOT}{pk}/{verb}/"))
        expected = (400, "invalid") if pk == "%00" else (404, "execution.not_found")
        assert (status, code) == expected, verb


@pytest.mark.parametrize(
    ("body", "details"),
    [
        ({"reason": 5}, [("$.reason", "field.type")]),
        ({"reason": "x" * 201}, [("$.reason", "field.too_long")]),
        ({"raeson": "late"}, [("$.raeson", "field.unknown")]),
        ([], [("$", "field.type")]),
        ("now", [("$", "field.type")]),
    ],
)
@pytest.mark.parametrize("verb", ["pause", "resume", "cancel"])
def test_a_wish_with_a_bad_body(
    api: APIClient, verb: str, body: Any, details: list[tuple[str, str]]
):
    execution = ExecutionFactory.create()
    response = api.post(f"{ROOT}{execution.pk}/{verb}/", body, format="json")
    assert error(response) == (400, "invalid", details)
    assert not InboxMessage.objects.exists()


def test_what_does_not_run_is_not_resumed(api: APIClient):
    execution = ExecutionFactory.create()
    response = api.post(f"{ROOT}{execution.pk}/resume/")
    assert error(response) == (409, "execution.state", [])
    assert response.json()["error"]["message"] == (
        "The execution is initialized; only a paused one can be resumed."
    )
    assert not InboxMessage.objects.exists()


def test_one_that_is_being_cancelled_is_not_paused(api: APIClient):
    execution = ExecutionFactory.create()
    cancel_execution(execution=execution, actor=SYSTEM)
    response = api.post(f"{ROOT}{execution.pk}/pause/")
    assert error(response) == (409, "execution.state", [])
    assert InboxMessage.objects.count() == 1


@pytest.mark.django_db(transaction=True)
def test_nothing_is_asked_of_one_that_has_ended(api: APIClient):
    execution = ExecutionFactory.create()
    drain()
    for verb in ("pause", "resume", "cancel"):
        response = api.post(f"{ROOT}{execution.pk}/{verb}/")
        assert error(response) == (409, "execution.ended", [])
        assert response.json()["error"]["message"] == ("The execution has ended: it is completed.")
    assert not InboxMessage.objects.exists()


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("PUT", ""),
        ("DELETE", ""),
        ("PATCH", "1/"),
        ("DELETE", "1/"),
        ("GET", "1/pause/"),
        ("POST", "1/steps/"),
        ("POST", "state-machine/"),
    ],
)
def test_a_method_that_an_address_does_not_take(api: APIClient, method: str, path: str):
    response = api.generic(method, f"{ROOT}{path}", "{}", content_type="application/json")
    assert error(response) == (405, "method_not_allowed", [])
