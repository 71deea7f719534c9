"""PostgreSQL and Valkey on an address, as on a host of their own.

    python -m benchmarks.hosts.servers FOLDER ADDRESS

Says "ready" once both answer; stops them when its input ends.
"""

from __future__ import annotations

import sys
from pathlib import Path

from autopilot.embedded.home import Home, server_account
from autopilot.embedded.programs import locate, reachable
from autopilot.embedded.servers import Postgres, Valkey

PORTS = {"postgres": 5432, "valkey": 6379}


class ReachablePostgres(Postgres):
    """The embedded one, listening on the network, too."""

    address = ""

    def command(self) -> list[str]:
        return [*super().command(), "-c", f"listen_addresses={self.address}"]

    def create(self) -> None:
        super().create()
        with (self.home.data / "pg_hba.conf").open("a") as file:
            file.write("host all all samenet trust\n")


class ReachableValkey(Valkey):
    """The embedded one, listening on the network, too."""

    address = ""

    def command(self) -> list[str]:
        network = ("--port", str(PORTS["valkey"]), "--bind", self.address)
        return [*super().command(), *network, "--protected-mode", "no"]


def main() -> None:
    home, address = Home(Path(sys.argv[1])), sys.argv[2]
    account = server_account(home)
    home.prepare(account)
    programs = reachable(locate(), home, account)
    postgres = ReachablePostgres(home, account, programs, durable=True, max_connections=100)
    valkey = ReachableValkey(home, account, programs, databases=16)
    postgres.address = valkey.address = address
    try:
        valkey.launch()
        postgres.create()
        postgres.start()
        valkey.wait_ready()
        print("ready", flush=True)
        sys.stdin.read()
    finally:
        postgres.stop()
        valkey.stop()


if __name__ == "__main__":
    main()
