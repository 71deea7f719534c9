"""A connection of the event loop's own: one statement at a time, without a change of threads.

Handing something to the ledger's thread and hearing of it again takes as long as PostgreSQL takes
to carry a small checkpoint out. Where one execution is alone nobody shares that price with it.
"""

from __future__ import annotations

import asyncio
import select
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import psycopg2
import structlog
from django.db import connection
from psycopg2 import extensions, extras

log = structlog.get_logger(__name__)

# Between tries to connect, doubled up to the second: a server that refuses has troubles of its own.
RETRY_SECONDS = 1.0
MAX_RETRY_SECONDS = 30.0
# A server that has not let it in by then is taken for gone; libpq does not watch the time here.
CONNECT_SECONDS = 10.0
# How long the end of a worker waits for what is under way.
CLOSE_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Reply:
    """What a statement answered: how many rows it was about, and those that it returned."""

    count: int
    rows: list[tuple[Any, ...]]


class Direct:
    """Opens by itself when it is first asked for. Everything here happens on the loop's thread.

    set_up: carried out on every new connection. What fails is raised to whoever asked, and the
    connection is given up with it: the next one begins without a broken transaction.
    """

    def __init__(self, set_up: str) -> None:
        self._set_up = set_up
        self._connection: Any = None
        self._cursor: Any = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._is_set_up = False
        self._answer: asyncio.Future[Reply] | None = None
        # What the loop looks after: the file, and whether it is to be written to.
        self._watched: tuple[int, bool] | None = None
        self._opened_at = self._not_before = float("-inf")
        # How often in a row it was tried to connect, without getting as far as the set-up.
        self._tries = 0

    def is_free(self) -> bool:
        """Whether a statement can be sent right now; begins to connect if there is no connection.

        Looking the server's name up is the one thing about it that may hold up the loop.
        """
        loop = asyncio.get_running_loop()
        if self._connection is not None and self._loop is not loop:
            self._drop()
        if self._is_set_up:
            return self._answer is None
        if self._connection is not None and loop.time() >= self._opened_at + CONNECT_SECONDS:
            self._fail(psycopg2.OperationalError("The server did not answer in time."))
        if self._connection is None and loop.time() >= self._not_before:
            self._open(loop)
        return False

    async def execute(self, sql: str, parameters: Mapping[str, Any]) -> Reply:
        """Carry out one statement; only while it is free.

        Whoever is cancelled meanwhile does not hear of it; the statement is carried out.
        """
        assert self._answer is None
        assert self._loop is not None
        answer: asyncio.Future[Reply] = self._loop.create_future()
        self._answer = answer
        self._send(sql, parameters)
        return await answer

    def close(self) -> None:
        """End the connection; not while the loop runs.

        What the server has been sent it carries out whether we wait or not: it gets a moment, so
        that nothing of this worker comes after its end.
        """
        if self._cursor is not None and (self._answer is not None or not self._is_set_up):
            self._wait()
        self._drop()

    def _wait(self) -> None:
        until = time.monotonic() + CLOSE_SECONDS
        with suppress(psycopg2.Error):
            while (state := self._connection.poll()) != extensions.POLL_OK:
                # Not `select.select`: it knows no file beyond the 1,024th.
                file = select.poll()
                writes = select.POLLOUT if state == extensions.POLL_WRITE else 0
                file.register(self._connection.fileno(), select.POLLIN | writes)
                if not file.poll(1_000 * max(0.0, until - time.monotonic())):
                    log.info("direct.not_waited_for")
                    return

    def _drop(self) -> None:
        """Give the connection up, whatever it is doing."""
        self._watch(None)
        opened, self._connection = self._connection, None
        self._cursor, self._is_set_up = None, False
        if opened is not None:
            opened.close()
        answer, self._answer = self._answer, None
        if answer is not None and not answer.done() and not answer.get_loop().is_closed():
            answer.set_exception(psycopg2.OperationalError("The connection was closed."))

    def _open(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._opened_at = loop.time()
        self._not_before = self._opened_at + min(
            RETRY_SECONDS * 2 ** min(self._tries, 10), MAX_RETRY_SECONDS
        )
        self._tries += 1
        given = {**connection.get_connection_params(), "async_": 1}
        try:
            self._connection = psycopg2.connect(**given)
        except psycopg2.Error as error:
            log.info("direct.not_opened", error=str(error).strip())
            return
        # JSON is read where it is needed, as Django has it.
        extras.register_default_jsonb(self._connection, loads=lambda text: text)
        self._go_on()

    def _send(self, sql: str, parameters: Mapping[str, Any] | None) -> None:
        try:
            self._cursor = self._connection.cursor()
            self._cursor.execute(sql, parameters)
        except Exception as error:  # noqa: BLE001 - such as a NUL, which is no error of psycopg2's
            self._fail(error)
        else:
            self._go_on()

    def _go_on(self) -> None:
        """Something may have arrived, or may be sent."""
        try:
            state = self._connection.poll()
        except psycopg2.Error as error:
            self._fail(error)
            return
        self._watch(state == extensions.POLL_WRITE)
        if state == extensions.POLL_OK:
            self._arrived()

    def _arrived(self) -> None:
        if self._cursor is None:
            self._send(_role() + self._set_up, None)
            return
        if not self._is_set_up:
            self._is_set_up, self._tries = True, 0
        if self._answer is None:
            return
        try:
            rows = self._cursor.fetchall() if self._cursor.description else []
        except Exception as error:  # noqa: BLE001 - such as a moment that Python can't hold
            self._fail(error)
            return
        answer, self._answer = self._answer, None
        if not answer.done():
            answer.set_result(Reply(self._cursor.rowcount, rows))

    def _fail(self, error: Exception) -> None:
        """Give the connection up. Whoever waits hears of it, as of an error of psycopg2's."""
        answer, self._answer = self._answer, None
        self._drop()
        if answer is None:
            log.info("direct.lost", error=str(error).strip())
        elif not answer.done():
            known = isinstance(error, psycopg2.Error)
            answer.set_exception(error if known else psycopg2.InterfaceError(str(error)))

    def _watch(self, writes: bool | None) -> None:
        """Look after the connection's file; None = no more."""
        wanted = None if writes is None else (self._connection.fileno(), writes)
        if self._loop is None:
            return
        # While it connects, libpq may have closed a file that the loop looks after, and have opened
        # another one with the same number for the next address.
        if wanted == self._watched and (self._is_set_up or wanted is None):
            return
        if self._watched is not None and not self._loop.is_closed():
            file, was_writing = self._watched
            (self._loop.remove_writer if was_writing else self._loop.remove_reader)(file)
        self._watched = wanted
        if wanted is not None:
            add = self._loop.add_writer if wanted[1] else self._loop.add_reader
            add(wanted[0], self._go_on)


def _role() -> str:
    """Django assumes the role of its settings on every connection that it opens itself."""
    role = connection.settings_dict["OPTIONS"].get("assume_role")
    return f"SET ROLE {connection.ops.quote_name(role)};\n" if role else ""
