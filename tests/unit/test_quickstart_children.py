"""Children of quickstart: what is said when they end, and when they are given up."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from monitoring.quickstart.children import Child, ChildLostError, Children


def child(tmp_path: Path, code: str) -> Child:
    return Child("helper", [sys.executable, "-c", code], tmp_path / "helper.log")


def ended(one: Child) -> Child:
    one.start()
    assert one.process is not None
    one.process.wait(20)
    return one


def test_a_child_that_ends_at_once_is_quoted(tmp_path: Path) -> None:
    one = ended(child(tmp_path, "print('out of luck'); raise SystemExit(3)"))
    with pytest.raises(ChildLostError) as caught:
        one.check()
    assert str(caught.value) == (
        f"The helper ended with code 3; its log is {tmp_path / 'helper.log'}.\n    out of luck"
    )


def test_a_child_is_started_again_after_a_pause(tmp_path: Path) -> None:
    one = ended(child(tmp_path, "print('here')"))
    said: list[str] = []
    one.revive(100.0, said.append)
    assert said == [
        f"The helper ended with code 0; its log is {tmp_path / 'helper.log'}. "
        "Starting it again in 0.5 s. Its last words:",
        "    here",
    ]
    first = one.process
    one.revive(100.4, said.append)
    assert one.process is first
    one.revive(100.5, said.append)
    assert one.process is not first
    assert len(said) == 2
    assert one.process is not None
    one.process.wait(20)


def test_a_child_that_ends_again_and_again_is_given_up(tmp_path: Path) -> None:
    one = ended(child(tmp_path, "raise SystemExit(1)"))
    one.ends.extend([100.0, 101.0, 102.0, 103.0])
    with pytest.raises(ChildLostError) as caught:
        one.revive(104.0, lambda line: None)
    assert str(caught.value) == (
        f"The helper ended with code 1; its log is {tmp_path / 'helper.log'}. It was started "
        "again 4 times within a minute; its last words:\n    (its log is empty)"
    )


def test_ends_of_long_ago_do_not_count(tmp_path: Path) -> None:
    one = ended(child(tmp_path, "pass"))
    one.ends.extend([100.0, 101.0, 102.0, 103.0])
    one.revive(162.5, lambda line: None)
    assert list(one.ends) == [103.0, 162.5]
    assert one.start_at == 163.5


def test_a_child_that_does_not_listen_is_killed(tmp_path: Path) -> None:
    children = Children()
    code = "import signal, time; signal.signal(15, signal.SIG_IGN); print(1, flush=True)\n"
    deaf = children.add(child(tmp_path, code + "time.sleep(60)"))
    while not deaf.log.read_text():
        deaf.check()
    assert children.stop(seconds=0.1) == ["helper"]
    assert deaf.process is not None
    assert deaf.process.returncode == -9


def test_children_that_listen_are_not_killed(tmp_path: Path) -> None:
    children = Children()
    one = children.add(child(tmp_path, "import time; time.sleep(60)"))
    assert children.stop() == []
    assert one.process is not None
    assert one.process.returncode == -15
