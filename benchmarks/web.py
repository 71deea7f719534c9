"""Requests over HTTP by two servers with as many threads, and listeners of the event stream.

Both are one process of gunicorn with the same threads and the same application: *threads* has a
connection on a thread (gthread), *loop* is what the product runs (uvicorn, requests on threads).
They take turns, so that whatever else the machine does meets both; the CPU per request hardly moves
with it.
"""

from __future__ import annotations

import json
import secrets
import selectors
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from statistics import median, quantiles
from typing import Any

import psutil
from psycopg2.extensions import connection as Connection

from benchmarks.stand import READY_SECONDS, Stand

THREADS = 8
CLIENTS = 8
ROUND_SECONDS = 3.0
ROUNDS = 6
IDLE_AFTER = 1_000
LISTENERS = 300
EVENTS = 40
EVENT_PAUSE_SECONDS = 0.15
HEALTH = "/api/v1/monitoring/health/live/"
STREAM = "/api/v1/monitoring/events/?event=transition"
KINDS = {
    "threads": ("-k", "gthread", "--threads", str(THREADS), "autopilot.wsgi"),
    "loop": ("autopilot.asgi:application",),
}


@dataclass(slots=True)
class Served:
    """What one server did of one kind of request."""

    per_s: float
    cpu_ms: float


@dataclass(slots=True)
class Web:
    """Medians over the rounds; ratios of the same round, loop to threads."""

    start: dict[str, Served] = field(default_factory=dict)
    list: dict[str, Served] = field(default_factory=dict)
    start_ratio: float = 0.0
    list_ratio: float = 0.0
    connections: dict[str, int] = field(default_factory=dict)
    listeners: int = LISTENERS
    listener_connections: int = 0
    p50_ms: float = 0.0
    p95_ms: float = 0.0


def figures_of(result: dict[str, Any]) -> dict[str, float]:
    """A result as JSON has it, flat."""
    found: dict[str, float] = {}
    for name in ("start", "list"):
        for kind, served in result[name].items():
            found |= {f"{name}_{kind}_{key}": one for key, one in served.items()}
    found |= {f"connections_{kind}": count for kind, count in result["connections"].items()}
    names = ("start_ratio", "list_ratio", "listeners", "listener_connections", "p50_ms", "p95_ms")
    return found | {name: result[name] for name in names}


def serve(stand: Stand, connection: Connection, workflow_id: int) -> Web:
    """Run it as a new administrator, with a workflow that is there."""
    from django.contrib.auth import get_user_model

    from autopilot.accounts.actors import Actor
    from autopilot.accounts.tokens import issue_tokens
    from executions.services import start_execution
    from workflows.models import Workflow

    users: Any = get_user_model()._default_manager
    user = users.create_superuser(f"bench-{time.time_ns()}", "", secrets.token_urlsafe(24))
    workflow = Workflow.objects.get(pk=workflow_id)
    actor, later = Actor.system("benchmarks"), datetime(2090, 1, 1, tzinfo=UTC)

    def start() -> int:
        return start_execution(workflow=workflow, actor=actor, start_at=later).execution.pk

    token = issue_tokens(user=user).access
    return run_web(stand, connection, slug=workflow.slug, token=token, start=start)


class _Server:
    """One web process; PostgreSQL knows its connections by its name."""

    def __init__(self, stand: Stand, kind: str) -> None:
        self.name = f"bench-{kind}"
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        url = stand.pair.database_url
        self.process = stand.spawn(
            f"web-{kind}",
            *("-m", "gunicorn", "-c", "scripts/gunicorn.conf.py", *KINDS[kind]),
            environment={
                "HOST": "127.0.0.1",
                "PORT": str(self.port),
                "WEB_WORKERS": "1",
                "WEB_THREADS": str(THREADS),
                "DATABASE_URL": f"{url}{'&' if '?' in url else '?'}application_name={self.name}",
            },
        )
        stand.wait_until(self._is_ready, READY_SECONDS, f"the web server {kind} answered")

    def _is_ready(self) -> bool:
        try:
            return _Caller(self.port, _get(HEALTH, "")).call() == 200
        except OSError:
            return False

    def cpu_seconds(self) -> float:
        parent = psutil.Process(self.process.pid)
        times = [each.cpu_times() for each in (parent, *parent.children(recursive=True))]
        return sum(each.user + each.system for each in times)

    def connections(self, connection: Connection) -> int:
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT count(*) FROM pg_stat_activity WHERE application_name = %s", [self.name]
            )
            row = cursor.fetchone()
            return int(row[0]) if row else 0


class _Caller:
    """One connection that is kept, and one request that is sent over it again and again."""

    def __init__(self, port: int, request: bytes) -> None:
        self._request = request
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=30)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._answer = self._socket.makefile("rb")

    def call(self) -> int:
        """The status; the body is read to its end."""
        self._socket.sendall(self._request)
        status = int(self._answer.readline().split()[1])
        length, is_chunked = 0, False
        while (line := self._answer.readline().lower()) != b"\r\n":
            name, _, value = line.partition(b":")
            if name == b"content-length":
                length = int(value)
            is_chunked |= name == b"transfer-encoding"
        if not is_chunked:
            self._answer.read(length)
        while is_chunked:
            size = int(self._answer.readline(), 16)
            self._answer.read(size + 2)
            is_chunked = size > 0
        return status

    def close(self) -> None:
        self._answer.close()
        self._socket.close()


