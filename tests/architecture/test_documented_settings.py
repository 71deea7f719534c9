"""What can be set is written down where people look for it."""

from __future__ import annotations

import re
from pathlib import Path

PROJECT = Path(__file__).resolve().parent.parent.parent
READERS = ("autopilot/settings.py", "autopilot/env.py", "scripts/gunicorn.conf.py")
READ = re.compile(
    r'(?:\b(?:text|boolean|one_of|words|integer|number)|environ\.get)\(\s*["\']([A-Z][A-Z0-9_]+)["\']'
)
# Where the other settings come from can't stand among them.
NOT_A_SETTING = {"AUTOPILOT_ENV_FILE"}
FOR_COMPOSE = {"POSTGRES_PASSWORD", "PUBLISH"}


def read_names() -> set[str]:
    return {
        name for reader in READERS for name in READ.findall((PROJECT / reader).read_text())
    } - NOT_A_SETTING


def example_lines() -> dict[str, str]:
    text = (PROJECT / ".env.example").read_text()
    return dict(re.findall(r"^([A-Z][A-Z0-9_]*)=(.*)$", text, flags=re.MULTILINE))


def test_every_setting_stands_in_the_example() -> None:
    assert read_names() | {"AUTOPILOT_DATA"} | FOR_COMPOSE == set(example_lines())


def test_defaults_of_numbers_in_the_example_are_the_real_ones() -> None:
    settings = (PROJECT / "autopilot/settings.py").read_text()
    pattern = re.compile(r'env\.(?:integer|number)\("([A-Z_]+)", default=([^,)]+)')
    real = {
        name: float(eval(default))  # an arithmetic literal of our own source
        for name, default in pattern.findall(settings)
    }
    example = {name: float(example_lines()[name]) for name in real}
    assert example == real
