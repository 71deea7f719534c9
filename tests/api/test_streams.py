"""Event streams over HTTP, by the server that serves them."""

from __future__ import annotations

import gc
import http.client
import json
import socket
import threading
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
import uvicorn
from django.core.wsgi import get_wsgi_application
from django.db import connection
from django.test import Client
from rest_framework.test import APIClient

from autopilot.accounts import tickets
from autopilot.accounts.models import StreamTicket
from autopilot.accounts.roles import Role
from autopilot.accounts.tokens import issue_tokens
from autopilot.common import clock
from autopilot.common.threads import OnThreads
from executions.events import hub as hubs
from executions.events.hub import HUB
from tests.engine import NOOP, published, run, started, wait_until
from tests.factories import PASSWORD, UserFactory

pytestmark = pytest.mark.django_db(transaction=True)

ALL = "/api/v1/monitoring/events/"
TICKET = "/api/v1/auth/stream-ticket/"
THREADS = 2


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(hubs, "POLL_SECONDS", 0.01)
    yield
    HUB.close()


@pytest.fixture
def server() -> Iterator[str]:
    """host:port of the server, in a thread of this process."""
    app = OnThreads(get_wsgi_application(), threads=THREADS, max_body=1_000_000)
    config = uvicorn.Config(app, lifespan="on", http="httptools", log_config=None)
    server = uvicorn.Server(config)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        wait_until(lambda: server.started)
        yield f"127.0.0.1:{listener.getsockname()[1]}"
        app.end_streams()
        server.should_exit = True
        thread.join(20)
    assert not thread.is_alive()
    HUB.close()
    # With the threads go their connections.
    wait_until(lambda: not [each for each in threading.enumerate() if each.name[:4] == "web_"])
    gc.collect()


def bearer(role: Role | None = Role.VIEWER) -> dict[str, str]:
    user = UserFactory.create(role=role)
    return {"Authorization": f"Bearer {issue_tokens(user=user).access}"}


class Stream:
    """An open stream; `read` answers its next event."""

    def __init__(self, server: str, path: str, headers: dict[str, str]) -> None:
        self._connection = http.client.HTTPConnection(server, timeout=10)
        self._connection.request("GET", path, headers=headers)
        self.answer = self._connection.getresponse()
        self.status = self.answer.status
        self.last_id = ""

    def read(self) -> tuple[str, Any]:
        name, data = "", ""
        while True:
            line = self.answer.readline().decode().rstrip("\n")
            key, _, value = line.partition(": ")
            if key == "id":
                self.last_id = value
            elif key == "event":
                name = value
            elif key == "data":
                data = value
            elif not line and data:
                return name, json.loads(data)

    def close(self) -> None:
        # The answer has the socket; without both nothing would tell the server.
        self.answer.close()
        self._connection.close()

    def refusal(self) -> dict[str, Any]:
        return json.loads(self.answer.read())["error"]


def test_a_run_is_followed_and_taken_up_again(server: str):
    workflow = published([{"id": "a", **NOOP}])
    headers = bearer()
    # From where nothing has happened since, as after a break in which nothing did.
    quiet = Stream(server, ALL, headers)
    assert quiet.read() == ("ready", {})
    quiet.close()
    stream = Stream(server, f"{ALL}?last_event_id={quiet.last_id}", headers)
    assert stream.status == 200
    assert stream.answer.headers["Content-Type"] == "text/event-stream; charset=utf-8"
    assert stream.answer.headers["Cache-Control"] == "no-cache, no-store, no-transform"
    assert stream.read() == ("ready", {})
    execution = run(workflow)
    name, data = stream.read()
    assert (name, data["execution"], data["target"]) == (
        *("transition", execution.pk),
        "initialized",
    )
    resume_at = stream.last_id
    stream.close()
    again = Stream(server, ALL, {**headers, "Last-Event-ID": resume_at})
    assert again.read() == ("ready", {})
    assert [again.read()[1].get("target") for _ in range(3)] == ["running", None, "completed"]
    again.close()
    one = f"/api/v1/executions/{execution.pk}/events/?last_event_id=0&event=step"
    only = Stream(server, one, headers)
    assert only.read()[0] == "ready"
    name, data = only.read()
    assert (name, data["step"], data["state"]) == ("step", "a", "completed")
    only.close()
    wait_until(lambda: HUB.listeners == 0)


def test_hundreds_listen_with_one_connection(server: str):
    workflow = published([{"id": "a", **NOOP}])
    headers = bearer()
    listeners = [Stream(server, f"{ALL}?event=transition", headers) for _ in range(200)]
    for each in listeners:
        assert each.read() == ("ready", {})
    execution = started(workflow)
    for each in listeners:
        assert each.read()[1]["execution"] == execution.pk
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(*) FROM pg_stat_activity "
            "WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
        assert cursor.fetchone()[0] <= THREADS + 1
    for each in listeners:
        each.close()
    wait_until(lambda: HUB.listeners == 0)


