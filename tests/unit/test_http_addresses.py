from __future__ import annotations

from ipaddress import IPv4Address, ip_address

import pytest

from workflows.actions.net.addresses import embedded, parse_ipv4, refusal
from workflows.actions.net.allowlist import AllowList

METADATA = "a cloud's metadata service"
INSIDE_IPV6 = "an IPv4 address inside an IPv6 address"


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("0.0.0.0", "unspecified"),
        ("0.1.2.3", "reserved"),
        ("10.0.0.0", "private"),
        ("10.255.255.255", "private"),
        ("100.64.0.1", "private (shared by a provider's customers)"),
        ("100.127.255.255", "private (shared by a provider's customers)"),
        ("100.100.100.200", METADATA),
        ("127.0.0.1", "loopback"),
        ("127.255.255.254", "loopback"),
        ("168.63.129.16", METADATA),
        ("169.254.0.1", "link-local"),
        ("169.254.169.254", METADATA),
        ("172.16.0.1", "private"),
        ("172.31.255.255", "private"),
        ("192.0.0.8", "reserved"),
        ("192.0.0.192", METADATA),
        ("192.0.2.1", "reserved for documentation"),
        ("192.88.99.1", "a 6to4 relay"),
        ("192.168.1.1", "private"),
        ("198.19.0.1", "reserved for benchmarks"),
        ("198.51.100.1", "reserved for documentation"),
        ("203.0.113.1", "reserved for documentation"),
        ("224.0.0.1", "multicast"),
        ("239.255.255.255", "multicast"),
        ("240.0.0.1", "reserved"),
        ("255.255.255.255", "broadcast"),
        ("::", "unspecified"),
        ("::1", "loopback"),
        ("::127.0.0.1", INSIDE_IPV6),
        ("::ffff:127.0.0.1", INSIDE_IPV6),
        ("::ffff:8.8.8.8", INSIDE_IPV6),
        ("::ffff:0:8.8.8.8", "reserved"),
        ("64:ff9b::8.8.8.8", "an IPv4 address behind NAT64"),
        ("64:ff9b:1::8.8.8.8", "an IPv4 address behind NAT64"),
        ("2001:0:1::1", "an IPv4 address behind Teredo"),
        ("2001:10::1", "reserved"),
        ("2001:db8::1", "reserved for documentation"),
        ("2002:808:808::1", "an IPv4 address behind 6to4"),
        ("3fff::1", "reserved for documentation"),
        ("100::1", "reserved"),
        ("4000::1", "reserved"),
        ("5f00::1", "reserved"),
        ("fc00::1", "private"),
        ("fd00:ec2::254", METADATA),
        ("fd20:ce::254", METADATA),
        ("fd12:3456::1", "private"),
        ("fe80::1", "link-local"),
        ("fe80::1%eth0", "link-local"),
        ("2606:4700::1111%eth0", "link-local"),
        ("fec0::1", "private"),
        ("ff02::1", "multicast"),
    ],
)
def test_what_is_not_public_is_named(text: str, kind: str) -> None:
    assert refusal(ip_address(text)) == kind


@pytest.mark.parametrize(
    "text",
    [
        *("1.1.1.1", "8.8.8.8", "9.255.255.255", "11.0.0.0", "100.63.255.255", "100.128.0.0"),
        *("126.255.255.255", "128.0.0.0", "169.253.0.1", "172.15.0.1", "172.32.0.1", "192.167.0.1"),
        *("198.17.0.1", "198.20.0.1", "223.255.255.255", "2606:4700::1111", "2a00:1450::1"),
    ],
)
def test_public_addresses_may_be_reached(text: str) -> None:
    assert refusal(ip_address(text)) is None


@pytest.mark.parametrize(
    ("text", "inner"),
    [
        ("::ffff:10.1.2.3", "10.1.2.3"),
        ("::10.1.2.3", "10.1.2.3"),
        ("64:ff9b::10.1.2.3", "10.1.2.3"),
        ("2002:a01:203::", "10.1.2.3"),
        ("2001:0:1:2:3:4:f5fe:fdfc", "10.1.2.3"),
        ("::1", None),
        ("::", None),
        ("2606:4700::1", None),
        ("10.1.2.3", None),
    ],
)
def test_the_ipv4_address_inside_is_found(text: str, inner: str | None) -> None:
    assert embedded(ip_address(text)) == (IPv4Address(inner) if inner else None)


