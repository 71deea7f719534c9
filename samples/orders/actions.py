"""What the workflow of an order may do to it.

Each is one conditional UPDATE, so a call that is repeated after a crash changes nothing twice, and
may say `idempotent=True`.
"""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

from samples.orders.models import Order
from workflows.actions import Context, action
from workflows.actions.base import TerminalActionError


class OrderNumber(BaseModel):
    """number: of an order that has been placed."""

    model_config = ConfigDict(extra="forbid")

    number: str = Field(min_length=1, max_length=20)


def _change(number: str, sources: set[str], **changes: object) -> dict[str, str]:
    """Change the order if it is in one of these states. Raises TerminalActionError otherwise."""
    if not Order.objects.filter(number=number, state__in=sources).update(**changes):
        expected = " or ".join(sorted(sources))
        raise TerminalActionError("WrongOrder", f"There is no order {number} that is {expected}.")
    return {"number": number}


@action("orders.reserve", schema=OrderNumber, idempotent=True)
def reserve(params: OrderNumber, context: Context) -> dict[str, str]:
    """Keep the goods of an order for its customer, who may have paid already."""
    sources = {Order.State.PLACED.value, Order.State.PAID.value}
    return _change(params.number, sources, is_reserved=True)


@action("orders.ship", schema=OrderNumber, idempotent=True)
def ship(params: OrderNumber, context: Context) -> dict[str, str]:
    """Hand a paid order to the carrier."""
    context.log.info("order.shipped", number=params.number)
    sources = {Order.State.PAID.value, Order.State.SHIPPED.value}
    return _change(params.number, sources, state=Order.State.SHIPPED)


@action("orders.lapse", schema=OrderNumber, idempotent=True)
def lapse(params: OrderNumber, context: Context) -> dict[str, str]:
    """Let go of an order that nobody has paid for or released, and of its goods."""
    sources = {Order.State.PLACED.value, Order.State.LAPSED.value}
    return _change(params.number, sources, state=Order.State.LAPSED, is_reserved=False)
