from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from django.apps import AppConfig
from pydantic import BaseModel

from workflows.actions.base import Action, ActionError, BuiltinError
from workflows.actions.context import Context
from workflows.actions.registry import ActionRegistrationError, ActionRegistry, _import_actions


@pytest.fixture
def registry() -> ActionRegistry:
    return ActionRegistry()


class Params(BaseModel):
    n: int


def function(params: Any, context: Context) -> Any:
    """Add one.

    More about it.
    """
    return params


def other(params: Any, context: Context) -> Any:
    return params


async def later(params: Any, context: Context) -> Any:
    return params


class Callable:
    async def __call__(self, params: Any, context: Context) -> Any:
        return params


def test_a_registered_action_is_found_by_its_name(registry: ActionRegistry) -> None:
    assert registry.action("crm.add_one", schema=Params, idempotent=True)(function) is function
    assert registry.get("crm.add_one") == Action(
        name="crm.add_one", function=function, schema=Params, idempotent=True, is_async=False
    )
    assert registry.get("crm.add_two") is None
    assert registry.get("crm.add_one").description == "Add one."


def test_names_come_in_order(registry: ActionRegistry) -> None:
    registry.action("b")(function)
    registry.action("a")(other)
    assert registry.names() == ["a", "b"]
    assert [action.name for action in registry.all()] == ["a", "b"]


def test_async_functions_and_callables_run_on_the_loop(registry: ActionRegistry) -> None:
    registry.action("sync")(function)
    registry.action("async")(later)
    assert registry.get("sync").is_async is False
    assert registry.get("async").is_async is True
    instance = Callable()
    instance.__module__ = __name__
    registry.action("callable")(instance)
    assert registry.get("callable").is_async is True


def test_the_same_name_from_another_module_is_refused(registry: ActionRegistry) -> None:
    def elsewhere(params: Any, context: Context) -> Any:
        return params

    elsewhere.__module__ = "shop.actions"
    registry.action("crm.add")(function)
    with pytest.raises(ActionRegistrationError) as caught:
        registry.action("crm.add")(elsewhere)
    assert str(caught.value) == (
        f"The action 'crm.add' is registered twice, by {__name__} and by shop.actions: "
        "rename one of them."
    )
    assert registry.get("crm.add").function is function


def test_the_same_name_twice_in_one_module_is_refused(registry: ActionRegistry) -> None:
    registry.action("crm.add")(function)
    with pytest.raises(ActionRegistrationError, match="is registered twice"):
        registry.action("crm.add")(other)


def test_a_module_that_is_imported_again_replaces_its_action(registry: ActionRegistry) -> None:
    registry.action("crm.add")(function)
    registry.action("crm.add", idempotent=True)(function)
    assert registry.get("crm.add").idempotent is True


@pytest.mark.parametrize(
    "name", ["", "Crm", "crm.", ".crm", "crm..add", "crm add", "1crm", "crm.Add", "é", "a" * 101]
)
def test_an_odd_name_is_refused(registry: ActionRegistry, name: str) -> None:
    with pytest.raises(ActionRegistrationError) as caught:
        registry.action(name)(function)
    assert str(caught.value) == (
        f"{name!r} in {__name__} is not a name for an action: lower-case words joined by dots were "
        "expected, such as crm.update_contact, at most 100 characters."
    )
    assert registry.names() == []


@pytest.mark.parametrize("schema", [dict, {"type": "object"}, "Params", Params(n=1)])
def test_a_schema_that_is_no_pydantic_model_is_refused(
    registry: ActionRegistry, schema: Any
) -> None:
    with pytest.raises(ActionRegistrationError) as caught:
        registry.action("crm.add", schema=schema)(function)
    assert str(caught.value) == (
        f"The schema of the action 'crm.add' in {__name__} is not a pydantic model: a subclass of "
        "pydantic.BaseModel was expected."
    )
    assert registry.names() == []


def test_a_function_with_other_arguments_is_refused(registry: ActionRegistry) -> None:
    with pytest.raises(ActionRegistrationError, match=r"can't be called with \(params, context\)"):
        registry.action("crm.add")(lambda params: params)


def test_a_generator_is_refused(registry: ActionRegistry) -> None:
    def generator(params: Any, context: Context) -> Iterator[Any]:
        yield params

    with pytest.raises(ActionRegistrationError, match="is a generator"):
        registry.action("crm.add")(generator)


@pytest.fixture
def app(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[AppConfig]:
    """An app of somebody else's, with an actions.py that the test writes."""
    package = tmp_path / "shopapp"
    package.mkdir()
    (package / "__init__.py").write_text("")
    monkeypatch.syspath_prepend(str(tmp_path))
    module = ModuleType("shopapp")
    module.__path__ = [str(package)]
    yield AppConfig("shopapp", module)
    for name in [name for name in sys.modules if name.split(".")[0] == "shopapp"]:
        del sys.modules[name]


def test_an_app_without_actions_is_fine(app: AppConfig) -> None:
    _import_actions(app)
    assert "shopapp.actions" not in sys.modules


def test_a_broken_actions_module_is_named_with_app_and_file(app: AppConfig) -> None:
    path = Path(app.path) / "actions.py"
    path.write_text("import no_such_module_anywhere\n")
    with pytest.raises(ActionRegistrationError) as caught:
        _import_actions(app)
    assert str(caught.value) == (
        f"The actions of the app 'shopapp' can't be loaded from {path}: ModuleNotFoundError: "
        "No module named 'no_such_module_anywhere'"
    )


def test_a_syntax_error_is_named_too(app: AppConfig) -> None:
    (Path(app.path) / "actions.py").write_text("def broken(:\n")
    with pytest.raises(ActionRegistrationError, match="SyntaxError"):
        _import_actions(app)


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (ActionError("http.404", "m"), "action.http.404"),
        (BuiltinError("http.404", "m"), "http.404"),
        (BuiltinError("odd code!", "m"), "odd_code"),
        (BuiltinError("", "m"), "Error"),
    ],
)
def test_only_built_in_actions_raise_codes_of_the_language(error: ActionError, code: str) -> None:
    assert error.code == code
    assert str(error) == f"{code}: m"


@pytest.mark.parametrize(
    ("idempotent", "always", "small", "large"),
    [
        (True, True, True, True),
        (False, False, False, False),
        (lambda params: params.n < 5, None, True, False),
        (lambda params: params.unknown, None, False, False),
    ],
)
def test_whether_a_call_can_be_repeated_may_depend_on_its_parameters(
    registry: ActionRegistry, idempotent: Any, always: bool | None, small: bool, large: bool
) -> None:
    registry.action("crm.add_one", schema=Params, idempotent=idempotent)(function)
    action = registry.get("crm.add_one")
    assert action.always_idempotent is always
    assert action.can_repeat(action.validate({"n": 1})) is small
    assert action.can_repeat(action.validate({"n": 7})) is large