@pytest.mark.parametrize(
    "host",
    [
        *("127.0.0.1", "127.1", "127.0.1", "2130706433", "0x7f000001", "0x7f.1", "0177.0.0.1"),
        *("017700000001", "0x7f.0x0.0x0.0x1", "0177.0.0x0.1", "127.0x00000001", "00000177.1"),
    ],
)
def test_every_spelling_of_an_ipv4_address_is_read(host: str) -> None:
    assert parse_ipv4(host) == IPv4Address("127.0.0.1")


@pytest.mark.parametrize("host", ["example.com", "1.example", "0x7g", "localhost", "a1", ""])
def test_names_are_no_addresses(host: str) -> None:
    assert parse_ipv4(host) is None


@pytest.mark.parametrize(
    ("host", "reason"),
    [
        ("1.2.3.4.5", "an IPv4 address has at most four parts"),
        ("256.1.1.1", "a part of the IPv4 address is too large"),
        ("1.2.3.256", "a part of the IPv4 address is too large"),
        ("4294967296", "a part of the IPv4 address is too large"),
        ("example.0x1", "a part of the IPv4 address is no number"),
        ("1..1", "a part of the IPv4 address is no number"),
        ("9" * 5000, "a part of the IPv4 address is no number"),
        ("08.1", "a part of the IPv4 address starts with 0 and is no octal number"),
    ],
)
def test_what_ends_in_a_number_is_an_address_or_wrong(host: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        parse_ipv4(host)


ALLOWED = AllowList.parse(
    ["CRM.internal.", "api.internal:8443", "10.1.2.3", "10.9.0.0/16", "127.0.0.1:8080",
     "[fd00::1]:443", "fd01::/16", "64:ff9b::/96", "bücher.example", "::ffff:0:0/96"]
)  # fmt: skip


@pytest.mark.parametrize(
    ("host", "port", "allowed"),
    [
        ("crm.internal", 80, True),
        ("crm.internal", 9999, True),
        ("api.internal", 8443, True),
        ("api.internal", 443, False),
        ("a.crm.internal", 80, False),
        ("xn--bcher-kva.example", 443, True),
        ("example.com", 80, False),
    ],
)
def test_names_are_allowed_whole_and_by_port(host: str, port: int, allowed: bool) -> None:
    assert ALLOWED.allows_name(host, port) is allowed


@pytest.mark.parametrize(
    ("address", "port", "kind"),
    [
        ("8.8.8.8", 80, None),
        ("10.1.2.3", 80, None),
        ("10.1.2.4", 80, "private"),
        ("10.9.200.1", 22, None),
        ("127.0.0.1", 8080, None),
        ("127.0.0.1", 80, "loopback"),
        ("fd00::1", 443, None),
        ("fd00::1", 80, "private"),
        ("fd01::5", 1, None),
        # Leave for the outside is no leave for what it carries.
        ("64:ff9b::8.8.8.8", 80, None),
        ("64:ff9b::10.1.2.3", 80, None),
        ("64:ff9b::10.1.2.4", 80, "private"),
        ("64:ff9b::169.254.169.254", 80, "a cloud's metadata service"),
        ("::ffff:127.0.0.1", 8080, None),
        ("::ffff:127.0.0.1", 80, "loopback"),
        ("2002:a01:203::", 80, "an IPv4 address behind 6to4"),
    ],
)
def test_addresses_are_allowed_by_network_and_port(
    address: str, port: int, kind: str | None
) -> None:
    assert ALLOWED.refusal(ip_address(address), port) == kind


@pytest.mark.parametrize(
    ("word", "sentence"),
    [
        ("10.0.0.1/8", "'10.0.0.1/8' is not a network: 10.0.0.1/8 has host bits set."),
        ("host:99999", "'host:99999' is neither a host, a host:port, an address nor a network"),
        ("http://crm.internal", "'http://crm.internal' is not a network"),
        ("*", r"'\*' is not a host: The URL can't be called: its host is not a name"),
        ("a:b:c", "'a:b:c' is neither a host"),
        ("[::g]", r"'\[::g\]' is not a host"),
    ],
)
def test_a_wrong_entry_gets_a_sentence(word: str, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        AllowList.parse(["fine.example", word])
