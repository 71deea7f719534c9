"""What an operator lets workflows reach besides the public Internet."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import ip_address, ip_network

from workflows.actions.base import BuiltinError
from workflows.actions.net.addresses import Address, Network, embedded, refusal
from workflows.actions.net.urls import normal_host

_WITH_PORT = re.compile(r"(?P<host>\[[^\]]*\]|[^:\[\]/]+)(?::(?P<port>[0-9]{1,5}))?")


@dataclass(frozen=True, slots=True)
class AllowList:
    """Names and networks, each for one port or (None) for all.

    A name allows whatever it resolves to: who lists it trusts those who run that name.
    """

    names: frozenset[tuple[str, int | None]] = frozenset()
    networks: tuple[tuple[Network, int | None], ...] = ()

    @classmethod
    def parse(cls, words: Iterable[str]) -> AllowList:
        """Entries such as `crm.internal`, `crm.internal:8080`, `10.1.2.3`, `10.0.0.0/8`,
        `[fd00::1]:443`, `fd00::/8`. Raises ValueError with a sentence about the first wrong one.
        """
        names: set[tuple[str, int | None]] = set()
        networks: list[tuple[Network, int | None]] = []
        for word in words:
            entry = _network(word) or _host(word)
            if isinstance(entry[0], str):
                names.add((entry[0], entry[1]))
            else:
                networks.append((entry[0], entry[1]))
        return cls(frozenset(names), tuple(networks))

    def allows_name(self, host: str, port: int) -> bool:
        """host: in the one spelling of `urls.normal_host`."""
        return (host, None) in self.names or (host, port) in self.names

    def refusal(self, address: Address, port: int) -> str | None:
        """Why this address may not be reached at this port; None if it may.

        An IPv6 address that carries an IPv4 address needs leave for both: listing a NAT64 prefix
        must not open everything that lies behind it.
        """
        kind = refusal(address)
        if kind is None:
            return None
        if not self._lists(address, port):
            return kind
        inner = embedded(address)
        return None if inner is None else self.refusal(inner, port)

    def _lists(self, address: Address, port: int) -> bool:
        return any(
            address in network for network, only in self.networks if only is None or only == port
        )


def _network(word: str) -> tuple[Network, None] | None:
    try:
        return ip_network(word), None
    except ValueError as error:
        if "/" in word:
            raise ValueError(f"{word!r} is not a network: {error}.") from None
    return None


def _host(word: str) -> tuple[Network | str, int | None]:
    match = _WITH_PORT.fullmatch(word)
    port = int(match["port"]) if match and match["port"] else None
    if match is None or (port is not None and not 1 <= port <= 65_535):
        raise ValueError(
            f"{word!r} is neither a host, a host:port, an address nor a network such as 10.0.0.0/8."
        )
    try:
        host = normal_host(match["host"])
    except BuiltinError as error:
        raise ValueError(f"{word!r} is not a host: {error.message}") from None
    try:
        return ip_network(ip_address(host)), port
    except ValueError:
        return host, port
