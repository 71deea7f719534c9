"""`http.request` against servers, names and redirects that mean harm."""

from __future__ import annotations

import asyncio
import gzip
import ssl
import time
import zlib
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from tests.outside import (
    Answer,
    Request,
    Server,
    fixed,
    raw,
    redirect,
    response,
    serving,
)
from workflows.actions import Context
from workflows.actions.base import BuiltinError
from workflows.actions.net import exchange
from workflows.actions.net.allowlist import AllowList
from workflows.actions.net.client import transport_with
from workflows.actions.net.guard import Guard, NameUnknownError, is_certificate_problem
from workflows.actions.registry import registry

LOCAL = AllowList.parse(["127.0.0.1"])


def names(**table: list[str]) -> Callable[[str, int], Awaitable[list[str]]]:
    """A resolver with this table; what isn't in it is not found."""

    async def resolve(host: str, port: int) -> list[str]:
        try:
            return table[host.replace(".", "_")]
        except KeyError:
            raise NameUnknownError("no such name") from None

    return resolve


async def call(**params: Any) -> Any:
    action = registry.get("http.request")
    assert action is not None
    context = Context(idempotency_key="7-step-1", execution_id=7, step="step")
    return await action.function(action.validate(params), context)


def failure(url: str, guard: Guard, **params: Any) -> BuiltinError:
    async def main() -> None:
        async with transport_with(guard):
            await call(url=url, **params)

    with pytest.raises(BuiltinError) as caught:
        asyncio.run(main())
    return caught.value


def failure_of(answer: Answer, path: str = "/", **params: Any) -> tuple[BuiltinError, Server]:
    """How the action fails when the only server answers like this; no connection may be left."""

    async def main() -> tuple[BuiltinError, Server]:
        async with serving(answer) as server, transport_with(Guard(LOCAL)) as http:
            with pytest.raises(BuiltinError) as caught:
                await call(url=server.url + path, **params)
            assert http.connections <= 1
            return caught.value, server

    return asyncio.run(main())


# --- Addresses


@pytest.mark.parametrize(
    "host",
    [
        *("127.0.0.1", "127.1", "2130706433", "0x7f000001", "0177.0.0.1", "127.0.0.1."),
        *("[::1]", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "[::127.0.0.1]", "[64:ff9b::7f00:1]"),
        *("[2002:7f00:1::]", "[fe80::1%25lo]", "0.0.0.0", "0", "[::]", "１２７．０．０．１"),
        *("10.0.0.1", "192.168.0.1", "172.16.0.1", "100.64.0.1", "169.254.169.254", "224.0.0.1"),
        *("2852039166", "0xa9.0xfe.0xa9.0xfe", "[fd00:ec2::254]", "100.100.100.200", "[ff02::1]"),
    ],
)
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_an_inner_address_is_refused_in_every_spelling(host: str, scheme: str) -> None:
    error = failure(f"{scheme}://{host}:8080/x", Guard(AllowList(), names()))
    assert (error.code, error.retryable) == ("http.address_refused", False)


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST.", "ⓛocalhost"])
def test_the_name_of_this_machine_is_refused(host: str) -> None:
    error = failure(f"http://{host}/", Guard(AllowList()))
    assert error.code == "http.address_refused"
    assert error.message == (
        "The host localhost can't be called: its address is loopback. Workflows reach public "
        "addresses only; what else they may reach is listed by an operator in AUTOPILOT_HTTP_ALLOW."
    )
    assert error.details == {"kind": "loopback", "host": "localhost"}


@pytest.mark.parametrize(
    ("addresses", "kind"),
    [
        (["10.1.2.3"], "private"),
        (["8.8.8.8", "127.0.0.1"], "loopback"),
        (["127.0.0.1", "8.8.8.8"], "loopback"),
        (["2606:4700::1111", "fd00:ec2::254"], "a cloud's metadata service"),
        (["::ffff:10.0.0.1"], "an IPv4 address inside an IPv6 address"),
        (["fe80::1%eth0"], "link-local"),
    ],
)
def test_a_name_that_leads_inside_is_refused_without_saying_where(
    addresses: list[str], kind: str
) -> None:
    error = failure("http://trap.example/", Guard(AllowList(), names(trap_example=addresses)))
    assert (error.code, error.details) == (
        "http.address_refused",
        {"kind": kind, "host": "trap.example"},
    )
    assert not any(address in error.message for address in addresses)


