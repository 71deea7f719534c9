"""The app whose actions call the counting service; see AUTOPILOT_APPS in `ground.py`."""

from __future__ import annotations

from django.apps import AppConfig


class ChaosConfig(AppConfig):
    name = "benchmarks.chaos"
    label = "chaos"
