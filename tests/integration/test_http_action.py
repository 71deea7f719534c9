"""`http.request` and `webhook.send` against servers that answer well."""

from __future__ import annotations

import asyncio
import gzip
import json
from typing import Any

import pytest

from autopilot.common.problems import Problem
from tests.outside import Answer, Server, fixed, redirect, routes, serving
from workflows.actions import Context
from workflows.actions.base import BuiltinError, InvalidParams
from workflows.actions.net.client import close_transport
from workflows.actions.net.signing import verify
from workflows.actions.registry import registry


@pytest.fixture(autouse=True)
def _local_servers_allowed(settings: Any) -> None:
    settings.AUTOPILOT = {**settings.AUTOPILOT, "HTTP_ALLOW": ["127.0.0.1"]}


async def call(name: str = "http.request", **params: Any) -> Any:
    action = registry.get(name)
    assert action is not None
    context = Context(idempotency_key="7-step-1", execution_id=7, step="step")
    return await action.function(action.validate(params), context)


def ask(answer: Answer, path: str = "/", **params: Any) -> tuple[Any, Server]:
    """What the action gives when the only server answers like this."""

    async def main() -> tuple[Any, Server]:
        async with serving(answer) as server:
            try:
                return await call(url=server.url + path, **params), server
            finally:
                await close_transport()

    return asyncio.run(main())


def refused(answer: Answer, path: str = "/", **params: Any) -> BuiltinError:
    with pytest.raises(BuiltinError) as caught:
        ask(answer, path, **params)
    return caught.value


def test_json_comes_out_as_data() -> None:
    output, server = ask(fixed(b'{"a": [1, null, "\xc3\xbc"]}', content_type="application/json"))
    assert output.pop("elapsed_ms") >= 0
    assert output == {
        "status": 200,
        "url": f"{server.url}/",
        "headers": {"content-length": "22", "content-type": "application/json"},
        "json": {"a": [1, None, "ü"]},
    }
    (request,) = server.requests
    assert (request.method, request.path, request.body) == ("GET", "/", b"")
    assert request.headers == {
        "host": f"127.0.0.1:{server.port}",
        "accept": "*/*",
        "accept-encoding": "gzip",
        "user-agent": "AutopilotCX",
    }


@pytest.mark.parametrize(
    ("body", "content_type", "kept"),
    [
        (b"hello", "text/plain", {"text": "hello"}),
        (b"", "application/json", {"text": ""}),
        (b"", "", {"text": ""}),
        (b"{}", "application/problem+json; charset=utf-8", {"json": {}}),
        (b"\xef\xbb\xbf[1]", "application/json", {"json": [1]}),
        (b"null", "APPLICATION/JSON", {"json": None}),
        (b"<h1>Sign in</h1>", "application/json", {"text": "<h1>Sign in</h1>"}),
        (b"[NaN]", "application/json", {"text": "[NaN]"}),
        (b"[" * 5000, "application/json", {"text": "[" * 5000}),
        (b"1" * 5000, "application/json", {"text": "1" * 5000}),
        (b"\xfc", "text/plain; charset=iso-8859-1", {"text": "ü"}),
        (b"\xff\xfea\x00", "text/plain; charset=UTF-16", {"text": "a"}),
        (b"plain", "text/plain; charset=punycode", {"text": "plain"}),
        (b"plain", "text/plain; charset=no-such", {"text": "plain"}),
        (b"plain", "text/plain; charset=base64", {"text": "plain"}),
    ],
)
def test_what_is_kept_of_a_body(body: bytes, content_type: str, kept: dict[str, Any]) -> None:
    output, _ = ask(fixed(body, content_type=content_type))
    assert {key: output[key] for key in output.keys() & {"json", "text"}} == kept


def test_a_gzip_body_is_unpacked() -> None:
    packed = gzip.compress(b"x" * 5000)
    output, _ = ask(fixed(packed, content_encoding="gzip"), max_response_bytes=5000)
    assert output["text"] == "x" * 5000


def test_a_body_nobody_wants_is_not_read() -> None:
    output, _ = ask(fixed(b"\xff\xfe\xff" * 99), discard_body=True, max_response_bytes=1)
    assert output.keys() == {"status", "url", "headers", "elapsed_ms"}


def test_only_the_first_headers_are_kept() -> None:
    many = {f"x-{number:03}": "v" * 1000 for number in range(50)}
    output, _ = ask(fixed(**many))
    assert list(output["headers"])[1:] == [f"x-{number:03}" for number in range(16)]


