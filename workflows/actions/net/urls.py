"""URLs as people write them, taken apart once, so that what is checked is what is called.

Pure. Hosts come out in one spelling: lower-case ASCII names without a trailing dot, IPv4 addresses
with four decimal parts, IPv6 addresses compressed.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import AddressValueError, IPv6Address
from typing import Final
from urllib.parse import urlencode, urljoin

import idna

from workflows.actions.net.addresses import parse_ipv4
from workflows.actions.net.errors import address_refused, invalid_url

MAX_URL_CHARS = 8_192
MAX_HOST_CHARS = 253
DEFAULT_PORTS: Final = {"http": 80, "https": 443}

_PARTS = re.compile(
    r"(?P<scheme>[A-Za-z][A-Za-z0-9+.\-]*)://(?P<authority>[^/?#]*)(?P<path>[^?#]*)"
    r"(?:\?(?P<query>[^#]*))?(?:#.*)?",
)
_NAME = re.compile(r"[a-z0-9_](?:[a-z0-9_\-]{0,62})(?:\.[a-z0-9_][a-z0-9_\-]{0,62})*")
_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class Target:
    """Where a request goes. `host` is in its one spelling, an IPv6 address without brackets."""

    scheme: str
    host: str
    port: int
    path: str
    query: str | None = None

    @property
    def origin(self) -> tuple[str, str, int]:
        return (self.scheme, self.host, self.port)

    @property
    def netloc(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == DEFAULT_PORTS[self.scheme] else f"{host}:{self.port}"

    @property
    def shown(self) -> str:
        """The URL for messages and outputs: without its query, where keys and tokens stand."""
        return f"{self.scheme}://{self.netloc}{self.path}"

    @property
    def full(self) -> str:
        return self.shown if self.query is None else f"{self.shown}?{self.query}"

    def with_query(self, pairs: Sequence[tuple[str, str]]) -> Target:
        """The same with these names and values after what the query holds already."""
        if not pairs:
            return self
        query = "&".join(part for part in (self.query, urlencode(pairs)) if part)
        return Target(self.scheme, self.host, self.port, self.path, query)

    def join(self, location: str) -> Target:
        """Where a redirect to `location` leads; raises BuiltinError as `parse` does."""
        _check_characters(location)
        try:
            return parse(urljoin(self.full, location))
        except ValueError:
            raise invalid_url("it can't be taken apart") from None


def parse(url: str) -> Target:
    """Take a URL apart. Raises BuiltinError `http.invalid_url` with what is wrong about it."""
    _check_characters(url)
    match = _PARTS.fullmatch(url)
    if match is None or not match["authority"]:
        raise invalid_url("it must start with http:// or https:// and a host")
    scheme = match["scheme"].lower()
    if scheme not in DEFAULT_PORTS:
        raise invalid_url("only http and https can be called")
    authority = match["authority"]
    if "\\" in authority + match["path"]:
        raise invalid_url("a backslash stands in it, which programs read in different ways")
    if "@" in authority:
        raise invalid_url(
            "a user name or password stands in it, where it would be logged and shown; "
            "use the parameter `auth`"
        )
    host, port = _split_authority(authority)
    return Target(
        scheme=scheme,
        host=normal_host(host),
        port=DEFAULT_PORTS[scheme] if port is None else port,
        path=match["path"] or "/",
        query=match["query"],
    )


def _check_characters(url: str) -> None:
    if len(url) > MAX_URL_CHARS:
        raise invalid_url(f"it is longer than {MAX_URL_CHARS} characters")
    if _UNPRINTABLE.search(url):
        raise invalid_url("a control character, a line break or half a character stands in it")


def _split_authority(authority: str) -> tuple[str, int | None]:
    match = re.fullmatch(r"(?P<host>\[[^\]]*\]|[^:\[\]]*)(?::(?P<port>[0-9]*))?", authority)
    if match is None:
        raise invalid_url("its host and port can't be told apart")
    if not match["port"]:
        return match["host"], None
    if len(match["port"]) > 5 or not 1 <= int(match["port"]) <= 65_535:
        raise invalid_url("its port is not between 1 and 65535")
    return match["host"], int(match["port"])


def normal_host(host: str) -> str:
    """The host in its one spelling. Raises BuiltinError if it is no host at all."""
    if host.startswith("["):
        return _normal_ipv6(host[1:-1])
    if len(host) > MAX_HOST_CHARS + 1:
        raise invalid_url("its host is too long")
    name = _ascii(host).removesuffix(".")
    try:
        ipv4 = parse_ipv4(name)
    except ValueError as error:
        raise invalid_url(str(error)) from None
    if ipv4 is not None:
        return str(ipv4)
    if not _NAME.fullmatch(name) or len(name) > MAX_HOST_CHARS:
        raise invalid_url("its host is not a name of letters, digits, dots and hyphens")
    return name


def _ascii(host: str) -> str:
    """Lower case, and international names as DNS has them; ①２。is 12. before anybody looks."""
    if host.isascii():
        return host.lower()
    try:
        mapped = idna.uts46_remap(host, std3_rules=False)
        return mapped if mapped.isascii() else idna.encode(mapped).decode()
    except (idna.IDNAError, UnicodeError):
        raise invalid_url("its host is not a valid international name") from None


def _normal_ipv6(text: str) -> str:
    try:
        address = IPv6Address(text)
    except AddressValueError:
        raise invalid_url("what stands in brackets is no IPv6 address") from None
    if address.scope_id is not None:
        raise address_refused("link-local (it names a network interface)")
    return str(address)
