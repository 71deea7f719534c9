"""Two at once: people who decide, the clock that is over, somebody who cancels. Real threads."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest
from django.db import connection

from autopilot.common import clock
from autopilot.common.errors import DomainError
from executions.approvals.deciding import decide
from executions.models import Approval, ApprovalDecision, Execution, InboxMessage
from executions.runtime import runner
from executions.services import cancel_execution
from tests.approvals import acting, after, asked, person
from tests.engine import SYSTEM

pytestmark = pytest.mark.django_db(transaction=True)


def at_once(*works: Callable[[], Any]) -> list[str]:
    """Do them on threads that begin together; answers what each came to, in words."""
    barrier = threading.Barrier(len(works))
    said = [""] * len(works)

    def do(index: int) -> None:
        try:
            barrier.wait(timeout=10)
            works[index]()
            said[index] = "done"
        except DomainError as error:
            said[index] = error.code
        finally:
            connection.close()

    threads = [threading.Thread(target=do, args=(index,)) for index in range(len(works))]
    for each in threads:
        each.start()
    for each in threads:
        each.join(timeout=20)
    return said


def test_of_two_who_disagree_one_is_heard_and_the_other_is_told() -> None:
    anna, bo = (acting(person(name, "Finance")) for name in ("anna", "bo"))
    for _ in range(5):
        approval = asked()
        said = at_once(
            lambda row=approval: decide(approval=row, actor=anna, approve=True),
            lambda row=approval: decide(approval=row, actor=bo, approve=False),
        )
        assert sorted(said) == ["approval.settled", "done"]
        (decision,) = approval.decisions.all()
        assert decision.approved == (said[0] == "done")
        assert InboxMessage.objects.filter(execution=approval.execution).count() == 1
        assert after(approval).state == ("completed" if decision.approved else "failed")


def test_two_who_complete_a_quorum_settle_it_once() -> None:
    anna, bo = (acting(person(name, "Finance")) for name in ("anna", "bo"))
    for _ in range(5):
        approval = asked({"quorum": 2})
        said = at_once(
            lambda row=approval: decide(approval=row, actor=anna, approve=True),
            lambda row=approval: decide(approval=row, actor=bo, approve=True),
        )
        assert said == ["done", "done"]
        assert InboxMessage.objects.filter(execution=approval.execution).count() == 1
        assert len(after(approval).output["decisions"]) == 2


def test_one_person_who_clicks_twice_decides_once() -> None:
    anna = acting(person("anna", "Finance"))
    approval = asked()
    work = [lambda: decide(approval=approval, actor=anna, approve=True)] * 4
    assert at_once(*work) == ["done"] * 4
    assert ApprovalDecision.objects.count() == 1
    assert InboxMessage.objects.count() == 1
    assert after(approval).state == "completed"


def overdue(approval: Approval) -> None:
    """To the worker its time is over; the row's own has a moment left."""
    now = clock.now()
    Execution.objects.filter(pk=approval.execution_id).update(wait_until=now, runnable_at=now)


def test_an_expiry_that_was_planned_before_a_decision_gives_way_to_it(monkeypatch: Any) -> None:
    anna = acting(person("anna", "Finance"))
    approval = asked(timeout="1h")
    overdue(approval)
    build = runner.build
    said: list[str] = []

    def build_then_decide(**given: Any) -> Any:
        checkpoint = build(**given)
        if checkpoint.heeds and not said:
            said.extend(at_once(lambda: decide(approval=approval, actor=anna, approve=True)))
        return checkpoint

    monkeypatch.setattr(runner, "build", build_then_decide)
    assert after(approval).state == "completed"
    assert said == ["done"]
    assert Approval.objects.get().state == "approved"


def test_a_decision_after_an_expiry_is_refused() -> None:
    anna = acting(person("anna", "Finance"))
    approval = asked(timeout="1h")
    overdue(approval)
    assert after(approval).error_code == "approval.expired"
    assert at_once(lambda: decide(approval=approval, actor=anna, approve=True)) == [
        "approval.settled"
    ]
    assert not ApprovalDecision.objects.exists()


@pytest.mark.parametrize("is_first", [True, False], ids=["decision first", "cancel first"])
def test_a_decision_and_a_cancel_count_in_the_order_of_their_commits(is_first: bool) -> None:
    anna = acting(person("anna", "Finance"))
    approval = asked()
    works = [
        lambda: decide(approval=approval, actor=anna, approve=True),
        lambda: cancel_execution(execution=approval.execution, actor=SYSTEM),
    ]
    for work in works if is_first else works[::-1]:
        work()
    assert after(approval).state == ("completed" if is_first else "cancelled")
    # What was decided stays decided, also where nobody went on with it.
    assert Approval.objects.get().state == "approved"


def test_whoever_comes_first_of_a_decision_and_a_cancel_nothing_is_left_open() -> None:
    anna = acting(person("anna", "Finance"))
    for _ in range(3):
        approval = asked()
        said = at_once(
            lambda row=approval: decide(approval=row, actor=anna, approve=True),
            lambda row=approval: cancel_execution(execution=row.execution, actor=SYSTEM),
            lambda row=approval: after(row),
        )
        assert set(said) <= {"done", "approval.settled", "execution.ended"}
        assert after(approval).state in {"completed", "cancelled"}
        row = Approval.objects.get(pk=approval.pk)
        assert row.state == ("approved" if said[0] == "done" else "withdrawn")
