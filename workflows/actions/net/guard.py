"""The address guard: names are resolved here, every address is checked, and only a checked one is
connected to. Nothing is resolved a second time, so an answer that changes in between changes
nothing.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
import time
from collections.abc import Awaitable, Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from ipaddress import ip_address
from typing import Any, NoReturn

import httpcore
import structlog

from workflows.actions.net.addresses import Address
from workflows.actions.net.allowlist import AllowList
from workflows.actions.net.errors import address_refused

log = structlog.get_logger(__name__)

Resolve = Callable[[str, int], Awaitable[list[str]]]

# A name with hundreds of addresses must not keep a step trying them one by one.
MAX_ADDRESSES = 8

# Resolving blocks a thread for as long as the name servers please. A pool apart, so that dead name
# servers don't use up the threads that everything else on the loop shares.
_RESOLVERS = ThreadPoolExecutor(16, thread_name_prefix="resolve")


class NameUnknownError(Exception):
    """The name has no address, or nobody could say."""


async def system_resolve(host: str, port: int) -> list[str]:
    """The addresses of a name as the system knows them; raises NameUnknownError."""
    loop = asyncio.get_running_loop()
    try:
        found = await loop.run_in_executor(
            _RESOLVERS, lambda: socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        )
    except (OSError, UnicodeError) as error:
        raise NameUnknownError(getattr(error, "strerror", None) or "no valid name") from None
    return list(dict.fromkeys(str(row[4][0]) for row in found))


class Guard:
    """Says which addresses a host may be reached at.

    resolve: from a name and a port to the texts of its addresses.
    """

    def __init__(self, allowed: AllowList, resolve: Resolve = system_resolve) -> None:
        self._allowed = allowed
        self._resolve = resolve

    async def vetted(self, host: str, port: int) -> list[Address]:
        """The addresses to connect to, best first; none of them is resolved again.

        host: a name or an address, in the one spelling of `urls.normal_host`.
        Raises BuiltinError `http.address_refused` if any address may not be reached: a name with
        one public and one private address is a trap or a mistake. Raises NameUnknownError.
        """
        literal = _literal(host)
        found = [literal] if literal else [ip_address(a) for a in await self._resolve(host, port)]
        if not found:
            raise NameUnknownError("it has no address")
        if self._allowed.allows_name(host, port):
            return found[:MAX_ADDRESSES]
        for address in found:
            kind = self._allowed.refusal(address, port)
            if kind is not None:
                # Where a name leads inside is for those who run the place, not for its message.
                log.warning("http.address_refused", host=host, address=str(address), kind=kind)
                raise address_refused(kind, host)
        return found[:MAX_ADDRESSES]


def _literal(host: str) -> Address | None:
    try:
        return ip_address(host)
    except ValueError:
        return None


class GuardedStream(httpcore.AsyncNetworkStream):
    """A connection that does not outlive a TLS handshake that was given up."""

    def __init__(self, stream: httpcore.AsyncNetworkStream) -> None:
        self._stream = stream

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return await self._stream.read(max_bytes, timeout)

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:
        await self._stream.write(buffer, timeout)

    async def aclose(self) -> None:
        await self._stream.aclose()

    async def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,
    ) -> httpcore.AsyncNetworkStream:
        try:
            return await self._stream.start_tls(ssl_context, server_hostname, timeout)
        except BaseException:
            # httpcore closes it after an error, but not after a cancellation.
            await self._stream.aclose()
            raise

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)


class GuardedBackend(httpcore.AsyncNetworkBackend):
    """Opens TCP connections to vetted addresses only; TLS above it still checks the name."""

    def __init__(self, guard: Guard) -> None:
        self._guard = guard
        self._backend = httpcore.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> GuardedStream:
        """Try the addresses in turn; each gets its share of the time that is left (seconds)."""
        end = None if timeout is None else time.monotonic() + timeout
        try:
            async with asyncio.timeout(timeout):
                addresses = await self._guard.vetted(host, port)
        except TimeoutError:
            raise httpcore.ConnectTimeout("its name was not resolved in time") from None
        for left in range(len(addresses), 0, -1):
            share = None if end is None else max(0.01, (end - time.monotonic()) / left)
            try:
                stream = await self._backend.connect_tcp(
                    str(addresses[-left]),
                    port,
                    timeout=share,
                    local_address=local_address,
                    socket_options=socket_options,
                )
                return GuardedStream(stream)
            except (httpcore.ConnectError, httpcore.ConnectTimeout):
                if left == 1:
                    raise
        raise AssertionError("vetted() answers at least one address")

    async def connect_unix_socket(
        self, path: str, timeout: float | None = None, socket_options: Iterable[Any] | None = None
    ) -> NoReturn:
        raise address_refused("a socket of this machine")

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


def is_certificate_problem(error: BaseException | None) -> bool:
    """Whether a failed connection failed because the other side could not prove its name."""
    while error is not None:
        if isinstance(error, ssl.SSLCertVerificationError):
            return True
        error = error.__cause__ or error.__context__
    return False