@pytest.mark.parametrize(
    ("params", "content_type", "body"),
    [
        ({"json": {"n": "ü"}}, "application/json", '{"n": "ü"}'.encode()),
        ({"json": None}, "application/json", b"null"),
        ({"form": {"a": ["1", 2], "b": True, "c": None}}, "application/x-www-form-urlencoded",
         b"a=1&a=2&b=true"),
        ({"body": "ü"}, "text/plain; charset=utf-8", "ü".encode()),
        ({"body": "<a/>", "headers": {"Content-Type": "text/xml"}}, "text/xml", b"<a/>"),
    ],
)  # fmt: skip
def test_what_is_sent(params: dict[str, Any], content_type: str, body: bytes) -> None:
    _, server = ask(fixed(), method="post", **params)
    (request,) = server.requests
    assert (request.method, request.headers["content-type"]) == ("POST", content_type)
    assert request.body == body


def test_query_headers_and_keys_are_sent() -> None:
    _, server = ask(
        fixed(),
        "/a b?x=1",
        query={"y": ["a&b", 2], "z": None, "t": False},
        headers={"X-Count": 3, "X-On": True},
        auth={"bearer": "token-1"},
        idempotency_header="Idempotency-Key",
    )
    (request,) = server.requests
    assert request.path == "/a%20b?x=1&y=a%26b&y=2&t=false"
    assert request.headers["x-count"] == "3"
    assert request.headers["x-on"] == "true"
    assert request.headers["authorization"] == "Bearer token-1"
    assert request.headers["idempotency-key"] == "7-step-1"


def test_a_user_name_and_a_password_are_sent() -> None:
    _, server = ask(fixed(), auth={"username": "ann", "password": "pa:ss"})
    assert server.requests[0].headers["authorization"] == "Basic YW5uOnBhOnNz"


@pytest.mark.parametrize(
    ("expected", "status"),
    [("2xx", 204), (404, 404), (["200", "4xx"], 410), ("400-404", 404), ([302], 302), ("5XX", 599)],
)
def test_the_expected_status_is_a_success(expected: Any, status: int) -> None:
    output, _ = ask(fixed(status=f"{status} Fine"), expected_status=expected)
    assert output["status"] == status


@pytest.mark.parametrize(
    ("status", "retryable"),
    [(400, False), (401, False), (404, False), (408, True), (425, True), (429, True),
     (500, True), (501, True), (503, True), (302, False)],
)  # fmt: skip
def test_another_status_is_an_error_with_its_number(status: int, retryable: bool) -> None:
    error = refused(fixed(b"no\x00!", status=f"{status} Oh"), "/x?key=secret", method="PUT")
    assert (error.code, error.retryable) == (f"http.{status}", retryable)
    url = error.details["url"]
    assert error.message == (
        f"PUT {url} was answered with status {status}, which this step does not expect."
    )
    assert url.endswith("/x")
    assert error.details == {"status": status, "method": "PUT", "url": url, "body": "no�!"}


@pytest.mark.parametrize(
    ("value", "seconds"),
    [("7", 7.0), ("0", 0.0), ("9" * 30, 2592000.0), ("Wed, 21 Oct 2015 07:28:00 GMT", 0.0)],
)
def test_retry_after_is_told(value: str, seconds: float) -> None:
    error = refused(fixed(status="503 Busy", retry_after=value))
    assert error.details["retry_after_seconds"] == seconds


def test_redirects_are_followed_when_asked() -> None:
    app = routes(
        start=redirect("/next?a=1"), next=redirect("../end", "307 Same"), end=fixed(b"there")
    )
    output, server = ask(app, "/start", follow_redirects=True, method="POST", json=1)
    assert output["text"] == "there"
    assert output["url"] == f"{server.url}/end"
    sent = [(each.method, each.path, each.body) for each in server.requests]
    assert sent == [("POST", "/start", b"1"), ("GET", "/next?a=1", b""), ("GET", "/end", b"")]
    assert "content-type" not in server.requests[1].headers


def test_a_307_repeats_the_body() -> None:
    app = routes(start=redirect("/end", "307 Same"), end=fixed())
    _, server = ask(app, "/start", follow_redirects=True, method="POST", json=1)
    assert [(each.method, each.body) for each in server.requests] == [("POST", b"1")] * 2


def test_no_secret_follows_to_another_origin() -> None:
    async def main() -> Server:
        async with serving(fixed()) as other, serving(redirect(other.url, "307 Same")) as first:
            headers = {"X-Api-Key": "k", "Cookie": "c=1", "Accept": "text/x", "X-Any": "y"}
            auth = {"username": "u", "password": "p"}
            await call(url=first.url, headers=headers, auth=auth, follow_redirects=True)
            await close_transport()
            assert first.requests[0].headers["x-api-key"] == "k"
            return other

    (request,) = asyncio.run(main()).requests
    assert request.headers.keys() == {*("host", "accept", "accept-encoding", "user-agent")}
    assert request.headers["accept"] == "text/x"


