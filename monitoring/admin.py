"""Brings the console's pages of this app to Django's admin."""

from __future__ import annotations

from monitoring.console import health  # noqa: F401 - registers its page
