"""`manage.py rollout`."""

from __future__ import annotations

import io
import json

import pytest
from django.core.management import call_command

from tests.rollouts import rolling, two_versions
from workflows.models import Rollout

pytestmark = pytest.mark.django_db


def rollout(*arguments: str) -> str:
    out = io.StringIO()
    call_command("rollout", *arguments, stdout=out)
    return out.getvalue()


def test_a_version_is_rolled_out_raised_and_taken_back():
    two_versions()
    assert rollout("show", "refund") == "Nothing of the workflow refund was rolled out yet.\n"
    begun = rollout("start", "refund", "--percent", "0.25", "--key", "input.customer")
    assert begun == (
        "0.25 % of the starts take 1.1.0 by the key input.customer, all others 1.0.0.\n"
    )
    assert rollout("set", "refund", "50", "--reason", "all quiet").startswith("50 % of the starts")
    assert rollout("rollback", "refund", "--reason", "it charges twice") == (
        "Every start takes 1.0.0 again. No execution of 1.1.0 is under way.\n"
    )
    ended, verdict, live, *decided = rollout("show", "refund").splitlines()
    assert ended == "The rollout of 1.1.0 was rolled back."
    assert verdict.startswith("Too little is known of 1.1.0 yet")
    assert live == "Not ended on 1.1.0: 0."
    assert [line.split(None, 2)[2].partition(",")[0] for line in decided] == [
        "Began with 0.25 %",
        "From 0.25 % to 50 %",
        "Rolled back",
    ]
    assert decided[2].endswith(": it charges twice")
    shown = json.loads(rollout("show", "refund", "--json"))
    assert (shown["state"], shown["evidence"]["finding"]) == ("rolled_back", "too_few")


def test_it_is_promoted():
    rolling(50)
    assert rollout("promote", "refund") == "Every start takes 1.1.0.\n"
    assert Rollout.objects.get().state == "promoted"


@pytest.mark.parametrize(
    ("arguments", "code", "sentence"),
    [
        (["start", "refund", "--percent", "200"], 1, "$.percent: A percentage from 0 to 100"),
        (["start", "refund", "--to", "1.0.0"], 1, "is live already"),
        (["promote", "refund"], 1, "No rollout of the workflow refund is under way."),
        (["show", "nothing"], 2, "There is no workflow 'nothing'."),
    ],
)
def test_what_is_refused_has_a_sentence_and_a_code(arguments, code, sentence, capsys):
    two_versions()
    with pytest.raises(SystemExit) as caught:
        rollout(*arguments)
    assert caught.value.code == code
    assert sentence in capsys.readouterr().err
    assert not Rollout.objects.exists()
