"""The samples as a Django app: what `AUTOPILOT_SAMPLES` installs."""

from __future__ import annotations

from django.apps import AppConfig


class SamplesConfig(AppConfig):
    name = "samples"
    label = "samples"
    verbose_name = "Samples"