def test_a_ticket_opens_one_stream(server: str):
    headers = bearer()
    client = APIClient(headers={"authorization": headers["Authorization"]})
    answer = client.post(TICKET)
    assert answer.status_code == 201
    ticket = answer.json()["ticket"]
    assert StreamTicket.objects.filter(digest__contains=ticket).count() == 0
    stream = Stream(server, f"{ALL}?ticket={ticket}", {"Accept": "text/event-stream"})
    assert stream.read() == ("ready", {})
    again = Stream(server, f"{ALL}?ticket={ticket}", {"Accept": "text/event-stream"})
    assert (again.status, again.refusal()["code"]) == (401, "ticket.invalid")
    assert HUB.listeners == 1
    stream.close()


def test_a_session_opens_a_stream_and_signing_out_ends_it(
    server: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(hubs, "CHECK_SECONDS", 0.02)
    user = UserFactory.create(role=Role.VIEWER, is_staff=True)
    browser = Client()
    assert browser.login(username=user.get_username(), password=PASSWORD)
    cookie = f"sessionid={browser.cookies['sessionid'].value}"
    stream = Stream(server, ALL, {"Cookie": cookie})
    assert stream.read() == ("ready", {})
    browser.logout()
    name, data = stream.read()
    assert (name, data["reason"]) == ("end", "forbidden")
    assert stream.answer.read() == b""


def test_the_stop_of_the_server_ends_streams_with_a_word(server: str):
    stream = Stream(server, ALL, bearer())
    assert stream.read() == ("ready", {})
    HUB.close()
    assert stream.read()[1]["reason"] == "stopped"
    assert stream.answer.read() == b""


def test_an_expired_ticket_is_none():
    user = UserFactory.create(role=Role.VIEWER)
    client = APIClient()
    client.force_login(user)
    text = client.post(TICKET).json()["ticket"]
    StreamTicket.objects.update(expires_at=clock.now() - timedelta(seconds=1))
    with pytest.raises(tickets.TicketInvalid):
        tickets.spend_ticket(text=text)
    # The next one takes what is too old away.
    client.post(TICKET)
    assert StreamTicket.objects.count() == 1


def test_a_ticket_ends_with_what_it_was_got_with():
    user = UserFactory.create(role=Role.VIEWER)
    client = APIClient()
    client.force_login(user)
    text = client.post(TICKET).json()["ticket"]
    user.set_password("another long password")
    user.save()
    answer = APIClient().get(ALL, {"ticket": text})
    assert (answer.status_code, answer.json()["error"]["code"]) == (401, "ticket.invalid")
    assert HUB.listeners == 0


@pytest.mark.parametrize(
    ("path", "status", "code", "where"),
    [
        (f"{ALL}?last_event_id=x", 400, "stream.position", "$.last_event_id"),
        (f"{ALL}?last_event_id=9000000000000000-2-1", 400, "stream.position", "$.last_event_id"),
        (f"{ALL}?stat=failed", 400, "invalid", "$.stat"),
        (f"{ALL}?state=gone", 400, "invalid", "$.state"),
        (f"{ALL}?workflow=a&workflow=b", 400, "invalid", "$.workflow"),
        (f"{ALL}?summary=yes", 400, "invalid", "$.summary"),
        ("/api/v1/executions/1/events/?state=failed", 400, "invalid", "$.state"),
        ("/api/v1/executions/99/events/", 404, "execution.not_found", None),
        ("/api/v1/executions/x/events/", 404, "execution.not_found", None),
    ],
)
def test_what_makes_no_sense_is_refused(path: str, status: int, code: str, where: str | None):
    client = APIClient()
    client.force_login(UserFactory.create(role=Role.VIEWER))
    answer = client.get(path, headers={"accept": "text/event-stream"})
    error = answer.json()["error"]
    assert (answer.status_code, error["code"]) == (status, code)
    assert answer["Content-Type"] == "application/json"
    assert [each["path"] for each in error["details"]] == ([where] if where else [])
    assert HUB.listeners == 0


@pytest.mark.parametrize("path", [ALL, "/api/v1/executions/1/events/"])
def test_only_who_may_see_executions_may_follow_them(path: str):
    anonymous = APIClient()
    assert anonymous.get(path).status_code == 401
    assert anonymous.post(TICKET).status_code == 401
    nobody = APIClient()
    nobody.force_login(UserFactory.create())
    answer = nobody.get(path)
    assert (answer.status_code, answer.json()["error"]["code"]) == (403, "permission_denied")
    assert HUB.listeners == 0
