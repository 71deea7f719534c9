"""Place orders and note payments from the terminal: `manage.py orders place A-17 --total 1200`."""

from __future__ import annotations

from argparse import ArgumentParser, ArgumentTypeError
from decimal import Decimal, InvalidOperation
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import IntegrityError

from autopilot.accounts.actors import Actor
from autopilot.common.errors import DomainError
from samples.orders.models import Order
from samples.orders.services import note_payment, place_order
from workflows.models import Workflow


def _money(text: str) -> Decimal:
    try:
        amount = Decimal(text)
    except InvalidOperation:
        raise ArgumentTypeError(f"{text!r:.40} is no amount such as 120 or 99.50") from None
    if not amount.is_finite() or not 0 < amount < 10**8:
        raise ArgumentTypeError(f"{text!r:.40} is not between 0 and 100 million")
    return amount


class Command(BaseCommand):
    """Each verb calls the service that a view would call."""

    help = "Place orders of the sample app, note their payments, list them."

    def add_arguments(self, parser: ArgumentParser) -> None:
        verbs = parser.add_subparsers(dest="verb", required=True)
        place = verbs.add_parser("place", help="write an order down and start its execution")
        place.add_argument("number")
        place.add_argument("--customer", default="Tea House")
        place.add_argument(
            "--total", type=_money, required=True, help="from 1000 on it is released"
        )
        pay = verbs.add_parser("pay", help="note that an order has been paid")
        pay.add_argument("number")
        pay.add_argument("amount", type=_money)
        verbs.add_parser("list", help="the orders, and the executions that they have")

    def handle(self, *args: Any, **options: Any) -> None:
        actor = Actor.system("command orders")
        try:
            if options["verb"] == "place":
                order = place_order(
                    number=options["number"],
                    customer=options["customer"],
                    total=options["total"],
                    actor=actor,
                )
            elif options["verb"] == "pay":
                order = note_payment(
                    number=options["number"], amount=options["amount"], actor=actor
                )
            else:
                self._list()
                return
        except Workflow.DoesNotExist:
            raise CommandError(
                "There is no workflow “order”: manage.py quickstart has it."
            ) from None
        except Order.DoesNotExist:
            raise CommandError(f"There is no order {options['number']}.") from None
        except IntegrityError:
            raise CommandError(f"Order {options['number']} is there already.") from None
        except DomainError as error:
            raise CommandError(error.message) from None
        except ValueError as error:
            raise CommandError(str(error)) from None
        self._write(order)

    def _list(self) -> None:
        for order in Order.objects.order_by("pk"):
            self._write(order)

    def _write(self, order: Order) -> None:
        kept = ", reserved" if order.is_reserved else ""
        where = f"execution {order.execution_id}"
        self.stdout.write(f"{order.number}: {order.total}, {order.state}{kept}, {where}")
