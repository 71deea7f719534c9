"""What listeners of one process get: everything, once, in order, whatever commits when."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.db import connection, transaction
from rest_framework_simplejwt.utils import get_md5_hash_password

from autopilot.accounts.roles import Permission, Role
from autopilot.accounts.services import set_roles
from autopilot.accounts.tickets import Credential
from executions.events import hub as hubs
from executions.events import subscription as subscriptions
from executions.events.hub import Hub, TooManyListeners
from executions.events.position import Position, PositionInvalid
from executions.events.subscription import End, Subscription, Wanted
from executions.models import StateTransition
from tests.engine import NOOP, SYSTEM, drain, published, run, started, wait_until
from tests.factories import UserFactory
from workflows.models import Workflow

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    monkeypatch.setattr(hubs, "POLL_SECONDS", 0.01)
    monkeypatch.setattr(hubs, "LINGER_SECONDS", 0.05)
    hub = Hub()
    yield hub
    hub.close()


@pytest.fixture
def workflow() -> Workflow:
    return published([{"id": "a", **NOOP}])


class Listener:
    """Reads one subscription as a client does."""

    def __init__(
        self,
        hub: Hub,
        *,
        after: Position | None = None,
        may_go_on: Callable[[], bool] = lambda: True,
        is_summary: bool = False,
        **wanted: Any,
    ) -> None:
        self.subscription = Subscription(
            Wanted(**wanted), after=after, may_go_on=may_go_on, is_summary=is_summary
        )
        hub.add(self.subscription)
        self.events: list[tuple[str, str, dict[str, Any]]] = []
        self.last_id = ""
        wait_until(lambda: self.subscription.has_begun)

    def take(self) -> bool:
        """Whether the stream goes on."""
        piece = self.subscription.take()
        if piece is None:
            return False
        for block in piece.decode().split("\n\n"):
            lines = dict(line.split(": ", 1) for line in block.splitlines() if line)
            self.last_id = lines.get("id", self.last_id)
            if "event" in lines:
                event = lines["event"], lines.get("id", ""), json.loads(lines["data"])
                self.events.append(event)
        return True

    def until(self, count: int) -> list[tuple[str, str, dict[str, Any]]]:
        """At least so many events besides `ready`."""

        def enough() -> bool:
            self.take()
            return len(self.told) >= count

        wait_until(enough)
        return self.told

    @property
    def told(self) -> list[tuple[str, str, dict[str, Any]]]:
        return [each for each in self.events if each[0] != "ready"]

    @property
    def executions(self) -> list[int]:
        return [data["execution"] for _, _, data in self.told]


TRANSITIONS = frozenset({"transition"})


def test_a_run_is_told_from_its_start_to_its_end(hub: Hub, workflow: Workflow):
    listener = Listener(hub)
    execution = run(workflow)
    told = listener.until(4)
    assert [(name, data.get("target") or data["state"]) for name, _, data in told] == [
        ("transition", "initialized"),
        ("transition", "running"),
        ("step", "completed"),
        ("transition", "completed"),
    ]
    assert {data["execution"] for _, _, data in told} == {execution.pk}
    step = told[2][2]
    assert (step["step"], step["attempt"], step["error_code"]) == ("a", 1, "")
    assert (step["workflow"], step["kind"], step["parent"]) == (workflow.slug, "root", None)
    assert [Position.read(each[1]) for each in told] == sorted(
        Position.read(each[1]) for each in told
    )


def test_what_commits_late_is_told_in_its_place_to_everybody_once(hub: Hub, workflow: Workflow):
    early = Listener(hub, kinds=TRANSITIONS)
    inserted, may_commit = threading.Event(), threading.Event()
    slow: list[int] = []

    def write_slowly() -> None:
        try:
            with transaction.atomic():
                slow.append(started(workflow).pk)
                inserted.set()
                assert may_commit.wait(10)
        finally:
            connection.close()

    thread = threading.Thread(target=write_slowly)
    thread.start()
    assert inserted.wait(10)
    fast = started(workflow).pk
    # Comes while the one is visible and the other not, and begins at the place that holds for all.
    late = Listener(hub, kinds=TRANSITIONS)
    early.take()
    assert early.told == []
    may_commit.set()
    thread.join(10)
    last = started(workflow).pk
    early.until(3)
    late.until(3)
    assert early.executions == late.executions == [slow[0], fast, last]


def test_whoever_comes_back_misses_nothing_and_gets_nothing_twice(hub: Hub, workflow: Workflow):
    first = Listener(hub, kinds=TRANSITIONS)
    before = [started(workflow).pk for _ in range(3)]
    first.until(3)
    first.subscription.close()
    missed = [started(workflow).pk for _ in range(3)]
    # From the second of what was told before: what came after it comes again, and nothing else.
    second = Listener(hub, kinds=TRANSITIONS, after=Position.read(first.told[1][1]))
    after = [started(workflow).pk for _ in range(2)]
    second.until(6)
    assert second.executions == [before[2], *missed, *after]


def test_much_that_was_missed_comes_in_pages_while_more_happens(
    hub: Hub, workflow: Workflow, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(hubs, "MISSED_PAGE", 3)
    monkeypatch.setattr(hubs, "LIVE_PAGE", 2)
    made = [started(workflow).pk for _ in range(8)]
    with transaction.atomic():
        # Many rows of one transaction: pages end within it.
        made += [started(workflow).pk for _ in range(7)]
    listener = Listener(hub, kinds=TRANSITIONS, after=Position(0, 0, 0))
    other = Listener(hub, kinds=TRANSITIONS)
    with transaction.atomic():
        new = [started(workflow).pk for _ in range(5)]
    listener.until(20)
    other.until(5)
    assert listener.executions == [*made, *new]
    assert other.executions == new


def test_an_id_that_another_process_gave_out_a_moment_ago_gives_no_double(
    hub: Hub, workflow: Workflow
):
    inserted, may_commit = threading.Event(), threading.Event()

    def hold() -> None:
        try:
            with transaction.atomic():
                started(workflow)
                inserted.set()
                assert may_commit.wait(10)
        finally:
            connection.close()

    Listener(hub)
    thread = threading.Thread(target=hold)
    thread.start()
    assert inserted.wait(10)
    ahead = started(workflow)
    row = StateTransition.objects.get(execution=ahead)
    # This process has not come so far, because it waits for the transaction that is open.
    listener = Listener(hub, kinds=TRANSITIONS, after=Position(row.xid, 2, row.pk))
    may_commit.set()
    thread.join(10)
    last = started(workflow)
    listener.until(1)
    assert listener.executions == [last.pk]


def test_one_execution_is_followed_with_all_below_it(hub: Hub):
    inner = {"items": "[1, 2]", "steps": [{"id": "b", "name": "b", **NOOP}]}
    workflow = published([{"id": "each", "type": "map", "config": inner}])
    execution = started(workflow)
    listener = Listener(hub, execution=execution.pk, after=Position(0, 0, 0))
    other = started(workflow)
    drain()

    def is_over() -> bool:
        listener.take()
        return any(
            data["execution"] == execution.pk and data.get("target") == "completed"
            for _, _, data in listener.told
        )

    wait_until(is_over)
    assert other.pk not in listener.executions
    items = {d["item_index"]: d["parent"] for _, _, d in listener.told if d["kind"] == "item"}
    assert items == {0: execution.pk, 1: execution.pk}
    done = [d["step"] for name, _, d in listener.told if name == "step"]
    assert sorted(done) == ["b", "b", "each"]


def test_what_is_hidden_stays_hidden(hub: Hub):
    step = {"action": "log", "with": {"message": "Paid", "fields": {"card": "{{ input.card }}"}}}
    workflow = published([{"id": "tell", "type": "action", "config": step}], redact=["/input/card"])
    listener = Listener(hub, kinds=frozenset({"log"}))
    run(workflow, {"card": "4000-1234"})
    ((_, _, line),) = listener.until(1)
    assert (line["step"], line["fields"]) == ("tell", {"card": "•••"})


def test_only_what_is_wanted_comes(hub: Hub, workflow: Workflow):
    other = published([{"id": "z", **NOOP}], name="Other")
    by_workflow = Listener(hub, workflow=other.slug, kinds=TRANSITIONS)
    by_state = Listener(hub, states=frozenset({"completed"}), kinds=TRANSITIONS)
    first, second = run(workflow), run(other)
    by_workflow.until(3)
    by_state.until(2)
    assert set(by_workflow.executions) == {second.pk}
    assert by_state.executions == [first.pk, second.pk]


def test_a_summary_counts_instead_of_telling(hub: Hub, workflow: Workflow):
    listener = Listener(hub, is_summary=True, kinds=TRANSITIONS)
    with transaction.atomic():
        for _ in range(5):
            started(workflow)
    told = listener.until(1)
    assert [(name, data) for name, _, data in told] == [("changed", {"transition": 5})]
    # A page can't see comments.
    beat = listener.subscription.heartbeat().decode()
    assert beat.endswith("event: beat\ndata: {}\n\n")
    # Whoever comes back with its id gets what came after.
    again = Listener(hub, kinds=TRANSITIONS, after=Position.read(told[0][1]))
    last = started(workflow)
    again.until(1)
    assert again.executions == [last.pk]


def test_a_summary_of_much_that_was_missed_says_so_and_goes_on_from_now(
    hub: Hub, workflow: Workflow, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(hubs, "MISSED_PAGE", 3)
    for _ in range(10):
        started(workflow)
    listener = Listener(hub, is_summary=True, kinds=TRANSITIONS, after=Position(0, 0, 0))
    told = listener.until(1)
    assert [(name, data) for name, _, data in told] == [("changed", {"transition": 3})]
    started(workflow)
    assert listener.until(2)[1][2] == {"transition": 1}


def test_a_queue_is_bounded_and_whoever_stays_behind_is_dropped(
    hub: Hub, workflow: Workflow, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(subscriptions, "MAX_WAITING", 4)
    monkeypatch.setattr(hubs, "MISSED_PAGE", 2)
    slow, quick = Listener(hub, kinds=TRANSITIONS), Listener(hub, kinds=TRANSITIONS)
    made = [started(workflow).pk for _ in range(12)]
    quick.until(12)
    assert quick.executions == made
    assert slow.subscription.room >= 0
    # It takes again before its time is over: nothing is missing.
    slow.until(12)
    assert slow.executions == made

    monkeypatch.setattr(hubs, "BEHIND_SECONDS", 0.05)
    for _ in range(12):
        started(workflow)
    wait_until(lambda: slow.subscription.is_dropped)
    assert slow.subscription.has_ended
    # With the last id it got it goes on as if nothing had been.
    again = Listener(hub, kinds=TRANSITIONS, after=Position.read(slow.last_id))
    again.until(12)
    assert len(set(again.executions)) == 12
    assert again.executions[0] == made[-1] + 1


def test_whoever_loses_the_permission_loses_the_stream(
    hub: Hub, workflow: Workflow, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(hubs, "CHECK_SECONDS", 0.02)
    user = UserFactory.create(role=Role.VIEWER)
    credential = Credential(user.pk, get_md5_hash_password(user.password))
    listener = Listener(hub, may_go_on=lambda: credential.may(Permission.EXECUTION_VIEW))
    stays = Listener(hub)
    set_roles(user=user, roles=[], actor=SYSTEM)
    wait_until(lambda: listener.subscription.has_ended)
    while listener.take():
        pass
    assert [(name, data["reason"]) for name, _, data in listener.told] == [
        ("end", End.FORBIDDEN.value)
    ]
    assert not stays.subscription.has_ended


def test_nothing_runs_when_nobody_listens(hub: Hub, workflow: Workflow):
    assert not hub.is_running
    listener = Listener(hub)
    assert hub.is_running
    listener.subscription.close()
    wait_until(lambda: not hub.is_running)
    # And it begins anew.
    again = Listener(hub, kinds=TRANSITIONS)
    execution = started(workflow)
    again.until(1)
    assert again.executions == [execution.pk]


def test_a_lost_connection_is_made_again_and_nothing_is_missing(hub: Hub, workflow: Workflow):
    listener = Listener(hub, kinds=TRANSITIONS)
    first = started(workflow)
    listener.until(1)
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE datname = current_database() AND pid <> pg_backend_pid() "
            "AND query LIKE '%pg_current_snapshot%'"
        )
    second = started(workflow)
    listener.until(2)
    assert listener.executions == [first.pk, second.pk]


def test_there_is_a_limit(hub: Hub, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(hubs, "MAX_LISTENERS", 1)
    Listener(hub)
    with pytest.raises(TooManyListeners):
        Listener(hub)
    assert hub.listeners == 1


@pytest.mark.parametrize(
    "text", ["", "1", "1-2", "1-3-4", "-1-0-1", "a-0-1", "1-0-99999999999999999999", "0-0-1x"]
)
def test_what_is_no_id_is_refused(text: str):
    with pytest.raises(PositionInvalid) as refused:
        Position.read(text)
    assert refused.value.code == "stream.position"
    assert [each.path for each in refused.value.details] == ["$.last_event_id"]
