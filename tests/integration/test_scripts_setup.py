"""scripts/setup.sh in a small project of its own: no package is downloaded here."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from autopilot.embedded.home import PROJECT

TOOLS = "awk bash cat cksum date df dirname env flock grep id mkdir mv rm sed tail tee touch uname"


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A checkout with spaces in its path and nothing to install."""
    root = tmp_path / "a checkout"
    shutil.copytree(PROJECT / "scripts", root / "scripts")
    (root / "requirements.txt").write_text("# nothing\n")
    (root / "requirements-dev.txt").write_text("-r requirements.txt\n")
    return root


def setup(project: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(project / "scripts" / "setup.sh"), *arguments],
        check=False,
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        cwd="/",
        env={**os.environ, "PIP_NO_INDEX": "1", "PYTHON": sys.executable, **environment},
    )


def put_program(folder: Path, name: str, script: str) -> None:
    folder.mkdir(exist_ok=True)
    path = folder / name
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


def test_every_script_passes_shellcheck() -> None:
    scripts = [*(PROJECT / "scripts").glob("*.sh"), PROJECT / ".ci" / "run"]
    checker = Path(sys.executable).with_name("shellcheck")
    result = subprocess.run(
        [checker, "-x", *scripts], check=False, capture_output=True, text=True, cwd=PROJECT
    )
    assert (result.stdout, result.returncode) == ("", 0)


@pytest.fixture
def quick_python(tmp_path: Path) -> str:
    """A Python whose environments get a pip that has nothing to do: made in a moment."""
    python = tmp_path / "quick" / "python"
    put_program(
        python.parent,
        "python",
        f'[ "$1 $2" = "-m venv" ] || exec "{sys.executable}" "$@"\n'
        f'"{sys.executable}" -m venv --without-pip "$3"\n'
        'for site in "$3"/lib/python3*/site-packages; do mkdir "$site/pip"; done\n'
        'touch "$site/pip/__init__.py"\n'
        'echo "raise SystemExit(0)" > "$site/pip/__main__.py"',
    )
    return str(python)


def test_the_environment_is_made_once(project: Path) -> None:
    venv = project / ".venv"
    first = setup(project)
    assert (first.stderr, first.returncode) == ("", 0)
    assert first.stdout.splitlines()[-1] == f"Ready: {venv}"
    assert (venv / "bin" / "python").exists()
    assert not (venv / "unfinished").exists()
    # Nothing changed: nothing is said, nothing is done.
    second = setup(project)
    assert (second.stdout, second.stderr, second.returncode) == ("", "", 0)


def test_other_pins_go_into_the_same_environment(project: Path, quick_python: str) -> None:
    venv = project / ".venv"
    assert setup(project, PYTHON=quick_python).returncode == 0
    mark = venv / "mark"
    mark.touch()
    (project / "requirements.txt").write_text("# still nothing\n")
    changed = setup(project, PYTHON=quick_python)
    assert changed.stdout.splitlines() == [
        "Installing the packages (about a minute the first time) ...",
        f"Ready: {venv}",
    ]
    assert mark.exists()


def test_what_the_tests_need_is_counted_apart(project: Path, quick_python: str) -> None:
    ready = f"Ready: {project / '.venv'}"
    assert setup(project, PYTHON=quick_python).stdout.splitlines()[-1] == ready
    assert setup(project, "--dev", PYTHON=quick_python).stdout.splitlines()[-1] == ready
    assert setup(project, "--dev", PYTHON=quick_python).stdout == ""
    assert setup(project, PYTHON=quick_python).stdout == ""


def test_an_environment_that_was_cut_short_is_made_again(project: Path, quick_python: str) -> None:
    venv = project / ".venv"
    assert setup(project, PYTHON=quick_python).returncode == 0
    (venv / "mark").touch()
    (venv / "unfinished").touch()
    again = setup(project, PYTHON=quick_python)
    assert again.stdout.startswith("Making the virtual environment with Python 3.")
    assert not (venv / "mark").exists()


def test_an_environment_that_was_moved_is_made_again(project: Path, quick_python: str) -> None:
    assert setup(project, PYTHON=quick_python).returncode == 0
    (project / ".venv" / "mark").touch()
    moved = project.with_name("another place")
    project.rename(moved)
    # Its programs name the old place.
    again = setup(moved, PYTHON=quick_python)
    assert again.stdout.startswith("Making the virtual environment with Python 3.")
    assert again.returncode == 0
    assert not (moved / ".venv" / "mark").exists()


def test_packages_that_cannot_be_had_are_a_sentence(project: Path) -> None:
    (project / "requirements.txt").write_text("there-is-no-such-package-here==1.0\n")
    result = setup(project)
    assert result.returncode == 1
    last = result.stderr.splitlines()[-1]
    assert last == (
        f"The packages can't be installed; see {project}/var/log/setup.log. Is there a network, "
        "or does pip need a mirror (PIP_INDEX_URL)? Run this again afterwards."
    )
    # So that the next run starts afresh.
    assert (project / ".venv" / "unfinished").exists()


def test_a_python_that_is_too_old_is_refused(project: Path, tmp_path: Path) -> None:
    put_program(tmp_path / "bin", "old", "exit 1")
    old = str(tmp_path / "bin" / "old")
    result = setup(project, PYTHON=old)
    assert result.returncode == 1
    assert result.stderr == (
        f"PYTHON={old} is no Python 3.11 or later; point it at one, or unset it.\n"
    )
    assert not (project / ".venv").exists()


def test_no_python_at_all_is_a_sentence(project: Path, tmp_path: Path) -> None:
    tools = tmp_path / "bin"
    tools.mkdir()
    for name in TOOLS.split():
        found = shutil.which(name)
        assert found is not None
        (tools / name).symlink_to(found)
    result = setup(project, PYTHON="", PATH=str(tools))
    assert result.returncode == 1
    assert result.stderr == (
        "Python 3.11 or later is needed, and no Python is here. Install it (Debian, Ubuntu: "
        "apt-get install python3 python3-venv) or name it: PYTHON=/path/to/python3 "
        "scripts/setup.sh\n"
    )


def test_a_python_without_venv_is_a_sentence(project: Path, tmp_path: Path) -> None:
    python = tmp_path / "bin" / "python"
    put_program(
        python.parent,
        "python",
        f'case "$*" in *ensurepip*) exit 1 ;; esac\nexec "{sys.executable}" "$@"',
    )
    result = setup(project, PYTHON=str(python))
    assert result.returncode == 1
    assert result.stderr == (
        f"{python} can't make virtual environments: install them (Debian, Ubuntu: apt-get install "
        "python3-venv), then run this again.\n"
    )


def test_a_full_disk_is_a_sentence(project: Path, tmp_path: Path) -> None:
    tools = tmp_path / "bin"
    put_program(tools, "df", 'printf "Filesystem 1024-blocks Used Available\\nx 1 1 20480 1\\n"')
    result = setup(project, PATH=f"{tools}:{os.environ['PATH']}")
    assert result.returncode == 1
    assert result.stderr == (
        f"No room on the disk: the packages need about 600 MB under {project} and 20 MB are free; "
        "make room and run this again.\n"
    )


def test_an_unknown_argument_is_refused(project: Path) -> None:
    result = setup(project, "--fast")
    assert (result.returncode, result.stderr) == (
        1,
        "scripts/setup.sh takes --dev or nothing, not '--fast'.\n",
    )
