"""The event loop's own connection, when the server, the network or a value is not as usual."""

from __future__ import annotations

import asyncio
import os
import resource
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import psycopg2
import pytest
import uvloop
from django.db import connection

from executions.runtime import direct
from executions.runtime.direct import Direct, Reply

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    found = uvloop.new_event_loop()
    yield found
    found.close()


@pytest.fixture
def opened() -> Iterator[Direct]:
    found = Direct("SELECT 1")
    yield found
    found.close()


@contextmanager
def reached_by(monkeypatch: Any, host: str, port: Any, **options: Any) -> Iterator[None]:
    """The settings say so; a loop has a `connection` of its own, and the settings in common."""
    settings = connection.settings_dict
    with monkeypatch.context() as patch:
        patch.setitem(settings, "HOST", host)
        patch.setitem(settings, "PORT", str(port))
        patch.setitem(settings, "OPTIONS", {**settings["OPTIONS"], **options})
        yield


async def until(condition: Callable[[], bool], seconds: float = 5.0) -> None:
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.005)


def run(loop: Any, opened: Direct, sql: str, **parameters: Any) -> Reply:
    loop.run_until_complete(until(opened.is_free))
    return loop.run_until_complete(asyncio.wait_for(opened.execute(sql, parameters), 5))


def _tried(opened: Direct) -> int:
    assert not opened.is_free()
    return opened._tries


def closed_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def test_a_server_is_found_behind_one_that_is_starting(loop, opened, monkeypatch) -> None:
    usual = connection.get_connection_params()
    with socket.create_server(("127.0.0.1", 0)) as starting:
        hosts = f"127.0.0.1,{usual.get('host') or ''}"
        ports = f"{starting.getsockname()[1]},{usual.get('port') or 5432}"
        refusing = threading.Thread(target=_refuse, args=[starting], daemon=True)
        refusing.start()
        with reached_by(monkeypatch, host=hosts, port=ports, sslmode="disable"):
            assert run(loop, opened, "SELECT 7").rows == [(7,)]
        refusing.join(timeout=5)


def test_a_server_is_found_behind_addresses_that_refuse(loop, opened, monkeypatch) -> None:
    usual = connection.get_connection_params()
    hosts = f"127.0.0.1,127.0.0.1,{usual.get('host') or ''}"
    ports = f"{closed_port()},{closed_port()},{usual.get('port') or 5432}"

    with reached_by(monkeypatch, host=hosts, port=ports):
        assert run(loop, opened, "SELECT 7").rows == [(7,)]


def _refuse(starting: socket.socket) -> None:
    """Answer one client as a server that can't take any yet."""
    client, _ = starting.accept()
    with client:
        client.recv(10_000)
        said = b"SFATAL\0VFATAL\0C57P03\0Mthe database system is starting up\0\0"
        client.sendall(b"E" + (len(said) + 4).to_bytes(4, "big") + said)


def test_an_answer_that_python_can_not_hold_is_an_error_for_who_asked(loop, opened) -> None:
    with pytest.raises(psycopg2.Error, match="year 20000"):
        run(loop, opened, "SELECT '20000-01-01'::timestamptz")

    assert run(loop, opened, "SELECT 7").rows == [(7,)]


def test_what_can_not_be_sent_is_an_error_for_who_asked(loop, opened) -> None:
    with pytest.raises(psycopg2.Error, match="NUL"):
        run(loop, opened, "SELECT %(text)s", text="a\0b")

    assert run(loop, opened, "SELECT 7").rows == [(7,)]


def test_a_server_that_does_not_answer_is_given_up(loop, opened, monkeypatch) -> None:
    monkeypatch.setattr(direct, "RETRY_SECONDS", 0.05)
    with socket.socket() as silent, monkeypatch.context() as patch:
        patch.setattr(direct, "CONNECT_SECONDS", 0.05)
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        with reached_by(monkeypatch, host="127.0.0.1", port=silent.getsockname()[1]):
            loop.run_until_complete(until(lambda: _tried(opened) == 2))

    assert run(loop, opened, "SELECT 7").rows == [(7,)]


def test_it_tries_less_and_less_often_while_the_server_refuses(loop, opened, monkeypatch) -> None:
    monkeypatch.setattr(direct, "RETRY_SECONDS", 0.01)
    began = time.monotonic()
    with reached_by(monkeypatch, host="127.0.0.1", port=closed_port()):
        loop.run_until_complete(until(lambda: _tried(opened) == 5))
        # 0.01, 0.02, 0.04 and 0.08 seconds between the five.
        assert time.monotonic() - began >= 0.15

    assert run(loop, opened, "SELECT 7").rows == [(7,)]
    assert opened._tries == 0


def test_it_has_the_role_that_the_settings_ask_for(loop, opened, monkeypatch) -> None:
    options = {**connection.settings_dict["OPTIONS"], "assume_role": "pg_monitor"}
    monkeypatch.setitem(connection.settings_dict, "OPTIONS", options)

    assert run(loop, opened, "SELECT current_user::text").rows == [("pg_monitor",)]


def test_an_idle_connection_that_the_server_ends_is_replaced(loop, opened, monkeypatch) -> None:
    monkeypatch.setattr(direct, "RETRY_SECONDS", 0.05)
    ((pid,),) = run(loop, opened, "SELECT pg_backend_pid()").rows
    with connection.cursor() as other:
        other.execute("SELECT pg_terminate_backend(%s, 5000)", [pid])
    loop.run_until_complete(until(lambda: opened._connection is None))

    assert run(loop, opened, "SELECT pg_backend_pid()").rows != [(pid,)]


@pytest.fixture(params=[0, 1_024])
def _files(request) -> Iterator[None]:
    """So many are open besides."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(2_048, hard)), hard))
    with ExitStack() as files:
        for _ in range(request.param):
            files.enter_context(Path(os.devnull).open())
        yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.usefixtures("_files")
def test_what_was_sent_is_over_when_it_is_closed(loop) -> None:
    opened = Direct("SELECT pg_sleep(0.3), 'set-up under way'")

    async def until_it_is_set_up() -> None:
        opened.is_free()
        await until(lambda: opened._cursor is not None)

    loop.run_until_complete(until_it_is_set_up())
    opened.close()

    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(*) FROM pg_stat_activity"
            " WHERE query LIKE '%%set-up under way%%' AND state = 'active' AND pid <> %s",
            [connection.connection.info.backend_pid],
        )
        assert cursor.fetchone() == (0,)
