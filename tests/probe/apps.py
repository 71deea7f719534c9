"""An app of a Django team, as the tests need one: its actions leave traces."""

from __future__ import annotations

from django.apps import AppConfig


class ProbeConfig(AppConfig):
    name = "tests.probe"
    label = "probe"
