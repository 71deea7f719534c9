"""Actions of the samples; an app of your own has a file like this one."""

from __future__ import annotations

from functools import cache

from pydantic import BaseModel, ConfigDict, Field
from vaderSentiment.vaderSentiment import SentimentIntensityAnalyzer

from workflows.actions import Context, action


class Text(BaseModel):
    """text: English, a sentence or a few."""

    model_config = ConfigDict(extra="forbid")

    text: str = Field(max_length=10_000)


@action("samples.sentiment", schema=Text, idempotent=True)
async def sentiment(params: Text, context: Context) -> dict[str, float]:
    """Say how friendly a text sounds: `compound` from -1 to 1, and shares `neg`, `neu`, `pos`.

    Counts words only and takes well below a millisecond, so it runs on the worker's loop; what
    computes for longer belongs into a plain `def`, which gets a thread.
    """
    scores: dict[str, float] = _analyzer().polarity_scores(params.text)
    return scores


@cache
def _analyzer() -> SentimentIntensityAnalyzer:
    # Reads its word list from the disk: once for each process, and not before it is needed.
    return SentimentIntensityAnalyzer()
