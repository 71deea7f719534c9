"""The samples of the folder, for tests."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from samples.reviews_input import FOLDER
from tests.engine import SYSTEM
from workflows.models import Workflow
from workflows.services import create_workflow, publish_version


def sample(name: str) -> Workflow:
    """A sample, published."""
    document = sample_json(f"{name}.json")
    draft = create_workflow(actor=SYSTEM, document=document)
    return publish_version(actor=SYSTEM, version=draft).workflow


def sample_json(name: str) -> Any:
    return json.loads((FOLDER / name).read_text())


@contextmanager
def service(*arguments: str) -> Iterator[str]:
    """The samples' service as a process of its own, on a free port; gives its address."""
    process = subprocess.Popen(
        [sys.executable, "-m", "samples.service", "--port", "0", *arguments],
        cwd=FOLDER.parent,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    try:
        yield process.stdout.readline().split()[1]
    finally:
        process.terminate()
        process.communicate()
