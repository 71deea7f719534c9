"""What an action is, and the errors it may raise."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import structlog
from pydantic import BaseModel, ValidationError
from pydantic.errors import PydanticInvalidForJsonSchema, PydanticUserError

from autopilot.common.problems import Problem
from workflows.actions.problems import has_template, problems_of

log = structlog.get_logger(__name__)

NAME = re.compile(r"[a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*)*")
MAX_NAME_LENGTH = 100

SAVING: Mapping[str, bool] = {"saving": True}

_ODD_IN_CODE = re.compile(r"[^A-Za-z0-9_.-]+")


class ActionError(Exception):
    """The action failed; the step may be tried again.

    code: a short name of the kind of failure, such as `Refused`; definitions match it as
        `action.Refused` in `retry.errors` and `catch.errors`.
    message: one sentence for people. It is stored and shown: no secrets.
    retryable: False stops retries at once.
    details: plain JSON that helps to find the cause.
    """

    prefix: ClassVar[str] = "action."

    def __init__(
        self,
        code: str,
        message: str,
        *,
        retryable: bool = True,
        details: Any = None,
    ) -> None:
        # Raised in the middle of trouble: an odd code is tidied, never a second error.
        tidy = _ODD_IN_CODE.sub("_", str(code)).strip("._") or "Error"
        self.code = tidy if tidy.startswith(self.prefix) else self.prefix + tidy
        self.message = str(message)
        self.retryable = retryable
        self.details = details
        super().__init__(f"{self.code}: {self.message}")


class TerminalActionError(ActionError):
    """The action failed in a way that trying again can't mend."""

    def __init__(self, code: str, message: str, *, details: Any = None) -> None:
        super().__init__(code, message, retryable=False, details=details)


class BuiltinError(ActionError):
    """A failure of a built-in action, whose code stands by itself: `http.404`, `email.refused`.

    Actions of other apps raise ActionError, so that their codes never pass for one of these.
    """

    prefix = ""


@dataclass(frozen=True, slots=True)
class Action:
    """One registered action.

    name: dotted, lower case; what a definition writes in `config.action`.
    function: called as `function(params, context)`; params is an instance of `schema`, or the plain
        mapping when there is none.
    schema: the pydantic model of the parameters.
    idempotent: True when calling it twice does no harm, so that a call that was cut off by a dying
        worker may be repeated blindly. Where that is up to the call, a function of the checked
        parameters; ask `can_repeat`.
    is_async: the function is `async def` and runs on the loop; otherwise it runs in a thread.
    """

    name: str
    function: Callable[..., Any]
    schema: type[BaseModel] | None = None
    idempotent: bool | Callable[[Any], bool] = False
    is_async: bool = field(default=False)

    @property
    def module(self) -> str:
        return str(getattr(self.function, "__module__", "") or "an unknown module")

    @property
    def description(self) -> str:
        """The first paragraph of the function's docstring, in one line."""
        text = inspect.getdoc(self.function) or ""
        return " ".join(text.split("\n\n")[0].split())

    @property
    def always_idempotent(self) -> bool | None:
        """None: it depends on the parameters."""
        return None if callable(self.idempotent) else self.idempotent

    def can_repeat(self, params: BaseModel | Mapping[str, Any]) -> bool:
        """Whether a call with these parameters, as `validate` gives them, may be made twice."""
        if not callable(self.idempotent):
            return self.idempotent
        try:
            return bool(self.idempotent(params))
        except Exception:
            # Somebody's code. What can't be told is not repeated.
            log.exception("action.idempotence_unknown", action=self.name)
            return False

    def validate(self, params: Mapping[str, Any]) -> BaseModel | dict[str, Any]:
        """What the function is called with; raises InvalidParams naming every problem."""
        if not isinstance(params, Mapping):
            raise InvalidParams(self.name, [_not_an_object(params)])
        if self.schema is None:
            return dict(params)
        try:
            return self.schema.model_validate(params)
        except ValidationError as error:
            raise InvalidParams(self.name, problems_of(error, params, partial=False)) from None

    def check_params(self, params: object, *, partial: bool) -> list[Problem]:
        """Every problem of `params`, with paths that start at `$` = the params themselves.

        partial: values that hold a `{{ template }}` are unknown before the run and not judged.
        The schema's validators see `SAVING` as their context, for what a run has codes of its own.
        """
        if not isinstance(params, Mapping):
            if partial and has_template(params):
                return []
            return [_not_an_object(params)]
        if self.schema is None:
            return []
        try:
            self.schema.model_validate(params, context=SAVING)
        except ValidationError as error:
            return problems_of(error, params, partial=partial)
        except Exception as error:  # noqa: BLE001 - a validator of somebody's app may raise anything
            if partial and has_template(params):
                # Most likely it met the text of a template where it expects the value.
                return []
            return [
                Problem(
                    "$",
                    "action.params_unchecked",
                    f"The parameters of {self.name} could not be checked: its schema raised "
                    f"{type(error).__name__}.",
                )
            ]
        return []

    def params_schema(self) -> dict[str, Any]:
        """The JSON Schema of the parameters, for editors and forms."""
        if self.schema is None:
            return {"type": "object"}
        try:
            return self.schema.model_json_schema()
        except (PydanticInvalidForJsonSchema, PydanticUserError):
            # A type that JSON Schema can't express is still checked by the model itself.
            return {"type": "object", "title": self.schema.__name__}


class InvalidParams(ValueError):
    """The parameters break the action's schema; `problems` names every place."""

    def __init__(self, action_name: str, problems: list[Problem]) -> None:
        self.problems = problems
        places = "; ".join(f"{problem.path}: {problem.message}" for problem in problems)
        super().__init__(f"The parameters of {action_name} are not valid: {places}")


def _not_an_object(params: object) -> Problem:
    return Problem(
        "$",
        "field.type",
        f"The parameters are an object with names and values, not {_kind(params)}.",
    )


def _kind(value: object) -> str:
    match value:
        case None:
            return "null"
        case bool():
            return "a boolean"
        case int() | float():
            return "a number"
        case str():
            return "a text"
        case list() | tuple():
            return "a list"
    return f"a {type(value).__name__}"
