"""The documents say what is so: links lead somewhere, commands and settings exist."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import pytest
from django.core.management import get_commands

from executions.engine import errors
from tests.architecture.test_documented_settings import FOR_COMPOSE, NOT_A_SETTING, read_names
from workflows.definition.expressions.library import FUNCTIONS
from workflows.definition.expressions.texts import TEXT_METHODS
from workflows.definition.fields import StepType
from workflows.definition.runnable import NAMES_NOT_USABLE

PROJECT = Path(__file__).resolve().parent.parent.parent
# What comes from elsewhere has rules of its own.
FOREIGN = ("tests/data/", "static/vendor/")
LINK = re.compile(r"\[[^\]\[]*\]\(([^)\s]+)\)")
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
SCRIPT = re.compile(r"\bscripts/[\w.-]+")
MANAGE = re.compile(r"\bmanage\.py ([a-z_]+)")
SETTING_ROW = re.compile(r"^\| (`[A-Z].*?) \|", re.MULTILINE)
# Assembled here, so that this file doesn't hold what it looks for.
MACHINE_PATHS = tuple(
    "/" + path for path in ("work/main", "work/shared", "tmp/plan", "root/", "home/user")
)


def tracked(*patterns: str) -> list[Path]:
    """The files of the repository, without what comes from elsewhere."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", *patterns],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        check=True,
    )
    names = [name for name in listed.stdout.split("\0") if name and not name.startswith(FOREIGN)]
    return [path for path in map(PROJECT.joinpath, names) if path.is_file()]


def name_of(path: Path) -> str:
    return str(path.relative_to(PROJECT))


DOCUMENTS = tracked("*.md")


def anchors(path: Path) -> set[str]:
    """What the headings of a document are called in addresses."""
    text = FENCE.sub("", path.read_text())
    titles = re.findall(r"^#+ (.+)$", text, flags=re.MULTILINE)
    plain = (re.sub(r"[^\w\- ]", "", title.lower()) for title in titles)
    return {title.strip().replace(" ", "-") for title in plain}


@pytest.mark.parametrize("document", DOCUMENTS, ids=name_of)
def test_links_of_documents_lead_somewhere(document: Path) -> None:
    broken = []
    for target in LINK.findall(FENCE.sub("", document.read_text())):
        if re.match(r"[a-z]+:", target):
            continue
        file, _, anchor = target.partition("#")
        path = (document.parent / file).resolve() if file else document
        if not path.exists() or (anchor and anchor not in anchors(path)):
            broken.append(target)
    assert broken == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=name_of)
def test_documents_name_scripts_and_commands_that_exist(document: Path) -> None:
    text = document.read_text()
    missing = [name for name in SCRIPT.findall(text) if not (PROJECT / name.rstrip(".")).exists()]
    commands = get_commands()
    missing += [name for name in MANAGE.findall(text) if name not in commands]
    assert missing == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=name_of)
def test_json_in_documents_is_json(document: Path) -> None:
    for language, block in FENCE.findall(document.read_text()):
        if language == "json" and "..." not in block:
            decoder, rest = json.JSONDecoder(), block.strip()
            while rest:
                _, end = decoder.raw_decode(rest)
                rest = rest[end:].strip()


def test_the_readme_has_every_setting_and_no_other() -> None:
    section = (PROJECT / "README.md").read_text().split("## Configuration", 1)[1].split("\n## ")[0]
    documented = {
        name for row in SETTING_ROW.findall(section) for name in re.findall(r"`([A-Z_]+)`", row)
    }
    assert documented == read_names() | {"AUTOPILOT_DATA"} | FOR_COMPOSE
    assert all(f"`{name}`" in section for name in NOT_A_SETTING)


def test_the_language_says_what_cannot_run_yet() -> None:
    text = (PROJECT / "docs/language.md").read_text()
    manual, not_yet = text.split("## Described, not running yet", 1)
    assert {name for name in NAMES_NOT_USABLE if f"`{name}`" not in not_yet} == set()
    described = set(
        re.findall(r"[a-z]+", " ".join(re.findall(r"^### (.+)$", manual, re.MULTILINE)))
    )
    assert {each.value for each in StepType} - described == set()


def test_the_language_names_every_function_method_and_error() -> None:
    manual = (PROJECT / "docs/language.md").read_text()
    words = set(re.findall(r"[\w.]+", manual))
    questions = {name for name in TEXT_METHODS if name.startswith("is")}
    assert set(FUNCTIONS) - words == set()
    assert set(TEXT_METHODS) - questions - words == set()
    codes = {
        value
        for name, value in vars(errors).items()
        if name.isupper() and isinstance(value, str) and not name.startswith("MAX_")
    }
    assert codes - words == set()


def test_no_path_of_a_machine_is_in_the_project() -> None:
    found = []
    for path in tracked():
        try:
            text = path.read_text()
        except UnicodeDecodeError:
            continue
        found += [f"{name_of(path)}: {each}" for each in MACHINE_PATHS if each in text]
    assert found == []
