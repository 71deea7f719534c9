"""Orders and their executions change together: in one transaction, or not at all."""

from __future__ import annotations

from decimal import Decimal

from django.contrib.auth.base_user import AbstractBaseUser
from django.db import transaction

from autopilot.accounts.actors import Actor, actor_of
from executions.approvals.deciding import decide
from executions.models import Approval
from executions.services import start_execution
from executions.signalling import send_signal
from samples.orders.models import Order
from workflows.models import Workflow

WORKFLOW = "order"


def place_order(*, number: str, customer: str, total: Decimal, actor: Actor) -> Order:
    """Write the order down and start its execution; if either fails, there is neither.

    Workers hear of the execution when the outermost transaction has committed.
    """
    with transaction.atomic():
        order = Order.objects.create(number=number, customer=customer, total=total)
        started = start_execution(
            workflow=Workflow.objects.get(slug=WORKFLOW),
            actor=actor,
            input={"number": number, "customer": customer, "total": float(total)},
            correlation_id=number,
            idempotency_key=f"order-{number}",
        )
        order.execution_id = started.execution.pk
        order.save(update_fields=["execution_id"])
    return order


def note_payment(*, number: str, amount: Decimal, actor: Actor) -> Order:
    """Mark the order as paid and wake its execution, however far that has come.

    A payment that comes before the execution waits for one is kept for it.
    Raises Order.DoesNotExist, ValueError for an amount that is not the order's.
    """
    with transaction.atomic():
        order = Order.objects.select_for_update().get(number=number)
        if amount != order.total:
            raise ValueError(f"Order {number} comes to {order.total}, not to {amount}.")
        order.state = Order.State.PAID
        order.save(update_fields=["state"])
        send_signal(
            name="order.paid",
            actor=actor,
            correlation=number,
            payload={"amount": float(amount)},
            idempotency_key=f"paid-{number}",
        )
    return order


def release_order(*, number: str, user: AbstractBaseUser, discount: float = 0) -> None:
    """Decide the approval that a large order waits for, as this person.

    Raises Approval.DoesNotExist if it waits for none, and what `decide` raises: for somebody who
    may not, for one that has been decided, for a discount that its form refuses.
    """
    with transaction.atomic():
        order = Order.objects.select_for_update().get(number=number)
        approval = Approval.objects.open().get(execution_id=order.execution_id or 0)
        decide(approval=approval, actor=actor_of(user), approve=True, answer={"discount": discount})
