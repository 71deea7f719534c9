"""The review triage over all the sentences, on the real engine, and its action."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings

from executions.models import Execution, StepExecution
from monitoring.quickstart.samples import SAMPLES, publish_samples, start_first
from samples import reviews_input
from samples.actions import Text, sentiment
from tests.engine import SYSTEM, run
from tests.samples import sample
from workflows.actions import Context
from workflows.models import Workflow

WORST = [
    {
        "id": "278_5",
        "text": "two months ago, an internal part failed (not due to customer abuse; it just "
        "failed).",
        "compound": -0.8957,
    },
    {
        "id": "296_10",
        "text": "some of the more geeky (non-apple type) reviewers complain that the scrollwheel "
        "is annoying after a while and they resent being forced into this apple-like interface.",
        "compound": -0.8687,
    },
    {
        "id": "116_23",
        "text": "unfortunately, the neutral density filters for the metz flash are no longer "
        "available, so the first problem cant easily be solved.",
        "compound": -0.856,
    },
]


def read(path: Path) -> Any:
    return json.loads(path.read_text())


def test_the_inputs_are_what_the_table_says():
    reviews = reviews_input.read_reviews()
    assert (len(reviews), reviews[0]["id"], reviews[-1]["id"]) == (3708, "1_1", "309_8")
    for path, content in reviews_input.inputs().items():
        assert path.read_text() == content
    assert read(reviews_input.ALL) == {"reviews": reviews}
    assert reviews_input.ALL.stat().st_size < settings.AUTOPILOT["MAX_INPUT_BYTES"] // 2


@pytest.mark.django_db(transaction=True)
def test_all_sentences_give_the_known_counts():
    execution = run(sample("review_triage"), read(reviews_input.ALL))
    assert execution.state == "completed", execution.error
    assert execution.output == {
        "sentences": 3708,
        "negative": 725,
        "neutral": 1094,
        "positive": 1889,
        "escalated": 182,
        "worst": WORST,
    }
    items = Execution.objects.filter(parent=execution)
    assert items.count() == items.filter(state="completed").count() == 3708
    handed = StepExecution.objects.filter(execution__parent=execution, step_id="escalate")
    assert (handed.count(), handed.filter(state="completed").count()) == (182, 182)
    assert execution.steps_entered == 5


@pytest.mark.django_db(transaction=True)
def test_a_reviews_own_path_can_be_read():
    review = {"id": "1", "text": "it's horrible."}
    execution = run(sample("review_triage"), {"reviews": [review]})
    assert execution.output == {
        "sentences": 1,
        "negative": 1,
        "neutral": 0,
        "positive": 0,
        "escalated": 1,
        "worst": [{**review, "compound": -0.5423}],
    }
    steps = StepExecution.objects.filter(execution__parent=execution).order_by("seq")
    assert list(steps.values_list("step_id", "output")) == [
        ("score", {"neg": 0.778, "neu": 0.222, "pos": 0.0, "compound": -0.5423}),
        ("sort", {"next": "escalate"}),
        ("escalate", "Somebody should read 1: it's horrible."),
        ("escalated", {"mood": "negative", "escalated": {"index": 0, "compound": -0.5423}}),
    ]


@pytest.mark.django_db(transaction=True)
def test_no_reviews_are_no_trouble():
    execution = run(sample("review_triage"), {"reviews": []})
    assert execution.output == {
        "sentences": 0,
        "negative": 0,
        "neutral": 0,
        "positive": 0,
        "escalated": 0,
        "worst": [],
    }


def test_the_action_is_called_like_any_function():
    context = Context(idempotency_key="k", execution_id=1, step="score")
    scores = asyncio.run(sentiment(Text(text="The picture is great!"), context))
    assert scores == {"neg": 0.0, "neu": 0.406, "pos": 0.594, "compound": 0.6588}


@pytest.mark.django_db(transaction=True)
def test_quickstart_publishes_every_sample_once_and_starts_the_triage():
    documents = {
        path.stem
        for path in reviews_input.FOLDER.glob("*.json")
        if not path.name.endswith(".input.json") and "steps" in read(path)
    }
    assert set(SAMPLES) == documents
    slugs = ["review-triage", "first-steps", "goodwill", "trip", "refund", "onboarding", "order"]
    assert (publish_samples(SYSTEM), publish_samples(SYSTEM)) == (slugs, [])
    assert Workflow.objects.filter(versions__state="published").count() == 7
    execution = start_first(SYSTEM)
    assert (execution.workflow.slug, len(execution.input["reviews"])) == ("review-triage", 42)
