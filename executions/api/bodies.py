"""Request bodies read strictly: nothing is converted, nothing unknown is ignored in silence."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from rest_framework import serializers
from rest_framework.fields import empty

from autopilot.common.api.exceptions import problems_of
from autopilot.common.errors import Invalid
from autopilot.common.problems import Problem
from workflows.definition.paths import did_you_mean, quote

# The codes of Django REST framework in the words that definitions use for the same findings.
_CODES = {
    "required": "field.missing",
    "null": "field.type",
    "invalid": "field.type",
    "not_a_dict": "field.type",
    "blank": "field.empty",
    "max_length": "field.too_long",
    "invalid_choice": "field.choice",
}
MOMENT_EXAMPLE = "2030-01-31T12:00:00Z"
# What PostgreSQL and Python both hold in every time zone.
MIN_YEAR, MAX_YEAR = 1970, 9000


class StrictSerializer(serializers.Serializer[Any]):
    """Refuses fields that it doesn't know, with the nearest name that it does."""

    default_error_messages = {"invalid": "An object was expected, not {datatype}."}

    def to_internal_value(self, data: Any) -> Any:
        errors: dict[str, Any] = {}
        values: Any = {}
        try:
            values = super().to_internal_value(data)
        except serializers.ValidationError as error:
            if not isinstance(data, dict):
                raise
            errors = dict(error.detail)  # type: ignore[arg-type]
        for name in sorted(set(data) - set(self.fields)):
            message = f'There is no field "{quote(name)}" here.{self._hint(name)}'
            errors[name] = [serializers.ErrorDetail(message, "field.unknown")]
        if errors:
            raise serializers.ValidationError(errors)
        return values

    def _hint(self, name: str) -> str:
        return did_you_mean(name, self.fields) or f" Known here: {', '.join(self.fields)}."


class TextField(serializers.CharField):
    """A text, kept as it is; a number or a boolean is none."""

    default_error_messages = {
        "required": "This text is missing.",
        "null": "A text was expected, not null.",
        "invalid": "A text was expected.",
        "blank": "The text is empty.",
        "max_length": "At most {max_length} characters are allowed here.",
    }

    def __init__(self, **options: Any) -> None:
        super().__init__(trim_whitespace=False, **options)

    def run_validation(self, data: Any = empty) -> Any:
        if data is not empty and data is not None and not isinstance(data, str):
            self.fail("invalid")
        return super().run_validation(data)


class WordField(serializers.ChoiceField):
    """One of a few words."""

    default_error_messages = {
        "null": "A text was expected, not null.",
    }

    def to_internal_value(self, data: Any) -> Any:
        if not isinstance(data, str) or data not in self.choices:
            raise serializers.ValidationError(
                f"One of {', '.join(self.choices)} was expected.", "field.choice"
            )
        return data


class FlagField(serializers.BooleanField):
    """true or false; a text or a number is neither."""

    default_error_messages = {"null": "true or false was expected, not null."}

    def to_internal_value(self, data: Any) -> Any:
        if not isinstance(data, bool):
            raise serializers.ValidationError("true or false was expected.", "field.type")
        return data


class TextsField(serializers.DictField):
    """An object whose values are texts."""

    child = TextField(allow_blank=True)
    default_error_messages = {
        "null": "An object was expected, not null.",
        "not_a_dict": "An object with texts was expected.",
    }


class AnyField(serializers.JSONField):
    """Any JSON value, as the parser read it."""

    def to_internal_value(self, data: Any) -> Any:
        return data


class MomentField(serializers.DateTimeField):
    """A moment in ISO 8601 with a time zone; without one it could mean a whole day of moments."""

    def to_internal_value(self, value: Any) -> datetime:
        if not isinstance(value, str):
            message = f"A text such as {MOMENT_EXAMPLE} was expected."
            raise serializers.ValidationError(message, "field.type")
        try:
            return read_moment(value)
        except ValueError as error:
            raise serializers.ValidationError(str(error), "field.moment") from None


def read_moment(text: str) -> datetime:
    """The moment that an ISO 8601 text with a time zone names.

    Raises ValueError with a sentence.
    """
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(f"A moment such as {MOMENT_EXAMPLE} was expected.") from None
    if moment.tzinfo is None:
        raise ValueError(f"The moment needs a time zone, such as {MOMENT_EXAMPLE}.")
    if not MIN_YEAR < moment.year < MAX_YEAR:
        raise ValueError(f"The year has to be between {MIN_YEAR} and {MAX_YEAR}.")
    return moment


def read_body(kind: type[StrictSerializer], data: Any) -> dict[str, Any]:
    """What a body holds. Raises Invalid with the place of everything that is wrong with it."""
    serializer = kind(data=data)
    try:
        serializer.is_valid(raise_exception=True)
    except serializers.ValidationError as error:
        raise refusal(
            [
                Problem(each.path, _CODES.get(each.code, each.code), each.message)
                for each in problems_of(error.detail)
            ]
        ) from None
    return dict(serializer.validated_data)


def refusal(problems: list[Problem]) -> Invalid:
    """The error that names every problem that was found."""
    first = problems[0]
    message = (
        f"{first.path}: {first.message}"
        if len(problems) == 1
        else f"The request has {len(problems)} problems; see details."
    )
    return Invalid(message, details=problems)
