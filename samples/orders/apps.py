"""Orders as a Django app of a team beside the engine: what `AUTOPILOT_SAMPLES` installs too."""

from __future__ import annotations

from django.apps import AppConfig


class OrdersConfig(AppConfig):
    name = "samples.orders"
    # Not "orders": an app of your own may be called that.
    label = "samples_orders"
    verbose_name = "Orders (sample)"
    default_auto_field = "django.db.models.BigAutoField"
