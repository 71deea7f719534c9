"""Samples of a worker, added up by what the code is for."""

from __future__ import annotations

from benchmarks.profile import Profile, read

STACKS = """\
run (/here/executions/runtime/runner.py:10);plan (/here/executions/engine/planner.py:5) 6
run (/here/executions/runtime/runner.py:10);plan (/here/executions/engine/planner.py:9) 1
run (/here/executions/runtime/runner.py:10);dumps (/usr/lib/python3/json/__init__.py:1) 2
_run (/here/executions/runtime/process.py:99) 3
pause (/venv/lib/site-packages/other/executions/engine/planner.py:1) 1
"""


def test_a_sample_counts_for_the_innermost_file_of_ours() -> None:
    found = Profile()

    read(STACKS, found)

    assert found.samples == 13
    assert dict(found.by_area) == {
        "planning": 7,
        "runners and the drain": 2,
        "event loop, libraries": 4,
    }
    assert found.leaves["plan (engine/planner.py)"] == 7
    assert found.lines()[1] == " 53.8%  planning"


def test_a_work_that_was_over_too_soon_has_no_profile() -> None:
    assert Profile().lines() == ["no sample: it was over too soon"]
