"""What one execution hides is hidden on every way on which it leaves: undoing, children, people."""

from __future__ import annotations

from typing import Any

import pytest
from rest_framework.test import APIClient

from autopilot.accounts.roles import Role
from executions.calling_back import complete_callback, heartbeat_callback, take_tasks
from executions.events.position import Position
from executions.events.records import Reader, read_horizon
from executions.failing import start_owed
from executions.models import Approval, ApprovalDecision, Compensation, Execution
from executions.services import decide
from executions.signalling import send_signal
from executions.situations import situations_of
from tests.approvals import acting, person
from tests.engine import SYSTEM, drain, published, run
from tests.integration.test_redact import (
    CARD,
    EMAIL,
    RECEIVED,
    database,
    in_clear,
    probe,
    pure,
    step,
)
from workflows.models import Workflow

pytestmark = pytest.mark.django_db(transaction=True)

DATA = {"card": CARD, "email": EMAIL, "plain": "open"}
GIVE = {"card": "{{ input.card }}", "email": "mail {{ input.email }}"}
OF_ONE = ("", "steps/", "context/", "logs/", "transitions/", "compensations/", "tree/")
ASK = step(
    "ask",
    "approval",
    {
        "title": "Pay {{ input.card }}?",
        "description": "for {{ input.email }}",
        "assignees": {"groups": ["Finance"]},
        "context": {"who": "{{ input.email }}", "n": 1},
    },
)
UNDO = {
    "action": "probe.secret",
    "with": {"quote": "undo {{ input.card }}", "how": "refuse"},
    "retry": {"max_attempts": 1},
}


@pytest.fixture(autouse=True)
def _nothing_received() -> None:
    RECEIVED.clear()


def leaky() -> Workflow:
    """It hides its input; the workflows that it starts, and the one that hears of it, say nothing
    of hiding."""
    task = {"action": "task.queue", "with": {"queue": "q", "payload": {"c": "{{ input.card }}"}}}
    below = [
        {**pure("p", "{{ input.card }}"), "compensate": UNDO},
        ASK,
        step("task", "action", task),
        step("sig", "signal", {"signal": "go", "correlation": "x"}),
        probe("q", {"quote": "{{ input.card }}", "how": "refuse"}),
    ]
    published(below, slug="below", concurrency={"key": "input.card"}, on_failure="compensate")
    published([ASK, pure("z", "{{ input.card }}")], slug="let-go")
    heard = {**ASK["config"], "title": "{{ input.error.message }} {{ input.input.card }}"}
    heard |= {"description": "{{ input.error.details }}", "context": "{{ input }}"}
    published([{**ASK, "config": heard}], slug="hear")
    branches = {
        "asked": ASK,
        "child": step("call", "workflow", {"workflow": "below", "input": GIVE}),
        "free": step("go", "workflow", {"workflow": "let-go", "input": GIVE, "wait": False}),
    }
    made = [{"name": name, "steps": [each]} for name, each in branches.items()]
    return published(
        [{**pure("first", 1), "compensate": UNDO}, step("all", "parallel", {"branches": made})],
        redact=["/input/card", "/input/email"],
        on_failure={"workflow": "hear", "compensate": True},
    )


def shown_to(user: Any) -> str:
    """All that the API, the streams and the answers to why say of all executions."""
    api = APIClient()
    api.force_authenticate(user)
    paths = [f"{pk}/{name}" for pk in Execution.objects.values_list("pk", flat=True)
             for name in OF_ONE]  # fmt: skip
    paths += [f"approvals/{pk}/" for pk in Approval.objects.values_list("pk", flat=True)]
    texts = []
    for path in ("", "approvals/", "signals/", *paths):
        response = api.get(f"/api/v1/executions/{path}")
        assert response.status_code == 200, path
        texts.append(response.content.decode())
    texts += [each.why.sentence for each in situations_of(list(Execution.objects.all())).values()]
    page = Reader().page(Position.before(0), read_horizon(), 10_000)
    return "\n".join([*texts, *(each.text.decode() for each in page.records)])


def test_what_is_hidden_leaves_in_clear_on_no_way(caplog: Any, capfd: Any) -> None:
    caplog.set_level("DEBUG")
    anna = person("anna", "Finance", role=Role.ADMINISTRATOR)

    def stored() -> list[str]:
        return in_clear(database(), (CARD, EMAIL))

    run(leaky(), DATA)
    drain()
    titles = set(Approval.objects.values_list("title", flat=True))
    assert (Approval.objects.count(), titles) == (3, {"Pay •••?"})
    assert (stored(), in_clear(shown_to(anna), (CARD, EMAIL))) == ([], [])
    # People and workers may repeat what they were told.
    for each in Approval.objects.filter(execution__kind__in=["child", "root"]):
        said = f"as {EMAIL} said"
        decide(approval=each, actor=acting(anna), approve=True, answer=[EMAIL], comment=said)
    for decision in ApprovalDecision.objects.all():
        assert (decision.answer, decision.comment) == (["•••"], "as ••• said")
    drain()
    (task,) = take_tasks(queue="q", actor=SYSTEM)
    assert task.payload == {"c": CARD}
    heartbeat_callback(token=task.token, details={"at": EMAIL})
    complete_callback(token=task.token, output={"c": CARD})
    assert stored() == []
    drain()
    send_signal(name="go", actor=SYSTEM, payload={"c": CARD}, correlation="x")
    assert stored() == []
    for _ in range(3):
        drain()
    assert start_owed() == 1
    drain()
    # What undoes the child's step and the first one of all have been called with the real value.
    assert [each["quote"] for each in RECEIVED] == [CARD, f"undo {CARD}", f"undo {CARD}"]
    assert set(Compensation.objects.values_list("step_id", "state")) == {
        ("p", "failed"),
        ("first", "failed"),
    }
    assert Approval.objects.filter(execution__workflow__slug="hear", state="open").exists()
    assert (stored(), in_clear(shown_to(anna), (CARD, EMAIL))) == ([], [])
    written = capfd.readouterr()
    assert in_clear(caplog.text + written.out + written.err, (CARD, EMAIL)) == []
