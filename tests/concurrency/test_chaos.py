"""`python -m benchmarks.chaos --short`: everything is killed for a while; the books are right."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from autopilot.embedded.home import PROJECT

pytestmark = [pytest.mark.concurrency, pytest.mark.timeout(240)]


def test_a_short_trial_of_chaos_loses_nothing_and_doubles_nothing(tmp_path: Path):
    file = tmp_path / "report.json"

    result = subprocess.run(
        [sys.executable, "-m", "benchmarks.chaos", "--short", "--json", str(file)],
        check=False,
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        cwd=PROJECT,
        timeout=220,
    )

    assert result.returncode == 0, result.stdout + result.stderr[-4000:]
    report = json.loads(file.read_text())
    assert report["findings"] == []
    assert report["done"]["workers killed"] >= 3
    assert (report["done"]["PostgreSQL restarted"], report["done"]["Redis flushed"]) == (1, 1)
    assert sum(report["shapes"].values()) == 36
    assert "The books: right" in result.stdout
