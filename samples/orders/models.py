"""What the team's own app knows of an order; how it gets on is the workflow's."""

from __future__ import annotations

from django.db import models
from django.db.models import Q


class Order(models.Model):
    """One order of a customer, and the execution that takes it from placed to shipped."""

    class State(models.TextChoices):
        PLACED = "placed"
        PAID = "paid"
        SHIPPED = "shipped"
        LAPSED = "lapsed"

    number = models.CharField(max_length=20, unique=True)
    customer = models.CharField(max_length=100)
    total = models.DecimalField(max_digits=10, decimal_places=2)
    state = models.CharField(max_length=10, choices=State, default=State.PLACED)
    is_reserved = models.BooleanField(default=False)
    # No foreign key: executions are deleted when their time is over, orders are not.
    execution_id = models.BigIntegerField(null=True, blank=True)

    class Meta:
        constraints = [
            models.CheckConstraint(condition=Q(total__gt=0), name="order_total_positive"),
        ]

    def __str__(self) -> str:
        return self.number
