from __future__ import annotations

from ipaddress import IPv6Address

import pytest

from workflows.actions.base import BuiltinError
from workflows.actions.net.urls import Target, parse


@pytest.mark.parametrize(
    ("url", "full"),
    [
        ("https://Example.COM", "https://example.com/"),
        ("HTTP://example.com:80/a", "http://example.com/a"),
        ("https://example.com:443", "https://example.com/"),
        ("https://example.com:/x", "https://example.com/x"),
        ("https://example.com:8443/a?b=c#d", "https://example.com:8443/a?b=c"),
        ("http://example.com.", "http://example.com/"),
        ("http://my_service:8080/", "http://my_service:8080/"),
        ("http://bücher.example/ü?ü", "http://xn--bcher-kva.example/ü?ü"),
        ("http://127.1/", "http://127.0.0.1/"),
        ("http://2130706433", "http://127.0.0.1/"),
        ("http://0177.0.0.1", "http://127.0.0.1/"),
        ("http://0X7F.1", "http://127.0.0.1/"),
        ("http://127.0.0.1.", "http://127.0.0.1/"),
        ("http://１２７。０。０。１", "http://127.0.0.1/"),
        ("http://①②⑦.⓪.⓪.①", "http://127.0.0.1/"),
        ("http://ⓁOCALHOST", "http://localhost/"),
        ("http://localhost.", "http://localhost/"),
        ("http://[0:0:0:0:0:0:0:1]:81", "http://[::1]:81/"),
        ("http://[::FFFF:127.0.0.1]/", f"http://[{IPv6Address('::ffff:7f00:1')}]/"),
        ("http://example.com?x=http://127.0.0.1/", "http://example.com/?x=http://127.0.0.1/"),
        ("http://example.com#@127.0.0.1/", "http://example.com/"),
    ],
)
def test_a_url_comes_out_in_one_spelling(url: str, full: str) -> None:
    assert parse(url).full == full


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("", "it must start with http:// or https:// and a host"),
        ("example.com", "it must start with http:// or https:// and a host"),
        (" http://example.com", "it must start with http:// or https:// and a host"),
        ("http:example.com", "it must start with http:// or https:// and a host"),
        ("http:///path", "it must start with http:// or https:// and a host"),
        ("//example.com", "it must start with http:// or https:// and a host"),
        ("file:///etc/passwd", "it must start with http:// or https:// and a host"),
        ("ftp://example.com", "only http and https can be called"),
        ("gopher://example.com", "only http and https can be called"),
        ("unix://example.com", "only http and https can be called"),
        ("http://example.com\\@127.0.0.1", "a backslash stands in it"),
        ("http://user:secret@example.com", "a user name or password stands in it"),
        ("http://example.com@127.0.0.1/", "a user name or password stands in it"),
        ("http://@example.com/", "a user name or password stands in it"),
        ("http://a b.com", "its host is not a name"),
        ("http://127%2e0.0.1", "a part of the IPv4 address is no number"),
        ("http://127%2e1.example", "its host is not a name"),
        ("http://example..com", "its host is not a name"),
        ("http://-example.com", "its host is not a name"),
        ("http://.", "its host is not a name"),
        ("http://example.com..", "its host is not a name"),
        ("http://exam＠ple.com", "its host is not a name"),
        ("http://example．com／x", "its host is not a name"),
        ("http://" + "a" * 64 + ".com", "its host is not a name"),
        ("http://" + "a." * 200 + "com", "its host is too long"),
        ("http://\u200d.com", "its host is not a"),
        ("http://1.2.3.4.5", "an IPv4 address has at most four parts"),
        ("http://256.256.256.256", "a part of the IPv4 address is too large"),
        ("http://[::g]", "what stands in brackets is no IPv6 address"),
        ("http://[127.0.0.1]", "what stands in brackets is no IPv6 address"),
        ("http://[]", "what stands in brackets is no IPv6 address"),
        ("http://[::1", "its host and port can't be told apart"),
        ("http://::1/", "its host and port can't be told apart"),
        ("http://a:80:90/", "its host and port can't be told apart"),
        ("http://a:x/", "its host and port can't be told apart"),
        ("http://a:８０/", "its host and port can't be told apart"),
        ("http://a:0/", "its port is not between 1 and 65535"),
        ("http://a:65536/", "its port is not between 1 and 65535"),
        ("http://a:" + "1" * 4400, "its port is not between 1 and 65535"),
        ("http://example.com/\r\nHost: x", "a control character"),
        ("http://example.com/\x00", "a control character"),
        ("http://example.com/\ud800", "a control character"),
        ("http://example.com/" + "a" * 8200, "it is longer than 8192 characters"),
    ],
)
def test_what_is_no_url_gets_a_reason(url: str, reason: str) -> None:
    with pytest.raises(BuiltinError) as caught:
        parse(url)
    assert caught.value.code == "http.invalid_url"
    assert caught.value.message.startswith(f"The URL can't be called: {reason}")
    assert caught.value.retryable is False
    assert "secret" not in caught.value.message


def test_an_address_with_a_zone_is_link_local() -> None:
    for url in ("http://[fe80::1%25eth0]/", "http://[fe80::1%eth0]/", "http://[2606::1%1]/"):
        with pytest.raises(BuiltinError) as caught:
            parse(url)
        assert caught.value.code == "http.address_refused"


def test_a_shown_url_has_no_query() -> None:
    target = parse("https://example.com/a?key=secret").with_query([("b", "c d&"), ("e", "")])
    assert target.full == "https://example.com/a?key=secret&b=c+d%26&e="
    assert target.shown == "https://example.com/a"


@pytest.mark.parametrize(
    ("location", "full"),
    [
        ("/b", "https://example.com:8443/b"),
        ("b?c", "https://example.com:8443/a/b?c"),
        ("?c", "https://example.com:8443/a/x?c"),
        ("//127.1/z", "https://127.0.0.1/z"),
        ("http://other.example", "http://other.example/"),
        ("///evil.example/x", "https://example.com:8443/evil.example/x"),
    ],
)
def test_where_a_redirect_leads(location: str, full: str) -> None:
    assert parse("https://example.com:8443/a/x?y").join(location).full == full


@pytest.mark.parametrize(
    "location", ["javascript:alert(1)", "http://[", "http://a\r\nb", "file:///etc", "\\\\evil"]
)
def test_where_a_redirect_can_not_lead(location: str) -> None:
    with pytest.raises(BuiltinError) as caught:
        parse("https://example.com/").join(location)
    assert caught.value.code == "http.invalid_url"


def test_an_origin_is_scheme_host_and_port() -> None:
    assert parse("https://example.com/a").origin == ("https", "example.com", 443)
    assert Target("http", "::1", 8080, "/").netloc == "[::1]:8080"
