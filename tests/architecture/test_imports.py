from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
APPS = [
    "autopilot",
    "autopilot/common",
    "autopilot/accounts",
    "workflows",
    "executions",
    "monitoring",
]


def test_the_import_contracts_are_kept() -> None:
    found = subprocess.run(
        [Path(sys.executable).parent / "lint-imports", "--no-cache"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert found.returncode == 0, found.stdout + found.stderr


@pytest.mark.parametrize("package", APPS)
def test_the_packages_that_django_loads_first_are_empty(package: str) -> None:
    assert (ROOT / package / "__init__.py").read_text() == ""