def test_connections_are_shared_and_cookies_are_not() -> None:
    async def main() -> Server:
        async with serving(fixed(b"ok", set_cookie="session=1; Path=/")) as server:
            for _ in range(3):
                await call(url=server.url)
            await close_transport()
            return server

    server = asyncio.run(main())
    assert (server.connections, len(server.requests)) == (1, 3)
    assert all("cookie" not in request.headers for request in server.requests)


def test_proxies_of_the_environment_are_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    output, _ = ask(fixed(b"direct"))
    assert output["text"] == "direct"


def test_a_loop_has_one_client_and_may_close_it_twice() -> None:
    async def main() -> None:
        async with serving(fixed()) as server:
            await call(url=server.url)
            await close_transport()
            await call(url=server.url)
            await close_transport()
            await close_transport()
            assert server.connections == 2

    asyncio.run(main())


@pytest.mark.parametrize(
    ("params", "path", "message"),
    [
        ({"method": "TRACE"}, "$.method", "One of 'GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE' "
         "or 'OPTIONS' was expected."),
        ({"headers": {"Host": "x"}}, "$.headers", "The header Host is set by the program itself."),
        ({"headers": {"A b": "x"}}, "$.headers",
         "The name of a header has letters, digits and hyphens only."),
        ({"headers": {"A": "x\r\nB: y"}}, "$.headers", "The value of the header A must be plain "
         "ASCII without line breaks, at most 8192 characters."),
        ({"headers": {"A": "x", "a": "y"}}, "$.headers", "The header a stands there twice."),
        ({"json": 1, "body": "x"}, "$", "Only one of json, body and form can be sent."),
        ({"auth": {"bearer": "x"}, "headers": {"authorization": "y"}}, "$",
         "Either auth or a header Authorization was expected, not both."),
        ({"expected_status": "6xx"}, "$.expected_status",
         "A status such as 200, a class such as 2xx or a range such as 200-204 was expected."),
        ({"expected_status": []}, "$.expected_status", "At least one status was expected."),
        ({"max_response_bytes": 1 << 40}, "$.max_response_bytes",
         "A number of at most 16777216 was expected."),
        ({"allow_addresses": ["10.0.0.0/8"]}, "$.allow_addresses", "There is no such parameter."),
        ({"url": "http://u:hunter2@example.com"}, "$.url", "The URL can't be called: a user name "
         "or password stands in it, where it would be logged and shown; use the parameter `auth`."),
        ({"url": "ftp://example.com"}, "$.url",
         "The URL can't be called: only http and https can be called."),
    ],
)  # fmt: skip
def test_wrong_parameters_are_found_when_a_definition_is_saved(
    params: dict[str, Any], path: str, message: str
) -> None:
    action = registry.get("http.request")
    assert action is not None
    given = {"url": "https://example.com", **params}
    code = "field.unknown" if "no such" in message else "field.invalid"
    assert action.check_params(given, partial=True) == [Problem(path, code, message)]


def test_templates_are_left_to_the_run() -> None:
    action = registry.get("http.request")
    assert action is not None
    params = {"url": "{{ input.url }}", "headers": {"A": "{{ x }}"}, "timeout": "{{ vars.t }}"}
    assert action.check_params(params, partial=True) == []
    with pytest.raises(InvalidParams):
        action.validate({"url": "http://e.example", "timeout": "x"})


def test_a_webhook_is_signed_and_known_again() -> None:
    output, server = ask(
        fixed(b"thanks", status="202 Accepted"),
        "/hook",
        name="webhook.send",
        event="order.paid",
        payload={"id": 7, "name": "ü"},
        secret="a long enough secret",
    )
    (request,) = server.requests
    assert (request.method, request.path) == ("POST", "/hook")
    assert json.loads(request.body) == {
        "event": "order.paid",
        "delivery": "7-step-1",
        "payload": {"id": 7, "name": "ü"},
    }
    assert request.headers["idempotency-key"] == "7-step-1"
    assert request.headers["x-autopilot-event"] == "order.paid"
    signature = request.headers["x-autopilot-signature"]
    moment = int(signature.removeprefix("t=").partition(",")[0])
    assert verify(signature, request.body, "a long enough secret", now=moment)
    assert output.pop("elapsed_ms") >= 0
    assert output == {"status": 202, "delivery": "7-step-1"}


def test_a_webhook_follows_no_redirect_and_says_what_failed() -> None:
    error = refused(
        redirect("/elsewhere"), name="webhook.send", event="e", secret="a long enough secret"
    )
    assert error.code == "http.302"
