"""Which addresses a workflow may reach: those of the public Internet, and nothing nearer.

Pure. The networks are spelled out, from IANA's registries of special-purpose addresses (IPv4 and
IPv6) and the clouds' own documentation, because what Python's `ipaddress` calls private changes
from release to release.
"""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_network
from typing import Final

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network


def _networks(*rows: tuple[str, str]) -> tuple[tuple[Network, str], ...]:
    return tuple((ip_network(text), kind) for text, kind in rows)


# The first that fits names the kind; so the narrow ones stand before the wide ones.
_IPV4: Final = _networks(
    ("169.254.169.254/32", "a cloud's metadata service"),
    ("100.100.100.200/32", "a cloud's metadata service"),
    ("192.0.0.192/32", "a cloud's metadata service"),
    # Public by its number, but answered by the host under every virtual machine of that cloud.
    ("168.63.129.16/32", "a cloud's metadata service"),
    ("0.0.0.0/32", "unspecified"),
    ("0.0.0.0/8", "reserved"),
    ("10.0.0.0/8", "private"),
    ("100.64.0.0/10", "private (shared by a provider's customers)"),
    ("127.0.0.0/8", "loopback"),
    ("169.254.0.0/16", "link-local"),
    ("172.16.0.0/12", "private"),
    ("192.0.0.0/24", "reserved"),
    ("192.0.2.0/24", "reserved for documentation"),
    ("192.88.99.0/24", "a 6to4 relay"),
    ("192.168.0.0/16", "private"),
    ("198.18.0.0/15", "reserved for benchmarks"),
    ("198.51.100.0/24", "reserved for documentation"),
    ("203.0.113.0/24", "reserved for documentation"),
    ("224.0.0.0/4", "multicast"),
    ("255.255.255.255/32", "broadcast"),
    ("240.0.0.0/4", "reserved"),
)
_IPV6: Final = _networks(
    ("fd00:ec2::254/128", "a cloud's metadata service"),
    ("fd20:ce::254/128", "a cloud's metadata service"),
    ("::/128", "unspecified"),
    ("::1/128", "loopback"),
    ("::ffff:0:0/96", "an IPv4 address inside an IPv6 address"),
    ("::/96", "an IPv4 address inside an IPv6 address"),
    ("64:ff9b::/96", "an IPv4 address behind NAT64"),
    ("64:ff9b:1::/48", "an IPv4 address behind NAT64"),
    ("2001::/32", "an IPv4 address behind Teredo"),
    ("2002::/16", "an IPv4 address behind 6to4"),
    ("2001::/23", "reserved"),
    ("2001:db8::/32", "reserved for documentation"),
    ("3fff::/20", "reserved for documentation"),
    ("fc00::/7", "private"),
    ("fe80::/10", "link-local"),
    ("fec0::/10", "private"),
    ("ff00::/8", "multicast"),
)
# Nothing else has been given out so far.
_IPV6_PUBLIC: Final = IPv6Network("2000::/3")


def refusal(address: Address) -> str | None:
    """What kind of address this is, if it is no public one; None = it may be reached.

    The kind fits into "its address is ...".
    """
    if isinstance(address, IPv6Address) and address.scope_id is not None:
        return "link-local"
    for network, kind in _IPV4 if address.version == 4 else _IPV6:
        if address in network:
            return kind
    if isinstance(address, IPv6Address) and address not in _IPV6_PUBLIC:
        return "reserved"
    return None


def embedded(address: Address) -> IPv4Address | None:
    """The IPv4 address that this IPv6 address leads to, in any of the forms that carry one."""
    if isinstance(address, IPv4Address):
        return None
    number = int(address)
    if number >> 32 in (0, 0xFFFF, 0x64_FF9B << 64) and number > 1:
        return IPv4Address(number & 0xFFFF_FFFF)
    if address.sixtofour is not None:
        return address.sixtofour
    if address.teredo is not None:
        return address.teredo[1]
    return None


def parse_ipv4(host: str) -> IPv4Address | None:
    """An IPv4 address in any spelling that C libraries and browsers take; None if it is a name.

    One to four parts, each decimal, octal (`0177`) or hexadecimal (`0x7f`); the last part fills
    what is left, so `127.1` and `2130706433` are 127.0.0.1. Raises ValueError for what ends in a
    number and yet is no address: nobody may take that for a name.
    """
    parts = host.split(".")
    if not _is_numeric(parts[-1]):
        return None
    if len(parts) > 4:
        raise ValueError("an IPv4 address has at most four parts")
    *leading, last = [_number(part) for part in parts]
    if any(number > 255 for number in leading) or last >= 256 ** (5 - len(parts)):
        raise ValueError("a part of the IPv4 address is too large")
    value = last
    for index, number in enumerate(leading):
        value += number << (8 * (3 - index))
    return IPv4Address(value)


def _is_numeric(part: str) -> bool:
    if part.startswith("0x"):
        return all(char in "0123456789abcdef" for char in part[2:])
    return part.isascii() and part.isdigit()


def _number(part: str) -> int:
    if not part or not _is_numeric(part) or len(part) > 20:
        raise ValueError("a part of the IPv4 address is no number")
    if part.startswith("0x"):
        return int(part[2:] or "0", 16)
    if len(part) > 1 and part.startswith("0"):
        if set(part) & {"8", "9"}:
            raise ValueError("a part of the IPv4 address starts with 0 and is no octal number")
        return int(part, 8)
    return int(part)
