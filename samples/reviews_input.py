"""Makes the inputs of the review triage from `reviews/reviews.tsv`.

Run it with `python -m samples.reviews_input`.
`reviews_all.json` has every sentence, `review_triage.input.json` each EVERY-th one of them.
"""

from __future__ import annotations

import csv
import json
from pathlib import Path

FOLDER = Path(__file__).resolve().parent
TABLE = FOLDER / "reviews" / "reviews.tsv"
ALL = FOLDER / "reviews_all.json"
PART = FOLDER / "review_triage.input.json"
EVERY = 90

Review = dict[str, str]


def read_reviews() -> list[Review]:
    """The sentences in the order of the table, as `{"id", "text"}`."""
    with TABLE.open(encoding="utf-8", newline="") as file:
        rows = csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE)
        return [{"id": row["id"], "text": row["text"]} for row in rows]


def as_input(reviews: list[Review]) -> str:
    """The workflow's input as JSON, one sentence a line."""
    lines = ",\n".join(json.dumps(review, ensure_ascii=False) for review in reviews)
    return f'{{"reviews": [\n{lines}\n]}}\n'


def inputs() -> dict[Path, str]:
    """What the generated files have to hold."""
    reviews = read_reviews()
    return {ALL: as_input(reviews), PART: as_input(reviews[::EVERY])}


if __name__ == "__main__":
    for path, content in inputs().items():
        path.write_text(content, encoding="utf-8")
