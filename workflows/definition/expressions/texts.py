"""The methods of a text that an expression may call: they read, and what they make is bounded."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from workflows.definition.expressions.bounds import MAX_ITEMS, Meter
from workflows.definition.expressions.errors import Refusal, kind

_MAX_STRIP = 100
_LONG_NEEDLE = 100

TextMethod = Callable[..., Any]


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise Refusal(f"needs a text, not {kind(value)}")
    return value


def charge_search(meter: Meter, needle: str, text: str) -> None:
    """Pay for looking for `needle`: a short one may be compared again at every character."""
    factor = 1 + (len(needle) // 4 if len(needle) <= _LONG_NEEDLE else 25)
    meter.charge(1 + len(text) * factor // 1000)


def _reader(method: Callable[[str], Any]) -> TextMethod:
    """A method without arguments; its result may be longer than the text (`ß` becomes `SS`)."""

    def call(meter: Meter, text: str) -> Any:
        # Letters beyond ASCII are looked up one by one.
        meter.charge_text(len(text) if text.isascii() else len(text) * 16)
        result = method(text)
        if isinstance(result, str):
            meter.room_for_text(len(result))
        return result

    return call


def _stripper(method: Callable[[str, str | None], str]) -> TextMethod:
    def call(meter: Meter, text: str, characters: object = None) -> str:
        if characters is not None and len(_text(characters)) > _MAX_STRIP:
            raise Refusal(f"strips more than {_MAX_STRIP} different characters")
        meter.charge_text(len(text) * (1 if characters is None else 10))
        result = method(text, None if characters is None else _text(characters))
        meter.room_for_text(len(result))
        return result

    return call


def _splitter(method: Callable[..., list[str]]) -> TextMethod:
    def call(meter: Meter, text: str, separator: object = None, limit: object = -1) -> list[str]:
        if type(limit) is not int:
            raise Refusal(f"needs a whole number as its limit, not {kind(limit)}")
        if separator is not None and not _text(separator):
            raise Refusal("needs a separator that is not empty")
        charge_search(meter, "" if separator is None else _text(separator), text)
        meter.charge_text(len(text))
        # One more than is allowed, so that too many parts are noticed and never all built.
        wanted = limit if 0 <= limit <= MAX_ITEMS else MAX_ITEMS
        parts = method(text, separator, wanted)
        meter.room_for_items(len(parts))
        return parts

    return call


def _partitioner(method: Callable[[str, str], tuple[str, str, str]]) -> TextMethod:
    def call(meter: Meter, text: str, separator: object) -> list[str]:
        if not _text(separator):
            raise Refusal("needs a separator that is not empty")
        charge_search(meter, _text(separator), text)
        meter.charge_text(len(text))
        return list(method(text, _text(separator)))

    return call


def _finder(method: Callable[[str, str], int]) -> TextMethod:
    def call(meter: Meter, text: str, part: object) -> int:
        charge_search(meter, _text(part), text)
        return method(text, _text(part))

    return call


def _edge(method: Callable[[str, Any], bool]) -> TextMethod:
    def call(meter: Meter, text: str, part: object) -> bool:
        parts = part if isinstance(part, list) else [part]
        meter.charge_items(len(parts))
        for one in parts:
            meter.charge_text(len(_text(one)))
        return any(method(text, one) for one in parts)

    return call


def _remover(method: Callable[[str, str], str]) -> TextMethod:
    def call(meter: Meter, text: str, part: object) -> str:
        result = method(text, _text(part))
        meter.room_for_text(len(result))
        return result

    return call


def _splitlines(meter: Meter, text: str) -> list[str]:
    meter.charge_text(len(text) * 4)
    lines = text.splitlines()
    meter.room_for_items(len(lines))
    return lines


def _replace(meter: Meter, text: str, old: object, new: object) -> str:
    old, new = _text(old), _text(new)
    charge_search(meter, old, text)
    found = text.count(old)
    meter.room_for_text(len(text) + found * (len(new) - len(old)))
    meter.charge(found // 100)
    return text.replace(old, new)


def _join(meter: Meter, text: str, parts: object) -> str:
    if not isinstance(parts, list):
        raise Refusal(f"needs a list of texts, not {kind(parts)}")
    meter.charge_items(len(parts))
    for part in parts:
        if not isinstance(part, str):
            raise Refusal(f"needs texts only, not {kind(part)}; write str(...) around it")
    meter.room_for_text(sum(map(len, parts)) + len(text) * max(len(parts) - 1, 0))
    return text.join(parts)


def _no_arguments() -> dict[str, tuple[TextMethod, int, int]]:
    readers: list[Callable[[str], Any]] = [
        str.upper,
        str.lower,
        str.title,
        str.capitalize,
        str.casefold,
        str.swapcase,
        str.isdigit,
        str.isdecimal,
        str.isnumeric,
        str.isalpha,
        str.isalnum,
        str.isascii,
        str.isspace,
        str.islower,
        str.isupper,
        str.istitle,
    ]
    return {method.__name__: (_reader(method), 0, 0) for method in readers}


TEXT_METHODS: dict[str, tuple[TextMethod, int, int]] = {
    **_no_arguments(),
    "strip": (_stripper(str.strip), 0, 1),
    "lstrip": (_stripper(str.lstrip), 0, 1),
    "rstrip": (_stripper(str.rstrip), 0, 1),
    "split": (_splitter(str.split), 0, 2),
    "rsplit": (_splitter(str.rsplit), 0, 2),
    "splitlines": (_splitlines, 0, 0),
    "partition": (_partitioner(str.partition), 1, 1),
    "rpartition": (_partitioner(str.rpartition), 1, 1),
    "find": (_finder(str.find), 1, 1),
    "rfind": (_finder(str.rfind), 1, 1),
    "count": (_finder(str.count), 1, 1),
    "startswith": (_edge(str.startswith), 1, 1),
    "endswith": (_edge(str.endswith), 1, 1),
    "removeprefix": (_remover(str.removeprefix), 1, 1),
    "removesuffix": (_remover(str.removesuffix), 1, 1),
    "replace": (_replace, 2, 2),
    "join": (_join, 1, 1),
}
"""Name -> the function, and how many arguments it takes at least and at most."""
