"""`python -m benchmarks.rolling --short`: every process is restarted in turn under load."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from autopilot.embedded.home import PROJECT

pytestmark = [pytest.mark.concurrency, pytest.mark.timeout(180)]


def test_a_rolling_restart_loses_nothing_repeats_nothing_and_refuses_nothing(tmp_path: Path):
    file = tmp_path / "report.json"

    result = subprocess.run(
        [sys.executable, "-m", "benchmarks.rolling", "--short", "--json", str(file)],
        check=False,
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        cwd=PROJECT,
        timeout=170,
    )

    assert file.exists(), result.stdout + result.stderr[-4000:]
    report = json.loads(file.read_text())
    assert report["findings"] == []
    assert report["restarted"] == {"workers": 2, "web processes": 2}
    assert report["accepted"] > 20
    assert (report["refused"], result.returncode) == (0, 0)