def test_a_name_is_resolved_once_and_what_was_checked_is_called() -> None:
    asked: list[str] = []

    async def rebinding(host: str, port: int) -> list[str]:
        asked.append(host)
        return ["127.0.0.1"] if len(asked) == 1 else ["10.0.0.1"]

    async def main() -> Server:
        async with serving(fixed(b"here")) as server:
            allowed = AllowList.parse([f"127.0.0.1:{server.port}"])
            async with transport_with(Guard(allowed, rebinding)):
                output = await call(url=f"http://once.example:{server.port}/")
                assert output["text"] == "here"
            async with transport_with(Guard(allowed, rebinding)):
                with pytest.raises(BuiltinError) as caught:
                    await call(url=f"http://once.example:{server.port}/")
                assert caught.value.code == "http.address_refused"
            return server

    server = asyncio.run(main())
    assert asked == ["once.example"] * 2
    assert [each.headers["host"] for each in server.requests] == [f"once.example:{server.port}"]


def test_an_allowed_name_may_lead_inside() -> None:
    async def main() -> Any:
        async with serving(fixed(b"crm")) as server:
            guard = Guard(AllowList.parse(["crm.internal"]), names(crm_internal=["127.0.0.1"]))
            async with transport_with(guard):
                return await call(url=f"http://CRM.internal.:{server.port}/")

    assert asyncio.run(main())["text"] == "crm"


def test_a_dead_address_gives_way_to_the_next() -> None:
    async def main() -> Any:
        async with serving(fixed(b"second")) as server:
            allowed = AllowList.parse(["127.0.0.0/8"])
            guard = Guard(allowed, names(two_example=["127.0.0.2", "127.0.0.1"]))
            async with transport_with(guard):
                return await call(url=f"http://two.example:{server.port}/")

    assert asyncio.run(main())["text"] == "second"


def test_an_unknown_name_and_a_closed_port_are_failures_to_connect() -> None:
    error = failure("http://nowhere.example/?k=secret", Guard(AllowList(), names()))
    assert (error.code, error.retryable) == ("http.connect", True)
    assert error.message == (
        "GET http://nowhere.example/ failed: the host nowhere.example was not found (no such name)."
    )
    error = failure("http://127.0.0.1:9/", Guard(LOCAL))
    assert (error.code, error.retryable) == ("http.connect", True)


def test_a_resolver_that_never_answers_is_a_failure_to_connect() -> None:
    async def never(host: str, port: int) -> list[str]:
        await asyncio.Event().wait()
        raise AssertionError

    guard = Guard(AllowList(), never)
    error = failure("http://slow.example/", guard, timeout={"connect": 0.05, "total": 5})
    assert (error.code, error.message) == (
        "http.connect",
        "GET http://slow.example/ failed: no connection within 0.05 seconds.",
    )


