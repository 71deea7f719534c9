"""Approvals from the step that asks to the execution that goes on, with a real worker."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import Group
from django.db import connection, transaction

from autopilot.accounts.actors import Actor
from autopilot.accounts.models import AuditEntry
from autopilot.accounts.roles import Role
from autopilot.common import clock
from executions.approvals.deciding import decide
from executions.approvals.errors import (
    AnswerInvalid,
    ApprovalExpired,
    ApprovalNotFound,
    ApprovalRequestInvalid,
    ApprovalSettled,
    ApprovalTaken,
    DecidedAlready,
    NotAsked,
    OwnRequest,
)
from executions.approvals.handling import claim, reassign, release
from executions.models import Approval, ApprovalDecision, Execution, InboxMessage, StepExecution
from executions.services import (
    cancel_execution,
    pause_execution,
    resume_execution,
    retry_execution,
    skip_step,
)
from executions.situations import situation_of
from tests.approvals import acting, after, asked, person, step
from tests.engine import SYSTEM, drain, published, reread, started
from tests.factories import UserFactory

pytestmark = pytest.mark.django_db(transaction=True)


def unchanged(approval: Approval) -> None:
    """Nothing was decided, and the execution has heard nothing."""
    row = Approval.objects.get(pk=approval.pk)
    assert (row.state, row.settled_at, row.claimed_by_id) == ("open", None, None)
    assert not ApprovalDecision.objects.exists()
    assert not InboxMessage.objects.exists()
    assert not AuditEntry.objects.filter(action__startswith="approval.").exists()


def test_a_question_with_everything_is_kept_and_its_answer_goes_on() -> None:
    anna = person("anna", "Finance")
    config = {
        "title": "Refund {{ input.sum }}?",
        "description": "To {{ input.who }}.",
        "context": {"sum": "{{ input.sum }}"},
        "assignees": {"users": ["nobody-of-this-name"], "groups": ["Finance"]},
        "form": {"type": "object", "required": ["amount"]},
        "remind_after": "10m",
        "escalate_to": {"users": ["bo"]},
    }
    person("bo")
    approval = asked(config, {"sum": 7, "who": "Cleo"}, timeout="1h")
    assert (approval.title, approval.description) == ("Refund 7?", "To Cleo.")
    assert (approval.context, approval.missing) == ({"sum": 7}, ["nobody-of-this-name"])
    assert approval.form == {"type": "object", "required": ["amount"]}
    named = [(each.user and str(each.user), each.is_later) for each in approval.assignees.all()]
    assert sorted(named, key=str) == [("bo", True), (None, False)]
    assert approval.expires_at == reread(approval.execution).wait_until
    assert approval.remind_at == approval.opened_at + timedelta(minutes=10)

    decided = decide(
        approval=approval, actor=acting(anna), approve=True, answer={"amount": 5}, comment="ok"
    )
    assert (decided.created, decided.approval.state) == (True, "approved")
    execution = after(approval)
    assert execution.state == "completed"
    (said,) = execution.output.pop("decisions")
    assert execution.output == {"approved": True, "answer": {"amount": 5}, "comment": "ok"}
    assert said == {
        "by": "anna",
        "at": decided.decision.at.isoformat(),
        "approved": True,
        "comment": "ok",
        "answer": {"amount": 5},
    }
    (line,) = execution.log_lines.all()
    assert (line.event, line.fields) == (
        "approval.assignee_missing",
        {"missing": ["nobody-of-this-name"]},
    )
    entry = AuditEntry.objects.get(action="approval.approved")
    assert (entry.actor_name, entry.target_id) == ("anna", str(approval.pk))


def test_rejection_fails_the_execution_with_what_was_said_and_a_retry_asks_again() -> None:
    anna = person("anna", "Finance")
    approval = asked()
    decide(approval=approval, actor=acting(anna), approve=False, comment="too much")
    execution = after(approval)
    assert (execution.state, execution.error_code) == ("failed", "approval.rejected")
    assert execution.error["message"] == "anna rejected it: too much"
    retry_execution(execution=execution, actor=SYSTEM)
    assert after(approval).state == "waiting"
    again = Approval.objects.get(attempt=2)
    assert (again.state, Approval.objects.get(pk=approval.pk).state) == ("open", "rejected")
    decide(approval=again, actor=acting(anna), approve=True)
    assert after(again).state == "completed"


def test_a_quorum_takes_different_people_and_one_rejection_is_enough() -> None:
    anna, bo, cleo = (person(name, "Finance") for name in ("anna", "bo", "cleo"))
    approval = asked({"quorum": 2})
    first = decide(approval=approval, actor=acting(anna), approve=True)
    assert first.approval.state == "open"
    assert not decide(approval=approval, actor=acting(anna), approve=True).created
    sentence = situation_of(reread(approval.execution)).why
    assert sentence.code == "approval"
    assert sentence.sentence == (
        "Waits at step “ask” for 1 of 2 approvals from group Finance, asked just now."
    )
    assert not InboxMessage.objects.exists()
    decide(approval=approval, actor=acting(bo), approve=True)
    execution = after(approval)
    assert [each["by"] for each in execution.output["decisions"]] == ["anna", "bo"]
    with pytest.raises(ApprovalSettled, match="it is approved by bo"):
        decide(approval=approval, actor=acting(cleo), approve=False)

    other = asked({"quorum": 2})
    decide(approval=other, actor=acting(anna), approve=True)
    decide(approval=other, actor=acting(bo), approve=False)
    assert after(other).error_code == "approval.rejected"


def test_who_is_not_asked_may_not_decide_take_or_reassign() -> None:
    person("anna", "Finance")
    bo = person("bo")
    approval = asked()
    for work in (
        lambda: decide(approval=approval, actor=acting(bo), approve=True),
        lambda: claim(approval=approval, actor=acting(bo)),
        lambda: reassign(approval=approval, actor=acting(bo), users=["bo"], reason="mine"),
        lambda: decide(approval=approval, actor=SYSTEM, approve=True),
    ):
        with pytest.raises(NotAsked):
            work()
    unchanged(approval)


def test_whoever_started_it_may_not_decide_unless_that_is_allowed() -> None:
    anna = person("anna", "Finance")
    person("bo", "Finance")
    approval = asked(by=anna)
    with pytest.raises(OwnRequest):
        decide(approval=approval, actor=acting(anna), approve=True)
    unchanged(approval)
    allowed = asked({"allow_requester": True}, by=anna)
    decide(approval=allowed, actor=acting(anna), approve=True)
    assert after(allowed).state == "completed"


def test_nobody_in_particular_is_everybody_with_the_permission() -> None:
    operator = UserFactory.create(role=Role.OPERATOR)
    viewer = UserFactory.create(role=Role.VIEWER)
    approval = asked({"assignees": None})
    with pytest.raises(NotAsked, match=r"executions\.decide_approval"):
        decide(approval=approval, actor=acting(viewer), approve=True)
    assert list(Approval.objects.decidable_by(acting(viewer))) == []
    assert list(Approval.objects.decidable_by(acting(operator))) == [approval]
    decide(approval=approval, actor=acting(operator), approve=True)
    assert list(Approval.objects.decidable_by(acting(operator))) == []


@pytest.mark.parametrize("case", ["unknown", "inactive", "own", "quorum"])
def test_a_step_whose_question_nobody_could_answer_fails_at_once(case: str) -> None:
    anna = person("anna", "Finance", is_active=case != "inactive")
    config: dict[str, Any] = {}
    if case == "unknown":
        config = {"assignees": {"users": ["dora"], "groups": ["Nobody"]}}
    if case == "quorum":
        config = {"quorum": 2}
    approval = asked(config, by=anna if case == "own" else None)
    execution = after(approval)
    assert (execution.state, execution.error_code) == ("failed", "approval.no_assignee")
    assert execution.error["details"] == {
        "able": int(case == "quorum"),
        "quorum": 2 if case == "quorum" else 1,
        "missing": ["Nobody", "dora"] if case == "unknown" else [],
    }
    assert Approval.objects.get().state == "withdrawn"


def test_an_answer_that_breaks_the_form_is_refused_with_its_path() -> None:
    anna = person("anna", "Finance")
    form = {
        "type": "object",
        "properties": {"amount": {"type": "number", "maximum": 10}},
        "required": ["amount"],
    }
    approval = asked({"form": form})
    for answer, path in (({"amount": 11}, "$.answer.amount"), (None, "$.answer.amount")):
        with pytest.raises(AnswerInvalid) as caught:
            decide(approval=approval, actor=acting(anna), approve=True, answer=answer)
        assert [each.path for each in caught.value.details] == [path]
    with pytest.raises(AnswerInvalid, match=r"\$\.comment"):
        decide(approval=approval, actor=acting(anna), approve=False, comment="x" * 4001)
    unchanged(approval)
    # To say no, nobody has to fill in a form.
    decide(approval=approval, actor=acting(anna), approve=False)


def test_a_decision_is_made_once_and_after_the_time_not_at_all() -> None:
    anna = person("anna", "Finance")
    person("bo", "Finance")
    approval = asked({"quorum": 2}, timeout="1h")
    decide(approval=approval, actor=acting(anna), approve=True, comment="a")
    with pytest.raises(DecidedAlready, match="approved this already"):
        decide(approval=approval, actor=acting(anna), approve=False)
    late = asked(timeout="1h")
    Approval.objects.filter(pk=late.pk).update(expires_at=clock.now())
    with pytest.raises(ApprovalExpired, match="The time for a decision was over"):
        decide(approval=late, actor=acting(anna), approve=True)
    assert late.decisions.count() == 0
    with pytest.raises(ApprovalNotFound):
        decide(approval=Approval(pk=10**9), actor=acting(anna), approve=True)


def test_expiry_closes_the_question_and_cancelling_withdraws_it() -> None:
    anna = person("anna", "Finance")
    approval = asked(timeout=1)
    now = clock.now()
    Execution.objects.filter(pk=approval.execution_id).update(wait_until=now, runnable_at=now)
    assert after(approval).error_code == "approval.expired"
    assert Approval.objects.get(pk=approval.pk).state == "expired"

    other = asked()
    cancel_execution(execution=other.execution, actor=SYSTEM)
    assert after(other).state == "cancelled"
    with pytest.raises(ApprovalSettled, match="The question was withdrawn just now"):
        decide(approval=other, actor=acting(anna), approve=True)


def test_what_is_decided_while_paused_counts_once_it_goes_on() -> None:
    anna = person("anna", "Finance")
    approval = asked()
    pause_execution(execution=approval.execution, actor=SYSTEM)
    assert after(approval).state == "paused"
    decide(approval=approval, actor=acting(anna), approve=True)
    assert after(approval).state == "paused"
    assert StepExecution.objects.get().state == "completed"
    resume_execution(execution=reread(approval.execution), actor=SYSTEM)
    assert after(approval).state == "completed"


def test_a_decision_rolls_back_with_the_callers_transaction() -> None:
    anna = person("anna", "Finance")
    approval = asked()
    with transaction.atomic():
        decide(approval=approval, actor=acting(anna), approve=True)
        transaction.set_rollback(True)
    unchanged(approval)
    assert drain() == 0


def test_an_approval_is_taken_by_one_and_given_back_by_them_or_an_operator() -> None:
    anna, bo = person("anna", "Finance"), person("bo", "Finance")
    approval = asked({"quorum": 2})
    assert claim(approval=approval, actor=acting(anna)).claimed_by == anna
    assert claim(approval=approval, actor=acting(anna)).claimed_by == anna
    with pytest.raises(ApprovalTaken, match="anna has taken"):
        claim(approval=approval, actor=acting(bo))
    with pytest.raises(NotAsked):
        release(approval=approval, actor=acting(bo))
    assert "“anna” has taken it." in situation_of(reread(approval.execution)).why.sentence
    # Others see that, and may still decide.
    decide(approval=approval, actor=acting(bo), approve=True)
    operator = acting(UserFactory.create(role=Role.OPERATOR))
    assert release(approval=approval, actor=operator).claimed_by is None
    assert release(approval=approval, actor=operator).claimed_by is None
    actions = AuditEntry.objects.filter(action__startswith="approval.").order_by("pk")
    assert [each.action for each in actions] == [
        "approval.claimed",
        "approval.approved",
        "approval.released",
    ]


def test_reassigning_needs_a_reason_and_people_who_could_decide() -> None:
    anna, bo = person("anna", "Finance"), person("bo", "Board")
    approval = asked(by=bo)
    actor = acting(anna)
    for fields, paths in (
        ({"users": ["bo"], "reason": " "}, ["$.reason"]),
        ({"reason": "r"}, ["$.users"]),
        ({"users": ["x"], "groups": ["Y"], "reason": "r"}, ["$.users[0]", "$.groups[0]"]),
        # Bo has started it.
        ({"users": ["bo"], "reason": "r"}, ["$"]),
    ):
        with pytest.raises(ApprovalRequestInvalid) as caught:
            reassign(approval=approval, actor=actor, **fields)
        assert [each.path for each in caught.value.details] == paths
    unchanged(approval)
    assert approval.assignees.get().group == Group.objects.get(name="Finance")
    cleo = person("cleo", "Board")
    reassign(approval=approval, actor=actor, groups=["Board"], reason="They know it")
    entry = AuditEntry.objects.get(action="approval.reassigned")
    assert entry.before["groups"] == ["Finance"]
    assert entry.after == {"users": [], "groups": ["Board"], "reason": "They know it"}
    with pytest.raises(NotAsked, match="It asks group Board; not anna"):
        decide(approval=approval, actor=actor, approve=True)
    decide(approval=approval, actor=acting(cleo), approve=True)
    assert after(approval).state == "completed"


def test_what_people_find_in_their_inbox() -> None:
    anna, bo = person("anna", "Finance"), person("bo")
    by_name = asked({"assignees": {"users": ["anna"]}})
    by_group = asked({"assignees": {"groups": ["Finance"]}})
    later = asked(
        {
            "assignees": {"users": ["bo"]},
            "escalate_to": {"users": ["anna"]},
            "remind_after": "1h",
        }
    )
    actor = acting(anna)
    rows = Approval.objects.order_by("pk")
    assert list(rows.mine(actor)) == [by_name]
    assert list(rows.of_groups(actor)) == [by_group]
    assert list(rows.decidable_by(actor)) == [by_name, by_group]
    assert list(rows.visible_to(actor)) == [by_name, by_group, later]
    assert list(rows.visible_to(acting(bo))) == [later]
    assert list(rows.visible_to(Actor.system("tests"))) == [by_name, by_group, later]
    Approval.objects.filter(pk=later.pk).update(escalated_at=clock.now())
    assert list(rows.decidable_by(actor)) == [by_name, by_group, later]


def test_what_the_definition_hides_is_hidden_from_those_who_look_and_kept_for_the_run() -> None:
    anna = person("anna", "Finance")
    hidden = ["/input/iban", "/steps/ask/output/answer/card"]
    config = {"title": "Pay {{ input.iban }}?", "context": {"iban": "{{ input.iban }}"}}
    ask = {**step(config), "next": "end"}
    workflow = published(
        [ask],
        redact=hidden,
        output="{{ steps.ask.output.answer.card == '4111111111111111' }}",
    )
    execution = started(workflow, {"iban": "DE02120300000000202051"})
    drain()
    approval = Approval.objects.get(execution=execution)
    assert (approval.title, approval.context) == ("Pay •••?", {"iban": "•••"})
    answer = {"card": "4111111111111111", "sum": 5}
    for _ in range(2):
        done = decide(approval=approval, actor=acting(anna), approve=True, answer=answer)
    assert not done.created
    assert ApprovalDecision.objects.get().answer == {"card": "•••", "sum": 5}
    with connection.cursor() as cursor:
        cursor.execute("SELECT payload::text FROM executions_inboxmessage")
        assert "4111" not in cursor.fetchone()[0]
    execution = after(approval)
    assert (execution.state, execution.output) == ("completed", True)
    assert StepExecution.objects.get().output["answer"] == {"card": "•••", "sum": 5}


def test_items_and_branches_ask_too_and_what_is_not_needed_any_more_is_withdrawn() -> None:
    anna = acting(person("anna", "Finance"))
    ask = step({"title": "Pay {{ item }}?"})
    items = {
        "id": "each",
        "type": "map",
        "config": {"items": "input.names", "as": "item", "steps": [ask]},
    }
    execution = started(published([items]), {"names": ["a", "b"]})
    drain()
    approvals = list(Approval.objects.order_by("title"))
    assert [each.title for each in approvals] == ["Pay a?", "Pay b?"]
    for each in approvals:
        decide(approval=each, actor=anna, approve=True, comment=each.title)
    drain()
    output = reread(execution).output
    assert [each["comment"] for each in output] == ["Pay a?", "Pay b?"]

    branches = [
        {"name": name, "steps": [{**step({"title": name}), "id": name}]} for name in ("x", "y")
    ]
    either = {
        "id": "either",
        "type": "parallel",
        "config": {"wait_for": "any", "branches": branches},
    }
    execution = started(published([either], name="Either"))
    drain()
    decide(approval=Approval.objects.get(title="y"), actor=anna, approve=True)
    drain()
    assert reread(execution).state == "completed"
    assert Approval.objects.get(title="x").state == "withdrawn"


def test_skipping_the_step_withdraws_the_question() -> None:
    person("anna", "Finance")
    approval = asked()
    skip_step(execution=approval.execution, actor=SYSTEM, output={"approved": True})
    assert after(approval).state == "completed"
    assert Approval.objects.get().state == "withdrawn"
