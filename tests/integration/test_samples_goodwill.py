"""The sample with an approval, on the real engine."""

from __future__ import annotations

import pytest

from autopilot.accounts.roles import Role
from executions.approvals.deciding import decide
from executions.models import Approval
from tests.approvals import acting, after
from tests.engine import drain, run, started
from tests.factories import UserFactory
from tests.samples import sample, sample_json

pytestmark = pytest.mark.django_db(transaction=True)


def test_small_amounts_are_given_and_larger_ones_as_somebody_says() -> None:
    workflow = sample("goodwill")
    data = sample_json("goodwill.input.json")
    small = run(workflow, {**data, "amount": 20})
    assert small.output == {"credit": 20, "decided_by": None, "why": "small"}
    operator = acting(UserFactory.create(role=Role.OPERATOR, username="anna"))
    outputs = []
    for approve, answer in (
        (True, {"cause": "our mistake", "credit": 100}),
        (True, {"cause": "nobody's"}),
        (False, None),
    ):
        execution = started(workflow, data)
        drain()
        approval = Approval.objects.get(execution=execution)
        assert approval.title == "Give Tea House a credit of 120?"
        assert approval.context["bought_for"] == 2720
        decide(approval=approval, actor=operator, approve=approve, answer=answer)
        outputs.append(after(approval).output)
    assert outputs == [
        {"credit": 100, "decided_by": "anna", "why": "our mistake"},
        {"credit": 120, "decided_by": "anna", "why": "nobody's"},
        {"credit": 0, "decided_by": "anna", "why": "no reason was given"},
    ]
