"""Definitions as people write them: YAML or JSON, read with the place of every value."""

from workflows.definition.text.places import (
    Place,
    ReadText,
    TextError,
    TextProblem,
    located,
    nearest_place,
)
from workflows.definition.text.reading import MAX_TEXT, decode, read_text
from workflows.definition.text.writing import write_yaml

__all__ = [
    "MAX_TEXT",
    "Place",
    "ReadText",
    "TextError",
    "TextProblem",
    "decode",
    "located",
    "nearest_place",
    "read_text",
    "write_yaml",
]
