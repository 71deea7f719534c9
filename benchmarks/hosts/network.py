"""Hosts as network namespaces: a network of their own each, joined by a bridge.

The machine's own network is neither seen nor touched. Needs root and `ip` of iproute2.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess

from benchmarks.own import Own

# Nobody outside of the namespaces sees these.
NETWORK = "10.231.0"
SERVERS = f"{NETWORK}.1"
COMMAND_SECONDS = 20.0


class NoNamespaces(Exception):
    """This machine doesn't let us make hosts of our own."""


class Network(Own):
    """A host for the servers, and one for each of `names`; all of it is gone at the end."""

    def __init__(self, names: tuple[str, ...]) -> None:
        super().__init__()
        self._prefix = f"cx{os.getpid()}"
        self.addresses = {name: f"{NETWORK}.{number}" for number, name in enumerate(names, 2)}

    def within(self, name: str) -> list[str]:
        """What comes before a command that is to run on that host."""
        return ["ip", "netns", "exec", self._space(name)]

    def cut(self, name: str) -> None:
        """Pull the plug: no packet leaves or reaches the host, and nobody is told."""
        _ip("-n", self._space("servers"), "link", "set", f"to-{name}", "down")

    def join(self, name: str) -> None:
        _ip("-n", self._space("servers"), "link", "set", f"to-{name}", "up")

    def _space(self, name: str) -> str:
        return f"{self._prefix}-{name}"

    def _start(self) -> None:
        if os.geteuid() != 0:
            raise NoNamespaces("Hosts of one's own need network namespaces, and those need root.")
        if shutil.which("ip") is None:
            raise NoNamespaces("Hosts of one's own need the command `ip` (iproute2).")
        servers = self._add("servers")
        _ip("-n", servers, "link", "add", "bridge", "type", "bridge")
        _ip("-n", servers, "addr", "add", f"{SERVERS}/24", "dev", "bridge")
        _ip("-n", servers, "link", "set", "bridge", "up")
        for name, address in self.addresses.items():
            space = self._add(name)
            pair = ("type", "veth", "peer", "name", "wire", "netns", space)
            _ip("-n", servers, "link", "add", f"to-{name}", *pair)
            _ip("-n", servers, "link", "set", f"to-{name}", "master", "bridge", "up")
            _ip("-n", space, "addr", "add", f"{address}/24", "dev", "wire")
            _ip("-n", space, "link", "set", "wire", "up")

    def _add(self, name: str) -> str:
        space = self._space(name)
        _ip("netns", "add", space)
        self._exit.callback(self._remove, space)
        _ip("-n", space, "link", "set", "lo", "up")
        return space

    @staticmethod
    def _remove(space: str) -> None:
        """With whatever still runs in it, so that it can't outlive us unseen."""
        found = subprocess.run(
            ["ip", "netns", "pids", space], check=False, capture_output=True, text=True
        )
        for pid in found.stdout.split():
            try:
                os.kill(int(pid), signal.SIGKILL)
            except ProcessLookupError:
                continue
        subprocess.run(["ip", "netns", "del", space], check=False, capture_output=True)


def _ip(*arguments: str) -> None:
    done = subprocess.run(
        ["ip", *arguments], check=False, capture_output=True, text=True, timeout=COMMAND_SECONDS
    )
    if done.returncode:
        said = done.stderr.strip() or f"exit code {done.returncode}"
        raise NoNamespaces(f"`ip {' '.join(arguments)}` does not work here: {said}")
