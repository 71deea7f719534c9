"""The sample app of a Django team: orders and their executions change together."""

from __future__ import annotations

import json
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

import pytest
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Group
from django.core.management import CommandError, call_command
from django.db import IntegrityError, transaction

from autopilot.accounts.actors import actor_of
from autopilot.accounts.roles import Role
from autopilot.accounts.services import sync_roles
from executions.approvals.deciding import decide
from executions.errors import InputInvalid
from executions.models import Approval, Execution, InboxMessage, Signal
from samples.orders.models import Order
from samples.orders.services import note_payment, place_order, release_order
from tests.engine import SYSTEM, drain
from workflows.models import Workflow
from workflows.services import create_workflow, publish_version

pytestmark = pytest.mark.django_db(transaction=True)

DOCUMENT = Path(__file__).parents[2] / "samples" / "order.json"


class Rollback(Exception):
    """The caller's own transaction fails after all."""


def rolled_back(change: Callable[[], object]) -> None:
    """Do this inside a transaction that comes to nothing."""

    def attempt() -> None:
        with transaction.atomic():
            change()
            raise Rollback

    with pytest.raises(Rollback):
        attempt()


@pytest.fixture(autouse=True)
def workflow() -> Workflow:
    draft = create_workflow(actor=SYSTEM, document=json.loads(DOCUMENT.read_text()))
    return publish_version(actor=SYSTEM, version=draft).workflow


def placed(total: str = "120.00", number: str = "A-17") -> Order:
    return place_order(number=number, customer="Tea House", total=Decimal(total), actor=SYSTEM)


def state_of(order: Order) -> tuple[str, bool, str]:
    order = Order.objects.get(pk=order.pk)
    return order.state, order.is_reserved, Execution.objects.get(pk=order.execution_id).state


def test_an_order_is_placed_paid_and_shipped():
    order = placed()
    drain()
    assert state_of(order) == ("placed", True, "waiting")
    note_payment(number="A-17", amount=Decimal("120.00"), actor=SYSTEM)
    drain()
    assert state_of(order) == ("shipped", True, "completed")


def test_a_payment_may_come_before_the_execution_has_begun():
    order = placed()
    note_payment(number="A-17", amount=Decimal("120.00"), actor=SYSTEM)
    drain()
    assert state_of(order) == ("shipped", True, "completed")


def test_a_rollback_leaves_neither_order_nor_execution():
    rolled_back(placed)
    assert drain() == 0
    assert not Order.objects.exists()
    assert not Execution.objects.exists()


def test_an_input_that_is_refused_leaves_no_order():
    with pytest.raises(InputInvalid):
        place_order(number="A-17", customer="", total=Decimal(5), actor=SYSTEM)
    assert not Order.objects.exists()


def test_a_number_that_is_taken_starts_nothing():
    placed()
    with pytest.raises(IntegrityError):
        placed()
    assert Execution.objects.count() == 1


def test_a_rolled_back_payment_sends_no_signal():
    order = placed()
    drain()
    rolled_back(lambda: note_payment(number="A-17", amount=Decimal(120), actor=SYSTEM))
    drain()
    assert not Signal.objects.exists()
    assert not InboxMessage.objects.exists()
    assert state_of(order) == ("placed", True, "waiting")


def test_a_wrong_amount_changes_nothing():
    order = placed()
    drain()
    with pytest.raises(ValueError, match=r"comes to 120\.00, not to 12"):
        note_payment(number="A-17", amount=Decimal(12), actor=SYSTEM)
    assert not Signal.objects.exists()
    assert state_of(order) == ("placed", True, "waiting")


@pytest.fixture
def operator():
    sync_roles()
    user = get_user_model().objects.create_user("olga", password="x")
    user.groups.add(Group.objects.get(name=Role.OPERATOR.value))
    return user


def test_a_large_order_is_released_by_a_person(operator):
    order = placed("1200.00")
    drain()
    release_order(number="A-17", user=operator, discount=5)
    note_payment(number="A-17", amount=Decimal("1200.00"), actor=SYSTEM)
    drain()
    assert state_of(order) == ("shipped", True, "completed")


def test_a_rolled_back_decision_decides_nothing(operator):
    order = placed("1200.00")
    drain()
    rolled_back(lambda: release_order(number="A-17", user=operator, discount=5))
    drain()
    assert Approval.objects.get().state == "open"
    assert state_of(order) == ("placed", True, "waiting")


def test_a_large_order_that_is_rejected_lapses(operator):
    order = placed("1200.00")
    drain()
    decide(
        approval=Approval.objects.get(), actor=actor_of(operator), approve=False, comment="No stock"
    )
    drain()
    assert state_of(order) == ("lapsed", False, "completed")


def test_the_command_places_pays_and_lists(capsys: pytest.CaptureFixture[str]):
    call_command("orders", "place", "A-17", "--total", "120")
    drain()
    call_command("orders", "pay", "A-17", "120")
    drain()
    capsys.readouterr()
    call_command("orders", "list")
    pk = Execution.objects.get().pk
    assert capsys.readouterr().out == f"A-17: 120.00, shipped, reserved, execution {pk}\n"


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["place", "A-17", "--total", "7"], "Order A-17 is there already."),
        (["pay", "B-1", "7"], "There is no order B-1."),
        (
            ["place", "B-1", "--total", "x"],
            "Error: argument --total: 'x' is no amount such as 120 or 99.50",
        ),
        (["pay", "A-17", "7"], "Order A-17 comes to 120.00, not to 7."),
    ],
)
def test_the_command_says_what_is_wrong(arguments: list[str], sentence: str):
    placed()
    with pytest.raises(CommandError) as caught:
        call_command("orders", *arguments)
    assert str(caught.value) == sentence
    assert Order.objects.count() == Execution.objects.count() == 1
