"""`manage.py switch`."""

from __future__ import annotations

import io

import pytest
from django.core.management import call_command

from executions.models import Hold
from tests.factories import WorkflowFactory, document

pytestmark = pytest.mark.django_db


def switch(*arguments: str) -> str:
    out = io.StringIO()
    call_command("switch", *arguments, stdout=out)
    return out.getvalue()


def test_a_queue_and_a_workflow_are_paused_listed_and_go_on():
    WorkflowFactory.create(document=document(name="Refund"))
    assert switch("pause", "--queue", "default", "--reason", "deploying") == (
        "The queue default is paused.\n"
    )
    switch("pause", "--workflow", "refund", "--for", "2h")
    queue, workflow = switch("list").splitlines()
    assert queue.startswith("queue default\tall\tby ")
    assert queue.endswith(": deploying")
    assert workflow.startswith("workflow refund\tstarts\tby ")
    assert switch("resume", "--queue", "default") == "The queue default goes on.\n"
    switch("resume", "--workflow", "refund")
    assert not Hold.objects.exists()


@pytest.mark.parametrize(
    ("arguments", "code", "sentence"),
    [
        (["resume", "--queue", "default"], 1, "The queue default is not paused."),
        (["pause", "--workflow", "nothing"], 2, "There is no workflow 'nothing'."),
        (["pause", "--queue", "default", "--for", "soon"], 2, "--for: "),
    ],
)
def test_what_is_refused_has_a_sentence_and_a_code(arguments, code, sentence, capsys):
    with pytest.raises(SystemExit) as caught:
        switch(*arguments)
    assert caught.value.code == code
    assert sentence in capsys.readouterr().err
    assert not Hold.objects.exists()