def _get(path: str, token: str) -> bytes:
    who = f"Authorization: Bearer {token}\r\n" if token else ""
    return f"GET {path} HTTP/1.1\r\nHost: localhost\r\n{who}\r\n".encode()


def _start(slug: str, token: str) -> bytes:
    """Starts something for much later, so that only the start is measured."""
    body = json.dumps({"workflow": slug, "start_at": "2090-01-01T00:00:00Z"}).encode()
    head = (
        "POST /api/v1/executions/ HTTP/1.1\r\nHost: localhost\r\n"
        f"Authorization: Bearer {token}\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def run_web(
    stand: Stand,
    connection: Connection,
    *,
    slug: str,
    token: str,
    start: Callable[[], int],
) -> Web:
    """start: starts one execution in this process and answers its id once it is committed."""
    servers = {kind: _Server(stand, kind) for kind in KINDS}
    requests = {
        "start": _start(slug, token),
        "list": _get("/api/v1/executions/?page_size=20", token),
    }
    web = Web()
    for name, request in requests.items():
        rounds: list[dict[str, Served]] = []
        for number in range(ROUNDS + 1):
            order = list(servers) if number % 2 else list(servers)[::-1]
            served = {kind: _serve(servers[kind], request, ROUND_SECONDS) for kind in order}
            if number:
                rounds.append(served)
        middle = {
            kind: Served(
                median(each[kind].per_s for each in rounds),
                median(each[kind].cpu_ms for each in rounds),
            )
            for kind in servers
        }
        setattr(web, name, middle)
        ratio = median(each["loop"].per_s / each["threads"].per_s for each in rounds)
        setattr(web, f"{name}_ratio", ratio)
    for kind, server in servers.items():
        _call_often(server.port, requests["list"], IDLE_AFTER)
        web.connections[kind] = server.connections(connection)
    _listen(servers["loop"], connection, token, start, web)
    return web


def _serve(server: _Server, request: bytes, seconds: float) -> Served:
    counts: list[int] = []
    until = time.monotonic() + seconds

    def work() -> None:
        caller, count = _Caller(server.port, request), 0
        while time.monotonic() < until:
            assert caller.call() in (200, 201)
            count += 1
        caller.close()
        counts.append(count)

    cpu, began = server.cpu_seconds(), time.monotonic()
    threads = [threading.Thread(target=work) for _ in range(CLIENTS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    count = sum(counts)
    lasted = time.monotonic() - began
    return Served(count / lasted, (server.cpu_seconds() - cpu) * 1000 / count)


def _call_often(port: int, request: bytes, count: int) -> None:
    """So many requests by many connections, as browsers come and go."""
    for _ in range(count // 10):
        caller = _Caller(port, request)
        for _ in range(10):
            caller.call()
        caller.close()


def _listen(
    server: _Server, connection: Connection, token: str, start: Callable[[], int], web: Web
) -> None:
    """From the return of the commit until each listener has read the event."""
    selector = selectors.DefaultSelector()
    unread: dict[socket.socket, bytes] = {}
    for _ in range(LISTENERS):
        listener = socket.create_connection(("127.0.0.1", server.port), timeout=30)
        listener.sendall(_get(STREAM, token))
        selector.register(listener, selectors.EVENT_READ)
        unread[listener] = b""
    _read_until(selector, unread, lambda text: b"event: ready" in text)
    latencies: list[float] = []
    for _ in range(EVENTS):
        unread = dict.fromkeys(unread, b"")
        wanted = f'"execution": {start()},'.encode()
        began = time.monotonic()
        times = _read_until(selector, unread, lambda text, wanted=wanted: wanted in text)  # type: ignore[misc]
        latencies += [(each - began) * 1000 for each in times]
        time.sleep(EVENT_PAUSE_SECONDS)
    web.listener_connections = server.connections(connection)
    cuts = quantiles(latencies, n=20)
    web.p50_ms, web.p95_ms = median(latencies), cuts[18]
    for listener in unread:
        listener.close()


def _read_until(
    selector: selectors.BaseSelector,
    unread: dict[socket.socket, bytes],
    is_there: Callable[[bytes], bool],
) -> list[float]:
    """When each of them had read it. Raises TimeoutError after ten seconds."""
    times: list[float] = []
    waiting = set(unread)
    deadline = time.monotonic() + 10
    while waiting:
        for key, _ in selector.select(0.5):
            listener: Any = key.fileobj
            unread[listener] += listener.recv(65_536)
            if listener in waiting and is_there(unread[listener]):
                waiting.discard(listener)
                times.append(time.monotonic())
        if time.monotonic() > deadline:
            raise TimeoutError(f"{len(waiting)} listeners did not hear an event in ten seconds.")
    return times
