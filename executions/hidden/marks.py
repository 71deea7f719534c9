"""How a hidden value lies in a JSON document: as a mark that holds it encrypted.

Stored, it is `{"$sealed": token}`, for a text with what is shown of it in `shown`. In documents of
users, keys that look like that get one more dollar, so nothing they send is ever taken for a mark.
Read through a model, it is a `Hidden`: a text, `•••`, that carries the token, so that a value which
is copied from one row to another stays hidden and stays whole.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from autopilot.common import crypto

MASK: Final = "•••"
KEY: Final = "$sealed"
SHOWN: Final = "shown"
# In the text of a document: no mark and no key to be escaped is without it.
SIGN: Final = f'{KEY}"'
SIGN_BYTES: Final = SIGN.encode()

_BULLETS = ("\\u2022", "•")
_BULLETS_BYTES = (_BULLETS[0].encode(), _BULLETS[1].encode())
_LOOKALIKE = re.compile(r"\$+sealed\Z")


class Hidden(str):
    """What is shown of a hidden value. Saved again, it is that value, whatever it says."""

    token: str

    def __new__(cls, shown: str, token: str) -> Hidden:
        made = super().__new__(cls, shown)
        made.token = token
        return made

    def __getnewargs__(self) -> tuple[str, str]:  # type: ignore[override]
        return str(self), self.token

    def __repr__(self) -> str:
        return f"Hidden({str(self)!r})"


@dataclass(frozen=True, slots=True)
class Opened:
    """A hidden value, and which hidden texts it holds; None = it is hidden as a whole.

    is_wrapped: it was only hidden on its way, and is a stored document that may hold marks itself.
    """

    value: Any
    parts: list[str] | None = None
    is_wrapped: bool = False


def seal(value: Any, *, shown: str = MASK, parts: list[str] | None = None) -> Hidden:
    """Encrypt a JSON value. Raises NoEncryptionKey.

    parts: of a text that only holds hidden texts, those.
    """
    return _encrypted({"v": value} if parts is None else {"v": value, "h": parts}, shown)


def wrap(value: Any) -> Hidden:
    """Encrypt a value as it is while it is on its way to whoever decides what of it is hidden.

    What is `Hidden` in it already stays so; nothing else of it counts as hidden once it is read.
    Raises NoEncryptionKey.
    """
    return _encrypted({"w": stored(value)}, MASK)


def _encrypted(content: dict[str, Any], shown: str) -> Hidden:
    text = json.dumps(content, ensure_ascii=False, separators=(",", ":"))
    return Hidden(shown, crypto.encrypt(text.encode()))


def unseal(token: str) -> Opened:
    """What `seal` or `wrap` was given. Raises Undecipherable."""
    content = json.loads(crypto.decrypt(token))
    if "w" in content:
        return Opened(content["w"], is_wrapped=True)
    return Opened(content["v"], content.get("h"))


def escape(key: str) -> str:
    """The key of an object as it is stored."""
    return f"${key}" if key.startswith("$") and _LOOKALIKE.match(key) else key


def _unescape(key: str) -> str:
    return key[1:] if key.startswith("$$") and _LOOKALIKE.match(key) else key


def read(document: Any, on_mark: Callable[[str, str], Any]) -> Any:
    """A stored document as it was before it was written.

    on_mark: called with the token and what is shown; its answer stands in the mark's place.
    """
    if isinstance(document, dict):
        token = document.get(KEY)
        if token is not None:
            return on_mark(token, document.get(SHOWN, MASK))
        return {_unescape(key): read(item, on_mark) for key, item in document.items()}
    if isinstance(document, list):
        return [read(item, on_mark) for item in document]
    return document


def masked(document: Any) -> Any:
    """A stored document as people see it. Needs no key."""
    return read(document, lambda token, shown: Hidden(shown, token))


def may_be_hidden(text: str | bytes) -> bool:
    """Whether the JSON text of a value as people see it may hold a `Hidden`."""
    if isinstance(text, bytes):
        return _BULLETS_BYTES[0] in text or _BULLETS_BYTES[1] in text
    return _BULLETS[0] in text or _BULLETS[1] in text


def stored(value: Any) -> Any:
    """A value as it is stored: `Hidden` becomes its mark, lookalikes are escaped."""
    if isinstance(value, Hidden):
        return mark(value)
    if isinstance(value, dict):
        return {
            escape(key) if isinstance(key, str) else key: stored(item)
            for key, item in value.items()
        }
    if isinstance(value, (list, tuple)):
        return [stored(item) for item in value]
    return value


def mark(hidden: Hidden) -> dict[str, str]:
    """The object that stands for a hidden value."""
    return {KEY: hidden.token, SHOWN: str(hidden)}


def needs_writing(text: str) -> bool:
    """Whether the JSON text of a value may differ from what is stored of it."""
    return SIGN in text or may_be_hidden(text)


def holds_hidden(value: Any) -> bool:
    """Whether there is a `Hidden` in a value that was read through a model."""
    if isinstance(value, dict):
        return any(map(holds_hidden, value.values()))
    if isinstance(value, (list, tuple)):
        return any(map(holds_hidden, value))
    return isinstance(value, Hidden)


def kept(edited: Any, before: Any) -> Any:
    """An edited value in which what is shown of a hidden one, left at its place, stands for it."""
    if isinstance(before, Hidden):
        return before if edited == str(before) else edited
    if isinstance(edited, dict) and isinstance(before, dict):
        return {key: kept(item, before.get(key)) for key, item in edited.items()}
    if isinstance(edited, list) and isinstance(before, list):
        rest = [None] * (len(edited) - len(before))
        pairs = zip(edited, [*before, *rest], strict=False)
        return [kept(item, earlier) for item, earlier in pairs]
    return edited


def reveal(value: Any) -> Any:
    """The value with each `Hidden` in it as it really is. Raises Undecipherable."""
    if isinstance(value, Hidden):
        opened = unseal(value.token)
        return reveal(masked(opened.value)) if opened.is_wrapped else opened.value
    if isinstance(value, dict):
        return {key: reveal(item) for key, item in value.items()}
    if isinstance(value, list):
        return [reveal(item) for item in value]
    return value
