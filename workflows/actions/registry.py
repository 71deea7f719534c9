"""Every action that a definition may name, found in the `actions.py` of every installed app."""

from __future__ import annotations

import inspect
import pkgutil
import threading
from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec
from typing import Any, TypeVar

from django.apps import AppConfig, apps
from django.core.exceptions import ImproperlyConfigured
from pydantic import BaseModel

from workflows.actions.base import MAX_NAME_LENGTH, NAME, Action

BUILTIN_PACKAGE = "workflows.actions.builtin"

Function = TypeVar("Function", bound=Callable[..., Any])


class ActionRegistrationError(ImproperlyConfigured):
    """An action can't be offered; the message says which, where and why."""


class ActionRegistry:
    """Actions by name. Filled when the process starts, only read afterwards."""

    def __init__(self) -> None:
        self._actions: dict[str, Action] = {}
        self._lock = threading.Lock()

    def get(self, name: str) -> Action | None:
        return self._actions.get(name)

    def names(self) -> list[str]:
        return sorted(self._actions)

    def all(self) -> list[Action]:
        return [self._actions[name] for name in self.names()]

    def register(self, action: Action) -> None:
        """Offer `action`; raises ActionRegistrationError when its name is taken."""
        with self._lock:
            known = self._actions.get(action.name)
            if known is not None and not _same_source(known, action):
                raise ActionRegistrationError(
                    f"The action {action.name!r} is registered twice, by {known.module} and by "
                    f"{action.module}: rename one of them."
                )
            self._actions[action.name] = action

    def action(
        self,
        name: str,
        *,
        schema: type[BaseModel] | None = None,
        idempotent: bool | Callable[[Any], bool] = False,
    ) -> Callable[[Function], Function]:
        """Register the decorated function, which is left as it is, as the action `name`.

        name: dotted lower case, such as `crm.update_contact`.
        schema: a pydantic model of the parameters; without one the function gets a plain dict.
        idempotent: True when repeating a call does no harm; or a function that says so of the
            checked parameters of one call.
        The function takes `(params, context)`; `async def` runs on the worker's event loop, `def`
        in a thread. Raises ActionRegistrationError when something about it can't work.
        """

        def decorate(function: Function) -> Function:
            _check_name(name, function)
            _check_schema(name, schema, function)
            _check_function(name, function)
            self.register(
                Action(
                    name=name,
                    function=function,
                    schema=schema,
                    idempotent=idempotent,
                    is_async=_is_async(function),
                )
            )
            return function

        return decorate


def autodiscover() -> None:
    """Import the built-in actions and every installed app's `actions` module.

    Raises ActionRegistrationError naming the app and the file when one of them can't be imported.
    """
    package = import_module(BUILTIN_PACKAGE)
    for module in pkgutil.iter_modules(package.__path__, prefix=f"{BUILTIN_PACKAGE}."):
        import_module(module.name)
    for app in apps.get_app_configs():
        _import_actions(app)


def _import_actions(app: AppConfig) -> None:
    name = f"{app.name}.actions"
    spec = find_spec(name) if hasattr(app.module, "__path__") else None
    if spec is None:
        return
    try:
        import_module(name)
    except ActionRegistrationError:
        raise
    except Exception as error:
        raise ActionRegistrationError(
            f"The actions of the app {app.label!r} can't be loaded from {spec.origin}: "
            f"{type(error).__name__}: {error}"
        ) from error


def _same_source(known: Action, new: Action) -> bool:
    """A module that is imported again replaces its own actions."""
    return known.module == new.module and (
        getattr(known.function, "__qualname__", None) == getattr(new.function, "__qualname__", None)
    )


def _check_name(name: object, function: Callable[..., Any]) -> None:
    if not isinstance(name, str) or len(name) > MAX_NAME_LENGTH or not NAME.fullmatch(name):
        raise ActionRegistrationError(
            f"{name!r} in {function.__module__} is not a name for an action: lower-case words "
            f"joined by dots were expected, such as crm.update_contact, at most "
            f"{MAX_NAME_LENGTH} characters."
        )


def _check_schema(name: str, schema: object, function: Callable[..., Any]) -> None:
    if schema is None or (isinstance(schema, type) and issubclass(schema, BaseModel)):
        return
    raise ActionRegistrationError(
        f"The schema of the action {name!r} in {function.__module__} is not a pydantic model: "
        "a subclass of pydantic.BaseModel was expected."
    )


def _check_function(name: str, function: Callable[..., Any]) -> None:
    if inspect.isasyncgenfunction(function) or inspect.isgeneratorfunction(function):
        raise ActionRegistrationError(
            f"The action {name!r} in {function.__module__} is a generator: it must return its "
            "output, not yield it."
        )
    try:
        inspect.signature(function).bind(None, None)
    except TypeError:
        raise ActionRegistrationError(
            f"The action {name!r} in {function.__module__} can't be called with "
            "(params, context): exactly these two arguments are given."
        ) from None


def _is_async(function: Callable[..., Any]) -> bool:
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(
        getattr(function, "__call__", None)  # noqa: B004 - an instance with an async __call__
    )


registry = ActionRegistry()
action = registry.action
get = registry.get
names = registry.names