def test_tls_is_asked_for_by_name_though_the_address_is_fixed() -> None:
    heard: list[bytes] = []

    async def listen(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heard.append(await reader.read(4096))
        writer.close()

    async def main() -> BuiltinError:
        listener = await asyncio.start_server(listen, "127.0.0.1", 0)
        port = listener.sockets[0].getsockname()[1]
        guard = Guard(AllowList.parse(["shop.example"]), names(shop_example=["127.0.0.1"]))
        async with listener, transport_with(guard):
            with pytest.raises(BuiltinError) as caught:
                await call(url=f"https://shop.example.:{port}/")
            return caught.value

    assert asyncio.run(main()).code == "http.connect"
    assert b"\x00\x0cshop.example\x00" in heard[0]


def test_a_certificate_that_proves_nothing_is_not_tried_again() -> None:
    error = ConnectionError()
    assert not is_certificate_problem(error)
    error.__cause__ = ssl.SSLCertVerificationError("self-signed certificate")
    assert is_certificate_problem(error)


# --- Redirects


@pytest.mark.parametrize(
    "target",
    [
        *("http://127.0.0.1:1/", "http://169.254.169.254/latest/meta-data/", "//[::1]/"),
        *("http://2130706433/", "http://[::ffff:10.0.0.1]/", "http://0177.1:99999999/../", "//0/"),
    ],
)
def test_a_redirect_inside_is_refused(target: str) -> None:
    async def main() -> BuiltinError:
        async with serving(redirect(target)) as server:
            guard = Guard(AllowList.parse([f"127.0.0.1:{server.port}"]))
            async with transport_with(guard):
                with pytest.raises(BuiltinError) as caught:
                    await call(url=server.url, follow_redirects=True)
                return caught.value

    expected = "http.redirect" if "99999999" in target else "http.address_refused"
    assert asyncio.run(main()).code == expected


@pytest.mark.parametrize(
    ("location", "reason"),
    [
        ("/", "in a circle"),
        ("file:///etc/passwd", "to where nothing can be called: it must start with http"),
        ("http://u:p@127.0.0.1/", "to where nothing can be called: a user name or password"),
        ("http://a\x01b/", "to where nothing can be called"),
        ("ftp://127.0.0.1/", "to where nothing can be called: only http and https"),
    ],
)
def test_a_redirect_to_nowhere_is_refused(location: str, reason: str) -> None:
    error, _ = failure_of(redirect(location), follow_redirects=True)
    if error.code == "http.protocol":  # a header that HTTP itself forbids
        assert "\x01" in location
    else:
        assert error.code == "http.redirect"
        assert reason in error.message


def test_redirects_without_end_are_refused() -> None:
    async def onwards(request: Request, writer: asyncio.StreamWriter) -> None:
        await redirect(request.path + "x")(request, writer)

    error, server = failure_of(onwards, follow_redirects=True)
    assert error.code == "http.redirect"
    assert error.message.endswith("was redirected: more than 5 times.")
    assert len(server.requests) == 6


# --- Bodies and times


def test_a_gigabyte_is_not_read() -> None:
    sent = 0

    async def flood(request: Request, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        announced = "content-length: 1073741824\r\n" if request.path == "/announced" else ""
        writer.write(f"HTTP/1.1 200 OK\r\n{announced}\r\n".encode())
        while sent < 1 << 30:
            writer.write(b"x" * 65536)
            await writer.drain()
            sent += 65536

    for path in ("/announced", "/unannounced"):
        sent = 0
        error, _ = failure_of(flood, path, max_response_bytes=100_000)
        assert (error.code, error.retryable) == ("http.too_large", False)
        assert error.details == {"max_response_bytes": 100_000}
        assert sent < 1 << 24


def test_exactly_the_limit_is_fine_and_one_byte_more_is_not() -> None:
    async def main() -> Any:
        async with serving(fixed(b"x" * 1000)) as server, transport_with(Guard(LOCAL)):
            return await call(url=server.url, max_response_bytes=1000)

    assert len(asyncio.run(main())["text"]) == 1000
    error, _ = failure_of(fixed(b"x" * 1001, content_length=""), max_response_bytes=1000)
    assert error.code == "http.protocol" or error.code == "http.too_large"


def test_what_a_gzip_body_unpacks_to_counts() -> None:
    bomb = gzip.compress(b"\0" * (64 << 20), mtime=0)
    assert len(bomb) < 1 << 20
    error, _ = failure_of(fixed(bomb, content_encoding="gzip"))
    assert error.code == "http.too_large"


def test_a_gzip_body_that_unpacks_to_nothing_counts_too() -> None:
    packer = zlib.compressobj(wbits=31)
    start = packer.compress(b"") + packer.flush(zlib.Z_SYNC_FLUSH)
    empty = start + b"\x00\x00\x00\xff\xff" * 50_000
    error, _ = failure_of(fixed(empty, content_encoding="gzip"), max_response_bytes=10_000)
    assert error.code == "http.too_large"


@pytest.mark.parametrize(
    ("body", "encoding", "reason"),
    [
        (b"no gzip", "gzip", "its body is no valid gzip"),
        (gzip.compress(b"x" * 99, mtime=0)[:-4], "gzip", "its gzip body ends too early"),
        (gzip.compress(b"x", mtime=0) + b"more", "gzip", "bytes follow the end of its gzip body"),
        (b"x", "br", "its body is packed in a way that was not offered"),
        (b"x", "gzip, gzip", "its body is packed in a way that was not offered"),
    ],
    ids=["no gzip", "cut off", "too much", "brotli", "twice"],
)
def test_a_badly_packed_body_is_a_broken_answer(body: bytes, encoding: str, reason: str) -> None:
    error, _ = failure_of(fixed(body, content_encoding=encoding))
    assert (error.code, error.retryable) == ("http.protocol", True)
    assert error.message.endswith(f"failed: {reason}.")


def drip(start: bytes, drop: bytes) -> Answer:
    async def answer(request: Request, writer: asyncio.StreamWriter) -> None:
        writer.write(start)
        while True:
            writer.write(drop)
            await writer.drain()
            await asyncio.sleep(0.01)

    return answer


@pytest.mark.parametrize(
    "answer",
    [
        drip(b"HTTP/1.1 200 OK\r\n\r\n", b"x"),
        drip(b"HTTP/1.1 200 OK\r\n", b"a: b\r\n"),
        drip(b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
        drip(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n", b"1\r\nx\r\n"),
        drip(b"HTTP/1.1 200 OK\r\ncontent-length: 100000\r\n\r\n", b"x"),
    ],
)
def test_an_answer_that_never_ends_is_cut_off_in_time(answer: Answer) -> None:
    started = time.monotonic()
    error, _ = failure_of(answer, "/x?key=secret", timeout={"total": 0.3})
    assert (error.code, error.retryable) == ("http.timeout", True)
    assert error.message.endswith("/x was not answered completely within 0.3 seconds.")
    assert 0.3 <= time.monotonic() - started < 3


def test_a_drip_fed_failure_is_still_told_by_its_status(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exchange, "EXCERPT_SECONDS", 0.1)
    error, _ = failure_of(drip(b"HTTP/1.1 503 No\r\n\r\n", b"x"), timeout=30)
    assert error.code == "http.503"
    assert set(error.details["body"]) == {"x"}


def test_a_huge_failure_is_told_by_its_status() -> None:
    error, _ = failure_of(fixed(b"x" * 5_000_000, status="500 Oh"))
    assert (error.code, error.details["body"]) == ("http.500", "x" * 2048)


@pytest.mark.parametrize(
    "answer",
    [
        raw(b"", hang_up=True),
        raw(b"SSH-2.0-OpenSSH_9.2\r\n", hang_up=True),
        raw(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nshort", hang_up=True),
        raw(
            b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\nhello", hang_up=True
        ),
        raw(b"HTTP/1.1 200 OK\r\ncontent-length: -5\r\n\r\nhello", hang_up=True),
        raw(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n", hang_up=True),
        raw(b"HTTP/1.1 200 OK\r\n" + b"x-bomb: " + b"y" * 500_000 + b"\r\n\r\n"),
        raw(b"HTTP/1.1 200 OK\r\n" + b"x-bomb: y\r\n" * 50_000 + b"\r\n"),
    ],
)
def test_a_server_that_breaks_the_protocol_is_named_so(answer: Answer) -> None:
    error, _ = failure_of(answer, timeout=5)
    assert (error.code, error.retryable) == ("http.protocol", True)


def test_bytes_after_the_announced_length_belong_to_nobody() -> None:
    async def main() -> list[str]:
        smuggled = response(b"first") + response(b"second")
        async with serving(raw(smuggled)) as server, transport_with(Guard(LOCAL)):
            return [(await call(url=server.url))["text"] for _ in range(2)]

    assert asyncio.run(main()) == ["first", "first"]


def test_a_body_that_is_no_text_is_refused() -> None:
    error, _ = failure_of(fixed(b"caf\xe9", content_type="text/plain"))
    assert (error.code, error.retryable) == ("http.not_text", False)
    assert error.message.endswith(
        "was answered with bytes that are no utf-8 text, so they can't be kept; "
        "`discard_body` does without them."
    )
